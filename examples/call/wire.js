// The `id` dialect: every word of its wire is in this file and nowhere else on
// the page. Outgoing messages are methods, incoming ones become calls on the
// listener. A wire of another dialect has the same methods, and more.

import { Line } from "./line.js";

/**
 * What the listener is told:
 *   open()                 the socket is up: join now (also after every rejoin)
 *   lost(pause)            the socket is gone, the next try is in `pause` ms
 *   joined(members, room)  we are in; members: [{user, name, video, audio}] without us;
 *                          room: what more the dialect says of it
 *   full()                 the room takes nobody else
 *   arrived(member)        somebody came
 *   left(user)             somebody went
 *   feed(user, source)     there is something to see or hear: "cam" (or "screen")
 *   answered(user, sdp, source)     the answer to offer(user, …)
 *   found(user, candidate, source)  a candidate of the gateway for that connection
 *   video(user, on), audio(user, on)
 */
export class Wire {
  /** Who makes the offer for what others send: here it is the page. */
  gatewayOffers = false;
  iceServers = [];
  #line;
  #listener;

  constructor(url, listener) {
    this.#listener = listener;
    this.#line = new Line(url, {
      open: () => listener.open(),
      lost: (pause) => listener.lost(pause),
      heard: (message) => this.#heard(message),
    });
  }

  open() {
    this.#line.open();
  }

  close() {
    this.#line.close();
  }

  again() {
    this.#line.again();
  }

  join({ user, room, video, audio }) {
    this.#line.send({ id: "joinRoom", token: "", userId: user, communityId: "0", roomId: room, video, audio });
  }

  leave() {
    this.#line.send({ id: "leaveRoom" });
  }

  offer(user, sdp) {
    this.#line.send({ id: "receiveVideoFrom", userId: user, sdpOffer: sdp });
  }

  trickle(user, { candidate, sdpMid, sdpMLineIndex }) {
    this.#line.send({ id: "onIceCandidate", userId: user, candidate: { candidate, sdpMid, sdpMLineIndex } });
  }

  videoState(user, video) {
    this.#line.send({ id: "videoStateFrom", userId: user, video });
  }

  audioState(user, audio) {
    this.#line.send({ id: "audioStateFrom", userId: user, audio });
  }

  #heard(m) {
    switch (m.id) {
      case "existingParticipants": return this.#joined(m.members.map(memberOf));
      case "limitJoinAnswer": return this.#listener.full();
      case "newParticipantArrived": return this.#arrived(memberOf(m.member));
      case "participantLeft": return this.#listener.left(m.userId);
      case "receiveVideoAnswer": return this.#listener.answered(m.userId, m.sdpAnswer, "cam");
      case "iceCandidate": return this.#listener.found(m.userId, m.candidate, "cam");
      case "videoStateAnswer": return this.#listener.video(m.userId, m.video);
      case "audioStateAnswer": return this.#listener.audio(m.userId, m.audio);
      default: console.warn(`The gateway sent an unknown message: ${m.id}`);
    }
  }

  // Feeds are not announced in this dialect: whoever is there can be asked for.
  #joined(members) {
    this.#line.settled();
    this.#listener.joined(members, {});
    for (const { user } of members) this.#listener.feed(user, "cam");
  }

  #arrived(member) {
    this.#listener.arrived(member);
    this.#listener.feed(member.user, "cam");
  }
}

function memberOf({ userId, video, audio }) {
  return { user: userId, name: "", video, audio }; // the dialect has no names
}
