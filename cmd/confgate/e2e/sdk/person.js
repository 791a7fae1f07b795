// Somebody at the classroom's page, in a browser context of their own.

import { watch } from "../harness/browser.js";
import { eventually } from "../harness/eventually.js";

export class Person {
  name;
  page = null;

  constructor(name) {
    this.name = name;
  }

  /**
   * Opens the page and goes online. Without Socket.IO the SDK takes the bare
   * WebSocket: its script is there, but empty.
   */
  async comes({ browser, site, gateway, complaints, cpCode = "school", framing = "socket.io", forced = false }) {
    const context = await browser.newContext();
    this.page = await context.newPage();
    this.gateway = gateway;
    watch(this.page, this.name, complaints);
    if (framing === "websocket") {
      await this.page.route("**/socket.io/*.js", (route) => route.fulfill({ contentType: "text/javascript", body: "" }));
    }
    await this.page.goto(site.url(gateway.url));
    const reply = await this.does("start", { cpCode, id: this.name, name: this.name, forced });
    if (reply.code !== "200") throw new Error(`${this.name} is not online: ${JSON.stringify(reply)}`);
    return this;
  }

  async goes() {
    await this.page?.context().close();
  }

  /** Calls a method of the page, or of the SDK where its name begins so: "sdk.chat". */
  does(method, ...args) {
    return this.page.evaluate(([path, given]) => {
      const [name, owner = window.app] = path.startsWith("sdk.") ? [path.slice(4), window.app.sdk] : [path];
      const plain = (result) => (result instanceof MediaStream ? "a stream" : result);
      return Promise.resolve(owner[name](...given.map((x) => (x === "the canvas" ? window.app.canvas : x ?? undefined)))).then(plain);
    }, [method, args]);
  }

  received() {
    return this.page.evaluate(() => window.app.received);
  }

  /** Resolves to the first message that has these fields. */
  hears(fields) {
    return eventually(`${this.name} hears ${JSON.stringify(fields)}`, async () =>
      (await this.received()).find((m) => fits(m, fields)));
  }

  async heard(fields) {
    return (await this.received()).filter((m) => fits(m, fields)).length;
  }

  /** More video and sound come in from somebody, and are shown. */
  sees(id) {
    return this.#more(id, (now, then) => now.shown && now.frames > then.frames && now.packets > then.packets);
  }

  hearsVoice(id) {
    return this.#more(id, (now, then) => now.packets > then.packets);
  }

  seesScreen() {
    return this.#more("screen", (now, then) => now.shown && now.frames > then.frames);
  }

  /** The board has a colour at a place; a function tells which. */
  board(what, x, y, is) {
    return eventually(`${this.name} sees ${what} on the board`, async () => is(...(await this.does("pixel", x, y))));
  }

  /** The same for any place in a box, given as [x0, y0, x1, y1]. */
  boardHas(what, box, is) {
    return eventually(`${this.name} sees ${what} on the board`, async () =>
      (await this.does("pixels", ...box)).some((pixel) => is(...pixel)));
  }

  /** Draws a line with the mouse, between places in parts of the board's size. */
  async draws(...places) {
    const box = await this.page.locator("#board").boundingBox();
    const to = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
    await this.page.mouse.move(...to(places[0]));
    await this.page.mouse.down();
    for (const place of places.slice(1)) await this.page.mouse.move(...to(place), { steps: 4 });
    await this.page.mouse.up();
  }

  async #more(id, enough) {
    const then = await this.does("stats", id);
    let now;
    await eventually(`${this.name} receives ${id}`, async () => {
      now = await this.does("stats", id);
      return enough(now, then);
    }).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify({ then, now })}\n${this.gateway.log}`);
    });
  }
}

function fits(message, fields) {
  return Object.entries(fields).every(([key, value]) => JSON.stringify(message[key]) === JSON.stringify(value));
}
