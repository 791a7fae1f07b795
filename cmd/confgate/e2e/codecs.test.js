// Other codecs than VP8, in Chromium: whoever comes sees everybody, also when it
// lacks the codec that a call had until then. One of those who watch speaks the
// dialect where the gateway offers.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { fakeDevices, launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { collectConnections } from "./harness/reception.js";
import { Visitor } from "./harness/visitor.js";

const options = ["--opus-red", "--opus-dtx", "--id-republish"];

let built, browser;

before(async () => {
  [built, browser] = await Promise.all([build(), launch(...fakeDevices)]);
});

after(async () => {
  await browser?.close();
  built?.remove();
});

for (const codec of ["h264", "vp9"]) {
  test(`a call in ${codec}, until somebody comes who has VP8 only`, async () => {
    const gateway = await Gateway.start(built.binary, "--video-codecs", codec, ...options);
    const complaints = [];
    const come = (name, url, only) => visitor(gateway, complaints, name, url, only);
    const [ann, ben] = [await come("Ann", "/?room=codecs"), await come("Ben", "/?room=codecs&dialect=eventop")];
    for (const p of [ann, ben]) await p.join();
    await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
    assert.deepEqual(await sends(ann), [`video/${codec.toUpperCase()}`]);
    await Promise.all([ann.marksSpeaking("Ben"), ben.marksSpeaking("Ann")]);
    await eventually("voices come with what was said before", () => redundant(ben));

    for (const [name, url] of [["Cid", "/?room=codecs"], ["Dan", "/?room=codecs&dialect=eventop"]]) {
      const late = await come(name, url, "video/VP8");
      await late.join();
      await Promise.all([late.watches("Ann"), late.watches("Ben")]);
      await Promise.all([ann, ben].map((p) => p.watches(name)));
    }
    await Promise.all([ann.watches("Ben"), ben.watches("Ann")]);
    await eventually("everybody sends VP8", async () =>
      [...await sends(ann), ...await sends(ben)].join() === "video/VP8,video/VP8");
    assert.deepEqual(complaints, []);
    await Promise.all([ann, ben].map((p) => p.page.context().close()));
    assert.equal(await gateway.stop(), 0, "the gateway ends cleanly");
  });
}

// What pictures a page sends at present, as codecs.
function sends(person) {
  return person.page.evaluate(async () => {
    const codecs = new Set();
    for (const connection of window.connections) {
      if (connection.connectionState !== "connected") continue;
      const stats = await connection.getStats();
      for (const { type, kind, codecId } of stats.values()) {
        if (type === "outbound-rtp" && kind === "video" && codecId) codecs.add(stats.get(codecId).mimeType);
      }
    }
    return [...codecs];
  });
}

// Whether voices come in RED: Chromium counts what is repeated, and was not lost, as
// packets that it discards.
function redundant(person) {
  return person.page.evaluate(async () => {
    for (const connection of window.connections) {
      for (const { type, kind, packetsReceived, packetsDiscarded } of (await connection.getStats()).values()) {
        if (type === "inbound-rtp" && kind === "audio" && packetsReceived > 50 && packetsDiscarded > packetsReceived / 2) return true;
      }
    }
    return false;
  });
}

// Runs in the page: leaves one codec of pictures in all its descriptions.
function keepOnly(mimeType) {
  const prefer = (transceiver) => {
    const kind = transceiver.receiver.track.kind;
    if (kind !== "video") return;
    const { codecs } = RTCRtpReceiver.getCapabilities(kind);
    transceiver.setCodecPreferences(codecs.filter((codec) => [mimeType, "video/rtx"].includes(codec.mimeType)));
  };
  const { addTransceiver, setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function (...given) {
    const transceiver = addTransceiver.apply(this, given);
    prefer(transceiver);
    return transceiver;
  };
  RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
    await setRemoteDescription.call(this, description);
    if (description.type === "offer") this.getTransceivers().forEach(prefer);
  };
}

async function visitor(gateway, complaints, name, url, only) {
  const context = await browser.newContext({ permissions: ["camera", "microphone"] });
  await context.addInitScript(collectConnections);
  if (only) await context.addInitScript(keepOnly, only);
  const page = await context.newPage();
  watch(page, name, complaints);
  await page.goto(gateway.url + url);
  const person = new Visitor(name, page);
  await person.settled();
  return person;
}
