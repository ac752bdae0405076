// The noise curve: standard deviation against intensity.

const NAMESPACE = "http://www.w3.org/2000/svg";
const BOX = { left: 34, right: 312, top: 8, bottom: 118 };

export function drawCurve(svg, { intensities, deviations }) {
  const first = Math.min(0, ...intensities);
  const last = Math.max(255, ...intensities);
  const most = tidy(1.1 * Math.max(...deviations, 0.1));
  const across = (value) => BOX.left + ((value - first) / (last - first)) * (BOX.right - BOX.left);
  const down = (value) => BOX.bottom - (value / most) * (BOX.bottom - BOX.top);
  svg.replaceChildren();
  add(svg, "path", { class: "axis", d: `M${BOX.left} ${BOX.top}V${BOX.bottom}H${BOX.right}` });
  const points = intensities.map((value, i) => [across(value), down(deviations[i])]);
  add(svg, "polyline", { class: "line", points: points.map((point) => point.join()).join(" ") });
  if (points.length > 2) {
    for (const [cx, cy] of points) add(svg, "circle", { class: "point", cx, cy, r: 3 });
  }
  label(svg, BOX.left - 5, BOX.top + 8, "end", most);
  label(svg, BOX.left - 5, BOX.bottom, "end", 0);
  label(svg, BOX.left, BOX.bottom + 14, "start", Math.round(first));
  label(svg, BOX.right, BOX.bottom + 14, "end", Math.round(last));
  label(svg, (BOX.left + BOX.right) / 2, BOX.bottom + 27, "middle", "standard deviation against intensity (of 255)");
}

function label(svg, x, y, anchor, text) {
  add(svg, "text", { x, y, "text-anchor": anchor }).textContent = text;
}

function add(parent, name, attributes) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
}

/** The value rounded up to 1, 2, 5, 10, 20 and so on. */
function tidy(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return rounded([1, 2, 5, 10].find((step) => step * power >= value) * power);
}

function rounded(value) {
  return Number(value.toPrecision(3));
}
