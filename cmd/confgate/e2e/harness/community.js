// People of the community app: each in a browser context of their own, and all
// of what went wrong in their pages in one list.

import assert from "node:assert/strict";

import { watch } from "./browser.js";
import { eventually } from "./eventually.js";

/** One story's room, and the five who may come. */
export class Room {
  people = {};
  #complaints = [];

  constructor(where) {
    const roomId = `c-${where.sockjs}-${where.transport}`;
    for (const name of ["ann", "ben", "cid", "dot", "eve"]) {
      this.people[name] = new Person(name, { ...where, roomId, complaints: this.#complaints });
    }
  }

  close() {
    return Promise.all(Object.values(this.people).map((p) => p.close()));
  }

  assertNoComplaints() {
    assert.deepEqual(this.#complaints, []);
  }
}

class Person {
  name;
  page = null; // the newest
  #where;
  #contexts = [];
  #left = false;

  constructor(name, where) {
    this.name = name;
    this.#where = where;
  }

  async enter(media) {
    const { browser, site, gateway, sockjs, kurento, transport, roomId, complaints } = this.#where;
    const context = await browser.newContext();
    this.#contexts.push(context);
    this.page = await context.newPage();
    // A client that says leaveRoom and closes at once takes its HTTP session away
    // under its own last message, and logs the 404.
    watch(this.page, this.name, complaints, (text) => this.#left && /404 .*\/xhr_send/.test(text));
    await this.page.goto(site.url({ sockjs, kurento }));
    await this.page.evaluate((options) => window.app.connect(options), {
      url: `${gateway.url}/rtc`, transport, userId: this.name, roomId, media,
    });
    await this.hears({ id: "existingParticipants" });
  }

  toggle(kind, on) {
    return this.page.evaluate(([k, o]) => window.app[`toggle${k}`](o), [kind, on]);
  }

  leave() {
    this.#left = true;
    return this.page.evaluate(() => window.app.leave());
  }

  async crash() {
    const crashed = this.page.waitForEvent("crash");
    const session = await this.page.context().newCDPSession(this.page);
    session.send("Page.crash").catch(() => {}); // it has no answer: the page is gone
    await crashed;
  }

  close() {
    return Promise.all(this.#contexts.splice(0).map((context) => context.close()));
  }

  received() {
    return receivedBy(this.page);
  }

  transport() {
    return this.page.evaluate(() => window.app.transport);
  }

  hears(message) {
    const fields = Object.entries(message);
    return eventually(`${this.name} hears ${JSON.stringify(message)}`, async () =>
      (await this.received()).some((m) => fields.every(([key, value]) => m[key] === value)));
  }

  seesAndHears(other) {
    return this.#more(other, `${this.name} sees and hears ${other.name}`, (now, then) =>
      now.shown && now.frames > then.frames && now.packets > then.packets);
  }

  hearsVoice(other) {
    return this.#more(other, `${this.name} hears ${other.name}`, (now, then) => now.packets > then.packets);
  }

  isConnectedTo(other) {
    return eventually(`${this.name} is connected to ${other.name}`, async () => (await this.#stats(other))?.state === "connected");
  }

  // More media has come since the first look.
  async #more(other, what, enough) {
    const then = (await this.#stats(other)) ?? { frames: 0, packets: 0 };
    let now;
    await eventually(what, async () => {
      now = await this.#stats(other);
      return now && enough(now, then);
    }).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify({ then, now })}\n${this.#where.gateway.log}`);
    });
  }

  async #stats(other) {
    return (await this.page.evaluate(() => window.app.stats()))[other.name];
  }
}

/** What the app in that page was told, in order, without SDPs. */
export function receivedBy(page) {
  return page.evaluate(() => window.app.received);
}
