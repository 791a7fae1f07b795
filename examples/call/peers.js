// The peer connections of a call: those that send what is ours, one for the
// camera and microphone and one for the screen, and one for each feed of the
// others that only receives. Who makes the offer for the latter is the dialect's
// choice. Each connection is negotiated once, and again only when the place for a
// picture becomes another: switching a device changes the track of a sender, never
// the description.

import { encodings, isLayered, sized, useful } from "./layers.js";

const firstRetry = 1_000;
const longestRetry = 16_000;

/**
 * What the listener is told; the source is "cam" or "screen":
 *   track(user, track, source)  what that member sends: one audio and one video track
 *   state(user, state, source)  the connection's state, "failed" until a retry
 * and what it is asked:
 *   place(user, source)         {width, height} of the picture's place, in the screen's own pixels
 */
export class Peers {
  #me;
  #wire;
  #listener;
  #links = new Map(); // source and user → Link

  constructor(me, wire, listener) {
    this.#me = me;
    this.#wire = wire;
    this.#listener = listener;
  }

  /** Sends these tracks as ours; null is a device that is off or missing. */
  publish(tracks, source = "cam") {
    const uplink = this.#link(this.#me, source);
    if (uplink) return uplink.replace(tracks);
    if (!tracks.audio && !tracks.video) return; // nothing to send, nothing to set up
    this.#links.set(key(this.#me, source), new Uplink(this.#me, source, this.#wire, this.#listener, tracks));
  }

  subscribe(user, source = "cam") {
    this.drop(user, source);
    const kind = this.#wire.gatewayOffers ? OfferedDownlink : Downlink;
    this.#links.set(key(user, source), new kind(user, source, this.#wire, this.#listener));
  }

  /** Ends one connection with that member; without a source, all. */
  drop(user, source) {
    for (const s of source ? [source] : ["cam", "screen"]) {
      this.#link(user, s)?.close();
      this.#links.delete(key(user, s));
    }
  }

  /** The places of pictures have changed. */
  fit() {
    for (const link of this.#links.values()) link.fit();
  }

  answered(user, sdp, source) {
    this.#link(user, source)?.answered(sdp);
  }

  offered(user, sdp, source) {
    this.#link(user, source)?.offered(sdp);
  }

  /** The gateway makes no such connection now; when the feed is gone, nor later. */
  refused(user, source, gone) {
    if (!gone) return this.#link(user, source)?.refused();
    this.drop(user, source);
    this.#listener.state(user, "new", source);
  }

  found(user, candidate, source) {
    this.#link(user, source)?.found(candidate);
  }

  close() {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  /** How loud everybody is now: user → 0…1. */
  async levels() {
    const links = [...this.#links.values()].filter(({ source }) => source === "cam");
    return new Map(await Promise.all(links.map(async (link) => [link.user, await link.level()])));
  }

  #link(user, source) {
    return this.#links.get(key(user, source));
  }
}

function key(user, source) {
  return `${source} ${user}`;
}

// Link is a connection to the gateway that is made anew, with growing pauses,
// when it fails.
class Link {
  user;
  source;
  pc = null;
  wire;
  listener;
  #early = []; // candidates that came before the answer
  #timer = 0;
  #pause = firstRetry;

  constructor(user, source, wire, listener) {
    this.user = user;
    this.source = source;
    this.wire = wire;
    this.listener = listener;
  }

  async connect() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: this.wire.iceServers });
    this.pc?.close();
    this.pc = pc;
    this.#early = [];
    pc.onicecandidate = ({ candidate }) => {
      if (pc === this.pc && candidate?.candidate) this.wire.trickle(this.user, candidate, this.source);
    };
    pc.ontrack = ({ track }) => this.listener.track(this.user, track, this.source);
    pc.onconnectionstatechange = () => pc === this.pc && this.#changed(pc.connectionState);
    this.listener.state(this.user, "connecting", this.source);
    await this.step(pc, () => this.negotiate(pc));
  }

  // Does what fails when the connection is closed meanwhile.
  async step(pc, act) {
    try {
      await act();
    } catch (error) {
      if (pc === this.pc) throw error;
    }
  }

  // We offer, unless a kind of link knows better.
  async negotiate(pc) {
    await this.prepare(pc);
    await this.offer(pc);
  }

  async offer(pc) {
    await pc.setLocalDescription();
    if (pc === this.pc) this.wire.offer(this.user, this.described(pc), this.source);
  }

  // Our description, as the gateway is to have it.
  described(pc) {
    return pc.localDescription.sdp;
  }

  /** Wishes for a picture of another size if its place is another now. */
  fit() {}

  async answered(sdp) {
    const pc = this.pc;
    if (pc?.signalingState !== "have-local-offer") return;
    try {
      await pc.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      if (pc === this.pc) console.error(`The answer for ${this.user} was not understood.`, error);
      return;
    }
    if (pc === this.pc) this.#addEarly();
  }

  async offered(sdp) {
    const pc = this.pc;
    if (!pc || pc.remoteDescription) return;
    try {
      await pc.setRemoteDescription({ type: "offer", sdp });
      await pc.setLocalDescription();
    } catch (error) {
      if (pc === this.pc) console.error(`The offer for ${this.user} was not understood.`, error);
      return;
    }
    if (pc !== this.pc) return;
    this.wire.answer(this.user, this.described(pc), this.source);
    this.#addEarly();
  }

  refused() {
    if (this.pc) this.#changed("failed");
  }

  found(candidate) {
    const pc = this.pc;
    if (!pc?.remoteDescription) {
      this.#early.push(candidate);
      return;
    }
    if (!isOf(candidate, pc.remoteDescription)) return;
    pc.addIceCandidate(candidate).catch((error) => {
      if (pc === this.pc) console.warn(`A candidate for ${this.user} was not understood.`, error);
    });
  }

  close() {
    clearTimeout(this.#timer);
    this.pc?.close();
    this.pc = null;
  }

  #addEarly() {
    for (const candidate of this.#early.splice(0)) this.found(candidate);
  }

  #changed(state) {
    this.listener.state(this.user, state, this.source);
    if (state === "connected") {
      this.#pause = firstRetry;
      this.fit();
    }
    if (state === "failed") this.#retry();
  }

  #retry() {
    clearTimeout(this.#timer); // refused and failed may both be told
    this.#timer = setTimeout(() => this.connect(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, longestRetry);
  }
}

// A candidate of a connection that was replaced may come late. Browsers would hold it
// against the same address, which the new one has as well.
function isOf({ candidate, usernameFragment }, { sdp }) {
  const ufrag = usernameFragment ?? candidate.match(/ ufrag (\S+)/)?.[1];
  return !ufrag || sdp.includes(`\na=ice-ufrag:${ufrag}\r`);
}

class Downlink extends Link {
  asked = null; // the largest picture that the gateway was told is of use; null is any

  constructor(user, source, wire, listener) {
    super(user, source, wire, listener);
    this.connect();
  }

  prepare(pc) {
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.addTransceiver("video", { direction: "recvonly" });
  }

  described(pc) {
    this.asked = this.#useful();
    return sized(super.described(pc), this.asked);
  }

  fit() {
    const ready = this.pc?.connectionState === "connected" && this.pc.signalingState === "stable";
    const picture = this.#useful();
    if (ready && picture !== this.asked) this.ask(picture);
  }

  ask() {
    const pc = this.pc;
    return this.step(pc, () => this.offer(pc));
  }

  #useful() {
    return useful(this.source, this.listener.place(this.user, this.source));
  }

  async level() {
    const receiver = this.pc?.getReceivers().find(({ track }) => track.kind === "audio");
    return receiver ? loudest(await receiver.getStats(), "inbound-rtp") : 0;
  }
}

// OfferedDownlink is one for which the gateway makes the offer. It takes one answer,
// so asking for more takes another connection, and less is not worth one.
class OfferedDownlink extends Downlink {
  negotiate() {
    this.wire.subscribe(this.user, this.source);
  }

  ask(picture) {
    if (!picture) this.connect();
  }
}

class Uplink extends Link {
  #tracks;
  #layered = true; // as far as we know, the gateway takes several layers
  #stream = new MediaStream();

  constructor(user, source, wire, listener, tracks) {
    super(user, source, wire, listener);
    this.#tracks = tracks;
    this.connect();
  }

  // Both lines are offered even when a device is off, so that it can be
  // switched on later without a new offer.
  async prepare(pc) {
    const streams = [this.#stream];
    const audio = pc.addTransceiver("audio", { direction: "sendonly", streams });
    const video = pc.addTransceiver("video", {
      direction: "sendonly",
      streams,
      sendEncodings: encodings(this.source, this.#tracks.video, { layered: this.#layered }),
    });
    await Promise.all([audio.sender.replaceTrack(this.#tracks.audio), video.sender.replaceTrack(this.#tracks.video)]);
  }

  // A gateway that takes one layer is offered one: else it would be the smallest.
  async answered(sdp) {
    const offered = this.pc?.localDescription?.sdp ?? "";
    if (!isLayered(offered) || isLayered(sdp)) return super.answered(sdp);
    this.#layered = false;
    await this.connect();
  }

  replace(tracks) {
    this.#tracks = tracks;
    if (!this.pc) return;
    const [audio, video] = this.pc.getTransceivers();
    audio?.sender.replaceTrack(tracks.audio);
    video?.sender.replaceTrack(tracks.video);
  }

  async level() {
    const sender = this.pc?.getSenders()[0];
    return sender ? loudest(await sender.getStats(), "media-source") : 0;
  }
}

function loudest(stats, type) {
  let level = 0;
  for (const s of stats.values()) {
    if (s.type === type && s.kind === "audio") level = Math.max(level, s.audioLevel ?? 0);
  }
  return level;
}
