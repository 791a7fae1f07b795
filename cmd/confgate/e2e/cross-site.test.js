// Pages of other origins, in a real browser, against a gateway that is told which
// origins may connect. The names of the sites are made up: the browser finds all of
// them on the loopback.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";

import { launch } from "./harness/browser.js";
import { build, Gateway } from "./harness/gateway.js";

const names = "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost";

let built, gateway, browser, site, other;

before(async () => {
  built = await build();
  [site, other] = await Promise.all([openSite(), openSite()]);
  gateway = await Gateway.startGuarded(built.binary, "--media-ip", "127.0.0.1", "--drain", "1s",
    "--id-jwt-secret", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "--allow-origin", `http://good.test:${site.port}`);
  browser = await launch(names);
});

after(async () => {
  await browser?.close();
  await Promise.all([site?.stop(), other?.stop()]);
  const code = await gateway?.stop();
  built?.remove();
  assert.equal(code, 0, "the gateway ends cleanly");
});

test("a page of an origin that is allowed comes in every way", async () => {
  const results = await tryAll(`http://good.test:${site.port}/`);
  assert.deepEqual(Object.entries(results).filter(([, result]) => result !== "in"), []);
});

test("the gateway's own page comes in every way", async () => {
  const results = await tryAll(`${gateway.url}/`);
  assert.deepEqual(Object.entries(results).filter(([, result]) => result !== "in"), []);
});

test("pages of other origins do not come in, whichever way they try", async () => {
  const opened = await gateway.metric("confgate_connections_opened_total");
  const foreign = [
    `http://127.0.0.1:${site.port}/`, // another port of the gateway's host
    `http://localhost:${site.port}/`,
    gateway.url.replace("127.0.0.1", "localhost"), // the gateway's own page, under another name than is dialled
    `http://good.test:${other.port}/`, // another port of the good host
    `http://evil.good.test:${site.port}/`,
    `http://good.test.evil.test:${site.port}/`,
    `http://evilgood.test:${site.port}/`,
    `http://evil.test:${site.port}/?http://good.test:${site.port}`,
    `http://good.test:${site.port}/sandboxed`, // its origin is null
  ];
  for (const address of foreign) {
    const results = await tryAll(address);
    assert.deepEqual(Object.entries(results).filter(([, result]) => result !== "out"), [], address);
  }
  assert.equal(await gateway.metric("confgate_connections_opened_total"), opened, "no connection was begun");
});

async function tryAll(address) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(address);
    return await page.evaluate(tryEverything, gateway.url);
  } finally {
    await context.close();
  }
}

// In the page: each way in, and whether it led "in" or was kept "out".
async function tryEverything(gateway) {
  const socket = (path) => new Promise((resolve) => {
    const ws = new WebSocket(gateway.replace(/^http/, "ws") + path);
    ws.onopen = () => {
      resolve("in");
      ws.close();
    };
    ws.onerror = () => resolve("out");
  });
  const request = async (path, options) => {
    try {
      return (await fetch(gateway + path, { credentials: "include", ...options })).ok ? "in" : "out";
    } catch {
      return "out";
    }
  };
  const session = () => `/rtc/0/${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
  const ways = {
    "bare WebSocket, id": () => socket("/ws/id"),
    "bare WebSocket, eventOp": () => socket("/ws/eventop"),
    "SockJS raw WebSocket": () => socket("/rtc/websocket"),
    "SockJS WebSocket": () => socket(`${session()}/websocket`),
    "SockJS info": () => request("/rtc/info"),
    "SockJS polling": () => request(`${session()}/xhr`, { method: "POST" }),
    "Socket.IO WebSocket": () => socket("/socket.io/?EIO=4&transport=websocket"),
    "Socket.IO 2 WebSocket": () => socket("/socket.io/?EIO=3&transport=websocket"),
    "Socket.IO polling": () => request("/socket.io/?EIO=4&transport=polling"),
    "Socket.IO 2 polling": () => request("/socket.io/?EIO=3&transport=polling"),
  };
  const results = await Promise.all(Object.values(ways).map((way) => way()));
  // What asks for no answer that it can read must begin nothing either.
  const blind = { mode: "no-cors", credentials: "include" };
  if (!gateway.startsWith(location.origin)) {
    await Promise.allSettled([
      fetch(`${gateway}/socket.io/?EIO=4&transport=polling`, blind),
      fetch(`${gateway}${session()}/xhr`, { ...blind, method: "POST" }),
      new Promise((done) => {
        const picture = new Image();
        picture.onload = picture.onerror = done;
        picture.src = `${gateway}/socket.io/?EIO=4&transport=polling&t=picture`;
      }),
    ]);
  }
  return Object.fromEntries(Object.keys(ways).map((name, i) => [name, results[i]]));
}

// A web site of one empty page; at /sandboxed it has no origin.
async function openSite() {
  const server = http.createServer((request, response) => {
    const headers = { "Content-Type": "text/html; charset=utf-8" };
    if (request.url === "/sandboxed") headers["Content-Security-Policy"] = "sandbox allow-scripts";
    response.writeHead(200, headers).end("<!doctype html><title>Elsewhere</title>");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: server.address().port,
    stop: () => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    }),
  };
}
