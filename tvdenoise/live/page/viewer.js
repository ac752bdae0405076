// The image on its canvas: the visible part, pan and zoom, and the divider between before and after.

const MOST_ZOOM = 64; // screen pixels per image pixel
const STEP = 1.25;
const DOUBLING = 300; // wheel pixels that double the zoom
const LINE = 16;
const GRIP = 8; // pixels of the page on either side of the divider

export class Viewer {
  /** onview is called when the visible part changes, ondivide when the divider is dragged. */
  constructor(canvas, { onview, ondivide }) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.squares = this.context.createPattern(squares(), "repeat"); // behind transparent pixels
    this.onview = onview;
    this.ondivide = ondivide;
    this.size = null;
    this.zoom = 1;
    this.x = 0; // column of the image at the canvas's left edge
    this.y = 0;
    this.divider = 0.5; // as a fraction of the canvas's width
    this.before = null;
    this.after = null;
    this.backdrop = null; // the whole image at low resolution, below parts that have not arrived yet
    this.fits = true;
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.listen();
  }

  show(rows, columns) {
    this.size = { rows, columns };
    this.fit();
  }

  put(frame) {
    this[frame.kind] = frame;
    if (frame.kind === "before") {
      const isWhole = frame.rows * frame.scale >= this.size.rows && frame.columns * frame.scale >= this.size.columns;
      if (isWhole || this.backdrop === null) this.backdrop = frame;
    }
    this.draw();
  }

  view() {
    const { width, height } = this.canvas;
    return { x: this.x, y: this.y, width: width / this.zoom, height: height / this.zoom, zoom: this.zoom };
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (!this.size) return;
    if (this.fits) this.fit();
    else this.changed();
  }

  fit() {
    const { width, height } = this.canvas;
    const { rows, columns } = this.size;
    const whole = Math.min(width / columns, height / rows);
    this.zoom = whole >= 1 ? Math.min(Math.floor(whole), MOST_ZOOM) : whole;
    this.center(columns / 2, rows / 2);
    this.fits = true;
    this.changed();
  }

  pixels() {
    const { width, height } = this.canvas;
    this.zoomAt(1, width / 2, height / 2);
  }

  center(column, row) {
    this.x = column - this.canvas.width / this.zoom / 2;
    this.y = row - this.canvas.height / this.zoom / 2;
  }

  /** Zoom around a point of the canvas, which keeps showing the same point of the image. */
  zoomAt(zoom, across, down) {
    const { width, height } = this.canvas;
    const least = Math.min(1, width / this.size.columns, height / this.size.rows) / 2;
    const next = Math.min(MOST_ZOOM, Math.max(least, zoom));
    this.x += across / this.zoom - across / next;
    this.y += down / this.zoom - down / next;
    this.zoom = next;
    this.fits = false;
    this.changed();
  }

  zoomBy(factor) {
    this.zoomAt(this.zoom * factor, this.canvas.width / 2, this.canvas.height / 2);
  }

  moveBy(across, down) {
    this.x += across / this.zoom;
    this.y += down / this.zoom;
    this.fits = false;
    this.changed();
  }

  setDivider(part) {
    this.divider = Math.min(1, Math.max(0, part));
    this.draw();
  }

  changed() {
    const { width, height } = this.canvas;
    const { rows, columns } = this.size;
    const margin = 0.5; // the least fraction of the canvas that stays covered
    this.x = clamp(this.x, -margin * width / this.zoom, columns - (1 - margin) * width / this.zoom);
    this.y = clamp(this.y, -margin * height / this.zoom, rows - (1 - margin) * height / this.zoom);
    this.draw();
    this.onview();
  }

  draw() {
    const { canvas, context } = this;
    const { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    if (!this.size) return;
    const edge = Math.round(this.divider * width);
    this.drawSide([this.backdrop, this.before], 0, edge);
    this.drawSide([this.backdrop, this.before, this.after], edge, width - edge);
    context.fillStyle = "#ffffff";
    context.fillRect(edge - 1, 0, 2, height);
    context.fillStyle = "#000000";
    context.fillRect(edge - 2, 0, 1, height);
    context.fillRect(edge + 1, 0, 1, height);
    this.drawGrip(edge);
  }

  drawGrip(edge) {
    const { context } = this;
    const ratio = window.devicePixelRatio || 1;
    const middle = this.canvas.height / 2;
    context.beginPath();
    context.arc(edge, middle, 11 * ratio, 0, 2 * Math.PI);
    context.fillStyle = "#ffffff";
    context.strokeStyle = "#000000";
    context.lineWidth = ratio;
    context.fill();
    context.stroke();
    context.beginPath();
    for (const side of [-1, 1]) {
      context.moveTo(edge + side * 3 * ratio, middle - 4 * ratio);
      context.lineTo(edge + side * 7 * ratio, middle);
      context.lineTo(edge + side * 3 * ratio, middle + 4 * ratio);
    }
    context.stroke();
  }

  /** Draw frames on top of each other; the last may show a part that was visible before. */
  drawSide(frames, left, width) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(left, 0, width, this.canvas.height);
    context.clip();
    const known = frames.filter((frame) => frame !== null);
    const lowest = known.findLastIndex((frame) => this.covers(frame));
    for (const frame of known.slice(Math.max(0, lowest))) this.drawFrame(frame);
    context.restore();
  }

  drawFrame(frame) {
    const { context } = this;
    const enlarged = this.zoom * frame.scale;
    context.imageSmoothingEnabled = enlarged < 1 || frame.scale > 1;
    context.imageSmoothingQuality = "high";
    const across = (frame.left - this.x) * this.zoom;
    const down = (frame.top - this.y) * this.zoom;
    if (frame.alpha) {
      context.fillStyle = this.squares;
      context.fillRect(across, down, frame.columns * enlarged, frame.rows * enlarged);
    }
    context.drawImage(frame.canvas, across, down, frame.columns * enlarged, frame.rows * enlarged);
  }

  covers(frame) {
    const { rows, columns } = this.size;
    const { x, y, width, height } = this.view();
    return (
      frame.left <= Math.max(0, x) &&
      frame.top <= Math.max(0, y) &&
      frame.left + frame.columns * frame.scale >= Math.min(columns, x + width) &&
      frame.top + frame.rows * frame.scale >= Math.min(rows, y + height)
    );
  }

  listen() {
    const { canvas } = this;
    const ratio = () => canvas.width / canvas.clientWidth;
    const isOnDivider = (event) => Math.abs(event.offsetX - this.divider * canvas.clientWidth) <= GRIP;
    let dragged = null;
    canvas.addEventListener("pointerdown", (event) => {
      dragged = isOnDivider(event) ? "divider" : "image";
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.toggle("moving", dragged === "image");
    });
    canvas.addEventListener("pointermove", (event) => {
      canvas.classList.toggle("dividing", dragged === "divider" || (!dragged && isOnDivider(event)));
      if (dragged === "divider") {
        this.setDivider(event.offsetX / canvas.clientWidth);
        this.ondivide(this.divider);
      } else if (dragged) {
        this.moveBy(-event.movementX * ratio(), -event.movementY * ratio());
      }
    });
    const end = () => {
      dragged = null;
      canvas.classList.remove("moving", "dividing");
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const turned = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1);
      this.zoomAt(this.zoom * 2 ** (-turned / DOUBLING), event.offsetX * ratio(), event.offsetY * ratio());
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    const far = this.canvas.width / 8;
    const actions = {
      ArrowLeft: () => this.moveBy(-far, 0),
      ArrowRight: () => this.moveBy(far, 0),
      ArrowUp: () => this.moveBy(0, -far),
      ArrowDown: () => this.moveBy(0, far),
      "+": () => this.zoomBy(STEP),
      "=": () => this.zoomBy(STEP),
      "-": () => this.zoomBy(1 / STEP),
      0: () => this.fit(),
      1: () => this.pixels(),
    };
    if (!this.size || !actions[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    actions[event.key]();
  }
}

function squares() {
  const tile = new OffscreenCanvas(16, 16);
  const context = tile.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, 16, 16);
  context.fillStyle = "#d0d0d0";
  context.fillRect(0, 0, 8, 8);
  context.fillRect(8, 8, 8, 8);
  return tile;
}

function clamp(value, least, most) {
  return least > most ? (least + most) / 2 : Math.min(most, Math.max(least, value));
}
