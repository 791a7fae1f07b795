// A community app's voice and video client, in the shape such clients have in
// the field: one SockJS connection, a send-only kurento peer for oneself, a
// receive-only one for each member, and a switch over message ids that throws
// on whatever it does not know. Tests read `received`, `transport` and stats().

"use strict";

class Participant {
  constructor(app, userId) {
    this.app = app;
    this.userId = userId;
    this.rtcPeer = null;
    this.video = document.createElement("video");
    this.video.id = `video-${userId}`;
    this.video.autoplay = true;
    this.video.playsInline = true;
    document.getElementById("participants").appendChild(this.video);
  }

  onIceCandidate(candidate) {
    this.app.send({ id: "onIceCandidate", userId: this.userId, candidate });
  }

  offer(Peer, options) {
    const self = this;
    this.rtcPeer = Peer(
      { ...options, configuration: { iceServers: [] }, onicecandidate: (candidate) => self.onIceCandidate(candidate) },
      function (error) {
        if (error) throw error;
        this.generateOffer((failure, sdpOffer) => {
          if (failure) throw failure;
          self.app.send({ id: "receiveVideoFrom", userId: self.userId, sdpOffer });
        });
      },
    );
  }

  dispose() {
    if (this.rtcPeer) this.rtcPeer.dispose();
    this.video.remove();
  }
}

class CommunityApp {
  constructor() {
    this.participants = {};
    this.received = [];
  }

  /** sockjs-client gives a connection a second or less to open, which a busy machine may need: then another is tried. */
  connect({ url, transport, userId, roomId, media }) {
    this.userId = userId;
    this.media = media;
    this.transport = null;
    this.socket = new SockJS(url, null, { transports: [transport] });
    this.socket.onopen = () => {
      this.transport = this.socket.transport;
      this.send({
        id: "joinRoom", token: "", userId, communityId: "1", roomId, video: Boolean(media?.video), audio: Boolean(media?.audio),
      });
    };
    this.socket.onmessage = (message) => this.onMessage(JSON.parse(message.data));
    this.socket.onclose = () => {
      if (!this.transport) this.connect({ url, transport, userId, roomId, media });
    };
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  onMessage(message) {
    this.received.push({ ...message, sdpAnswer: undefined });
    switch (message.id) {
      case "existingParticipants": return this.onExistingParticipants(message);
      case "newParticipantArrived": return this.receiveVideo(message.member.userId);
      case "participantLeft": return this.onParticipantLeft(message);
      case "receiveVideoAnswer": return this.onAnswer(message);
      case "iceCandidate": return this.onCandidate(message);
      case "videoStateAnswer": return this.onState(message, "video");
      case "audioStateAnswer": return this.onState(message, "audio");
      default: throw new Error(`Unrecognized message ${message.id}`);
    }
  }

  onExistingParticipants({ members }) {
    const me = new Participant(this, this.userId);
    this.participants[this.userId] = me;
    // Others first, oneself later: the camera takes its time to open.
    members.forEach(({ userId }) => this.receiveVideo(userId));
    if (this.media) me.offer(kurentoUtils.WebRtcPeer.WebRtcPeerSendonly, { localVideo: me.video, mediaConstraints: this.media });
  }

  receiveVideo(userId) {
    if (userId in this.participants) throw new Error(`${userId} is here already`);
    const participant = new Participant(this, userId);
    this.participants[userId] = participant;
    participant.offer(kurentoUtils.WebRtcPeer.WebRtcPeerRecvonly, { remoteVideo: participant.video });
  }

  onAnswer({ userId, sdpAnswer }) {
    this.known(userId).rtcPeer.processAnswer(sdpAnswer, (error) => { if (error) throw error; });
  }

  onCandidate({ userId, candidate }) {
    this.known(userId).rtcPeer.addIceCandidate(candidate, (error) => { if (error) throw error; });
  }

  onState(message, kind) {
    if (typeof message[kind] !== "boolean") throw new Error(`${kind} of ${message.userId} is ${message[kind]}`);
    this.known(message.userId)[`${kind}On`] = message[kind];
  }

  onParticipantLeft({ userId }) {
    this.known(userId).dispose();
    delete this.participants[userId];
  }

  known(userId) {
    const participant = this.participants[userId];
    if (!participant) throw new Error(`Message about an unknown user ${userId}`);
    return participant;
  }

  toggleVideo(on) {
    this.participants[this.userId].rtcPeer.videoEnabled = on;
    this.send({ id: "videoStateFrom", userId: this.userId, video: String(on) });
  }

  toggleAudio(on) {
    this.participants[this.userId].rtcPeer.audioEnabled = on;
    this.send({ id: "audioStateFrom", userId: this.userId, audio: on });
  }

  leave() {
    this.send({ id: "leaveRoom" });
    Object.values(this.participants).forEach((participant) => participant.dispose());
    this.participants = {};
    this.socket.close();
  }

  /** For each other member: the state of the connection and what has come through it. */
  async stats() {
    const all = {};
    for (const [userId, { rtcPeer, video }] of Object.entries(this.participants)) {
      if (userId === this.userId || !rtcPeer) continue;
      const pc = rtcPeer.peerConnection;
      const seen = { state: pc.connectionState, frames: 0, packets: 0, shown: video.videoWidth > 0 };
      for (const report of (await pc.getStats()).values()) {
        if (report.type !== "inbound-rtp") continue;
        if (report.kind === "video") seen.frames += report.framesDecoded ?? 0;
        if (report.kind === "audio") seen.packets += report.packetsReceived ?? 0;
      }
      all[userId] = seen;
    }
    return all;
  }
}

window.app = new CommunityApp();
