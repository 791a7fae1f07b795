// The line to the gateway: a WebSocket that carries one JSON object a frame and
// is dialled again with growing pauses until close(). It knows no dialect.

const firstPause = 500;
const longestPause = 8_000;

/**
 * What the listener is told:
 *   open()          the socket is up
 *   lost(pause)     the socket is gone, the next try is in `pause` ms
 *   heard(message)  the gateway sent this object
 */
export class Line {
  #url;
  #listener;
  #socket = null;
  #timer = 0;
  #pause = firstPause;
  #wanted = false;

  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
    addEventListener("online", () => this.#hurry());
  }

  open() {
    this.#wanted = true;
    this.#pause = firstPause;
    this.#dial();
  }

  close() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Gives the socket up and dials another. */
  again() {
    this.#socket?.close();
  }

  /** All is well: the next loss begins with a short pause. */
  settled() {
    this.#pause = firstPause;
  }

  /** Tells whether the message went out. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #dial() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => socket === this.#socket && this.#listener.open();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(data);
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#redial();
    };
  }

  // A little chance in each pause keeps a crowd that lost its gateway at one
  // moment from coming back at one moment.
  #redial() {
    if (!this.#wanted) return;
    const pause = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, longestPause);
    this.#timer = setTimeout(() => this.#dial(), pause);
    this.#listener.lost(pause);
  }

  // The network is back: why wait for the timer.
  #hurry() {
    if (!this.#wanted || this.#socket) return;
    clearTimeout(this.#timer);
    this.#dial();
  }

  #hear(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      console.warn("The gateway sent something that is not JSON.");
      return;
    }
    this.#listener.heard(message);
  }
}
