// The `id` dialect over a bare WebSocket: every word of the wire is in this
// file and nowhere else on the page. Outgoing messages are methods, incoming
// ones become calls on the listener. A lost socket is dialled again with
// growing pauses until close().

const firstPause = 500;
const longestPause = 8_000;

/**
 * What the listener is told:
 *   open()                 the socket is up: join now (also after every rejoin)
 *   lost(pause)            the socket is gone, the next try is in `pause` ms
 *   joined(members)        we are in; members: [{user, video, audio}] without us
 *   full()                 the room takes nobody else
 *   arrived(member)        somebody came
 *   left(user)             somebody went
 *   answered(user, sdp)    the answer to offer(user, …)
 *   found(user, candidate) a candidate of the gateway for that connection
 *   video(user, on), audio(user, on)
 */
export class Wire {
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

  join({ user, room, video, audio }) {
    this.#send({ id: "joinRoom", token: "", userId: user, communityId: "0", roomId: room, video, audio });
  }

  leave() {
    this.#send({ id: "leaveRoom" });
  }

  offer(user, sdp) {
    this.#send({ id: "receiveVideoFrom", userId: user, sdpOffer: sdp });
  }

  trickle(user, { candidate, sdpMid, sdpMLineIndex }) {
    this.#send({ id: "onIceCandidate", userId: user, candidate: { candidate, sdpMid, sdpMLineIndex } });
  }

  videoState(user, video) {
    this.#send({ id: "videoStateFrom", userId: user, video });
  }

  audioState(user, audio) {
    this.#send({ id: "audioStateFrom", userId: user, audio });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
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
    let m;
    try {
      m = JSON.parse(text);
    } catch {
      console.warn("The gateway sent something that is not JSON.");
      return;
    }
    switch (m.id) {
      case "existingParticipants":
        this.#pause = firstPause;
        return this.#listener.joined(m.members.map(memberOf));
      case "limitJoinAnswer": return this.#listener.full();
      case "newParticipantArrived": return this.#listener.arrived(memberOf(m.member));
      case "participantLeft": return this.#listener.left(m.userId);
      case "receiveVideoAnswer": return this.#listener.answered(m.userId, m.sdpAnswer);
      case "iceCandidate": return this.#listener.found(m.userId, m.candidate);
      case "videoStateAnswer": return this.#listener.video(m.userId, m.video);
      case "audioStateAnswer": return this.#listener.audio(m.userId, m.audio);
      default: console.warn(`The gateway sent an unknown message: ${m.id}`);
    }
  }
}

function memberOf({ userId, video, audio }) {
  return { user: userId, video, audio };
}
