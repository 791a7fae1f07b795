// socket.io-client in the versions that pages and apps have, and the ways they connect.

import io2 from "socket.io-client-2.5.0";
import { io as io3 } from "socket.io-client-3.1.3";
import { io as io4 } from "socket.io-client-4.8.4";

import { patience } from "../harness/eventually.js";

export const versions = { "2.5.0": io2, "3.1.3": io3, "4.8.4": io4 };

export const ways = {
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
  websocket: ["websocket"],
};

export const options = (way, more) => ({
  transports: ways[way],
  forceNew: true,
  reconnectionDelay: 20,
  reconnectionDelayMax: 50,
  ...more,
});

/** Resolves to the arguments of the next event of that name. */
export function next(emitter, name, within = patience) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name} within ${within} ms`)), within);
    emitter.once(name, (...values) => {
      clearTimeout(timer);
      resolve(values);
    });
  });
}

/** Resolves to what comes with the acknowledgement. */
export function acknowledged(socket, event, ...values) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no acknowledgement")), 30_000);
    socket.emit(event, ...values, (reply) => {
      clearTimeout(timer);
      resolve(reply);
    });
  });
}

export const transport = (socket) => socket.io.engine?.transport.name;
