// Somebody at the page at "/": what they do there, and what they see.

import { eventually } from "./eventually.js";

export class Visitor {
  constructor(name, page) {
    this.name = name;
    this.page = page;
  }

  // The question for the devices has been answered, one way or the other.
  settled() {
    return this.page.waitForFunction(() =>
      document.querySelector("#preview").dataset.video === "on" || !document.querySelector("#device-notice").hidden);
  }

  async tryToJoin() {
    await this.page.fill("#name", this.name);
    await this.page.click("#join-button");
  }

  async join() {
    await this.tryToJoin();
    await this.page.waitForSelector("#call", { state: "visible" });
  }

  press(label) {
    return this.page.getByRole("button", { name: label, exact: true }).click();
  }

  sees(selector, text) {
    return this.page.locator(selector, { hasText: text }).waitFor({ state: "visible" });
  }

  tileOf(name) {
    return this.page.locator(".tile", { has: this.page.getByText(name, { exact: true }) });
  }

  tile(name, marks) {
    return eventually(`${this.name} sees ${name} with ${JSON.stringify(marks)}`, async () => {
      const seen = await this.tileOf(name).evaluate((tile) => ({ ...tile.dataset }), null, { timeout: 1_000 });
      return Object.entries(marks).every(([key, value]) => seen[key] === value);
    });
  }

  /** Pictures of that person keep coming. */
  async watches(name) {
    const then = await eventually(`${this.name} has a picture of ${name}`, () => this.frames(name));
    await this.hasWatched(name, then + 1);
    await this.tile(name, { state: "connected" });
  }

  hasWatched(name, frames) {
    return eventually(`${this.name} has seen ${frames} pictures of ${name}`, async () => (await this.frames(name)) >= frames);
  }

  frames(name) {
    const video = this.tileOf(name).locator("video");
    return video.evaluate((v) => v.getVideoPlaybackQuality().totalVideoFrames, null, { timeout: 1_000 });
  }

  marksSpeaking(name) {
    return this.tileOf(name).and(this.page.locator(".speaking")).waitFor();
  }

  noMarkOn(name) {
    return this.tileOf(name).and(this.page.locator(":not(.speaking)")).waitFor();
  }

  userOf(name) {
    return this.tileOf(name).getAttribute("data-user");
  }

  counts(n) {
    return eventually(`${this.name} counts ${n}`, async () =>
      (await this.page.locator(".tile").count()) === n && (await this.page.locator("#count").textContent()) === String(n));
  }
}
