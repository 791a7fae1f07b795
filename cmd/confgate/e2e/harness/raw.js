// Somebody with a client of their own making: what they send is what they say.

import { once } from "node:events";

import { WebSocket } from "ws";

export class RawClient {
  heard = [];
  #socket;
  #asked = 0;
  #looks = new Set(); // called when something was heard

  static async dial(url) {
    const client = new RawClient(new WebSocket(url.replace(/^http/, "ws")));
    await once(client.#socket, "open");
    return client;
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on("message", (text) => {
      this.heard.push(JSON.parse(text));
      for (const look of this.#looks) look();
    });
  }

  send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /** An eventOp request; resolves to its reply, which must be of that code. */
  async asks(message, code = "200") {
    const reqId = `raw-${++this.#asked}`;
    this.send({ ...message, reqId });
    const reply = await this.hears((m) => m.reqId === reqId);
    if (reply.code !== code) throw new Error(`${message.eventOp}: ${reply.code} ${reply.message}`);
    return reply;
  }

  /** Resolves to the first message that fits, which is taken out of what was heard. */
  hears(fits) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const i = this.heard.findIndex(fits);
        if (i < 0) return;
        clearTimeout(timer);
        this.#looks.delete(look);
        resolve(this.heard.splice(i, 1)[0]);
      };
      const timer = setTimeout(() => {
        this.#looks.delete(look);
        reject(new Error(`a message did not come; the last was ${JSON.stringify(this.heard.at(-1))}`));
      }, 20_000);
      this.#looks.add(look);
      look();
    });
  }

  async close() {
    const closed = once(this.#socket, "close");
    this.#socket.close();
    await closed;
  }
}
