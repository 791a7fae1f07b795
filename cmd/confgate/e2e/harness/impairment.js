// A bad line: a UDP proxy on the loopback that loses, delays, reorders, doubles
// and damages datagrams between clients and the gateway's media port, the same
// way each time for the same seed, and is as thin as it is asked to be. Each client
// has a socket of its own towards the gateway, which so tells them apart; they share
// the line's bandwidth. `detour` brings a page onto it.

import dgram from "node:dgram";
import { once } from "node:events";

const longestQueue = 4_096; // datagrams under way in one direction; what comes above that is lost
const receiveBuffer = 1 << 20; // bytes

/**
 * What happens to a datagram, each way:
 *   loss, duplicate, corrupt  how likely, 0…1
 *   reorder                   how likely it goes ahead of those that wait
 *   delay, jitter             milliseconds: from delay to delay + jitter
 *   rate, queue               bits a second of UDP payload, and for how many milliseconds
 *                             a datagram may wait for its turn; it is lost if that is longer
 */
const perfect = { loss: 0, delay: 0, jitter: 0, reorder: 0, duplicate: 0, corrupt: 0, rate: Infinity, queue: Infinity };

export class Impairment {
  port = 0;
  #seed;
  #quality;
  #gateway; // the media port
  #front; // the socket that clients send to
  #clients = new Map(); // address → {socket, up, down}
  #links; // of each direction, which all clients share

  /** Is told of every datagram that comes, "up" or "down", and whether it is lost. */
  watch = () => {};

  static async start(gateway, { seed = 1, ...quality }) {
    const line = new Impairment(gateway, seed, quality);
    await once(line.#front, "listening");
    line.#front.setRecvBufferSize(receiveBuffer);
    line.port = line.#front.address().port;
    return line;
  }

  constructor(gateway, seed, quality) {
    this.#gateway = gateway;
    this.#seed = seed;
    this.#quality = { ...perfect, ...quality };
    this.#links = { up: new Link(this.#quality), down: new Link(this.#quality) };
    this.#front = socket((datagram, from) => this.#client(from).up.take(datagram));
  }

  /**
   * What has come to each way so far, to the gateway and from it: {up, down}, each
   * {taken, lost, passed}. What was doubled is passed twice.
   */
  get counts() {
    const sum = (way) => {
      const total = { taken: 0, lost: 0, passed: 0 };
      for (const client of this.#clients.values()) {
        for (const what of Object.keys(total)) total[what] += client[way][what];
      }
      return total;
    };
    return { up: sum("up"), down: sum("down") };
  }

  /** From now on the line is like this, for what comes. */
  become(quality) {
    Object.assign(this.#quality, perfect, quality);
  }

  stop() {
    this.#front.close();
    for (const { socket, up, down } of this.#clients.values()) {
      up.end();
      down.end();
      socket.close();
    }
    this.#clients.clear();
  }

  #client({ address, port }) {
    const key = `${address}:${port}`;
    const known = this.#clients.get(key);
    if (known) return known;
    const client = {};
    client.socket = socket((datagram) => client.down.take(datagram));
    client.up = this.#way("up", (datagram) => client.socket.send(datagram, this.#gateway, "127.0.0.1"));
    client.down = this.#way("down", (datagram) => this.#front.send(datagram, port, address));
    this.#clients.set(key, client);
    return client;
  }

  #way(direction, deliver) {
    const random = randomness((this.#seed += 0x9e3779b9));
    const seen = (datagram, lost) => this.watch(direction, datagram, lost);
    return new Way(this.#quality, this.#links[direction], random, seen, deliver);
  }
}

// Link sends one datagram after the other, at the line's rate.
class Link {
  #quality;
  #free = 0; // when what has been taken will have been sent

  constructor(quality) {
    this.#quality = quality;
  }

  // Gives the milliseconds until that many bytes have been sent, or null when they
  // would have to wait for too long.
  take(bytes) {
    const { rate, queue } = this.#quality;
    const now = performance.now();
    const wait = Math.max(0, this.#free - now);
    if (rate === Infinity) return 0;
    if (wait > queue) return null;
    this.#free = now + wait + (8_000 * bytes) / rate;
    return this.#free - now;
  }
}

// Way is one direction of one client's line.
class Way {
  taken = 0;
  lost = 0;
  passed = 0;
  #quality;
  #link;
  #random;
  #seen;
  #deliver;
  #queue = []; // {datagram, due}, in the order in which they leave
  #timer = null;

  constructor(quality, link, random, seen, deliver) {
    this.#quality = quality;
    this.#link = link;
    this.#random = random;
    this.#seen = seen;
    this.#deliver = deliver;
  }

  take(datagram) {
    const { loss, delay, jitter, reorder, duplicate, corrupt } = this.#quality;
    this.taken++;
    // Each datagram takes as many numbers as any other, whatever becomes of it.
    const [lose, double, damage, overtake, late, place] = Array.from({ length: 6 }, this.#random);
    const turn = lose < loss || this.#queue.length >= longestQueue ? null : this.#link.take(datagram.length);
    this.#seen(datagram, turn === null);
    if (turn === null) {
      this.lost++;
      return;
    }
    if (damage < corrupt) datagram[Math.floor(place * datagram.length)] ^= 0xff;
    const arrival = turn + delay + jitter * late;
    this.#enqueue(datagram, arrival, overtake < reorder);
    if (double < duplicate) this.#enqueue(datagram, arrival, false);
  }

  end() {
    clearTimeout(this.#timer);
    this.#queue = [];
    this.#deliver = () => {};
  }

  // Nobody overtakes by having less delay: that is what reordering is for.
  #enqueue(datagram, arrival, overtakes) {
    this.passed++;
    const due = performance.now() + arrival;
    const last = this.#queue.at(-1);
    if (overtakes && last) this.#queue.unshift({ datagram, due: this.#queue[0].due });
    else this.#queue.push({ datagram, due: Math.max(due, last?.due ?? 0) });
    this.#timer ??= setTimeout(() => this.#flush(), arrival);
  }

  #flush() {
    const now = performance.now();
    while (this.#queue.length && this.#queue[0].due <= now) this.#deliver(this.#queue.shift().datagram);
    this.#timer = this.#queue.length ? setTimeout(() => this.#flush(), this.#queue[0].due - now) : null;
  }
}

function socket(heard) {
  const made = dgram.createSocket("udp4", heard);
  made.on("error", () => {}); // a client that is gone; nobody misses what was for it
  made.bind(0, "127.0.0.1");
  return made;
}

// A xorshift generator: numbers in 0…1, the same for the same seed.
function randomness(seed) {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

/**
 * Runs in a page, before its scripts: the gateway is reached over UDP at that port
 * of the loopback and in no other way. Connections are kept in window.connections.
 */
export function detour(port) {
  window.connections = [];
  // candidate:foundation component transport priority address port typ …
  const turned = (line) => line.replace(/(candidate:\S+ \d+ udp \d+) \S+ \d+ /i, `$1 127.0.0.1 ${port} `);
  const isUDP = (line) => !line.includes("candidate:") || / udp /i.test(line);
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super(configuration);
      window.connections.push(this);
    }

    setRemoteDescription({ type, sdp }) {
      return super.setRemoteDescription({ type, sdp: sdp.split("\r\n").filter(isUDP).map(turned).join("\r\n") });
    }

    async addIceCandidate(found) {
      if (!found?.candidate) return super.addIceCandidate(found);
      if (isUDP(found.candidate)) await super.addIceCandidate({ ...found, candidate: turned(found.candidate) });
    }
  };
}
