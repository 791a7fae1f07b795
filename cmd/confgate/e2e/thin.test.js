// Somebody's line becomes thin, and wide again: they get the smaller picture, then
// the larger one, and no connection is made anew. `make links` has the figures.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { fakeDevices, launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { detour, Impairment } from "./harness/impairment.js";
import { collectConnections, connected } from "./harness/reception.js";
import { restlessPicture } from "./harness/restless.js";
import { Visitor } from "./harness/visitor.js";

const thin = { rate: 120e3, queue: 50, delay: 20 }; // less than a busy machine sends of the larger picture
const half = 320; // pixels that the smaller layer is wide
const within = 120_000; // milliseconds: tries are up to a minute apart

let built, gateway, browser, line;
const complaints = [];

before(async () => {
  built = await build();
  [gateway, browser] = await Promise.all([Gateway.start(built.binary), launch(...fakeDevices)]);
  line = await Impairment.start(gateway.mediaPort, { seed: 20 });
});

after(async () => {
  await browser?.close();
  line?.stop();
  const code = await gateway?.stop();
  built?.remove();
  assert.equal(code, 0, "the gateway ends cleanly");
});

test("a thin line has the smaller picture or none, and the larger one when it is wide again", async () => {
  const ann = await visitor("Ann", { grant: ["camera", "microphone"], before: [[collectConnections], [restlessPicture, { width: 640, height: 360 }]] });
  const ben = await visitor("Ben", { grant: [], before: [[detour, line.port]] });
  for (const p of [ann, ben]) await p.join();
  await ben.watches("Ann");
  await shows(ben, (width) => width > half);

  line.become(thin);
  await eventually("the picture is smaller, or gone", async () =>
    (await width(ben)) <= half || (await gateway.metric("confgate_pictures_paused_total")) > 0, { within });
  line.become({});
  await shows(ben, (width) => width > half);
  await ben.hasWatched("Ann", (await ben.frames("Ann")) + 30);
  assert.deepEqual(await ben.page.evaluate(connected), { made: 1, sound: 1 });
  assert.deepEqual(complaints, []);
});

function shows(person, wanted) {
  return eventually(`${person.name} has a picture of that size`, async () => wanted(await width(person)), { within });
}

function width(person) {
  return person.tileOf("Ann").locator("video").evaluate((video) => video.videoWidth);
}

async function visitor(name, { grant, before }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: grant });
  for (const [script, argument] of before) await context.addInitScript(script, argument);
  const page = await context.newPage();
  watch(page, name, complaints);
  await page.goto(`${gateway.url}/?room=thin`);
  const person = new Visitor(name, page);
  await person.settled();
  return person;
}
