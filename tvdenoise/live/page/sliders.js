// The sliders: each sets a number on a logarithmic scale; the number can also be typed.

const DIGITS = 4; // significant digits, as in the command

export const rounded = (value) => Number(value.toPrecision(DIGITS));

/** A slider and its number field. */
class Slider {
  constructor(name, onmove) {
    this.range = document.getElementById(name);
    this.number = document.getElementById(`${name}-number`);
    this.range.addEventListener("input", () => onmove(rounded(Math.exp(this.range.valueAsNumber))));
    this.number.addEventListener("change", () => {
      const written = this.number.valueAsNumber;
      if (written > 0) onmove(rounded(Math.min(this.largest, Math.max(this.least, written))));
      else this.set(this.value);
    });
  }

  /** Set the range: a factor to either side of a value, within its limits. */
  spread(middle, factor, [least, largest]) {
    Object.assign(this, { least, largest });
    this.range.min = Math.log(Math.max(middle / factor, least));
    this.range.max = Math.log(Math.min(middle * factor, largest));
    this.range.step = "any";
  }

  set(value) {
    this.value = value;
    this.range.value = Math.log(value);
    this.range.setAttribute("aria-valuetext", String(value));
    if (document.activeElement !== this.number || this.number.valueAsNumber !== value) this.number.value = value;
  }
}

/** All sliders. onmove is called when one of them moves. */
export class Sliders {
  constructor(onmove) {
    this.onmove = onmove;
    this.follows = document.getElementById("follows");
    this.strength = new Slider("strength", (value) => this.move(this.atStrength(value), value));
    this.parameters = {};
    this.follows.addEventListener("change", () => this.move({}));
    document.getElementById("automatic").addEventListener("click", () => {
      this.follows.checked = true;
      this.move({ ...this.automatic });
    });
  }

  /**
   * Start at the automatic choice. spans: for each parameter that the prior has, the factor that its slider covers to
   * either side of that choice.
   */
  start(automatic, limits, spans, isColour) {
    this.automatic = automatic;
    this.setting = { ...automatic };
    const ends = "level" in spans
      ? limits.level.map((level) => level / automatic.level)
      : limits.mu.map((mu) => automatic.mu / mu).reverse();
    this.strength.spread(1, 10, ends);
    for (const name of Object.keys(spans)) {
      this.parameters[name] = new Slider(name, (value) => {
        if (name === "epsilon") this.follows.checked = false;
        this.move({ [name]: value });
      });
      this.parameters[name].spread(automatic[name], spans[name], limits[name]);
    }
    for (const slider of [this.strength, ...Object.values(this.parameters)]) {
      slider.range.addEventListener("keydown", (event) => step(event, slider.range));
    }
    for (const row of document.querySelectorAll("[data-parameter]")) {
      row.hidden = !(row.dataset.parameter in spans) || (row.classList.contains("colour-only") && !isColour);
    }
    this.show();
  }

  /** What a strength makes of the automatic choice: it divides mu, or multiplies the level of learned filters. */
  atStrength(strength) {
    const { mu, level } = this.automatic;
    return level === undefined ? { mu: rounded(mu / strength) } : { level: rounded(level * strength) };
  }

  /** The requested setting; epsilon is null if it follows mu. */
  asked() {
    return this.followsMu() ? { ...this.setting, epsilon: null } : this.setting;
  }

  followsMu() {
    return "epsilon" in this.parameters && this.follows.checked;
  }

  move(change, strength) {
    Object.assign(this.setting, change);
    this.show(strength);
    this.onmove();
  }

  /** Take over the epsilon from the server's answer. */
  settle({ epsilon }) {
    if (this.followsMu()) this.setting.epsilon = epsilon;
    this.parameters.epsilon?.set(this.setting.epsilon);
  }

  show(strength) {
    const { automatic, setting } = this;
    this.strength.set(strength ?? rounded("level" in setting ? setting.level / automatic.level : automatic.mu / setting.mu));
    for (const [name, slider] of Object.entries(this.parameters)) slider.set(setting[name]);
  }
}

/** Arrow keys change the value by 2 %, with Shift by 20 %, as do Page Up and Page Down; a step of "any" has no size. */
function step(event, range) {
  const ups = { ArrowRight: 1, ArrowUp: 1, PageUp: 10, ArrowLeft: -1, ArrowDown: -1, PageDown: -10 };
  const steps = ups[event.key];
  if (!steps) return;
  event.preventDefault();
  range.value = range.valueAsNumber + 0.02 * steps * (event.shiftKey ? 10 : 1);
  range.dispatchEvent(new Event("input"));
}
