// The page: sliders and view send requests, the server answers.

import { drawCurve } from "./curve.js";
import { readFrame } from "./frames.js";
import { Sliders } from "./sliders.js";
import { Viewer } from "./viewer.js";

const ENDED = 1012; // the code with which a server that ends closes its WebSockets

const element = (id) => document.getElementById(id);
const socket = new WebSocket(new URL("session", location.href).href.replace("http", "ws"));
socket.binaryType = "arraybuffer";
let request = 0;
let isKnown = false; // the image
let savesAs = null; // the setting that is being saved

const viewer = new Viewer(element("image"), {
  onview: ask,
  ondivide: (part) => (element("divider").value = 100 * part),
});
const sliders = new Sliders(ask);

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function ask() {
  element("zoom").value = `${Number((100 * viewer.zoom).toPrecision(3))} %`;
  if (isKnown) send({ type: "look", request: ++request, view: viewer.view(), ...sliders.asked() });
}

socket.addEventListener("message", ({ data }) => {
  if (data instanceof ArrayBuffer) showFrame(data);
  else answers[JSON.parse(data).type](JSON.parse(data));
});

socket.addEventListener("close", ({ code }) => {
  element("connection").textContent = code === ENDED
    ? "tvdenoise tune has ended. This page shows the last result."
    : "Connection lost. This page shows the last result. If tvdenoise tune is still running, reload the page to continue.";
  for (const control of document.querySelectorAll("aside button:not(#copy), aside input")) control.disabled = true;
});

const answers = {
  scene(scene) {
    document.title = `${scene.name} – tvdenoise tune`;
    element("name").textContent = `${scene.name}, ${scene.columns} × ${scene.rows}`;
    element("save").title = `Denoise the whole image and write ${scene.target}`;
    if (scene.noise) {
      element("noise-text").textContent = `level ${scene.noise.sigma.toPrecision(3)} of 255 (${scene.noise.kind})`;
      drawCurve(element("curve"), scene.noise);
    }
    if (scene.hasWindow) {
      const [black, white] = scene.window.map((edge) => Number(edge.toPrecision(3)));
      say(`Intensities from ${black} (black) to ${white} (white) of 255 are shown.`);
    }
    sliders.start(scene.automatic, scene.limits, scene.spans, scene.isColour);
    isKnown = true;
    viewer.show(scene.rows, scene.columns);
  },
  setting(setting) {
    if (setting.request !== request) return;
    showCommand(setting.command);
    sliders.settle(setting);
  },
  exists({ line }) {
    element("confirm-text").textContent = `${line}.`;
    element("confirm").returnValue = "keep";
    element("confirm").showModal();
  },
  saved({ line }) {
    element("save").disabled = false;
    say(line);
  },
};

function showFrame(data) {
  const frame = readFrame(data);
  viewer.put(frame);
  if (frame.kind === "after") {
    element("within").textContent = frame.within;
    element("evaluations").textContent = frame.evaluations;
    element("status").textContent = frame.status;
    element("resolution").textContent = frame.resolution;
  }
  document.dispatchEvent(new CustomEvent("image", { detail: frame }));
}

/** Show the command, one span per word, so that lines do not break inside options. */
function showCommand(command) {
  element("command").replaceChildren(...command.split(/(?<= )/).map((text) => {
    const word = document.createElement("span");
    word.textContent = text;
    return word;
  }));
}

function say(text) {
  element("message").textContent = text;
}

function save(overwrite) {
  element("save").disabled = true;
  say("Saving: denoising the whole image …");
  send({ type: "save", overwrite, ...savesAs });
}

element("divider").addEventListener("input", (event) => viewer.setDivider(event.target.valueAsNumber / 100));
element("fit").addEventListener("click", () => viewer.fit());
element("one").addEventListener("click", () => viewer.pixels());
element("closer").addEventListener("click", () => viewer.zoomBy(1.5));
element("farther").addEventListener("click", () => viewer.zoomBy(1 / 1.5));
element("sliders").addEventListener("submit", (event) => event.preventDefault());
element("save").addEventListener("click", () => {
  savesAs = { ...sliders.asked() };
  save(false);
});
element("confirm").addEventListener("close", () => {
  if (element("confirm").returnValue === "replace") save(true);
  else {
    element("save").disabled = false;
    say("Kept the existing file.");
  }
});
element("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(element("command").textContent);
    say("Copied.");
  } catch {
    getSelection().selectAllChildren(element("command"));
    say("The browser does not allow copying. The command is selected.");
  }
});
element("done").addEventListener("click", () => send({ type: "done" }));
