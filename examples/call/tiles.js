// The stage: a tile for everybody in the call, and how tiles share the room
// there is. Whatever others typed is put in as text, never as markup.

const gap = 10; // pixels between tiles, as in call.css
const widest = 16 / 9;
const finest = 2; // pixels of the screen to one of the style sheet
const narrowest = { alone: 2 / 5, upright: 3 / 5, wide: 1 }; // by the stage: cameras are wide, phones are not

const stateWords = {
  new: "",
  connecting: "Connecting…",
  connected: "",
  disconnected: "Connection unstable…",
  failed: "Connection lost, trying again…",
  lost: "", // the gateway is gone, which the page says once for all
  listening: "Listening only",
};

export class Stage {
  #list;
  #template;
  #laidOut;
  #tiles = new Map(); // user → Tile
  #strip = false;

  /** laidOut is called when tiles may have another size. */
  constructor(list, template, laidOut) {
    this.#list = list;
    this.#template = template;
    this.#laidOut = laidOut;
    new ResizeObserver(() => this.#layOut()).observe(list);
  }

  get element() {
    return this.#list;
  }

  get size() {
    return this.#tiles.size;
  }

  add(member, name, { self = false } = {}) {
    this.remove(member.user);
    const tile = new Tile(this.#template.content.firstElementChild.cloneNode(true), name, self);
    tile.element.dataset.user = member.user;
    tile.set("video", member.video);
    tile.set("audio", member.audio);
    this.#tiles.set(member.user, tile);
    this.#list.append(tile.element);
    this.#layOut();
  }

  remove(user) {
    const tile = this.#tiles.get(user);
    if (!tile) return;
    tile.show("video", null);
    tile.show("audio", null);
    tile.element.remove();
    this.#tiles.delete(user);
    this.#layOut();
  }

  clear() {
    for (const user of [...this.#tiles.keys()]) this.remove(user);
  }

  /** Makes the tiles a strip beside something that is larger, or gives them the stage. */
  strip(on) {
    this.#strip = on;
    this.#layOut();
  }

  tile(user) {
    return this.#tiles.get(user);
  }

  tiles() {
    return this.#tiles.values();
  }

  // With two people the other one has the stage and we sit in its corner.
  // Otherwise: of all numbers of columns, the one that makes tiles largest.
  #layOut() {
    this.#laidOut();
    const duet = this.#tiles.size === 2;
    this.#list.dataset.layout = this.#strip ? "strip" : duet ? "duet" : "grid";
    if (this.#strip) return; // that is for the style sheet
    const style = getComputedStyle(this.#list);
    const width = this.#list.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const height = this.#list.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const best = fit(duet ? 1 : this.#tiles.size, width, height);
    this.#list.style.setProperty("--tile-width", `${Math.floor(best.width)}px`);
    this.#list.style.setProperty("--tile-height", `${Math.floor(best.height)}px`);
  }
}

function fit(tiles, width, height) {
  const narrow = narrowest[tiles === 1 ? "alone" : width < height ? "upright" : "wide"];
  let best = { width: 0, height: 0 };
  for (let columns = 1; columns <= tiles; columns++) {
    const rows = Math.ceil(tiles / columns);
    const w = (width - gap * (columns - 1)) / columns;
    const h = (height - gap * (rows - 1)) / rows;
    const tile = { width: Math.min(w, h * widest), height: Math.min(h, w / narrow) };
    if (tile.width * tile.height > best.width * best.height) best = tile;
  }
  return best;
}

// Picture and voice play in elements of their own: one element for both would
// hold the voice back until the first picture, and thus for good for somebody
// without a camera. The browser keeps the two in step all the same.
export class Tile {
  element;
  #players;
  #name;
  #self;

  constructor(element, name, self) {
    this.element = element;
    this.#players = { video: element.querySelector("video"), audio: element.querySelector("audio") };
    this.#players.video.muted = true;
    this.#self = self;
    element.classList.toggle("self", self);
    this.rename(name);
    this.state("new");
  }

  get name() {
    return this.#name;
  }

  /** The place for the picture, in the screen's own pixels, but no finer than is seen. */
  get place() {
    const ratio = Math.min(devicePixelRatio, finest);
    return { width: this.element.clientWidth * ratio, height: this.element.clientHeight * ratio };
  }

  rename(name) {
    this.#name = name;
    const element = this.element;
    element.querySelector(".name").textContent = this.#self ? `${name} (you)` : name;
    element.querySelector(".initials").textContent = initials(name);
    element.querySelector(".more").setAttribute("aria-label", `More about ${name}`);
    element.style.setProperty("--hue", hue(name));
    this.#describe();
  }

  /** Marks the one who keeps the room. */
  host(on) {
    this.element.classList.toggle("host", on);
    this.#describe();
  }

  /** Plays a track of that kind, or nothing. Tells whether the browser does so. */
  async show(kind, track) {
    const player = this.#players[kind];
    if (track && player.srcObject?.getTracks()[0] === track) return true;
    player.srcObject = track && new MediaStream([track]);
    return !track || play(player);
  }

  /** Plays what was held back until the person did something. */
  play() {
    return Promise.all(Object.values(this.#players).filter((p) => p.srcObject).map(play));
  }

  set(kind, on) {
    this.element.dataset[kind] = on ? "on" : "off";
    this.#describe();
  }

  speaking(on) {
    this.element.classList.toggle("speaking", on);
  }

  state(state) {
    this.element.dataset.state = state;
    this.element.querySelector(".state").textContent = stateWords[state] ?? "";
    this.#describe();
  }

  #describe() {
    const { video, audio, state } = this.element.dataset;
    const parts = [
      this.#self ? `${this.#name}, you` : this.#name,
      this.element.classList.contains("host") ? "host" : "",
      audio === "on" ? "" : "microphone off",
      video === "on" ? "" : "camera off",
      stateWords[state] ?? "",
    ];
    this.element.setAttribute("aria-label", parts.filter(Boolean).join(", "));
  }
}

async function play(player) {
  try {
    await player.play();
    return true;
  } catch (error) {
    return error.name !== "NotAllowedError"; // an interrupted play is followed by another
  }
}

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0]).join("").toLocaleUpperCase();
}

function hue(name) {
  let h = 0;
  for (const c of name) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}
