// One camera in two layers, tiles of two sizes: who shows it small is sent the
// small picture, who shows it large the large one, and nobody is ever left without.
// One of those who watch speaks the dialect where the gateway offers.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { fakeDevices, launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { collectConnections, watchFrames } from "./harness/reception.js";
import { restlessPicture } from "./harness/restless.js";
import { Visitor } from "./harness/visitor.js";

const large = { width: 1280, height: 800 };
const small = { width: 360, height: 330 };
const half = 320; // pixels that the smaller layer is wide
const longestGap = 3_000; // milliseconds without a new picture, while one layer takes over from another

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

test("each tile gets the layer of its size", async () => {
  const ann = await visitor("Ann", "/?room=sizes", { sends: true });
  const ben = await visitor("Ben", "/?room=sizes");
  const cid = await visitor("Cid", "/?room=sizes&dialect=eventop", { size: small });
  for (const p of [ann, ben, cid]) await p.join();
  await share({ whole: [ben], smaller: [cid] });

  const layers = await sentLayers(ann);
  assert.deepEqual(Object.keys(layers).sort(), ["f", "h"]);
  assert.ok(Object.values(layers).every((frames) => frames > 0), JSON.stringify(layers));
  for (const p of [ben, cid]) await watchesOn(p);
  assert.deepEqual(complaints, []);
});

test("a tile that becomes small, and large again, is never without a picture", async () => {
  const ann = await visitor("Ann", "/?room=resized", { sends: true });
  const ben = await visitor("Ben", "/?room=resized");
  const cid = await visitor("Cid", "/?room=resized&dialect=eventop", { size: small });
  for (const p of [ann, ben, cid]) await p.join();
  await share({ whole: [ben], smaller: [cid] });
  await ben.tileOf("Ann").locator("video").evaluate(watchFrames);

  await Promise.all([ben.page.setViewportSize(small), cid.page.setViewportSize(large)]);
  await share({ whole: [cid], smaller: [ben] });
  await ben.page.setViewportSize(large);
  await share({ whole: [ben, cid], smaller: [] });
  const gap = await ben.page.evaluate(() => window.longestGap);
  assert.ok(gap < longestGap, `Ben had no new picture for ${Math.round(gap)} ms`);

  await ann.press("Camera");
  await Promise.all([ben, cid].map((p) => p.tile("Ann", { video: "off" })));
  await ann.press("Camera");
  await Promise.all([ben, cid].map((p) => p.tile("Ann", { video: "on" })));
  for (const p of [ben, cid]) await watchesOn(p);
  await share({ whole: [ben, cid], smaller: [] });
  assert.deepEqual(complaints, []);
});

// At one time some are shown the whole picture, and some the smaller. The whole one
// may be less wide than the camera's: a busy machine sends it so.
async function share({ whole, smaller }) {
  const width = (p) => p.tileOf("Ann").locator("video").evaluate((video) => video.videoWidth);
  await Promise.all([...whole, ...smaller].map((p) => p.watches("Ann")));
  const names = (list) => list.map((p) => p.name).join(", ") || "nobody";
  await eventually(`the whole picture for ${names(whole)}, the smaller for ${names(smaller)}`, async () => {
    const [large, small] = await Promise.all([whole, smaller].map((list) => Promise.all(list.map(width))));
    return large.every((w) => w > half) && small.every((w) => w > 0 && w <= half);
  });
}

async function watchesOn(person) {
  await person.hasWatched("Ann", (await person.frames("Ann")) + 20);
}

// Frames sent in each layer, by the layer's name.
function sentLayers(person) {
  return person.page.evaluate(async () => {
    const layers = {};
    for (const connection of window.connections) {
      for (const { type, kind, rid, framesSent } of (await connection.getStats()).values()) {
        if (type === "outbound-rtp" && kind === "video") layers[rid] = framesSent;
      }
    }
    return layers;
  });
}

async function visitor(name, url, { sends = false, size = large } = {}) {
  const context = await browser.newContext({ viewport: size, permissions: sends ? ["camera", "microphone"] : [] });
  await context.addInitScript(collectConnections);
  if (sends) await context.addInitScript(restlessPicture, { width: 640, height: 360 });
  const page = await context.newPage();
  watch(page, name, complaints);
  await page.goto(gateway.url + url);
  const person = new Visitor(name, page);
  people.push(person);
  await person.settled();
  return person;
}
