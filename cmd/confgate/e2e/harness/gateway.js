// The gateway under test: the binary that people run, built from this tree,
// on free ports of the loopback.

import { execFile, spawn } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { eventually } from "./eventually.js";
import { scratch } from "./scratch.js";

const run = promisify(execFile);
const repository = path.resolve(import.meta.dirname, "../../../..");
const logKept = 100_000; // lines
const logShown = 200; // of them, with a test that fails
const endsWithin = 20_000; // milliseconds, drain time included

// Whatever ends this process ends its gateways too.
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** Builds the gateway, unless CONFGATE names a binary to test. */
export async function build() {
  if (process.env.CONFGATE) return { binary: path.resolve(process.env.CONFGATE), remove() {} };
  const folder = scratch("build");
  const binary = path.join(folder.path, "confgate");
  await run("go", ["build", "-o", binary, "./cmd/confgate"], { cwd: repository });
  return { binary, remove: folder.remove };
}

export class Gateway {
  #binary;
  #arguments;
  #child = null;
  #log = [];

  /** Starts one in development mode, which lets everybody in. */
  static start(binary, ...extra) {
    return Gateway.startGuarded(binary, "--dev", ...extra);
  }

  /** Starts one that is as careful as those that serve. */
  static async startGuarded(binary, ...extra) {
    const [port, admin, media] = await Promise.all([freePort(), freePort(), freePort({ udp: true })]);
    const gateway = new Gateway(binary, port, admin, media, extra);
    await gateway.start();
    return gateway;
  }

  constructor(binary, port, admin, media, extra) {
    this.#binary = binary;
    this.url = `http://127.0.0.1:${port}`;
    this.admin = `http://127.0.0.1:${admin}`;
    this.mediaPort = media;
    this.#arguments = [
      "serve", "--listen", `127.0.0.1:${port}`, "--admin-listen", `127.0.0.1:${admin}`, "--media-port", `${media}`, ...extra,
    ];
  }

  /** The last lines that it logged. */
  get log() {
    return this.#log.slice(-logShown).join("\n");
  }

  /** All that it logged. */
  get wholeLog() {
    return this.#log.join("\n");
  }

  async start() {
    const child = spawn(this.#binary, this.#arguments, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on("line", (line) => {
        this.#log.push(line);
        if (this.#log.length > logKept) this.#log.shift();
      });
    }
    await eventually("the gateway is ready", async () => {
      if (child.exitCode !== null) throw new Error(`the gateway ended with ${child.exitCode}:\n${this.log}`);
      return (await fetch(`${this.admin}/readyz`).catch(() => null))?.ok;
    }, { fatal: true });
  }

  /** Ends it as an operator does; resolves to the exit code, null if it had to be killed. */
  stop() {
    return this.#end("SIGTERM");
  }

  /** Ends it as a dead machine does. */
  kill() {
    return this.#end("SIGKILL");
  }

  async #end(signal) {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const exit = once(child, "exit");
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), endsWithin);
    const [code] = await exit;
    clearTimeout(late);
    return code;
  }

  /** The value of a gauge or counter, summed over its labels. */
  async metric(name) {
    const text = await (await fetch(`${this.admin}/metrics`)).text();
    const values = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return values.length && values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }
}

// A port that is free for TCP and, if asked, for UDP as well.
async function freePort({ udp = false } = {}) {
  for (;;) {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address();
    const free = !udp || (await freeForUDP(port));
    server.close();
    await once(server, "close");
    if (free) return port;
  }
}

async function freeForUDP(port) {
  const socket = dgram.createSocket("udp4");
  try {
    const bound = once(socket, "listening"); // rejects on an error event
    socket.bind(port, "127.0.0.1");
    await bound;
    return true;
  } catch {
    return false;
  } finally {
    socket.close();
  }
}
