// The bad line itself: what it does to datagrams is what was asked of it, and the
// same each time; and the ledger of what it loses.

import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";

import { eventually } from "./harness/eventually.js";
import { Impairment } from "./harness/impairment.js";
import { Ledger } from "./harness/ledger.js";

const sent = 200; // which the kernel holds for a socket whose reader is late

test("a perfect line changes nothing", async () => {
  assert.deepEqual(await sendThrough({}), Array.from({ length: sent }, (_, i) => i));
});

test("loss is as frequent as asked, falls on the same datagrams again, and on others for another seed", async () => {
  const first = await sendThrough({ loss: 0.2, seed: 3 });
  assert.ok(first.length > 0.7 * sent && first.length < 0.9 * sent, `${first.length} of ${sent} came`);
  assert.deepEqual(await sendThrough({ loss: 0.2, seed: 3 }), first);
  assert.notDeepEqual(await sendThrough({ loss: 0.2, seed: 4 }), first);
});

test("delay and jitter keep the order, reordering does not", async () => {
  const late = await sendThrough({ delay: 20, jitter: 20 });
  assert.deepEqual(late, Array.from({ length: sent }, (_, i) => i));
  const mixed = await sendThrough({ delay: 20, reorder: 0.1 });
  assert.notDeepEqual(mixed, late);
  assert.deepEqual(mixed.toSorted((a, b) => a - b), late);
});

test("some come twice, some damaged", async () => {
  const doubled = await sendThrough({ duplicate: 0.2 });
  assert.ok(doubled.length > sent && new Set(doubled).size === sent, `${doubled.length} came of ${sent}`);
  const damaged = await sendThrough({ corrupt: 0.2 });
  assert.ok(damaged.length === sent && damaged.filter((n, i) => n !== i).length > 0.1 * sent);
});

test("a thin line sends no faster than it can, and loses what would have to wait too long", async () => {
  const begun = performance.now();
  const arrived = await sendThrough({ rate: 800, queue: 500 }); // four bytes take 40 ms
  const passed = performance.now() - begun;
  const waiting = Array.from({ length: 13 }, (_, i) => i); // in 500 ms
  assert.deepEqual(arrived.slice(0, 13), waiting);
  assert.ok(arrived.length < sent && passed >= 40 * arrived.length, `${arrived.length} of ${sent} came in ${passed} ms`);
});

test("clients share a thin line", async () => {
  await withLine({ rate: 8, queue: 1_000 }, async ({ line, send, arrived }) => {
    await send(0, 1); // four bytes take 4 s
    const other = dgram.createSocket("udp4");
    await new Promise((done) => other.send(Buffer.alloc(4), line.port, "127.0.0.1", done));
    await eventually("both have come to the line", () => line.counts.up.taken === 2);
    other.close();
    assert.deepEqual([line.counts.up.lost, arrived], [1, []]);
  });
});

test("a line becomes another, and who watches it sees what it loses", async () => {
  await withLine({ loss: 1 }, async ({ line, send, arrived }) => {
    const seen = { up: [0, 0], down: [0, 0] };
    line.watch = (direction, datagram, lost) => seen[direction][lost ? 1 : 0]++;
    await send(0, 50);
    line.become({});
    await send(50, 100);
    await eventually("the second half has come", () => arrived.length === 50);
    assert.equal(arrived[0], 50);
    assert.deepEqual(seen, { up: [50, 50], down: [0, 0] });
  });
});

test("a ledger tells what was lost and repaired from what was only lost", () => {
  const rtp = (payloadType, timestamp, size, extension = false) => {
    const datagram = Buffer.alloc(12 + (extension ? 8 : 0) + size);
    datagram[0] = extension ? 0x90 : 0x80;
    datagram[1] = payloadType;
    datagram.writeUInt32BE(timestamp, 4);
    if (extension) datagram.writeUInt16BE(1, 14);
    return datagram;
  };
  const ledger = new Ledger();
  ledger.note(Buffer.from([0x80, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), true); // a report
  ledger.note(rtp(111, 1, 80), true);
  for (const [timestamp, size] of [[1, 900], [1, 900], [2, 300], [3, 300]]) ledger.note(rtp(96, timestamp, size), true);
  ledger.note(rtp(96, 4, 300), false);
  ledger.note(rtp(97, 1, 902, true), false);
  ledger.note(rtp(97, 2, 302), true);
  ledger.note(rtp(97, 3, 302), false);
  ledger.note(rtp(97, 3, 302), false); // once more
  assert.deepEqual(ledger.voice, { taken: 1, lost: 1 });
  assert.deepEqual(ledger.picture, { taken: 5, lost: 4, repaired: 2, repeated: 4 });
});

// Sends numbered datagrams to a server behind such a line, and gives the numbers
// that reached it, in order of arrival.
function sendThrough(quality) {
  return withLine(quality, async ({ line, send, arrived }) => {
    await send(0, sent);
    await eventually("all has gone through", () => arrived.length >= line.counts.up.passed);
    return arrived;
  });
}

// A server behind such a line, and send(from, to), which resolves when those numbers
// have come to the line.
async function withLine(quality, use) {
  const arrived = [];
  const server = dgram.createSocket("udp4", (datagram) => arrived.push(datagram.readUInt32BE()));
  const client = dgram.createSocket("udp4");
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  const line = await Impairment.start(server.address().port, quality);
  const send = async (from, to) => {
    const before = line.counts.up.taken;
    for (let n = from; n < to; n++) {
      const datagram = Buffer.alloc(4);
      datagram.writeUInt32BE(n);
      await new Promise((done) => client.send(datagram, line.port, "127.0.0.1", done));
    }
    await eventually("all has come to the line", () => line.counts.up.taken === before + to - from);
  };
  try {
    return await use({ line, send, arrived });
  } finally {
    line.stop();
    client.close();
    server.close();
  }
}
