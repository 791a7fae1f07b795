// Every operation of the eventOp dialect through npm's Socket.IO clients, old and
// new, on all transports and both namespaces, with and without acknowledgements,
// against the gateway itself. What each means in full is told by the transcripts in
// protocol/eventop/testdata; here it is seen to travel.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { build, Gateway } from "./harness/gateway.js";
import { acknowledged, next, options, versions, ways } from "./socketio/clients.js";

const event = "knowledgetalk";
const publishes = readFileSync(path.resolve(import.meta.dirname, "../../../media/testdata/chromium-publish.sdp"), "utf8");
const image = "data:image/png;base64," + "A".repeat(10_000_000);

let built, gateway, numbered = 0;

before(async () => {
  built = await build();
  gateway = await Gateway.start(built.binary);
});

after(async () => {
  assert.equal(await gateway?.stop(), 0);
  built?.remove();
});

/** Somebody connected: what they ask for, and what they have heard. */
class Person {
  heard = [];
  #waiting = [];

  constructor(id, socket, acks) {
    Object.assign(this, { id, socket, acks });
    socket.on(event, (message) => {
      this.heard.push(message);
      this.#waiting.splice(0).forEach((look) => look());
    });
  }

  /** Waits for a message, and takes it out of what was heard. */
  takes(what, fits) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.id} does not hear ${what}`)), 20_000);
      const look = () => {
        const i = this.heard.findIndex(fits);
        if (i < 0) return this.#waiting.push(look);
        clearTimeout(timer);
        resolve(this.heard.splice(i, 1)[0]);
      };
      look();
    });
  }

  /** Asks, and gives the reply, however it comes; with an ack it must come both ways. */
  async asks(request) {
    const reqId = `q${++numbered}`;
    const message = { ...request, reqId };
    const replied = this.takes(`a reply to ${request.eventOp}`, (m) => m.reqId === reqId);
    if (!this.acks) {
      this.socket.emit(event, message);
      return replied;
    }
    const reply = await acknowledged(this.socket, event, message);
    assert.deepEqual(await replied, reply);
    return reply;
  }

  /** Waits for an event with these fields. */
  hears(what) {
    const fits = (m) => m.reqId === undefined && Object.entries(what).every(([k, v]) => isSame(m[k], v));
    return this.takes(JSON.stringify(what), fits);
  }
}

const isSame = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// The table: who asks for what, what code and fields the reply has, and what the
// other hears of it. H hosts, G is a guest; r is the room, p the P2P room.
const table = (r, p, H, G) => [
  [H, { eventOp: "KeepAlive" }, "200"],
  [H, { eventOp: "unheardOf" }, "400"],
  [H, { eventOp: "joinRoom", roomId: r }, "441"],
  [H, { eventOp: "createVideoRoom", roomId: r, title: "Lesson", talkingNoty: "true" }, "200", { roomId: r }],
  [H, { eventOp: "createVideoRoom", roomId: r }, "443"],
  [H, { eventOp: "joinRoom", roomId: r }, "200", { roomId: r, title: "Lesson", media: true, talkingNoty: true, isRecording: false }],
  [G, { eventOp: "joinRoom", roomId: r }, "200", { roomId: r }, [H, { type: "join", roomId: r }]],
  [G, { eventOp: "joinRoom", roomId: r }, "442"],
  [G, { eventOp: "memberList", roomId: r }, "200"],
  [G, { eventOp: "sdpRoom", roomId: r, type: "cam", sdp: { type: "offer", sdp: publishes } }, "200", { type: "cam", roomId: r },
    [G, { eventOp: "sdpRoom", type: "cam", user: G.id, useMediaSvr: "Y" }]],
  [G, { eventOp: "candidate", candidate: null, type: "x", cam: true, roomId: r }, "200"],
  [H, { eventOp: "subscribe", roomId: r, target: G.id }, "451"], // it never connects
  [H, { eventOp: "sdpRoom", roomId: r, target: G.id, sdp: { type: "answer", sdp: "v=0" } }, "451"],
  [G, { eventOp: "editUserInfo", roomId: r, name: "Gee", video: "false" }, "200", {}, [H, { type: "editUserInfo", user: G.id, name: "Gee", video: false, audio: true }]],
  [G, { eventOp: "editUserInfo", roomId: r, userId: H.id, name: "x" }, "412"],
  [G, { eventOp: "changeName", name: "Gus" }, "200", {}, [H, { type: "editUserInfo", name: "Gus" }]],
  [G, { eventOp: "chat", roomId: r, message: "안녕 <b>" }, "200", {}, [H, { type: "chat", roomId: r, user: G.id, message: "안녕 <b>" }]],
  [H, { eventOp: "chat", target: G.id, message: "you" }, "200", {}, [G, { type: "chat", user: H.id, message: "you" }]],
  [G, { eventOp: "inform", roomId: r, message: { any: [1] } }, "200", {}, [H, { type: "inform", user: G.id, message: { any: [1] } }]],
  [H, { eventOp: "permit", roomId: r, target: G.id, draw: "false" }, "200"],
  [G, { eventOp: "drawing", roomId: r, xy: { x: 1 } }, "413"],
  [G, { eventOp: "permit", roomId: r, target: G.id, draw: true }, "413"],
  [H, { eventOp: "whiteboard", roomId: r }, "200", {}, [G, { type: "whiteboard", user: H.id }]],
  [H, { eventOp: "drawing", roomId: r, xy: { x: 1 }, tool: "pen", own: { field: [2] } }, "200", {},
    [G, { eventOp: "drawing", xy: { x: 1 }, tool: "pen", own: { field: [2] }, user: H.id, userId: H.id }]],
  [H, { eventOp: "reqCanvasImage", roomId: r, target: G.id }, "200", {}, [G, { type: "reqCanvasImage", sender: H.id }]],
  [G, { eventOp: "updateImage", target: H.id, img: "data:image/png;base64,AAAA" }, "200", {}, [H, { type: "updateImage", sender: G.id, img: "data:image/png;base64,AAAA" }]],
  [G, { eventOp: "screen", roomId: r }, "440"],
  [G, { eventOp: "shareStop", roomId: r }, "440"],
  [H, { eventOp: "document", roomId: r }, "200", {}, [G, { type: "document", user: H.id }]],
  [H, { eventOp: "documentShare", roomId: r, img: "page.png" }, "200", {}, [G, { type: "documentShare", user: H.id, img: "page.png" }]],
  [H, { eventOp: "shareStop", roomId: r }, "200", {}, [G, { type: "shareStop", user: H.id, sender: H.id }]],
  [G, { eventOp: "screen", roomId: r }, "200", {}, [H, { type: "screen", user: G.id }]],
  [G, { eventOp: "shareStop", roomId: r }, "200", {}, [H, { type: "shareStop", user: G.id }]],
  [H, { eventOp: "createGroup", roomId: r, list: [G.id] }, "200", {}, [G, { type: "createGroup", user: H.id }]],
  [H, { eventOp: "endGroup", roomId: r, groupId: "nowhere" }, "441"],
  [H, { eventOp: "editRoomInfo", roomId: r, title: "More" }, "200"],
  [H, { eventOp: "kickOut", target: G.id }, "200", {}, [G, { type: "kickOut", user: H.id }]],
  [G, { eventOp: "leaveRoom", roomId: r }, "200", {}, [H, { type: "leave", user: G.id }]],
  [G, { eventOp: "destroyRoom", roomId: r }, "413"],
  [H, { eventOp: "destroyRoom", roomId: r }, "200"],
  [H, { eventOp: "leaveRoom", roomId: r }, "200"], // destroyed under the caller
  [H, { eventOp: "createRoom", roomId: p }, "200", { roomId: p }],
  [H, { eventOp: "joinRoom", roomId: p }, "200", { media: false }],
  [G, { eventOp: "joinRoom", roomId: p }, "200", { media: false }, [H, { type: "join", roomId: p }]],
  [H, { eventOp: "sdp", target: G.id, type: "cam", sdp: { type: "offer", sdp: "o" }, own: 1 }, "200", {},
    [G, { eventOp: "sdp", type: "cam", sdp: { type: "offer", sdp: "o" }, own: 1, user: H.id }]],
  [G, { eventOp: "sdp", target: H.id, type: "cam", sdp: { type: "answer", sdp: "a" } }, "200", {}, [G, { type: "subscribed", user: H.id, cam: true }]],
  [H, { eventOp: "candidate", target: G.id, candidate: { candidate: "c" }, type: "offer", cam: true }, "200", {},
    [G, { eventOp: "candidate", candidate: { candidate: "c" }, type: "offer", cam: true, user: H.id }]],
  [H, { eventOp: "sdpRoom", roomId: p, sdp: { type: "offer", sdp: "o" } }, "405"],
];

for (const [version, io] of Object.entries(versions)) {
  for (const way of Object.keys(ways)) {
    for (const namespace of ["/", "/SignalServer"]) {
      describe(`every operation: socket.io-client ${version}, ${way}, ${namespace}`, () => {
        for (const acks of [false, true]) {
          test(acks ? "with acknowledgements" : "without", () => everything(io, way, namespace, acks));
        }
      });
    }
  }
}

async function everything(io, way, namespace, acks) {
  const id = `n${++numbered}`;
  const people = [];
  const comes = async (name) => {
    const socket = io(gateway.url + namespace, options(way));
    await next(socket, "connect");
    const person = new Person(name, socket, acks);
    people.push(person);
    const reply = await person.asks({ eventOp: "register", cpCode: "KP", authKey: "k", userId: name });
    assert.deepEqual([reply.code, reply.userId, reply.iceServers], ["200", name, []]);
    return person;
  };
  try {
    const H = await comes(`H${id}`);
    const G = await comes(`G${id}`);
    for (const [who, request, code, fields, other] of table(`r${id}`, `p${id}`, H, G)) {
      const reply = await who.asks(request);
      const told = JSON.stringify(reply).slice(0, 300);
      assert.equal(reply.code, code, `${request.eventOp}: ${told}`);
      assert.equal(reply.eventOp, request.eventOp);
      for (const [name, value] of Object.entries(fields ?? {})) assert.deepEqual(reply[name], value, `${name} of ${told}`);
      if (other) await other[0].hears(other[1]);
    }
  } finally {
    people.forEach((p) => p.socket.disconnect());
  }
}

for (const [version, io] of Object.entries(versions)) {
  test(`an image of 10 MB passes, one over the limit is refused, and one comes again: ${version}`, async () => {
    const [a, b] = [io(gateway.url, options("websocket")), io(gateway.url, options("upgrade"))];
    try {
      await Promise.all([next(a, "connect"), next(b, "connect")]);
      const [A, B] = [new Person(`A${++numbered}`, a, false), new Person(`B${++numbered}`, b, true)];
      for (const p of [A, B]) await p.asks({ eventOp: "register", cpCode: "KP", authKey: "k", userId: p.id });
      assert.equal((await A.asks({ eventOp: "updateImage", target: B.id, img: image })).code, "200");
      assert.equal((await B.hears({ type: "updateImage", sender: A.id })).img, image);
      const gone = next(a, "disconnect");
      a.emit(event, { eventOp: "updateImage", target: B.id, img: image + image });
      await gone;
      if (!a.connected) await next(a, "connect"); // by itself
      assert.equal((await A.asks({ eventOp: "register", cpCode: "KP", authKey: "k", userId: A.id })).code, "200");
    } finally {
      a.disconnect();
      b.disconnect();
    }
  });
}
