// Somebody with a client of their own sends everybody what would run, or fetch
// something, if any page took it for more than text or a picture: in names, titles,
// the chat, notes, strokes and pictures, in both dialects. It is watched by our page,
// in each dialect, and by a page with the SDK, which has no policy that protects it.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { addresses, texts } from "./harness/payloads.js";
import { RawClient } from "./harness/raw.js";
import { Visitor } from "./harness/visitor.js";
import { Person } from "./sdk/person.js";
import { startClassroom } from "./sdk/site.js";

const room = "c-markup"; // as the page calls the room "markup"
const cpCode = "confgate"; // the page's
const atOnce = 12; // guests

let built, gateway, classroom, browser;
let mallory, ann, bob, cid;
const complaints = [];
const foreign = []; // what pages asked of others than the gateway and the classroom
const dialogs = [];
const pages = new Map(); // page → the elements it had at first

before(async () => {
  built = await build();
  [gateway, classroom, browser] = await Promise.all([Gateway.start(built.binary), startClassroom(), launch()]);
  mallory = await RawClient.dial(`${gateway.url}/ws/eventop`);
  await mallory.asks({ eventOp: "register", cpCode, authKey: "dev", userId: "mallory", name: texts[0], device: texts[0] });
  await mallory.asks({ eventOp: "createVideoRoom", roomId: room, title: texts[0], destroy: false });
  await mallory.asks({ eventOp: "joinRoom", roomId: room });
  ann = await visitor("Ann", "/?room=markup&dialect=eventop");
  bob = await visitor("Bob", "/?room=markup");
  cid = await student("cid");
  for (const p of [ann, bob]) await p.join();
  await cid.does("enter", room);
  await ann.press("Chat");
  for (const { page } of [ann, bob, cid]) pages.set(page, await page.evaluate(inventory));
});

after(async () => {
  await mallory?.close();
  await browser?.close();
  await classroom?.stop();
  const code = await gateway?.stop();
  built?.remove();
  assert.equal(code, 0, "the gateway ends cleanly");
});

// What nobody may ever have done.
afterEach(async () => {
  assert.deepEqual(dialogs, [], "a dialog was opened");
  assert.deepEqual(foreign, [], "something was fetched from elsewhere");
  assert.deepEqual(complaints, []);
  for (const [page, elements] of pages) {
    assert.deepEqual(await page.evaluate(() => window.ran), [], "a script ran");
    assert.deepEqual(await page.evaluate(() => window.violations), [], "the policy was needed");
    assert.deepEqual(await page.evaluate(inventory), elements, "an element was made");
  }
});

test("chat", async () => {
  for (const message of texts) await mallory.asks({ eventOp: "chat", roomId: room, message });
  await eventually("all was said", async () => (await ann.page.locator("#chat ol li").count()) === texts.length);
  assert.deepEqual(await ann.page.locator("#chat ol li p").allTextContents(), texts);
  assert.deepEqual((await cid.received()).filter((m) => m.type === "chat").map((m) => m.message), texts);
});

test("names and notes", async () => {
  for (const name of texts) {
    await mallory.asks({ eventOp: "editUserInfo", roomId: room, name });
    await shownAs(ann, "mallory", name);
  }
  for (const text of texts) await mallory.asks({ eventOp: "inform", target: await ann.userOf("Ann (you)"), message: text });
  await ann.sees("#toasts", texts.at(-1));
});

test("titles, of the room and of groups", async () => {
  for (const title of texts) await mallory.asks({ eventOp: "editRoomInfo", roomId: room, title });
  const dee = await student("dee");
  pages.set(dee.page, await dee.page.evaluate(inventory));
  assert.equal((await dee.does("enter", room)).title, texts.at(-1));
  const list = [await ann.userOf("Ann (you)"), "cid"];
  for (const title of texts) {
    const { groupId } = await mallory.asks({ eventOp: "createGroup", roomId: room, list, title });
    await mallory.asks({ eventOp: "endGroup", roomId: room, groupId });
  }
  await ann.sees("#invitation", texts.at(-1)); // who invites is called so
  await ann.press("Stay here");
  pages.delete(dee.page);
  await dee.goes();
});

test("strokes", async () => {
  await mallory.asks({ eventOp: "whiteboard", roomId: room });
  await ann.sees("#show", "whiteboard");
  const xy = { x0: 0.1, y0: 0.1, x1: 0.9, y1: 0.9 };
  for (const text of [...texts, ...addresses]) {
    await mallory.asks({ eventOp: "drawing", roomId: room, xy, tool: "textbox", text, color: text, strokeWidth: text, type: text, state: text });
    await mallory.asks({ eventOp: "drawing", roomId: room, xy: { x0: text, y0: text, x1: text, y1: text }, tool: text, color: "red" });
  }
  await marker("strokes are over");
  await mallory.asks({ eventOp: "shareStop", roomId: room });
});

test("pages of documents", async () => {
  await mallory.asks({ eventOp: "document", roomId: room });
  for (const img of addresses) await mallory.asks({ eventOp: "documentShare", roomId: room, img });
  await marker("documents are over");
  await mallory.asks({ eventOp: "shareStop", roomId: room });
});

test("pictures of the whiteboard, asked for and not", async () => {
  await mallory.asks({ eventOp: "whiteboard", roomId: room });
  for (const target of [await ann.userOf("Ann (you)"), "cid"]) {
    for (const img of addresses) await mallory.asks({ eventOp: "updateImage", target, img });
  }
  for (const img of addresses.filter((address) => address.startsWith("data:image"))) {
    await cid.does("sdk.reqCanvasImage", "mallory");
    await mallory.asks({ eventOp: "updateImage", target: "cid", img });
    const dan = await visitor("Dan", "/?room=markup&dialect=eventop");
    await dan.join();
    const { sender } = await mallory.hears((m) => m.type === "reqCanvasImage" && m.sender !== "cid");
    pages.set(dan.page, await dan.page.evaluate(inventory));
    await mallory.asks({ eventOp: "updateImage", target: sender, img });
    await mallory.asks({ eventOp: "chat", target: sender, message: "that was it" });
    await dan.page.locator("#chat ol li").waitFor({ state: "attached" });
    assert.deepEqual(await dan.page.evaluate(() => window.ran), []);
    assert.deepEqual(await dan.page.evaluate(inventory), pages.get(dan.page));
    pages.delete(dan.page);
    await dan.page.context().close();
  }
  await marker("pictures are over");
  await mallory.asks({ eventOp: "shareStop", roomId: room });
});

test("ids of people of the other dialect, which are their names", async () => {
  for (let i = 0; i < texts.length; i += atOnce) {
    const names = texts.slice(i, i + atOnce);
    const guests = await Promise.all(names.map(guest));
    for (const name of names) await Promise.all([shownAs(ann, name, name), shownAs(bob, name, name)]);
    await Promise.all(guests.map((g) => g.close()));
    await Promise.all([ann.counts(4), bob.counts(4)]);
  }
  await eventually("cid's boxes are gone", () => cid.page.evaluate(() => document.querySelectorAll("#videos video").length === 3));
});

// In order, so whoever hears it has heard all before it.
async function marker(message) {
  await mallory.asks({ eventOp: "chat", roomId: room, message });
  await ann.sees("#chat", message);
  await cid.hears({ type: "chat", message });
}

function shownAs(visitor, user, name) {
  return eventually(`${visitor.name} sees ${name}`, () => visitor.page.evaluate(([id, text]) => {
    const tile = [...document.querySelectorAll(".tile")].find((t) => t.dataset.user === id);
    return tile?.querySelector(".name").textContent === text;
  }, [user, name]));
}

async function guest(userId) {
  const client = await RawClient.dial(`${gateway.url}/ws/id`);
  client.send({ id: "joinRoom", token: "", userId, communityId: "0", roomId: room, video: false, audio: false });
  await client.hears((m) => m.id === "existingParticipants");
  return client;
}

async function visitor(name, url) {
  const context = await browser.newContext();
  await context.addInitScript(bear);
  const page = await context.newPage();
  guard(page, name);
  await page.goto(gateway.url + url);
  const person = new Visitor(name, page);
  await person.settled();
  return person;
}

async function student(name) {
  const context = await browser.newContext();
  await context.addInitScript(bear);
  const person = new Person(name);
  await person.comes({ browser: { newContext: () => context }, site: classroom, gateway, complaints, cpCode, framing: "websocket" });
  guard(person.page, name);
  return person;
}

function guard(page, name) {
  watch(page, name, complaints);
  page.on("dialog", (dialog) => {
    dialogs.push(`${name}: ${dialog.message()}`);
    dialog.dismiss();
  });
  const ours = [gateway.url, classroom.url("").split("?")[0], "data:image/", "blob:"];
  page.on("request", (request) => {
    if (!ours.some((start) => request.url().startsWith(start))) foreign.push(`${name}: ${request.url()}`);
  });
}

// In the page, before its scripts: what runs, and what the policy had to stop.
function bear() {
  window.ran = [];
  window.violations = [];
  for (const call of ["alert", "confirm", "prompt", "print"]) window[call] = (what) => { window.ran.push(`${call} ${what}`); };
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => window.violations.push(`${violatedDirective} ${blockedURI}`));
}

// In the page: how many elements it has of those that run or fetch something, or lead away.
function inventory() {
  const dangerous = "a applet area base body details embed form frame iframe image img link math meta object script source style template track";
  return Object.fromEntries(dangerous.split(" ").map((tag) => [tag, document.querySelectorAll(tag).length]));
}
