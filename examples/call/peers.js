// The peer connections of a call: those that send what is ours, one for the
// camera and microphone and one for the screen, and one for each feed of the
// others that only receives. Who makes the offer for the latter is the dialect's
// choice. Each connection is negotiated once: switching a device changes the
// track of a sender, never the description.

const firstRetry = 1_000;
const longestRetry = 16_000;
const videoBitrate = { cam: 900_000, screen: 2_500_000 }; // bits a second; a small tile needs no more

/**
 * What the listener is told; the source is "cam" or "screen":
 *   track(user, track, source)  what that member sends: one audio and one video track
 *   state(user, state, source)  the connection's state, "failed" until a retry
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
  #listener;
  #early = []; // candidates that came before the answer
  #timer = 0;
  #pause = firstRetry;

  constructor(user, source, wire, listener) {
    this.user = user;
    this.source = source;
    this.wire = wire;
    this.#listener = listener;
  }

  async connect() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: this.wire.iceServers });
    this.pc?.close();
    this.pc = pc;
    this.#early = [];
    pc.onicecandidate = ({ candidate }) => {
      if (pc === this.pc && candidate?.candidate) this.wire.trickle(this.user, candidate, this.source);
    };
    pc.ontrack = ({ track }) => this.#listener.track(this.user, track, this.source);
    pc.onconnectionstatechange = () => pc === this.pc && this.#changed(pc.connectionState);
    this.#listener.state(this.user, "connecting", this.source);
    try {
      await this.negotiate(pc);
    } catch (error) {
      if (pc === this.pc) throw error; // else it was closed meanwhile
    }
  }

  // We offer, unless a kind of link knows better.
  async negotiate(pc) {
    await this.prepare(pc);
    await pc.setLocalDescription();
    if (pc === this.pc) this.wire.offer(this.user, pc.localDescription.sdp, this.source);
  }

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
    this.wire.answer(this.user, pc.localDescription.sdp, this.source);
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
    this.#listener.state(this.user, state, this.source);
    if (state === "connected") this.#pause = firstRetry;
    if (state === "failed") this.#retry();
  }

  #retry() {
    clearTimeout(this.#timer); // refused and failed may both be told
    this.#timer = setTimeout(() => this.connect(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, longestRetry);
  }
}

class Downlink extends Link {
  constructor(user, source, wire, listener) {
    super(user, source, wire, listener);
    this.connect();
  }

  prepare(pc) {
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.addTransceiver("video", { direction: "recvonly" });
  }

  async level() {
    const receiver = this.pc?.getReceivers().find(({ track }) => track.kind === "audio");
    return receiver ? loudest(await receiver.getStats(), "inbound-rtp") : 0;
  }
}

// OfferedDownlink is one for which the gateway makes the offer.
class OfferedDownlink extends Downlink {
  negotiate() {
    this.wire.subscribe(this.user, this.source);
  }
}

class Uplink extends Link {
  #tracks;
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
      sendEncodings: [{ maxBitrate: videoBitrate[this.source] }],
    });
    await Promise.all([audio.sender.replaceTrack(this.#tracks.audio), video.sender.replaceTrack(this.#tracks.video)]);
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
