// People whose networks let nothing through but TURN: their browsers send to the
// relay alone, with what the gateway handed out. A call between two goes through it
// twice; one in a room goes through it to the gateway's media.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { fakeDevices, grantAll, launch } from "./harness/browser.js";
import { build, Gateway } from "./harness/gateway.js";
import { Person } from "./sdk/person.js";
import { startClassroom } from "./sdk/site.js";

let built, gateway, site, browser;
const secrets = new Set(); // of all the calls

before(async () => {
  built = await build();
  [gateway, site, browser] = await Promise.all([
    Gateway.start(built.binary, "--turn-listen", "127.0.0.1:0", "--turn-listen-tcp", "127.0.0.1:0", "--log-level", "debug"),
    startClassroom(),
    launch(...fakeDevices, ...grantAll, "--autoplay-policy=no-user-gesture-required"),
  ]);
});

after(async () => {
  await browser?.close();
  await site?.stop();
  await gateway?.kill();
  await built?.remove();
});

/** Runs in the page, before its scripts: of the servers it uses what keep names, and nothing else. */
function relayOnly(keep) {
  const Plain = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Plain {
    constructor(configuration) {
      const iceServers = configuration.iceServers.map((s) => ({ ...s, urls: s.urls.filter((url) => url.endsWith(keep)) }));
      super({ ...configuration, iceServers, iceTransportPolicy: "relay" });
      (window.connections ??= []).push(this);
    }
  };
}

/** Notes the passwords of somebody's connections, and of the relay. */
async function remember(person) {
  const found = await person.page.evaluate(() => window.connections.flatMap((pc) => [
    ...[pc.localDescription, pc.remoteDescription].flatMap((d) => [...(d?.sdp ?? "").matchAll(/a=ice-pwd:(\S+)/g)].map((m) => m[1])),
    ...pc.getConfiguration().iceServers.map((s) => s.credential),
  ]));
  for (const secret of found) if (secret) secrets.add(secret);
}

/** A browser whose pages reach nothing but TURN, over a transport. */
function behind(transport) {
  return {
    async newContext() {
      const context = await browser.newContext();
      await context.addInitScript(relayOnly, `transport=${transport}`);
      return context;
    },
  };
}

for (const transport of ["udp", "tcp"]) {
  test(`two people who reach nothing but TURN over ${transport} call each other`, async () => {
    const complaints = [];
    const [ann, ben] = ["ann", "ben"].map((name) => new Person(`${name}-${transport}`));
    const before = await gateway.metric("confgate_turn_relayed_packets_total");
    try {
      await Promise.all([ann, ben].map((p) => p.comes({ browser: behind(transport), site, gateway, complaints, framing: "websocket" })));
      const { roomId } = await ann.does("sdk.createRoom");
      await ann.does("enter", roomId);
      await ben.does("enter", roomId);
      await ann.hears({ type: "join" });
      assert.equal(await ann.does("call", ben.name), true);
      await ben.hears({ type: "subscribed", user: ann.name, cam: true });
      await ben.sees(ann.name);
      assert.equal(await ben.does("call", ann.name), true);
      await Promise.all([ann.sees(ben.name), ben.sees(ann.name)]);
      await Promise.all([ann, ben].map(remember));
      assert.ok(await gateway.metric("confgate_turn_relayed_packets_total") > before + 100, "media did not go through the relay");
      assert.deepEqual(complaints, []);
    } finally {
      await Promise.all([ann, ben].map((p) => p.goes()));
    }
  });
}

test("somebody who reaches nothing but TURN is in a room like everybody else", async () => {
  const complaints = [];
  const [cid, dot] = ["cid", "dot"].map((name) => new Person(name));
  try {
    await cid.comes({ browser: behind("tcp"), site, gateway, complaints, framing: "websocket" });
    await dot.comes({ browser, site, gateway, complaints, framing: "websocket" });
    const { roomId } = await cid.does("sdk.createVideoRoom", null, "lesson");
    for (const p of [cid, dot]) {
      await p.does("enter", roomId);
      assert.equal(await p.does("publish"), true);
    }
    await Promise.all([cid.sees("dot"), dot.sees("cid")]);
    await remember(cid);
    assert.deepEqual(complaints, []);
  } finally {
    await Promise.all([cid, dot].map((p) => p.goes()));
  }
});

test("no password of these calls is in the log", () => {
  assert.ok(secrets.size >= 15, `${secrets.size} passwords`); // five credentials, and two for each connection
  const log = gateway.wholeLog;
  assert.ok(log.split("\n").length > 50, "there is hardly a log");
  for (const secret of secrets) assert.ok(!log.includes(secret), `the log has ${secret}`);
});
