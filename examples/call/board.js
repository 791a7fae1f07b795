// The whiteboard: one picture of a fixed size that every screen shows as large
// as it can, drawn on by everybody. Places travel as parts of its width and
// height, so no screen's size matters.

const size = { width: 1280, height: 720 };
const ground = "#ffffff";
const pens = { pen: 5, eraser: 44 }; // widths in the picture's own pixels
const widest = 80;
const longestText = 1_000; // characters
const colours = { Black: "#1b1f24", Red: "#e5484d", Blue: "#2f6fe4", Green: "#2a9d5c", Orange: "#f08c00", Violet: "#8e4ec6" };

// Others may name colours in their own way, in characters that can do no harm.
const colourForm = /^(#[0-9a-f]{3,8}|[a-z]{3,20}|rgba?\([\d.,%\s/]{5,40}\))$/i;
const pictureForm = /^data:(image\/(?:png|jpeg));base64,([A-Za-z0-9+/]+=*)$/;

/**
 * What the listener is told:
 *   stroke(stroke)  we drew: {tool, x0, y0, x1, y1, colour, width}
 *   forbidden()     we would have, but may not
 */
export class Board {
  #canvas;
  #tools;
  #pen; // the drawing context
  #listener;
  #tool = "pen";
  #colour = colours.Black;
  #at = null; // where our pen is, while it is down
  #may = true;
  #since = null; // what was drawn since we asked for the picture

  constructor(canvas, tools, listener) {
    this.#canvas = Object.assign(canvas, size);
    this.#tools = tools;
    this.#listener = listener;
    this.#pen = canvas.getContext("2d");
    this.#pen.lineCap = this.#pen.lineJoin = "round";
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, () => { this.#at = null; });
    this.#furnish();
    this.clear();
  }

  /** Empties the board, and no longer waits for a picture. */
  clear() {
    this.#since = null;
    this.#wipe();
  }

  allow(may) {
    this.#may = may;
    this.#canvas.classList.toggle("forbidden", !may);
    for (const b of this.#tools.querySelectorAll("button")) b.disabled = !may;
    if (!may) this.#at = null;
  }

  /** Draws what somebody else drew. */
  draw(stroke) {
    this.#since?.push(stroke);
    this.#apply(stroke);
  }

  picture() {
    return this.#canvas.toDataURL("image/png");
  }

  /** We have asked somebody for their picture: what comes meanwhile goes on top. */
  expectPicture() {
    this.#since = [];
  }

  /** Shows the picture that somebody else has. Anything but a picture is ignored. */
  async show(image) {
    const later = this.#since;
    const [, type, text] = (typeof image === "string" && image.match(pictureForm)) || [];
    if (!later || !type) return;
    let bitmap;
    try {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      bitmap = await createImageBitmap(new Blob([bytes], { type }));
    } catch {
      return; // it only said that it was one
    }
    if (later !== this.#since) return; // the board was emptied meanwhile
    this.#since = null;
    this.#wipe();
    this.#pen.drawImage(bitmap, 0, 0, size.width, size.height);
    bitmap.close();
    for (const stroke of later) this.#apply(stroke);
  }

  #wipe() {
    this.#pen.fillStyle = ground;
    this.#pen.fillRect(0, 0, size.width, size.height);
  }

  // Others have tools that we have not. A text and a shape are drawn as well as we
  // can, a pointer leaves no mark, and the rest are pens.
  #apply({ tool, x0, y0, x1, y1, colour, width, text }) {
    if (tool === "clear") return this.#wipe();
    const [ax, bx] = [x0, x1].map((x) => x * size.width);
    const [ay, by] = [y0, y1].map((y) => y * size.height);
    if (tool === "pointer" || ![ax, ay, bx, by].every(Number.isFinite)) return;
    const pen = this.#pen;
    pen.strokeStyle = pen.fillStyle = tool === "eraser" ? ground : colourForm.test(colour) ? colour : colours.Black;
    pen.lineWidth = Math.min(Math.max(Number(width) || pens.pen, 1), widest);
    pen.beginPath();
    if (tool === "textbox") {
      pen.font = `${pen.lineWidth}px sans-serif`;
      pen.textBaseline = "top";
      pen.fillText(String(text ?? "").slice(0, longestText), ax, ay);
    } else if (tool === "shape") {
      pen.rect(ax, ay, bx - ax, by - ay);
    } else {
      pen.moveTo(ax, ay);
      pen.lineTo(bx, by);
    }
    pen.stroke();
  }

  // ---- our own hand

  #down(event) {
    if (event.button !== 0) return;
    if (!this.#may) return this.#listener.forbidden();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#at = this.#place(event);
    this.#line(this.#at); // a dot
  }

  #move(event) {
    if (!this.#at) return;
    this.#line(this.#place(event));
  }

  #line(to) {
    const [x0, y0] = this.#at;
    const [x1, y1] = (this.#at = to);
    this.#stroke({ tool: this.#tool, x0, y0, x1, y1, colour: this.#colour, width: pens[this.#tool] });
  }

  #stroke(stroke) {
    this.draw(stroke);
    this.#listener.stroke(stroke);
  }

  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    const part = (at, from, length) => Math.round(Math.min(Math.max((at - from) / length, 0), 1) * 1e4) / 1e4;
    return [part(event.clientX, box.left, box.width), part(event.clientY, box.top, box.height)];
  }

  // ---- the tools

  #furnish() {
    const shelf = this.#tools.querySelector("[data-colours]");
    for (const [name, colour] of Object.entries(colours)) {
      const b = document.createElement("button");
      b.type = "button";
      b.className = "colour";
      b.title = name;
      b.setAttribute("aria-label", `${name} pen`);
      b.style.setProperty("--colour", colour);
      b.addEventListener("click", () => this.#take("pen", colour));
      b.dataset.colour = colour;
      shelf.append(b);
    }
    this.#tools.querySelector("[data-eraser]").addEventListener("click", () => this.#take("eraser", this.#colour));
    this.#tools.querySelector("[data-clear]").addEventListener("click", () => {
      this.#stroke({ tool: "clear", x0: 0, y0: 0, x1: 0, y1: 0, colour: ground, width: 1 });
    });
    this.#take(this.#tool, this.#colour);
  }

  #take(tool, colour) {
    this.#tool = tool;
    this.#colour = colour;
    for (const b of this.#tools.querySelectorAll(".colour")) b.setAttribute("aria-pressed", tool === "pen" && b.dataset.colour === colour);
    this.#tools.querySelector("[data-eraser]").setAttribute("aria-pressed", tool === "eraser");
  }
}
