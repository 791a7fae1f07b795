// Clients that nobody here wrote, as they come from npm, in real browsers, from
// another origin: sockjs-client and kurento-utils, driven as a community app
// drives them. The app throws on anything that real ones throw on, and every
// error in any page fails the story.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { fakeDevices, grantAll, launch } from "./harness/browser.js";
import { receivedBy, Room } from "./harness/community.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { startSite } from "./harness/site.js";

const versions = [
  { sockjs: "1.5.2", kurento: "6.16.0" },
  { sockjs: "1.6.1", kurento: "6.18.0" },
];
const transports = ["websocket", "xhr-streaming", "xhr-polling"];

const cameraAndMicrophone = { audio: true, video: { width: 320, framerate: 15 } };
const microphoneOnly = { audio: true, video: false };
const nothing = null;

let built, gateway, site, browser;

before(async () => {
  built = await build();
  [gateway, site, browser] = await Promise.all([
    Gateway.start(built.binary),
    startSite({ sockjs: versions.map((v) => v.sockjs), kurento: versions.map((v) => v.kurento) }),
    launch(...fakeDevices, ...grantAll, "--autoplay-policy=no-user-gesture-required"),
  ]);
});

after(async () => {
  await browser?.close();
  await site?.stop();
  const code = await gateway?.stop();
  built?.remove();
  assert.equal(code, 0, "the gateway ends cleanly");
});

for (const { sockjs, kurento } of versions) {
  for (const transport of transports) {
    describe(`sockjs-client ${sockjs} over ${transport}, kurento-utils ${kurento}`, () => {
      let room, ann, ben, cid, dot, eve;

      before(() => {
        room = new Room({ browser, site, gateway, sockjs, kurento, transport });
        ({ ann, ben, cid, dot, eve } = room.people);
      });

      after(() => room.close());

      test("three people see and hear each other", async () => {
        await ann.enter(cameraAndMicrophone);
        await ben.enter(cameraAndMicrophone);
        await cid.enter(cameraAndMicrophone);
        await allPairs([ann, ben, cid], (from, to) => to.seesAndHears(from));
        for (const p of [ann, ben, cid]) assert.equal(await p.transport(), transport);
        room.assertNoComplaints();
      });

      test("states reach everyone, the sender too", async () => {
        await ann.toggle("Video", false);
        for (const p of [ann, ben, cid]) await p.hears({ id: "videoStateAnswer", userId: "ann", video: false });
        await ann.toggle("Video", true);
        for (const p of [ann, ben, cid]) await p.hears({ id: "videoStateAnswer", userId: "ann", video: true });
        await ben.toggle("Audio", false);
        for (const p of [ann, ben, cid]) await p.hears({ id: "audioStateAnswer", userId: "ben", audio: false });
        await ben.seesAndHears(ann);
        room.assertNoComplaints();
      });

      test("one leaves, once", async () => {
        await cid.leave();
        for (const p of [ann, ben]) await p.hears({ id: "participantLeft", userId: "cid" });
        await allPairs([ann, ben], (from, to) => to.seesAndHears(from));
        room.assertNoComplaints();
      });

      test("one comes without a camera, one with nothing", async () => {
        await dot.enter(microphoneOnly);
        await eve.enter(nothing);
        await Promise.all([
          ...[ann, ben, eve].map((p) => p.hearsVoice(dot)),
          ...[dot, eve].flatMap((p) => [p.seesAndHears(ann), p.seesAndHears(ben)]),
          ...[ann, ben, dot].map((p) => p.hears({ id: "receiveVideoAnswer", userId: "eve" })),
          ...[ann, ben, dot].map((p) => p.isConnectedTo(eve)),
        ]);
        room.assertNoComplaints();
      });

      test("a killed tab has left, once", async () => {
        await ben.crash();
        for (const p of [ann, dot, eve]) await p.hears({ id: "participantLeft", userId: "ben" });
        await allPairs([ann, dot], (from, to) => to.hearsVoice(from));
        room.assertNoComplaints();
      });

      test("the same user again takes the place over", async () => {
        const old = ann.page;
        const told = await ann.received();
        await ann.enter(cameraAndMicrophone);
        for (const p of [dot, eve]) {
          await p.seesAndHears(ann);
          const about = (await p.received()).filter((m) => userOf(m) === "ann" && /Left|Arrived/.test(m.id)).map((m) => m.id);
          assert.deepEqual(about.slice(-2), ["participantLeft", "newParticipantArrived"]);
        }
        const toldSince = (await receivedBy(old)).slice(told.length);
        assert.deepEqual(toldSince.filter((m) => m.id !== "iceCandidate"), [], "the old session is told nothing");

        await old.close();
        await ann.toggle("Audio", false);
        for (const p of [ann, dot, eve]) await p.hears({ id: "audioStateAnswer", userId: "ann", audio: false });
        await dot.seesAndHears(ann);
        room.assertNoComplaints();
      });

      test("nobody was told twice that somebody left", async () => {
        for (const p of [ann, dot, eve]) {
          const here = new Set();
          for (const m of await p.received()) {
            if (m.id === "existingParticipants") m.members.forEach((x) => here.add(x.userId));
            if (m.id === "newParticipantArrived") here.add(m.member.userId);
            if (m.id === "participantLeft") assert.ok(here.delete(m.userId), `${p.name} was told again that ${m.userId} left`);
          }
        }
        await room.close();
        for (const gauge of ["connections", "rooms", "members", "legs"]) {
          await eventually(`the gateway has no ${gauge} left`, async () => (await gateway.metric(`confgate_${gauge}`)) === 0);
        }
        room.assertNoComplaints();
      });
    });
  }
}

function allPairs(people, check) {
  return Promise.all(people.flatMap((from) => people.filter((to) => to !== from).map((to) => check(from, to))));
}

function userOf(message) {
  return message.userId ?? message.member?.userId;
}
