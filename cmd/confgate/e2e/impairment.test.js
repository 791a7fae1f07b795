// The bad line itself: what it does to datagrams is what was asked of it, and the
// same each time.

import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";

import { eventually } from "./harness/eventually.js";
import { Impairment } from "./harness/impairment.js";

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

// Sends numbered datagrams to a server behind such a line, and gives the numbers
// that reached it, in order of arrival.
async function sendThrough(quality) {
  const arrived = [];
  const server = dgram.createSocket("udp4", (datagram) => arrived.push(datagram.readUInt32BE()));
  const client = dgram.createSocket("udp4");
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  const line = await Impairment.start(server.address().port, quality);
  try {
    for (let n = 0; n < sent; n++) {
      const datagram = Buffer.alloc(4);
      datagram.writeUInt32BE(n);
      await new Promise((done) => client.send(datagram, line.port, "127.0.0.1", done));
    }
    await eventually("all has gone through", () => line.counts.up.taken === sent && arrived.length >= line.counts.up.passed);
    return arrived;
  } finally {
    line.stop();
    client.close();
    server.close();
  }
}
