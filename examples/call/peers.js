// The peer connections of a call: one that sends our own camera and
// microphone, and one for each other member that only receives. The page
// offers, always, and each connection is negotiated once: switching a device
// changes the track of a sender, never the description.

const firstRetry = 1_000;
const longestRetry = 16_000;
const videoBitrate = 900_000; // bits a second; a small tile needs no more

/**
 * What the listener is told:
 *   track(user, track)  what that member sends: one audio and one video track
 *   state(user, state)  the connection's state, "failed" until a retry
 */
export class Peers {
  #me;
  #wire;
  #listener;
  #uplink = null;
  #downlinks = new Map(); // user → Downlink

  constructor(me, wire, listener) {
    this.#me = me;
    this.#wire = wire;
    this.#listener = listener;
  }

  /** Sends these tracks as ours; null is a device that is off or missing. */
  publish(tracks) {
    if (this.#uplink) return this.#uplink.replace(tracks);
    if (!tracks.audio && !tracks.video) return; // nothing to send, nothing to set up
    this.#uplink = new Uplink(this.#me, this.#wire, this.#listener, tracks);
  }

  subscribe(user) {
    this.drop(user);
    this.#downlinks.set(user, new Downlink(user, this.#wire, this.#listener));
  }

  drop(user) {
    this.#downlinks.get(user)?.close();
    this.#downlinks.delete(user);
  }

  answered(user, sdp) {
    this.#link(user)?.answered(sdp);
  }

  found(user, candidate) {
    this.#link(user)?.found(candidate);
  }

  close() {
    this.#uplink?.close();
    this.#uplink = null;
    for (const user of [...this.#downlinks.keys()]) this.drop(user);
  }

  /** How loud everybody is now: user → 0…1. */
  async levels() {
    const links = [...this.#downlinks.values()];
    if (this.#uplink) links.push(this.#uplink);
    return new Map(await Promise.all(links.map(async (link) => [link.user, await link.level()])));
  }

  #link(user) {
    return user === this.#me ? this.#uplink : this.#downlinks.get(user);
  }
}

// Link is a connection to the gateway that is made anew, with growing pauses,
// when it fails.
class Link {
  user;
  pc = null;
  #wire;
  #listener;
  #early = []; // candidates that came before the answer
  #timer = 0;
  #pause = firstRetry;

  constructor(user, wire, listener) {
    this.user = user;
    this.#wire = wire;
    this.#listener = listener;
  }

  async connect() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc?.close();
    this.pc = pc;
    this.#early = [];
    pc.onicecandidate = ({ candidate }) => {
      if (pc === this.pc && candidate?.candidate) this.#wire.trickle(this.user, candidate);
    };
    pc.ontrack = ({ track }) => this.#listener.track(this.user, track);
    pc.onconnectionstatechange = () => pc === this.pc && this.#changed(pc.connectionState);
    this.#listener.state(this.user, "connecting");
    try {
      await this.prepare(pc);
      await pc.setLocalDescription();
    } catch (error) {
      if (pc === this.pc) throw error; // else it was closed meanwhile
    }
    if (pc === this.pc) this.#wire.offer(this.user, pc.localDescription.sdp);
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
    if (pc !== this.pc) return;
    for (const candidate of this.#early.splice(0)) this.found(candidate);
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

  #changed(state) {
    this.#listener.state(this.user, state);
    if (state === "connected") this.#pause = firstRetry;
    if (state === "failed") this.#retry();
  }

  #retry() {
    this.#timer = setTimeout(() => this.connect(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, longestRetry);
  }
}

class Downlink extends Link {
  constructor(user, wire, listener) {
    super(user, wire, listener);
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

class Uplink extends Link {
  #tracks;
  #stream = new MediaStream();

  constructor(user, wire, listener, tracks) {
    super(user, wire, listener);
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
      sendEncodings: [{ maxBitrate: videoBitrate }],
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
