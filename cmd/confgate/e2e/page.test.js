// The page at "/", clicked through by people. With SCREENSHOT=name.png set, a
// call of several people is also photographed: name.png as on a desk and
// name-phone.png as on a phone.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { fakeDevices, launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { portrait } from "./harness/portrait.js";
import { Visitor } from "./harness/visitor.js";

const everything = ["camera", "microphone", "clipboard-read", "clipboard-write"];
const desk = { width: 1280, height: 800 };
const phone = { width: 390, height: 844 };

let built, gateway, browser;
let people, complaints;

before(async () => {
  built = await build();
  [gateway, browser] = await Promise.all([Gateway.start(built.binary), launch(...fakeDevices)]);
});

after(async () => {
  await browser?.close();
  const code = await gateway?.stop();
  built?.remove();
  assert.equal(code, 0, "the gateway ends cleanly");
});

beforeEach(() => {
  people = [];
  complaints = [];
});

afterEach(() => Promise.all(people.map((p) => p.page.context().close())));

test("two people meet, switch their devices, and part", async () => {
  const ann = await visitor("Ann", "/");
  assert.match(ann.page.url(), /\?room=[a-z]+-[a-z]+-\d\d$/, "a room of one's own, in the address");
  await ann.join();
  await ann.sees("#alone", "only one here");
  await ann.page.locator(".bar [data-copy]").click();
  await ann.sees("#toasts", "Link copied");
  assert.equal(await ann.page.evaluate(() => navigator.clipboard.readText()), ann.page.url());

  const ben = await secondTab(ann, "Ben");
  assert.equal(ben.page.url(), ann.page.url());
  await ben.join();
  await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
  await Promise.all([ann.marksSpeaking("Ben"), ben.marksSpeaking("Ann")]);

  await ann.press("Camera");
  await ben.tile("Ann", { video: "off" });
  await ann.tile("Ann (you)", { video: "off" });
  await ann.press("Camera");
  await ben.tile("Ann", { video: "on" });
  await ben.watches("Ann");

  await ann.press("Microphone");
  await ben.tile("Ann", { audio: "off" });
  await ben.noMarkOn("Ann");
  await ann.press("Microphone");
  await ben.tile("Ann", { audio: "on" });
  await ben.marksSpeaking("Ann");

  await ben.press("Leave the call");
  await ann.counts(1);
  await ann.sees("#toasts", "Ben left");
  await ben.sees("#join-button", "Join");
  assert.deepEqual(complaints, []);
});

test("devices are chosen before the call, and a second call works like the first", async () => {
  const ann = await visitor("Ann", "/?room=Front Desk");
  assert.equal(await ann.page.inputValue("#room"), "front-desk");
  await ann.press("Camera");
  await ann.page.keyboard.press("m");
  await ann.join();
  const ben = await visitor("Ben", "/?room=front-desk");
  await ben.join();
  await ben.tile("Ann", { video: "off", audio: "off" });
  await ann.watches("Ben");
  await ann.press("Camera");
  await ben.tile("Ann", { video: "on" });
  await ben.watches("Ann");

  const before = await ben.userOf("Ann");
  await ann.press("Leave the call");
  await ben.counts(1);
  await ann.join();
  await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
  assert.equal(await ben.userOf("Ann"), before);
  assert.deepEqual(complaints, []);
});

test("two people of one name do not displace each other", async () => {
  const first = await visitor("Kim", "/?room=twins");
  await first.join();
  const second = await secondTab(first, "Kim");
  await second.join();
  await Promise.all([first.watches("Kim"), second.watches("Kim")]);
  await Promise.all([first.counts(2), second.counts(2)]);
  assert.deepEqual(complaints, []);
});

test("a reload brings the same person back", async () => {
  const ann = await visitor("Ann", "/?room=reload");
  const ben = await visitor("Ben", "/?room=reload");
  await ann.join();
  await ben.join();
  const before = await ben.userOf("Ann");
  await ann.page.reload();
  await ann.join();
  await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
  await ben.counts(2);
  assert.equal(await ben.userOf("Ann"), before);
  assert.deepEqual(complaints, []);
});

test("what others typed is text", async () => {
  const name = "<img src=x onerror=alert(1)>";
  const ann = await visitor("Ann", "/?room=markup");
  const eve = await visitor(name, "/?room=markup");
  await ann.join();
  await eve.join();
  await ann.watches(name);
  assert.equal(await ann.page.locator("#stage img").count(), 0);
  assert.deepEqual(complaints, []);
});

test("a connection that fails is made anew", async () => {
  const ann = await visitor("Ann", "/?room=mended");
  const ben = await visitor("Ben", "/?room=mended", { before: collectConnections });
  await ann.join();
  await ben.join();
  await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
  const mended = await ben.page.evaluate(() => {
    const open = window.connections.filter((connection) => connection.signalingState !== "closed");
    open.forEach(window.fail);
    return window.connections.length + open.length;
  });
  await ben.tile("Ann", { state: "failed" });
  await ben.page.waitForFunction((all) => window.connections.length === all, mended);
  await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
  await Promise.all([ann.marksSpeaking("Ben"), ben.marksSpeaking("Ann")]);
  assert.deepEqual(complaints, []);
});

test("a picture is offered in two layers, and is whole where the gateway takes one", async () => {
  const ann = await visitor("Ann", "/?room=layers", { before: withoutLayers });
  const ben = await visitor("Ben", "/?room=layers", { grant: [] });
  await ann.join();
  await ben.join();
  await ben.watches("Ann");
  await eventually("Ben sees the whole picture", async () =>
    (await ben.tileOf("Ann").locator("video").evaluate((video) => video.videoWidth)) === 640);
  const offer = await ann.page.evaluate(() => window.offers[0]);
  assert.match(offer, /a=simulcast:send h;f/);
  assert.deepEqual(complaints, []);
});

test("a small tile says that it can take less, also when it has become small", async () => {
  const ann = await visitor("Ann", "/?room=places");
  const ben = await visitor("Ben", "/?room=places", { grant: [], before: withoutLayers });
  await ann.join();
  await ben.join();
  await ben.watches("Ann");
  const wishes = () => ben.page.evaluate(() => window.offers.map((offer) => offer.match(/^a=imageattr:.*$/m)?.[0].trim() ?? "any"));
  await ben.page.setViewportSize({ width: 360, height: 330 });
  await eventually("Ben's page has asked again", async () => (await wishes()).length === 2);
  await ben.watches("Ann");
  await ben.page.setViewportSize(desk);
  await eventually("Ben's page has asked a third time", async () => (await wishes()).length === 3);
  await ben.watches("Ann");
  assert.deepEqual(await wishes(), ["any", "a=imageattr:* recv [x=[16:400],y=[16:225]]", "any"]);
  assert.deepEqual(complaints, []);
});

describe("without devices", () => {
  test("refused: says so, and one can listen", async () => {
    const ann = await visitor("Ann", "/?room=refused");
    await ann.join();
    const ben = await visitor("Ben", "/?room=refused", { grant: [] });
    await ben.sees("#device-notice", "Your camera and microphone are blocked.");
    await ben.join();
    await ben.watches("Ann");
    await ben.tile("Ben (you)", { video: "off", audio: "off", state: "listening" });
    await ann.tile("Ben", { video: "off", audio: "off", state: "connected" });
    assert.deepEqual(complaints, []);
  });

  test("refused, then allowed in the middle of the call", async () => {
    const ann = await visitor("Ann", "/?room=allowed");
    await ann.join();
    const ben = await visitor("Ben", "/?room=allowed", { grant: [] });
    await ben.sees("#device-notice", "blocked");
    await ben.join();
    await ben.watches("Ann");
    await ben.page.context().grantPermissions(["camera", "microphone"]);
    await ben.press("Microphone");
    await ann.marksSpeaking("Ben");
    await ben.press("Camera");
    await ann.watches("Ben");
    assert.deepEqual(complaints, []);
  });

  test("only the camera refused: the voice is there", async () => {
    const ann = await visitor("Ann", "/?room=voice");
    await ann.join();
    const ben = await visitor("Ben", "/?room=voice", { grant: ["microphone"] });
    await ben.sees("#device-notice", "Your camera is blocked.");
    await ben.join();
    await ann.tile("Ben", { video: "off", audio: "on" });
    await ann.marksSpeaking("Ben");
    assert.deepEqual(complaints, []);
  });

  test("missing: says so", async () => {
    const bare = await launch("--use-fake-ui-for-media-stream"); // and no fake devices
    try {
      const ben = await visitor("Ben", "/?room=missing", { from: bare });
      await ben.sees("#device-notice", "No camera and no microphone were found.");
      await ben.join();
      await ben.tile("Ben (you)", { state: "listening" });
    } finally {
      await bare.close();
    }
    assert.deepEqual(complaints, []);
  });

  test("in use: says so, and tries again when asked", async () => {
    const ben = await visitor("Ben", "/?room=busy", { before: occupyCamera });
    await ben.sees("#device-notice", "Your camera is in use by another program");
    await ben.page.evaluate(() => window.freeCamera());
    await ben.page.click("#device-retry");
    await ben.page.waitForSelector("#device-notice", { state: "hidden" });
    await ben.page.waitForSelector("#preview[data-video=on]");
    assert.deepEqual(complaints, []);
  });
});

test("unplugged in the middle of the call: says so, and others see it", async () => {
  const ann = await visitor("Ann", "/?room=unplugged");
  const ben = await visitor("Ben", "/?room=unplugged");
  await ann.join();
  await ben.join();
  await ann.watches("Ben");
  await ben.tileOf("Ben (you)").locator("video").evaluate((video) => {
    const [track] = video.srcObject.getTracks();
    track.stop();
    track.dispatchEvent(new Event("ended")); // stop() alone does not tell
  });
  await ann.tile("Ben", { video: "off", audio: "on" });
  await ben.sees("#toasts", "Your camera was unplugged or taken away.");
  await ben.press("Camera");
  await ann.tile("Ben", { video: "on" });
  await ann.watches("Ben");
  assert.deepEqual(complaints, []);
});

describe("when the gateway fails", () => {
  test("a full room is named as such, and can be tried again", async () => {
    const small = await Gateway.start(built.binary, "--id-room-limit", "2");
    try {
      const three = [];
      for (const name of ["Ann", "Ben", "Cid"]) three.push(await visitor(name, "/?room=small", { at: small }));
      await three[0].join();
      await three[1].join();
      await three[2].tryToJoin();
      await three[2].sees("#join-notice", "is full");
      await three[0].press("Leave the call");
      await three[1].counts(1);
      await three[2].join();
      await three[1].watches("Cid");
    } finally {
      await small.kill();
    }
    assert.deepEqual(complaints, []);
  });

  test("a gateway that restarts has its people back", async () => {
    const frail = await Gateway.start(built.binary, "--drain", "1s");
    try {
      const ann = await visitor("Ann", "/?room=frail", { at: frail });
      const ben = await visitor("Ben", "/?room=frail", { at: frail });
      await ann.join();
      await ben.join();
      await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
      assert.equal(await frail.stop(), 0);
      await Promise.all([ann, ben].map((p) => p.sees("#banner", "The connection is lost.")));
      await frail.start();
      await Promise.all([ann, ben].map((p) => p.page.waitForSelector("#banner", { state: "hidden" })));
      await Promise.all([ann, ben].map((p) => p.counts(2)));
      await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);

      await frail.kill();
      await ann.press("Leave the call");
      await ann.tryToJoin();
      await ann.sees("#join-notice", "cannot be reached");
    } finally {
      await frail.kill();
    }
    const unexpected = complaints.filter((c) => !c.includes("ERR_CONNECTION_REFUSED")); // the browser's own words on a dead gateway
    assert.deepEqual(unexpected, []);
  });
});

test("the page keeps to its own origin", async () => {
  const response = await fetch(`${gateway.url}/`);
  const policy = response.headers.get("content-security-policy");
  assert.match(policy, /^default-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|\*|data:|https?:/);
  for (const path of ["/", "/main.js", "/call.css", "/favicon.svg", "/knowledgetalk.min.js", "/socket.io/socket.io.min.js", "/missing"]) {
    assert.equal((await fetch(gateway.url + path)).headers.get("x-content-type-options"), "nosniff", path);
  }
  const again = await fetch(`${gateway.url}/call.css`, { headers: { "If-None-Match": response.headers.get("etag") } });
  assert.equal(again.status, 304);
  assert.equal((await fetch(`${gateway.url}/`, { method: "POST" })).status, 405);
});

if (process.env.SCREENSHOT) test("a screenshot", async () => {
  const names = ["Amir", "Britta", "Carla", "Devi"]; // Amir sits at a desk, Devi holds a phone
  const everyone = [];
  for (const [number, name] of names.entries()) {
    const p = await visitor(name, "/?room=morning-round", {
      before: portrait, beforeArgument: { number, speaks: name === "Britta" },
      size: name === "Devi" ? phone : desk, ratio: name === "Devi" ? 2 : 1,
    });
    if (name === "Carla") await p.press("Camera");
    await p.join();
    everyone.push(p);
  }
  const [amir, , carla, devi] = everyone;
  await carla.press("Microphone");
  const file = process.env.SCREENSHOT.replace(/(\.png)?$/, "");
  for (const [p, other, path] of [[amir, "Devi", `${file}.png`], [devi, "Amir", `${file}-phone.png`]]) {
    await Promise.all([p.watches("Britta"), p.watches(other), p.tile("Carla", { audio: "off", state: "connected" })]);
    await p.page.waitForFunction(() => document.querySelectorAll("#toasts p").length === 0);
    await p.hasWatched("Britta", 300); // a new call begins with a coarse picture
    await p.hasWatched(other, 300);
    await p.marksSpeaking("Britta");
    await p.page.screenshot({ path });
  }
  assert.deepEqual(complaints, []);
});

// ---- people

async function visitor(name, url, options = {}) {
  const { at = gateway, from = browser, grant = everything, before, beforeArgument, size = desk, ratio = 1 } = options;
  const context = await from.newContext({ viewport: size, deviceScaleFactor: ratio, permissions: from === browser ? grant : undefined });
  if (before) await context.addInitScript(before, beforeArgument);
  const page = await context.newPage();
  const person = new Visitor(name, page);
  people.push(person);
  watch(page, name, complaints);
  await page.goto(at.url + url);
  await person.settled();
  return person;
}

async function secondTab(person, name) {
  const opened = person.page.waitForEvent("popup");
  await person.page.click("#call [data-tab]");
  const page = await opened;
  watch(page, name, complaints);
  const other = new Visitor(name, page);
  people.push(other);
  await other.settled();
  return other;
}

// In the page: the camera is another program's until freeCamera().
function occupyCamera() {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let busy = true;
  window.freeCamera = () => { busy = false; };
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    if (busy && constraints.video) throw new DOMException("Could not start video source", "NotReadableError");
    return real(constraints);
  };
}

// In the page: it offers as it does, in window.offers, and the gateway hears of one layer.
function withoutLayers() {
  window.offers = [];
  window.WebSocket = class extends WebSocket {
    send(text) {
      const message = JSON.parse(text);
      if (message.sdpOffer) {
        window.offers.push(message.sdpOffer);
        message.sdpOffer = message.sdpOffer.replace(/^a=(rid|simulcast):.*\r\n/gm, "");
      }
      super.send(JSON.stringify(message));
    }
  };
}

// In the page: window.fail breaks a connection as far as the page can tell.
function collectConnections() {
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super(configuration);
      window.connections.push(this);
    }
  };
  window.fail = (connection) => {
    Object.defineProperty(connection, "connectionState", { value: "failed" });
    connection.dispatchEvent(new Event("connectionstatechange"));
  };
}
