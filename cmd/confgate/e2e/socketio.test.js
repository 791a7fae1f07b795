// The npm clients of Socket.IO, old and new, on all transports and both namespaces,
// against the framing with a dialect that repeats what it is told.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { eventually } from "./harness/eventually.js";
import { acknowledged, next, options, transport, versions, ways } from "./socketio/clients.js";
import { buildEcho, event, namespaces, startEcho } from "./socketio/echo.js";

const heartbeat = 1_000; // milliseconds

let built, echo;

before(async () => {
  built = await buildEcho();
  echo = await startEcho(built.binary, `-heartbeat=${heartbeat}ms`);
});

after(async () => {
  await echo?.stop();
  built?.remove();
});

for (const [version, io] of Object.entries(versions)) {
  for (const way of Object.keys(ways)) {
    for (const namespace of namespaces) {
      describe(`socket.io-client ${version}, ${way}, ${namespace}`, () => stories(version, io, way, namespace));
    }
  }
}

function stories(version, io, way, namespace) {
  const sockets = [];
  const open = async (more) => {
    const socket = io(echo.url + namespace, options(way, more));
    sockets.push(socket);
    await next(socket, "connect");
    return socket;
  };
  // What a server that goes away in the middle of an upgrade leaves behind is the client's
  // affair: socket.io-client 4.8.4 may then never notice that it has gone.
  const settled = (socket) => eventually(`transport is ${ways[way].at(-1)}`, () => transport(socket) === ways[way].at(-1));
  const story = (name, run) =>
    test(name, { timeout: 120_000 }, async () => {
      try {
        await run();
      } finally {
        for (const socket of sockets.splice(0)) socket.close();
      }
    });

  story("gets where it wants to be", async () => {
    const socket = await open();
    await settled(socket);
    assert.deepEqual(await acknowledged(socket, event, { after: "upgrade" }), { after: "upgrade" });
  });

  story("gets a reply as an event, and acknowledged if it wants", async () => {
    const socket = await open();
    const message = { eventOp: "chat", reqId: "1", message: '안녕하세요 😀 "q" \u001e \u2028 \\ x', n: [1, { "]": "," }], no: null };
    let reply = next(socket, event);
    socket.emit(event, message);
    assert.deepEqual(await reply, [message]);
    const order = [];
    reply = next(socket, event).then(() => order.push("event"));
    assert.deepEqual(await acknowledged(socket, event, message, "ignored", { too: 1 }), message);
    order.push("acknowledgement");
    await reply;
    assert.deepEqual(order, ["event", "acknowledgement"]);
    assert.deepEqual(await acknowledged(socket, event, JSON.stringify(message)), message, "a message in a string");
    assert.equal(await acknowledged(socket, event), null, "no message");
  });

  story("loses nothing and keeps the order", async () => {
    const socket = io(echo.url + namespace, options(way));
    sockets.push(socket);
    const sent = 200; // before it is connected, and while it goes over
    const got = [];
    socket.on(event, ({ i }) => got.push(i));
    for (let i = 0; i < sent; i++) socket.emit(event, { i });
    await eventually("all are back", () => got.length === sent);
    const burst = acknowledged(socket, event, { burst: true });
    await eventually("the burst is here", () => got.length === 2 * sent);
    assert.deepEqual(await burst, { i: 0, text: "한글😀" });
    const numbers = Array.from({ length: sent }, (_, i) => i);
    assert.deepEqual(got, [...numbers, ...numbers]);
  });

  story("can send ten megabytes, and is cut off above", async () => {
    const socket = await open({ reconnection: false });
    const image = "data:image/png;base64," + "A".repeat(10_000_000);
    assert.equal((await acknowledged(socket, event, { image })).image.length, image.length);
    await settled(socket);
    const gone = next(socket, "disconnect");
    socket.emit(event, { image: image + image });
    await gone;
  });

  story("is told that there is no such namespace", async () => {
    const socket = io(echo.url + "/nope", options(way));
    sockets.push(socket);
    const [reason] = await next(socket, version.startsWith("2") ? "error" : "connect_error");
    assert.equal(reason.message, "Invalid namespace");
  });

  story("is spared bytes that no dialect has words for", async () => {
    const socket = await open();
    assert.deepEqual(await acknowledged(socket, event, { a: 1 }, Buffer.from([1, 2, 3])), { a: 1 });
    assert.equal(await acknowledged(socket, event, { image: Buffer.from([1, 2, 3]) }), null);
    assert.deepEqual(await acknowledged(socket, event, { b: 2 }), { b: 2 });
  });

  story("stays while it is idle", async () => {
    const socket = await open({ reconnection: false });
    await pause(2.5 * heartbeat);
    assert.deepEqual(await acknowledged(socket, event, { a: 1 }), { a: 1 });
  });

  story("is put out by the same person, and does not come back", async () => {
    const old = await open();
    await acknowledged(old, event, { join: "ann" });
    const out = next(old, "disconnect");
    const socket = await open();
    await acknowledged(socket, event, { join: "ann" });
    assert.equal((await out)[0], "io server disconnect");
    await pause(200);
    assert.equal(old.connected, false);
    assert.equal(socket.connected, true);
  });

  story("is in both namespaces at once, as two", async () => {
    const one = io(echo.url + namespaces[0], options(way));
    const two = one.io.socket(namespaces[1], {}); // over the same connection
    sockets.push(one, two);
    assert.deepEqual(await Promise.all([acknowledged(one, event, { n: 1 }), acknowledged(two, event, { n: 2 })]), [{ n: 1 }, { n: 2 }]);
    two.close();
    assert.deepEqual(await acknowledged(one, event, { n: 3 }), { n: 3 });
    two.open();
    assert.deepEqual(await acknowledged(two, event, { n: 4 }), { n: 4 });
  });

  story("comes back by itself after a restart", async () => {
    const server = await startEcho(built.binary);
    let port;
    try {
      port = new URL(server.url).port;
      const socket = io(server.url + namespace, options(way));
      sockets.push(socket);
      await next(socket, "connect");
      await settled(socket);
      const gone = next(socket, "disconnect");
      await server.stop();
      assert.match((await gone)[0], /^transport (close|error)$/);
      const again = next(socket, "connect");
      const second = await startEcho(built.binary, `-listen=127.0.0.1:${port}`);
      try {
        await again;
        assert.deepEqual(await acknowledged(socket, event, { a: 1 }), { a: 1 });
      } finally {
        socket.close();
        await second.stop();
      }
    } finally {
      await server.stop();
    }
  });
}
