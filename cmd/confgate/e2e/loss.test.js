// People on a bad line still see and hear: one sends on a good line, two who have
// no devices receive through a proxy that loses packets each way, one in each
// dialect and so one with the page's offer and one with the gateway's. What they
// got is compared over a number of frames, however long those take.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { fakeDevices, launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { detour, Impairment } from "./harness/impairment.js";
import { collectConnections, received, sent, watchFrames } from "./harness/reception.js";
import { restlessPicture } from "./harness/restless.js";
import { Visitor } from "./harness/visitor.js";

const line = { loss: 0.05, delay: 50, seed: 20 };
const frames = 300; // over ten seconds of the fake camera
const within = 60_000;

let built, gateway, browser, impairment;
const complaints = [];

before(async () => {
  built = await build();
  [gateway, browser] = await Promise.all([Gateway.start(built.binary), launch(...fakeDevices)]);
  impairment = await Impairment.start(gateway.mediaPort, line);
});

after(async () => {
  await browser?.close();
  impairment?.stop();
  const code = await gateway?.stop();
  built?.remove();
  assert.equal(code, 0, "the gateway ends cleanly");
});

test("with 5 % of the packets lost each way and 50 ms of delay, pictures and voices keep coming", async (t) => {
  const ann = await visitor("Ann", "/?room=bad-line", { grant: ["camera", "microphone"], before: [collectConnections, restlessPicture] });
  await ann.join();
  const receivers = [];
  for (const [name, url] of [["Ben", "/?room=bad-line"], ["Cid", "/?room=bad-line&dialect=eventop"]]) {
    const p = await visitor(name, url, { grant: [], before: [detour], argument: impairment.port });
    await p.join();
    receivers.push(p);
  }
  await Promise.all(receivers.map((p) => p.watches("Ann")));
  await Promise.all(receivers.map((p) => p.tileOf("Ann").locator("video").evaluate(watchFrames)));

  const then = await look(ann, receivers);
  await eventually(`Ann has sent ${frames} frames more`, async () =>
    (await ann.page.evaluate(sent)).frames - then.sent.frames >= frames, { within });
  const now = await look(ann, receivers);

  const { up, down } = impairment.counts;
  t.diagnostic(`lost ${down.lost} of ${down.taken} packets to the receivers, ${up.lost} of ${up.taken} from them`);
  assert.ok(up.lost > 0 && down.lost > 0.03 * down.taken, "the line is as bad as it should be");
  receivers.forEach((p, i) => judge(t, p.name, now.sent.frames - then.sent.frames, then.received[i], now.received[i]));
  assert.deepEqual(complaints, []);
});

function judge(t, name, framesSent, then, now) {
  const since = (field) => now[field] - then[field];
  const decoded = since("framesDecoded") / framesSent;
  const concealed = since("concealedSamples") / since("totalSamplesReceived");
  const freezes = since("freezeCount");
  const frozen = since("totalFreezesDuration");
  const measured = `${name}: ${(100 * decoded).toFixed(1)} % of ${framesSent} frames decoded, longest gap ${Math.round(now.longestGap)} ms, ` +
    `${freezes} freezes of ${frozen.toFixed(2)} s in all, ${(100 * concealed).toFixed(1)} % of the sound concealed`;
  t.diagnostic(measured);
  assert.ok(decoded > 0.9, measured);
  assert.ok(now.longestGap < 1_000, measured);
  assert.ok(freezes === 0 || frozen / freezes < 1, measured);
  assert.ok(concealed < 0.1, measured);
}

async function look(sender, receivers) {
  const [outbound, ...inbound] = await Promise.all([
    sender.page.evaluate(sent), ...receivers.map((p) => p.page.evaluate(received)),
  ]);
  return { sent: outbound, received: inbound };
}

async function visitor(name, url, { grant, before, argument }) {
  const context = await browser.newContext({ permissions: grant });
  for (const script of before) await context.addInitScript(script, argument);
  const page = await context.newPage();
  watch(page, name, complaints);
  await page.goto(gateway.url + url);
  const person = new Visitor(name, page);
  await person.settled();
  return person;
}
