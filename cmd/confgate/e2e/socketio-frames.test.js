// Frame by frame, the framing says what the reference server says: to requests
// written by hand, and to every client. What may differ is listed in normalise.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import WebSocket from "ws";

import { acknowledged, next, options, versions, ways } from "./socketio/clients.js";
import { buildEcho, event, namespaces, startEcho, startReference } from "./socketio/echo.js";

let built, ours, reference;

before(async () => {
  built = await buildEcho();
  [ours, reference] = await Promise.all([startEcho(built.binary), startReference()]);
});

after(async () => {
  await ours?.stop();
  await reference?.stop();
  built?.remove();
});

/** Puts marks for what each server makes up, and for the time-out of revision 3, which is ours to choose. */
const normalise = (text, revision) =>
  text
    .replace(/"sid":"[^"]+"/g, '"sid":"*"')
    .replace(/^\d+:0\{/, "*:0{")
    .replace(/"pingTimeout":\d+/, revision === 3 ? '"pingTimeout":"*"' : "$&");

/** One who writes requests by hand, and notes every answer. */
class Script {
  tape = [];
  #sockets = [];
  #early = []; // packets that came with the hello

  constructor(url, revision) {
    this.url = url;
    this.revision = revision;
    this.query = `/socket.io/?EIO=${revision}`;
  }

  note(...words) {
    this.tape.push(words.map((word) => (typeof word === "string" ? normalise(word, this.revision) : word)));
  }

  payload(...packets) {
    return this.revision === 4 ? packets.join("\x1e") : packets.map((p) => `${p.length}:${p}`).join("");
  }

  async ask(method, query, body) {
    const response = await fetch(this.url + query, { method, body, headers: { "Content-Type": "text/plain;charset=UTF-8" } });
    return [method, response.status, response.headers.get("content-type"), await response.text()];
  }

  async request(method, query, body) {
    this.note(...(await this.ask(method, query, body)));
  }

  /** Begins to poll. With revision 3 the next packet may come at once, or not. */
  async open() {
    const [method, status, type, text] = await this.ask("GET", `${this.query}&transport=polling`);
    const [hello, ...more] = this.packets(text);
    this.note(method, status, type, hello);
    this.#early = more;
    this.sid = JSON.parse(hello.slice(1)).sid;
  }

  /** Resolves to the answer, to be noted in time. */
  poll() {
    return this.ask("GET", `${this.query}&transport=polling&sid=${this.sid}`);
  }

  send(...packets) {
    return this.request("POST", `${this.query}&transport=polling&sid=${this.sid}`, this.payload(...packets));
  }

  /** Polls until so many packets have come: how many come at once is a matter of luck. */
  async receive(count) {
    const got = this.#early.splice(0);
    while (got.length < count) got.push(...this.packets((await this.poll()).at(-1)));
    for (const packet of got) this.note("packet", packet);
  }

  packets(text) {
    if (this.revision === 4) return text.split("\x1e");
    const packets = [];
    while (text !== "") {
      const colon = text.indexOf(":");
      const length = Number(text.slice(0, colon));
      packets.push(text.slice(colon + 1, colon + 1 + length));
      text = text.slice(colon + 1 + length);
    }
    return packets;
  }

  async socket(upgrade) {
    const ws = new WebSocket(`${this.url.replace("http", "ws")}${this.query}&transport=websocket${upgrade ? `&sid=${this.sid}` : ""}`);
    this.#sockets.push(ws);
    ws.frames = [];
    ws.on("message", (data, binary) => ws.frames.push(binary ? [...data] : String(data)));
    ws.on("close", () => ws.frames.push("closed"));
    ws.on("error", () => {});
    await new Promise((resolve) => ws.once("open", resolve).once("close", resolve));
    return ws;
  }

  async frames(ws, count) {
    for (let waited = 0; ws.frames.length < count && waited < 3000; waited += 10) await pause(10);
    for (const frame of ws.frames.splice(0)) this.note("frame", frame);
  }

  stop() {
    for (const ws of this.#sockets) ws.terminate();
  }
}

const message = (id, value, namespace = "") => `42${namespace}${id}${JSON.stringify([event, value])}`;

/** What is said to both servers, in both revisions. */
const scripts = {
  "requests that are refused": async (s) => {
    for (const query of ["", `?EIO=${s.revision}`, `?EIO=${s.revision}&transport=abc`, `?EIO=${s.revision}&transport=constructor`]) {
      await s.request("GET", `/socket.io/${query}`);
    }
    await s.request("POST", `${s.query}&transport=polling`, "");
    await s.request("PUT", `${s.query}&transport=polling`, "");
    await s.request("GET", `${s.query}&transport=websocket`);
    await s.request("GET", `${s.query}&transport=polling&sid=abc`);
    await s.open();
    await s.request("GET", `/socket.io/?EIO=${7 - s.revision}&transport=polling&sid=${s.sid}`);
    await s.request("GET", `${s.query}&transport=websocket&sid=${s.sid}`);
  },
  "a conversation by polling": async (s) => {
    await s.open();
    if (s.revision === 4) await s.send("40");
    await s.receive(1);
    await s.send(message("", { a: 1 }));
    await s.receive(1);
    await s.send(message("7", { b: 2 }), message("", { c: 3 }), message("12", { d: "\u00e9" }));
    await s.receive(5);
    await s.send("40/SignalServer,");
    await s.receive(1);
    await s.send(message("0", { e: 5 }, "/SignalServer,"));
    await s.receive(2);
    await s.send("40/nope,");
    await s.receive(1);
    await s.send("41/SignalServer,", message("", { f: 6 }));
    await s.receive(1);
    if (s.revision === 3) {
      await s.send("2");
      await s.receive(1);
    }
    const poll = s.poll();
    await pause(50);
    await s.send("1");
    s.note(...(await poll));
    s.note(...(await s.poll()));
  },
  "a conversation over a WebSocket": async (s) => {
    const ws = await s.socket();
    await s.frames(ws, s.revision === 3 ? 2 : 1);
    const says = async (frame, count) => {
      ws.send(frame);
      await s.frames(ws, count);
    };
    if (s.revision === 4) await says("40", 1);
    await says(message("", { a: 1 }), 1);
    await says(message("1", { b: 2 }), 2);
    await says(`42["${event}",{"c":3},"more",[4]]`, 1);
    await says(`425["${event}","{\\"d\\":4}"]`, 2);
    await says(`426["${event}",null]`, 2);
    await says(`42["other",{}]`, 0);
    await says("42[5]", 0);
    await says("42", 0);
    await says('4399["an acknowledgement of nothing"]', 0);
    await says("40/SignalServer,", 1);
    await says(message("2", { e: 5 }, "/SignalServer,"), 2);
    await says("40/nope", 1);
    await says(`40/SignalServer${s.revision === 3 ? "/x?y=z" : "?y=z"},`, 1);
    await says("41/SignalServer,", 0);
    await says(message("", { f: 6 }), 1);
    if (s.revision === 3) await says("2", 1);
    await says("6", 0);
    await says("5", 0);
  },
  "an upgrade": async (s) => {
    await s.open();
    if (s.revision === 4) await s.send("40");
    await s.receive(1);
    const poll = s.poll();
    const ws = await s.socket(true);
    ws.send("2probe");
    await s.frames(ws, 1);
    s.note(...(await poll)); // ended by a noop
    await s.send(message("3", { waits: true }));
    ws.send("5");
    await s.frames(ws, 2);
    ws.send(message("4", { b: 2 }));
    await s.frames(ws, 2);
    s.note(...(await s.poll()));
    await s.send(message("", { late: true }));
    const second = await s.socket(true);
    await s.frames(second, 1);
    ws.send(message("", { c: 3 }));
    await s.frames(ws, 1);
  },
  "an upgrade that fails": async (s) => {
    await s.open();
    if (s.revision === 4) await s.send("40");
    await s.receive(1);
    const ws = await s.socket(true);
    ws.send("2nonsense");
    await s.frames(ws, 1);
    await s.send(message("", { a: 1 }));
    await s.receive(1);
  },
  "polls that overlap": async (s) => {
    await s.open();
    if (s.revision === 4) await s.send("40");
    await s.receive(1);
    const poll = s.poll();
    await pause(50);
    s.note("second", (await s.poll())[1]);
    s.note(...(await poll));
    await pause(50);
    s.note(...(await s.poll()));
  },
};

/** Frames that end a connection on both servers. */
const nonsense = [
  "abc", "", "4", "4abc", "47", "44{}", "40", "40[]", '40"x"', "41{}", "42{}", '42"x"', "42[]", "42[null]", '42["connect"]', '42["disconnect"]',
  '42/SignalServer,["knowledgetalk",1]', "41/SignalServer,", "43{}", '4511-["knowledgetalk"]', '450-["knowledgetalk"]', '45["knowledgetalk"]',
  "b4AQID", "7",
];

/** Runs one script against both, and compares the tapes. */
async function compare(revision, script) {
  const tapes = [];
  for (const server of [ours, reference]) {
    const s = new Script(server.url, revision);
    try {
      await script(s);
    } finally {
      s.stop();
    }
    tapes.push(s.tape);
  }
  assert.deepEqual(...tapes);
}

for (const revision of [4, 3]) {
  describe(`Engine.IO ${revision}, by hand`, () => {
    for (const [name, script] of Object.entries(scripts)) {
      test(name, { timeout: 120_000 }, () => compare(revision, script));
    }
    // In revision 3, the reference takes bytes without a kind for something, and forgets them.
    for (const frame of revision === 4 ? [...nonsense, "bAQID"] : nonsense) {
      test(`nonsense: ${frame}`, { timeout: 120_000 }, () =>
        compare(revision, async (s) => {
          const ws = await s.socket();
          await s.frames(ws, revision === 3 ? 2 : 1);
          if (revision === 4) {
            ws.send("40");
            await s.frames(ws, 1);
          }
          ws.send(frame);
          await s.frames(ws, 1);
        }),
      );
    }
  });
}

/** What the server sent to a client: the packets, as the client's engine saw them. */
async function overheard(server, io, way, namespace) {
  const packets = [];
  const socket = io(server.url + namespace, options(way, { autoConnect: false, reconnection: false }));
  socket.open();
  socket.io.engine.on("packet", ({ type, data }) => {
    if (type === "noop" || type === "pong" || type === "ping") return; // a matter of luck
    packets.push(`${type} ${normalise(typeof data === "string" ? data : JSON.stringify(data ?? ""), 3)}`);
  });
  try {
    await next(socket, "connect");
    socket.emit(event, { a: "안녕 😀" });
    await next(socket, event);
    await acknowledged(socket, event, { b: [1, 2] });
    for (let i = 0; i < 20; i++) socket.emit(event, { i });
    await acknowledged(socket, event, JSON.stringify({ c: 3 }));
    const last = new Promise((resolve) => socket.on(event, ({ i }) => i === 199 && resolve()));
    socket.emit(event, { burst: true });
    await last;
  } finally {
    socket.close();
  }
  return packets;
}

for (const [version, io] of Object.entries(versions)) {
  for (const way of Object.keys(ways)) {
    for (const namespace of namespaces) {
      test(`socket.io-client ${version}, ${way}, ${namespace} hears the same from both`, { timeout: 120_000 }, async () => {
        const heard = await Promise.all([ours, reference].map((server) => overheard(server, io, way, namespace)));
        assert.deepEqual(...heard);
      });
    }
  }
}
