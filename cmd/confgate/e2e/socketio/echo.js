// The two servers that the Socket.IO tests compare: this project's framing over a
// dialect that repeats what it is told, and the reference server from npm, told to
// do the same.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { Server } from "socket.io";

import { scratch } from "../harness/scratch.js";

const run = promisify(execFile);
const repository = path.resolve(import.meta.dirname, "../../../..");

export const namespaces = ["/", "/SignalServer"];
export const event = "knowledgetalk";

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** Builds the framing's test server. */
export async function buildEcho() {
  const folder = scratch("echo");
  const binary = path.join(folder.path, "echo");
  await run("go", ["build", "-o", binary, "./transport/testdata/echo"], { cwd: repository });
  return { binary, remove: folder.remove };
}

export async function startEcho(binary, ...flags) {
  const child = spawn(binary, flags, { stdio: ["pipe", "pipe", "inherit"] });
  running.add(child);
  const [address] = await once(createInterface(child.stdout), "line");
  return {
    url: `http://${address}`,
    async stop() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
      running.delete(child);
    },
  };
}

/** Starts the reference server, with the same limits. */
export async function startReference({ heartbeat = 25_000, maxPayload = 10 << 20 } = {}) {
  const http = createServer();
  const io = new Server(http, {
    allowEIO3: true,
    cors: { origin: true, credentials: true },
    pingInterval: heartbeat,
    pingTimeout: 20_000,
    maxHttpBufferSize: maxPayload,
    serveClient: false,
    httpCompression: false,
  });
  for (const namespace of namespaces) {
    io.of(namespace).on("connection", (socket) => socket.on(event, (message, acknowledge) => repeat(io, socket, message, acknowledge)));
  }
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${http.address().port}`, stop: () => io.close() };
}

function repeat(io, socket, sent, acknowledge) {
  let message = typeof sent === "string" ? JSON.parse(sent) : sent;
  message ??= null;
  if (message?.join) {
    for (const name of namespaces) {
      for (const other of io.of(name).sockets.values()) {
        if (other !== socket && other.data.name === message.join) other.disconnect();
      }
    }
    socket.data.name = message.join;
  }
  const replies = message?.burst ? Array.from({ length: 200 }, (_, i) => ({ i, text: "한글😀" })) : [message];
  socket.emit(event, replies[0]);
  if (typeof acknowledge === "function") acknowledge(replies[0]);
  for (const reply of replies.slice(1)) socket.emit(event, reply);
}
