// A page of a classroom, as one writes it from the SDK's public documentation:
// boxes for people come with members and "join" and go with "leave", streams are
// fetched on "publish" and "subscribed", and everything else is a method call.
// It is as strict as real pages are, which throw on a box that is not there.
// Tests read `received` and stats(), and call the SDK themselves at `sdk`.

"use strict";

// Encoding and decoding many videos takes a machine its time; small ones do.
const small = { audio: true, video: { width: 160, height: 90, frameRate: 10 } };

class Classroom {
  sdk = new Knowledgetalk();
  received = [];
  canvas = document.getElementById("board");
  #clock = 0;

  constructor() {
    this.sdk.addEventListener("presence", ({ detail }) => this.onPresence(detail));
    for (const type of ["disconnected", "reconnected"]) {
      this.sdk.addEventListener(type, ({ detail }) => this.received.push({ type, ...detail }));
    }
  }

  async start({ cpCode, id, name, forced }) {
    return this.sdk.init(cpCode, "a-key", id, name, "e2e", forced);
  }

  async enter(roomId) {
    const room = await this.sdk.joinRoom(roomId);
    if (room.code !== "200") throw new Error(`joinRoom: ${room.code} ${room.message}`);
    for (const id of Object.keys(room.members)) {
      if (id !== this.sdk.getUserId()) this.addBox(id);
    }
    return room;
  }

  async leave(roomId = this.sdk.getRoomId()) {
    const reply = await this.sdk.leaveRoom(roomId);
    document.getElementById("videos").replaceChildren();
    return reply;
  }

  async camera(media = small) {
    this.stream ??= await navigator.mediaDevices.getUserMedia(media);
    return this.stream;
  }

  /** Has another camera take over. */
  async changeCamera() {
    this.stream = await navigator.mediaDevices.getUserMedia(small);
    return this.sdk.changeLocalStream(this.stream);
  }

  async publish(media) {
    return this.sdk.publishVideo("cam", await this.camera(media));
  }

  async call(target) {
    return this.sdk.publishP2P(target, "cam", await this.camera());
  }

  /** Shares a screen that shows a clock; resolves to what the SDK says. */
  async shareScreen(target, canvas) {
    const screen = document.createElement("canvas");
    Object.assign(screen, { width: 160, height: 90 });
    const draw = screen.getContext("2d");
    clearInterval(this.#clock);
    this.#clock = setInterval(() => {
      draw.fillStyle = `hsl(${performance.now() / 20} 80% 50%)`;
      draw.fillRect(0, 0, 160, 90);
    }, 100);
    this.screen = screen.captureStream(10);
    return this.sdk.screenStart(this.screen, target, canvas ? this.canvas : undefined);
  }

  async onPresence(message) {
    this.received.push(message);
    const { type, user, feeds } = message;
    switch (type) {
      case "join":
        this.addBox(user.id);
        break;
      case "leave":
        this.box(user).remove();
        break;
      case "publish":
        for (const feed of feeds) {
          const stream = await this.sdk.subscribeVideo(feed.id, feed.type);
          if (!stream) throw new Error(`no ${feed.type} of ${feed.id}`);
          this.show(feed.type === "screen" ? this.addBox("screen") : this.box(feed.id), stream);
        }
        break;
      case "subscribed":
        this.show(message.cam ? this.box(user) : this.addBox("screen"), this.sdk.getStream(message.cam ? user : "screen"));
        break;
      case "shareStop":
        document.getElementById("box-screen")?.remove();
        break;
      case "whiteboard":
      case "document":
        this.sdk.canvasInit(this.canvas);
        break;
      case "kickOut":
        await this.leave();
        break;
    }
  }

  addBox(id) {
    if (document.getElementById(`box-${id}`)) return document.getElementById(`box-${id}`);
    const video = document.createElement("video");
    Object.assign(video, { id: `box-${id}`, autoplay: true, playsInline: true });
    document.getElementById("videos").append(video);
    return video;
  }

  box(id) {
    const box = document.getElementById(`box-${id}`);
    if (!box) throw new Error(`there is no box of ${id}`);
    return box;
  }

  show(box, stream) {
    if (!(stream instanceof MediaStream)) throw new Error(`nothing to show in ${box.id}`);
    box.srcObject = stream;
  }

  /** The colour of the board at a place given in parts of its size, as [r, g, b, a]. */
  pixel(x, y) {
    const { width, height } = this.canvas;
    return [...this.canvas.getContext("2d").getImageData(Math.round(x * width), Math.round(y * height), 1, 1).data];
  }

  /** Such colours all over a box. */
  pixels(x0, y0, x1, y1) {
    const steps = Array.from({ length: 24 }, (_, i) => i / 23);
    return steps.flatMap((v) => steps.map((u) => this.pixel(x0 + u * (x1 - x0), y0 + v * (y1 - y0))));
  }

  /** What has come in from somebody, or as "screen". */
  async stats(id) {
    const peer = this.sdk.getPeer(id);
    const video = document.getElementById(`box-${id}`);
    const seen = { state: peer?.connectionState, shown: Boolean(video?.videoWidth), frames: 0, packets: 0 };
    for (const report of (await peer?.getStats())?.values() ?? []) {
      if (report.type !== "inbound-rtp") continue;
      if (report.kind === "video") seen.frames += report.framesDecoded ?? 0;
      if (report.kind === "audio") seen.packets += report.packetsReceived ?? 0;
    }
    return seen;
  }
}

window.app = new Classroom();
