// SPDX-License-Identifier: Apache-2.0
//
// The browser SDK of the eventOp dialect, for pages written against
// KnowledgeTalk's: a page loads this file from the gateway with a plain script
// element and uses the global class Knowledgetalk. It is a work of its own,
// written from the public documentation of that API.
//
//   Wire           one connection: Socket.IO, or a bare WebSocket without it
//   Peer           one RTCPeerConnection: one stream, in one direction
//   Board          a canvas that several people draw on
//   Knowledgetalk  what pages see
//
// Methods resolve to the gateway's reply, {code, message, …}, and "200" is good;
// those that hand out media resolve to true or a MediaStream, and to false when
// it did not work. None rejects because of what a gateway or a network does.
// Text that others send is never made into HTML. The file needs no build; it
// runs in browsers from 2022 on.

(() => {
  "use strict";

  const eventName = "knowledgetalk";

  /** Milliseconds, unless it says otherwise. */
  const limits = {
    request: 15_000, // for the reply to a request
    media: 30_000, // for an SDP, and for a connection to come up
    requests: 256, // that wait for a reply
    backlog: 16 * 2 ** 20, // bytes that wait for a WebSocket
    packets: 1_000, // that wait for Socket.IO
    strokes: 2_000, // that wait for a canvas to load
    candidates: 64, // that wait for the description they belong to
    renewals: 3, // tries to make a failed connection anew
    reclaim: 60_000, // for the gateway to notice that our old connection is dead
    image: 7 * 2 ** 20, // characters of a canvas sent as PNG; above, as WebP
    text: 1_000, // characters of a text on the board
    width: 200, // pixels of a line
    leave: 1_000, // for a page to leave by itself when it was asked to
  };

  // The gateway is where this file came from.
  const source = document.currentScript?.src;
  const gateway = new URL(source || location.href).origin;

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  /** A reply that the gateway did not send. */
  const failure = (code, message) => ({ code, message });

  /** Tells whether something can be sent. */
  const isStream = (value) => value instanceof MediaStream && value.getTracks().length > 0;

  const warn = (...what) => console.warn("knowledgetalk:", ...what);

  /** "cam" or "screen", for any of the dialect's spellings. */
  function kindOf(value) {
    return ["screen", "stream", "false", "0"].includes(String(value ?? "cam").toLowerCase()) ? "screen" : "cam";
  }

  /** An object, from itself, from JSON of it, or from a bare text, as other clients write it. */
  function parsed(value, bare) {
    if (typeof value !== "string") return value;
    try {
      return value.startsWith("{") ? JSON.parse(value) : bare(value);
    } catch {
      return null;
    }
  }

  // ---------------------------------------------------------------------------
  // Wire

  let loading = null;

  /** Resolves to Socket.IO's client, or to null where there is none. */
  function socketIO() {
    if (typeof globalThis.io === "function") return Promise.resolve(globalThis.io);
    loading ??= new Promise((done) => {
      const tag = document.createElement("script");
      tag.src = `${gateway}/socket.io/socket.io.min.js`;
      tag.onload = tag.onerror = () => {
        loading = null;
        done(typeof globalThis.io === "function" ? globalThis.io : null);
      };
      document.head.append(tag);
    });
    return loading;
  }

  // Both kinds of wire dial again when the connection is lost, with growing
  // pauses, until close(). They tell `on` of up(), down() and message(object),
  // and of over(): the gateway does not want this client back.

  function overSocketIO(io, on) {
    const socket = io(gateway, { path: "/socket.io/", forceNew: true, reconnectionDelayMax: 10_000 });
    socket.on("connect", () => on.up());
    socket.on("disconnect", (reason) => (reason === "io server disconnect" ? on.over() : on.down()));
    socket.on(eventName, (message) => on.message(message));
    return {
      raw: () => socket,
      send(message) {
        if (!socket.connected || (socket.io?.engine?.writeBuffer?.length ?? 0) > limits.packets) return false;
        socket.emit(eventName, message);
        return true;
      },
      close: () => socket.close(),
    };
  }

  function overWebSocket(on) {
    const final = [4403, 4409]; // put out; the same person connected elsewhere
    let socket;
    let tries = 0;
    let timer = 0;
    let closed = false;

    function dial() {
      socket = new WebSocket(`${gateway.replace(/^http/, "ws")}/ws/eventop`);
      socket.onopen = () => {
        tries = 0;
        on.up();
      };
      socket.onmessage = ({ data }) => on.message(JSON.parse(data));
      socket.onclose = ({ code }) => {
        if (closed) return;
        if (final.includes(code)) {
          on.over();
          return;
        }
        on.down();
        timer = setTimeout(dial, Math.min(500 * 2 ** tries++, 10_000) * (0.5 + Math.random() / 2));
      };
    }

    dial();
    return {
      raw: () => socket,
      send(message) {
        if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > limits.backlog) return false;
        socket.send(JSON.stringify(message));
        return true;
      },
      close() {
        closed = true;
        clearTimeout(timer);
        socket.close();
      },
    };
  }

  // ---------------------------------------------------------------------------
  // Peer

  /**
   * One stream in one direction. `of` is {room, user, type, up, mesh}: the room's
   * id; whose stream it is if it comes to us, whom it is for if it goes up and
   * the room is a mesh, else ourselves; "cam" or "screen".
   */
  class Peer {
    stream = new MediaStream(); // what goes out or comes in; it outlives renewals
    established = false; // it was up once
    life = { ended: false }; // shared with what takes its place when it fails; ended by whoever closes either
    #early = []; // candidates before their description; null once it is there
    #remoteUfrag = "";

    constructor(of, iceServers, on) {
      Object.assign(this, of);
      this.key = Peer.key(of);
      this.pc = new RTCPeerConnection({ iceServers });
      this.pc.onicecandidate = ({ candidate }) => candidate && on.candidate(this, candidate);
      this.pc.ontrack = ({ track }) => this.stream.addTrack(track);
      this.pc.onconnectionstatechange = () => {
        if (this.pc.connectionState === "connected") this.established = true;
        if (this.pc.connectionState === "failed" && this.established) on.failed(this);
      };
    }

    static key({ room, user, type, up }) {
      return [up ? "up" : "down", room, user, type].join(" ");
    }

    /** The offer that sends a stream. */
    async offer(stream) {
      this.stream = stream;
      for (const track of stream.getTracks()) this.pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
      await this.pc.setLocalDescription(await this.pc.createOffer());
      return this.#local();
    }

    /** The answer to an offer of the other side. */
    async answer(offer) {
      await this.accept(offer);
      await this.pc.setLocalDescription(await this.pc.createAnswer());
      return this.#local();
    }

    async accept(description) {
      this.#remoteUfrag = /a=ice-ufrag:(\S+)/.exec(description.sdp)?.[1] ?? "";
      await this.pc.setRemoteDescription(description);
      const early = this.#early ?? [];
      this.#early = null;
      for (const candidate of early) this.found(candidate);
    }

    /** Takes a candidate of the other side; one that is of no use does no harm. */
    found(candidate) {
      if (!this.#early) this.pc.addIceCandidate(candidate).catch(() => {});
      else if (this.#early.length < limits.candidates) this.#early.push(candidate);
    }

    /** Tells whether a candidate names this connection. */
    isFor(candidate) {
      return Boolean(this.#remoteUfrag) && candidate.usernameFragment === this.#remoteUfrag;
    }

    /** Resolves to whether the connection comes up in time. */
    connected() {
      return new Promise((done) => {
        const settle = () => {
          clearTimeout(timer);
          this.pc.removeEventListener("connectionstatechange", look);
          done(this.pc.connectionState === "connected");
        };
        const look = () => ["new", "connecting"].includes(this.pc.connectionState) || settle();
        const timer = setTimeout(settle, limits.media);
        this.pc.addEventListener("connectionstatechange", look);
        look();
      });
    }

    /** Sends other tracks instead; false if that takes a new connection. */
    async replace(stream) {
      const senders = this.pc.getSenders().filter((sender) => sender.track);
      const kinds = (tracks) => tracks.map((track) => track.kind).sort().join();
      if (kinds(senders.map((sender) => sender.track)) !== kinds(stream.getTracks())) return false;
      const tracks = stream.getTracks();
      await Promise.all(senders.map((sender) => {
        const [track] = tracks.splice(tracks.findIndex(({ kind }) => kind === sender.track.kind), 1);
        return sender.replaceTrack(track);
      }));
      this.stream = stream;
      return true;
    }

    close() {
      this.pc.onconnectionstatechange = null;
      this.pc.close();
      this.pc.dispatchEvent(new Event("connectionstatechange")); // browsers fire none for a close of one's own
    }

    #local() {
      const { type, sdp } = this.pc.localDescription;
      return { type, sdp };
    }
  }

  // ---------------------------------------------------------------------------
  // Board

  // Shapes in a square of side 1, as SVG paths.
  const shapes = {
    arrow: "M0 0 L1 1 M.6 1 H1 V.6",
    check: "M0 .6 L.35 1 L1 0",
    circle: "M1 .5 A.5 .5 0 1 1 0 .5 A.5 .5 0 1 1 1 .5 Z",
    hand: "M.3 1 L.05 .6 Q.05 .45 .2 .55 L.3 .65 V.15 Q.37 .05 .44 .15 V.45 V.1 Q.51 0 .58 .1 V.45 V.15 Q.65 .05 .72 .15 " +
      "V.5 V.28 Q.8 .18 .86 .28 V.7 L.75 1 Z",
    heart: "M.5 1 L.08 .5 C-.12 .2 .3 -.15 .5 .25 C.7 -.15 1.12 .2 .92 .5 Z",
    important: "M.5 0 V.7 M.5 .9 V1",
    line: "M0 0 L1 1",
    square: "M0 0 H1 V1 H0 Z",
    star: "M.5 0 L.62 .38 H1 L.69 .6 L.81 1 L.5 .76 L.19 1 L.31 .6 L0 .38 H.38 Z",
    triangle: "M.5 0 L1 1 H0 Z",
  };

  // How lines look, by tool; a pen that is a highlighter has a row of its own.
  const lines = {
    pen: { alpha: 1, cap: "round" },
    highlight: { alpha: 0.35, cap: "butt" },
    crayon: { alpha: 0.55, cap: "round", dash: [2, 2] },
    eraser: { alpha: 1, cap: "round", mode: "destination-out" },
    shape: { alpha: 1, cap: "round" },
  };

  /**
   * A canvas that several people draw on. What somebody draws is told as a
   * stroke: {tool, type?, color, strokeWidth, state, xy: {x0, y0, x1, y1}, text?}.
   * Its coordinates are parts of the canvas's width and height, since every
   * canvas has a size of its own.
   */
  class Board {
    canvas;
    #tell;
    #pen = { tool: "pen", color: "black", strokeWidth: 1 };
    #overlay; // lies on the canvas and shows what is not drawn yet
    #listening = null; // ends the listeners of our own drawing
    #from = null; // where the pen was told last
    #told = 0; // when
    #input = null; // where a text is typed
    #pointing = 0; // a timer
    #shown = 0; // counts pages
    #held = null; // strokes that wait for a canvas to load

    constructor(canvas, tell) {
      if (!Board.accepts(canvas)) throw new TypeError("canvasInit needs a canvas element that has a parent");
      this.canvas = canvas;
      this.#tell = tell;
      this.#overlay = document.createElement("canvas");
      Object.assign(this.#overlay.style, { position: "absolute", pointerEvents: "none" });
      canvas.parentElement.append(this.#overlay);
      this.#cover();
    }

    static accepts(canvas) {
      return canvas instanceof HTMLCanvasElement && Boolean(canvas.parentElement);
    }

    close() {
      this.ignore();
      clearTimeout(this.#pointing);
      this.#overlay.remove();
    }

    /** Lets the person at this page draw. */
    listen() {
      if (this.#listening) return;
      this.#listening = new AbortController();
      const { signal } = this.#listening;
      const on = (names, act) => names.forEach((name) => this.canvas.addEventListener(name, act, { signal, passive: false }));
      on(["mousedown", "touchstart"], (event) => this.#press(event));
      on(["mousemove", "touchmove"], (event) => this.#move(event));
      on(["mouseup", "mouseout", "touchend", "touchcancel"], (event) => this.#lift(event));
    }

    /** Ends that; false if it had not begun. */
    ignore() {
      const was = Boolean(this.#listening);
      this.#listening?.abort();
      this.#listening = null;
      this.#from = null;
      this.#untype();
      return was;
    }

    use(pen) {
      this.#pen = pen;
      this.#untype();
    }

    /** Draws a stroke, whoever's. What makes no sense is left out. */
    draw(what) {
      if (this.#held) {
        if (this.#held.length < limits.strokes) this.#held.push(what);
        return;
      }
      const { tool, type, color, strokeWidth, xy, text } = what;
      if (tool === "clear") {
        this.wipe();
        return;
      }
      const [x0, y0, x1, y1] = ["x0", "y0", "x1", "y1"].map((name) => Number(xy?.[name]));
      const width = Math.min(Math.max(Number(strokeWidth) || 1, 0.1), limits.width);
      const stroke = { x0, y0, x1, y1, color: String(color || "black"), width };
      if (tool === "textbox") this.#write(stroke, String(text ?? "").slice(0, limits.text));
      else if (![x0, y0, x1, y1].every(Number.isFinite)) return;
      else if (tool === "pointer") this.#point(stroke);
      else this.#trace(this.canvas, stroke, Object.hasOwn(lines, tool) ? tool : "pen", type);
    }

    wipe() {
      this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    }

    /** Shows a page of a document, as large as fits. */
    async show(url) {
      const mine = ++this.#shown;
      const image = (await load(url, "anonymous")) ?? (await load(url, null));
      if (!image || mine !== this.#shown) return; // there is a newer one
      const { width, height } = this.canvas;
      const scale = Math.min(width / image.naturalWidth, height / image.naturalHeight);
      this.#paste(image, image.naturalWidth * scale, image.naturalHeight * scale);
    }

    /** Takes over somebody's canvas. What is drawn while it loads comes on top. */
    async adopt(url) {
      const held = (this.#held ??= []);
      const image = await load(url, null);
      if (image) this.#paste(image, this.canvas.width, this.canvas.height);
      this.#held = null;
      for (const stroke of held) this.draw(stroke);
    }

    /** The canvas as a data: URL; null if it holds an image of a site that forbids that. */
    picture() {
      try {
        const png = this.canvas.toDataURL("image/png");
        return png.length <= limits.image ? png : this.canvas.toDataURL("image/webp", 0.8);
      } catch (error) {
        warn("the canvas cannot be read:", error.message);
        return null;
      }
    }

    #paste(image, w, h) {
      this.wipe();
      this.canvas.getContext("2d").drawImage(image, (this.canvas.width - w) / 2, (this.canvas.height - h) / 2, w, h);
    }

    #trace(canvas, { x0, y0, x1, y1, color, width }, tool, type) {
      const look = lines[tool === "pen" && type === "highlight" ? "highlight" : tool];
      const draw = canvas.getContext("2d");
      const [w, h] = [canvas.width, canvas.height];
      draw.save();
      draw.globalAlpha = look.alpha;
      draw.globalCompositeOperation = look.mode ?? "source-over";
      draw.strokeStyle = color; // stays black if it is no colour
      draw.lineCap = look.cap;
      draw.lineJoin = "round";
      draw.lineWidth = width * this.#scale();
      draw.setLineDash(look.dash ?? []);
      const path = new Path2D();
      if (tool === "shape") {
        const shape = Object.hasOwn(shapes, type) ? shapes[type] : shapes.square;
        path.addPath(new Path2D(shape), new DOMMatrix([(x1 - x0) * w, 0, 0, (y1 - y0) * h, x0 * w, y0 * h]));
      } else {
        path.moveTo(x0 * w, y0 * h);
        path.lineTo(x1 * w, y1 * h);
      }
      draw.stroke(path);
      draw.restore();
    }

    #write({ x0, y0, color, width }, text) {
      if (!Number.isFinite(x0) || !Number.isFinite(y0)) return;
      const draw = this.canvas.getContext("2d");
      const size = width * this.#scale();
      draw.save();
      draw.fillStyle = color;
      draw.font = `${size}px sans-serif`;
      draw.textBaseline = "top";
      text.split("\n").forEach((line, i) => draw.fillText(line, x0 * this.canvas.width, y0 * this.canvas.height + i * size * 1.2));
      draw.restore();
    }

    /** Shows for a moment where somebody points. */
    #point({ x1, y1, color, width }) {
      const draw = this.#cover();
      draw.fillStyle = color;
      draw.beginPath();
      draw.arc(x1 * this.canvas.width, y1 * this.canvas.height, Math.max(width, 4) * this.#scale(), 0, Math.PI * 2);
      draw.fill();
      clearTimeout(this.#pointing);
      this.#pointing = setTimeout(() => this.#cover(), 1_000);
    }

    /** Empties the overlay and lays it on the canvas anew. */
    #cover() {
      const { canvas } = this;
      Object.assign(this.#overlay, { width: canvas.width, height: canvas.height }); // which clears it
      Object.assign(this.#overlay.style, {
        left: `${canvas.offsetLeft}px`, top: `${canvas.offsetTop}px`, width: `${canvas.offsetWidth}px`, height: `${canvas.offsetHeight}px`,
      });
      return this.#overlay.getContext("2d");
    }

    /** Pixels of the canvas in a pixel of the page. */
    #scale() {
      return this.canvas.offsetWidth ? this.canvas.width / this.canvas.offsetWidth : 1;
    }

    #where(event) {
      const point = event.changedTouches?.[0] ?? event;
      const box = this.canvas.getBoundingClientRect();
      return { x: (point.clientX - box.left) / (box.width || 1), y: (point.clientY - box.top) / (box.height || 1) };
    }

    #press(event) {
      event.preventDefault(); // a touch neither scrolls nor becomes a click
      if (this.#pen.tool === "textbox") this.#type(event);
      else this.#from = this.#where(event);
    }

    #move(event) {
      if (!this.#from && this.#pen.tool !== "pointer") return;
      event.preventDefault();
      const to = this.#where(event);
      if (this.#pen.tool === "shape") {
        this.#cover();
        const xy = { x0: this.#from.x, y0: this.#from.y, x1: to.x, y1: to.y };
        this.#trace(this.#overlay, { ...xy, color: this.#pen.color, width: this.#pen.strokeWidth }, "shape", this.#pen.type);
      } else if (performance.now() - this.#told >= 16) { // more often than screens change is of no use
        this.#stroke("move", to);
      }
    }

    #lift(event) {
      if (!this.#from) return;
      if (this.#pen.tool === "shape") this.#cover();
      this.#stroke("end", this.#where(event));
      this.#from = null;
    }

    #stroke(state, to) {
      const from = this.#from ?? to;
      this.#told = performance.now();
      if (this.#from) this.#from = to;
      this.#commit({ state, xy: { x0: from.x, y0: from.y, x1: to.x, y1: to.y } });
    }

    #commit(what) {
      const stroke = { ...this.#pen, ...what };
      this.draw(stroke);
      this.#tell(stroke);
    }

    /** Opens a text field; Escape or a click elsewhere writes the text down, Delete drops it. */
    #type(event) {
      const { x, y } = this.#where(event);
      this.#input?.blur();
      const input = document.createElement("textarea");
      this.#input = input;
      input.maxLength = limits.text;
      Object.assign(input.style, {
        position: "absolute",
        left: `${this.canvas.offsetLeft + x * this.canvas.offsetWidth}px`,
        top: `${this.canvas.offsetTop + y * this.canvas.offsetHeight}px`,
        color: this.#pen.color,
        font: `${this.#pen.strokeWidth}px sans-serif`,
      });
      input.addEventListener("keydown", ({ key }) => {
        if (key === "Delete") input.value = "";
        if (key === "Escape" || key === "Delete") input.blur();
      });
      input.addEventListener("blur", () => {
        if (this.#input !== input) return;
        this.#untype();
        if (input.value) this.#commit({ state: "end", xy: { x0: x, y0: y, x1: x, y1: y }, text: input.value });
      });
      this.canvas.parentElement.append(input);
      input.focus();
    }

    /** Takes the text field away. */
    #untype() {
      const input = this.#input;
      this.#input = null; // first: an element that goes away blurs
      input?.remove();
    }
  }

  /** Resolves to the image at a URL, or to null. */
  function load(url, crossOrigin) {
    return new Promise((done) => {
      const image = new Image();
      image.crossOrigin = crossOrigin;
      image.onload = () => done(image);
      image.onerror = () => done(null);
      image.src = url;
    });
  }

  /** Tells whether a URL may be shown as an image: a site's, or a PNG, JPEG or WebP of its own. */
  function isImage(url) {
    if (typeof url !== "string") return false;
    if (/^data:/i.test(url)) return /^data:image\/(png|jpeg|webp);base64,/i.test(url);
    try {
      return ["http:", "https:"].includes(new URL(url, location.href).protocol);
    } catch {
      return false;
    }
  }

  // ---------------------------------------------------------------------------
  // Knowledgetalk

  /**
   * One person in the house. Fires "presence" for all that others do: a
   * CustomEvent whose detail is the gateway's message. Beyond the documented API
   * it fires "disconnected" when the connection is lost, and "reconnected" when
   * the same person is back in the same rooms; the detail of that is {code, rooms}.
   */
  class Knowledgetalk extends EventTarget {
    #wire = null;
    #opened = null; // resolves when the wire is up for the first time
    #online = false;
    #registration = null; // what to say to the gateway when the wire comes up again
    #userId = null;
    #name;
    #iceServers = [];
    #rooms = new Map(); // joined, in order: id → {id, media, members: Set, share, leaving}
    #peers = new Map(); // key → Peer
    #busy = new Map(); // key → what is being done for that connection
    #pending = new Map(); // reqId → function of the reply
    #descriptions = new Map(); // "room user type kind" → function of an SDP that comes as an event
    #requests = 0;
    #comebacks = 0;
    #board = null;
    #pen = { tool: "pen", color: "black", strokeWidth: 1 };
    #asked = new Set(); // whose canvas was asked for

    // ----- being online

    /** Connects and says who one is. Resolves to {code, userId}. */
    async init(cpCode, authKey, id, name, device, forced = false) {
      const who = { cpCode, authKey, userId: id, name, device, ipAddr: "" };
      const opening = this.#open();
      const opened = this.#opened; // by a later init it is another
      const isMine = () => this.#opened === opened;
      if (!(await opening)) {
        if (isMine()) this.disconnect();
        return failure("504", "the gateway cannot be reached");
      }
      const reply = await this.#register({ ...who, forced });
      if (!isMine()) return reply;
      if (reply.code === "200") this.#registration = { ...who, userId: this.#userId };
      else this.disconnect();
      return reply;
    }

    /** Leaves everything and closes the connection. */
    disconnect() {
      this.#comebacks++;
      this.#registration = null;
      for (const id of [...this.#rooms.keys()]) this.#forget(id);
      this.#settleAll("disconnected");
      this.#wire?.close();
      this.#wire = null;
      this.#opened = null;
      this.#online = false;
    }

    getUserId() { return this.#userId; }
    getName() { return this.#name; }
    getSocket() { return this.#wire?.raw() ?? null; }

    // ----- rooms

    createRoom(roomId, title, capacity, destroy) {
      return this.#request("createRoom", { roomId, title, capacity, destroy });
    }

    createVideoRoom(roomId, title, capacity, destroy, talkingNoty) {
      return this.#request("createVideoRoom", { roomId, title, capacity, destroy, talkingNoty });
    }

    destroyRoom(roomId = this.getRoomId()) {
      return this.#request("destroyRoom", { roomId }, { settled: ({ code }) => code === "200" && this.#forget(roomId) });
    }

    /** Enters a room. Whoever made it does so too. */
    joinRoom(roomId) {
      return this.#request("joinRoom", { roomId }, { settled: (reply) => reply.code === "200" && this.#joined(reply) });
    }

    joinroom(roomId) { return this.joinRoom(roomId); }

    leaveRoom(roomId = this.getRoomId()) {
      const room = this.#rooms.get(roomId);
      if (room?.leaving) return room.leaving;
      const reply = this.#request("leaveRoom", { roomId }, { settled: () => this.#forget(roomId) });
      if (room) room.leaving = reply;
      return reply;
    }

    memberList(roomId = this.getRoomId()) { return this.#request("memberList", { roomId }); }

    permit(target, chat, draw, screen, whiteboard, document) {
      return this.#inRoom("permit", { target, chat, draw, screen, whiteboard, document });
    }

    kickOut(target) { return this.#inRoom("kickOut", { target }); }

    editRoomInfo(roomId, title, capacity, host) {
      return this.#request("editRoomInfo", { roomId: roomId ?? this.getRoomId(), title, capacity, host });
    }

    editUserInfo(name, video, audio, broadcast, target) {
      const room = this.#room();
      const settled = ({ code }) => {
        if (code !== "200") return;
        this.#name = name ?? this.#name;
        if (room) room.shown = { video: video ?? room.shown?.video, audio: audio ?? room.shown?.audio };
      };
      return this.#inRoom("editUserInfo", { name, video, audio, broadcast, target }, { settled });
    }

    createGroup(list, title) { return this.#inRoom("createGroup", { list, title }); }
    endGroup(groupId) { return this.#inRoom("endGroup", { groupId }); }

    /** The room joined last. */
    getRoomId() { return this.#room()?.id ?? null; }

    /** Whether media in that room goes through the gateway. */
    isMedia() { return this.#room()?.media ?? false; }

    // ----- messages

    /** Says something to a room, to one person, or to both. */
    chat(message, roomId, userId) {
      return this.#request("chat", { message, target: userId, roomId: roomId ?? (userId ? undefined : this.getRoomId()) });
    }

    /** Passes on anything that JSON can hold. */
    inform(message, target, roomId) {
      return this.#request("inform", { message, target, roomId: roomId ?? (target ? undefined : this.getRoomId()) });
    }

    // ----- media

    /** Sends a stream to the room by way of the gateway. */
    async publishVideo(type, stream) {
      const room = this.#room();
      if (!room?.media || !isStream(stream)) return false;
      return this.#publish({ room: room.id, user: this.#userId, type: kindOf(type), mesh: false }, stream);
    }

    /** Resolves to somebody's stream. Tracks of a later connection come and go in it. */
    async subscribeVideo(userId, type) {
      const room = this.#room();
      if (!room?.media) return false;
      return this.#subscribe({ room: room.id, user: String(userId), type: kindOf(type) });
    }

    /** Sends a stream to one person directly. */
    async publishP2P(target, type, stream) {
      const room = this.#room();
      if (!room || room.media || !isStream(stream)) return false;
      return this.#publish({ room: room.id, user: String(target), type: kindOf(type), mesh: true }, stream);
    }

    /** Ends what comes from somebody; where nothing does, what goes to them. */
    async removePeer(target, type) {
      return this.#remove(target, type, false) || this.#remove(target, type, true);
    }

    /** Ends what goes to somebody. */
    async removeLocalPeer(target, type) { return this.#remove(target, type, true); }

    /** Sends another stream as the camera's: to everyone, or to target only. */
    async changeLocalStream(stream, target) {
      if (!isStream(stream)) return false;
      const peers = this.#peersIn(this.getRoomId()).filter((p) => p.up && p.type === "cam" && (!target || p.user === target || !p.mesh));
      const changed = await Promise.all(peers.map(async (peer) =>
        (await peer.replace(stream).catch(() => false)) || this.#publish(peer, stream)));
      return changed.length > 0 && changed.every(Boolean);
    }

    /** RTCPeerConnections by user, and "screen"; what comes in wins over what goes out. */
    getAllPeers() { return this.#byName((peer) => peer.pc); }
    getPeer(id) { return this.getAllPeers()[id]; }
    getPeers(id) { return id === undefined ? this.getAllPeers() : this.getPeer(id); }

    /** MediaStreams, in the same way. */
    getAllStreams() { return this.#byName((peer) => peer.stream); }
    getStream(id) { return this.getAllStreams()[id]; }

    // ----- sharing

    /** Shares a screen, with a board on it if there is a canvas. Resolves to {code}, or to false. */
    async screenStart(stream, target, canvas) {
      const room = this.#room();
      if (!room || !isStream(stream)) return false;
      return this.#share("screen", canvas, async () => {
        room.share = { type: "screen", user: this.#userId, stream };
        const [track] = stream.getVideoTracks();
        // The browser has a button of its own to end it.
        track?.addEventListener("ended", () => room.share?.stream === stream && this.shareStop(), { once: true });
        const users = target ? [target] : [...room.members].filter((user) => user !== this.#userId);
        const sent = room.media
          ? await this.publishVideo("screen", stream)
          : (await Promise.all(users.map((user) => this.publishP2P(user, "screen", stream)))).some(Boolean);
        return sent && room.share?.stream === stream && track?.readyState !== "ended";
      });
    }

    async whiteBoardStart(canvas) { return Boolean(await this.#share("whiteboard", canvas)); }

    /** Shares pictures. Resolves to {code}, or to false. */
    documentStart(canvas) { return this.#share("document", canvas); }

    /** Shows a picture to all. */
    async documentShare(imgUrl) {
      if (!isImage(imgUrl)) return failure("422", "not the URL of an image");
      const reply = await this.#inRoom("documentShare", { img: imgUrl });
      if (reply.code === "200") await this.#board?.show(imgUrl);
      return reply;
    }

    shareStop() {
      const room = this.#room();
      return this.#inRoom("shareStop", {}, {
        settled: ({ code }) => code === "200" && room?.share?.user === this.#userId && this.#shareEnded(room, this.#userId),
      });
    }

    /** What is shared in the room now: "screen", "whiteboard", "document" or null. */
    getShareType() { return this.#room()?.share?.type ?? null; }

    // ----- the board

    /** Shows on a canvas what people draw. */
    canvasInit(canvas) {
      if (this.#board?.canvas === canvas) return;
      const board = new Board(canvas, (stroke) => this.#send("drawing", { roomId: this.getRoomId(), ...stroke }));
      this.#board?.close();
      this.#board = board;
      board.use(this.#pen);
    }

    /** Lets the person draw on it. */
    drawingInit() {
      this.#board?.listen();
      return Boolean(this.#board);
    }

    drawingStop() { return this.#board?.ignore() ?? false; }

    /** tool: pen, crayon, eraser, shape, pointer or textbox; type: "highlight" or the name of a shape. */
    setTool(tool, color = this.#pen.color, strokeWidth = this.#pen.strokeWidth, type = undefined) {
      this.#pen = { tool, color, strokeWidth: Number(strokeWidth) || 1, type };
      this.#board?.use(this.#pen);
    }

    /** Wipes the board, for everyone. */
    canvasClear() {
      this.#board?.wipe();
      this.#send("drawing", { roomId: this.getRoomId(), tool: "clear", state: "end" });
    }

    /** Asks somebody for what is on their board; it comes as "updateImage". */
    reqCanvasImage(target) {
      this.#asked.add(String(target));
      return this.#inRoom("reqCanvasImage", { target });
    }

    // ----- the connection

    async #open() {
      if (!this.#opened) {
        const opening = new Promise((opened) => {
          const on = {
            up: () => {
              opened(true);
              this.#online = true;
              if (this.#registration) this.#comeBack();
            },
            down: () => this.#down(),
            over: () => {
              this.#down();
              this.disconnect();
            },
            message: (message) => this.#receive(message),
          };
          socketIO().then((io) => {
            if (this.#opened === opening) this.#wire = io ? overSocketIO(io, on) : overWebSocket(on);
          });
        });
        this.#opened = opening;
      }
      return Promise.race([this.#opened, pause(limits.request)]);
    }

    #down() {
      if (!this.#online) return; // another try to dial has failed
      this.#online = false;
      this.#comebacks++;
      this.#settleAll("connection lost");
      if (this.#registration) this.dispatchEvent(new CustomEvent("disconnected"));
    }

    #settleAll(reason) {
      for (const settle of [...this.#pending.values()]) settle(failure("504", reason));
    }

    #register(who) {
      return this.#request("register", who, {
        settled: (reply) => {
          if (reply.code !== "200") return;
          if (this.#userId !== reply.userId) [...this.#rooms.keys()].forEach((id) => this.#forget(id)); // somebody else's
          this.#userId = reply.userId;
          this.#name = who.name;
          this.#iceServers = Array.isArray(reply.iceServers) ? reply.iceServers : [];
        },
      });
    }

    /**
     * Takes one's place again after the connection was lost: the same id, the same
     * rooms, the same streams. Never by force, or two tabs of one person would
     * throw each other out for ever.
     */
    async #comeBack() {
      const mine = ++this.#comebacks;
      const until = Date.now() + limits.reclaim;
      let reply;
      do {
        if (reply) await pause(2_000);
        if (mine !== this.#comebacks) return;
        reply = await this.#register({ ...this.#registration, name: this.#name, forced: false });
        // 409: the gateway takes our old connection for alive, as yet.
      } while (["409", "500", "504", "543"].includes(reply.code) && Date.now() < until);
      for (const room of [...this.#rooms.values()]) {
        if (mine === this.#comebacks && reply.code === "200") await this.#rejoin(room);
      }
      if (mine !== this.#comebacks) return;
      const rooms = [...this.#rooms.keys()];
      if (reply.code !== "200") this.disconnect();
      this.dispatchEvent(new CustomEvent("reconnected", { detail: { code: reply.code, rooms } }));
    }

    async #rejoin(room) {
      const old = this.#peersIn(room.id);
      const shared = room.share?.user === this.#userId ? room.share : null;
      const { code } = await this.joinRoom(room.id);
      if (code === "504") return; // lost again: the next time then
      old.forEach((peer) => this.#close(peer));
      if (code !== "200") {
        this.#forget(room.id);
        return;
      }
      const now = this.#rooms.get(room.id);
      if (now && room.shown) {
        now.shown = room.shown;
        this.#request("editUserInfo", { roomId: room.id, ...room.shown }); // one comes in with both on
      }
      const again = shared && (await this.#request(shared.type, { roomId: room.id })).code === "200";
      if (again && this.#rooms.has(room.id)) this.#rooms.get(room.id).share = shared;
      for (const peer of old) {
        if (peer.up && peer.established && (peer.type === "cam" || again)) this.#publish(peer, peer.stream);
      }
    }

    /** Sends something that needs no reply. */
    #send(eventOp, fields) {
      return this.#wire?.send({ eventOp, userId: this.#userId ?? undefined, ...fields }) ?? false;
    }

    /** Resolves to the reply; `settled` hears of it before anything that comes after it. */
    #request(eventOp, fields = {}, { within = limits.request, settled } = {}) {
      return new Promise((done) => {
        const reqId = String(++this.#requests);
        const settle = (reply) => {
          clearTimeout(timer);
          this.#pending.delete(reqId);
          settled?.(reply);
          done(reply);
        };
        const timer = setTimeout(settle, within, failure("504", "no reply in time"));
        if (this.#pending.size >= limits.requests) settle(failure("445", "too many requests at once"));
        else if (!this.#send(eventOp, { reqId, ...fields })) settle(failure("504", "not connected"));
        else this.#pending.set(reqId, settle);
      });
    }

    #inRoom(eventOp, fields, options) {
      return this.#request(eventOp, { roomId: this.getRoomId(), ...fields }, options);
    }

    #receive(message) {
      if (!message || typeof message !== "object") return;
      if (message.code !== undefined) {
        this.#pending.get(String(message.reqId))?.(message);
        return;
      }
      switch (message.eventOp) {
        case "presence":
          this.#news(message);
          break;
        case "sdpRoom":
          this.#descriptions.get([message.roomId, message.user, kindOf(message.type), message.sdp?.type].join(" "))?.(message.sdp);
          break;
        case "sdp":
          this.#described(message);
          break;
        case "candidate":
          this.#found(message);
          break;
        case "drawing":
          this.#drawn(message);
          break;
      }
    }

    // ----- what others do

    #news(message) {
      const room = this.#rooms.get(message.roomId);
      switch (message.type) {
        case "join":
          room?.members.add(message.user.id ?? message.user.userId);
          break;
        case "leave":
          room?.members.delete(message.user);
          this.#peersIn(message.roomId).filter((peer) => peer.user === message.user).forEach((peer) => this.#close(peer));
          break;
        case "screen":
        case "whiteboard":
        case "document":
          if (room) room.share = { type: message.type, user: message.user };
          break;
        case "documentShare":
          if (room && isImage(message.img)) this.#board?.show(message.img);
          break;
        case "shareStop":
          if (room) this.#shareEnded(room, message.user);
          break;
        case "reqCanvasImage":
          this.#lendCanvas(message.sender ?? message.user);
          break;
        case "updateImage":
          this.#borrowCanvas(message.sender ?? message.user, message.img);
          break;
        case "drawing":
          this.#drawn(message);
          return;
        case "destroyRoom":
          this.#forget(message.roomId);
          break;
        case "kickOut":
          setTimeout(() => room && this.#rooms.get(room.id) === room && this.leaveRoom(room.id), limits.leave);
          break;
      }
      this.#tell(message);
    }

    #tell(message) {
      this.dispatchEvent(new CustomEvent("presence", { detail: message }));
    }

    /** Enters the room into the book. If it is there already, tells what was missed. */
    #joined({ roomId, media, members, share }) {
      const before = this.#rooms.get(roomId);
      const room = { id: roomId, media: Boolean(media), members: new Set(Object.keys(members ?? {})), share: share ?? null, leaving: null };
      this.#rooms.set(roomId, room);
      if (!before) return;
      for (const user of before.members) {
        if (!room.members.has(user)) this.#tell({ eventOp: "presence", type: "leave", roomId, user });
      }
      for (const [id, user] of Object.entries(members ?? {})) {
        if (!before.members.has(id)) this.#tell({ eventOp: "presence", type: "join", roomId, user });
      }
    }

    #forget(roomId) {
      this.#peersIn(roomId).forEach((peer) => this.#close(peer));
      this.#rooms.delete(roomId);
      if (this.#rooms.size) return;
      this.#board?.close();
      this.#board = null;
      this.#asked.clear();
    }

    #room() { return [...this.#rooms.values()].at(-1); }

    #drawn(message) {
      if (message.roomId === undefined || message.roomId === this.getRoomId()) this.#board?.draw(message);
    }

    /** Sends our canvas to somebody in one of our rooms who asked for it. */
    #lendCanvas(target) {
      const known = [...this.#rooms.values()].some(({ members }) => members.has(target));
      const img = known ? this.#board?.picture() : null;
      if (img) this.#request("updateImage", { target, roomId: this.getRoomId(), img });
    }

    /** Puts up a canvas that we asked for. */
    #borrowCanvas(from, img) {
      if (this.#asked.delete(from) && isImage(img) && /^data:/i.test(img)) this.#board?.adopt(img);
    }

    async #share(type, canvas, start = async () => true) {
      const room = this.#room();
      if (!room || (canvas ? !Board.accepts(canvas) : type !== "screen")) return false;
      const reply = await this.#request(type, { roomId: room.id });
      if (reply.code !== "200") {
        warn(`${type} is not shared: ${reply.code} ${reply.message}`);
        return false;
      }
      room.share = { type, user: this.#userId };
      if (!(await start())) {
        await this.shareStop();
        return false;
      }
      if (canvas) {
        this.canvasInit(canvas);
        this.drawingInit();
      }
      return { code: reply.code, message: reply.message };
    }

    #shareEnded(room, user) {
      if (room.share?.user === this.#userId) this.#board?.ignore();
      room.share = null;
      const screens = this.#peersIn(room.id).filter((peer) => peer.type === "screen");
      screens.filter((peer) => peer.up === (user === this.#userId) && (peer.up || peer.user === user)).forEach((peer) => this.#close(peer));
    }

    // ----- connections

    #peersIn(roomId) { return [...this.#peers.values()].filter((peer) => peer.room === roomId); }

    #byName(of) {
      const peers = this.#peersIn(this.getRoomId()).sort((a, b) => b.up - a.up); // the later of a name wins
      return Object.fromEntries(peers.map((peer) => [peer.type === "screen" ? "screen" : peer.user, of(peer)]));
    }

    /** Makes a connection, in place of any other of its key. */
    #connect(of, life) {
      const peer = new Peer(of, this.#iceServers, {
        candidate: (from, candidate) => this.#tellCandidate(from, candidate),
        failed: (from) => this.#renew(from),
      });
      if (life) peer.life = life;
      this.#peers.get(peer.key)?.close();
      this.#peers.set(peer.key, peer);
      return peer;
    }

    #isCurrent(peer) { return this.#peers.get(peer.key) === peer; }

    /** Ends a connection for good. */
    #close(peer) {
      peer.life.ended = true;
      this.#drop(peer);
    }

    /** Lets go of one that did not come about. */
    #drop(peer) {
      if (this.#isCurrent(peer)) this.#peers.delete(peer.key);
      peer.close();
    }

    #remove(user, type, up) {
      const peer = this.#peersIn(this.getRoomId()).find((p) => p.up === up && p.user === user && p.type === kindOf(type));
      if (peer) this.#close(peer);
      return Boolean(peer);
    }

    /** Does one thing at a time for a connection: replies must not meet the wrong request. */
    async #alone(key, act) {
      const before = this.#busy.get(key);
      const now = (async () => {
        await before;
        return act().catch((error) => {
          warn(`${key}:`, error.message);
          return false;
        });
      })();
      this.#busy.set(key, now);
      const result = await now;
      if (this.#busy.get(key) === now) this.#busy.delete(key);
      return result;
    }

    #publish({ room, user, type, mesh }, stream, life) {
      const of = { room, user, type, mesh, up: true };
      return this.#alone(Peer.key(of), async () => {
        if (!this.#rooms.has(room) || life?.ended) return false;
        const peer = this.#connect(of, life);
        const sdp = await peer.offer(stream);
        let sent;
        if (mesh) {
          sent = (await this.#request("sdp", { roomId: room, target: user, type, sdp })).code === "200";
        } else {
          const answer = await this.#describe("sdpRoom", { roomId: room, type, sdp }, { of, kind: "answer" });
          if (answer) await peer.accept(answer);
          sent = Boolean(answer);
        }
        if (sent && (await peer.connected()) && this.#isCurrent(peer)) return true;
        this.#drop(peer);
        return false;
      });
    }

    /** Resolves to a stream. Subscriptions to the same one at the same time are one. */
    #subscribe({ room, user, type }, stream = new MediaStream(), life = undefined) {
      const of = { room, user, type, up: false, mesh: false };
      const key = Peer.key(of);
      const same = this.#busy.get(key);
      if (same) return same;
      return this.#alone(key, async () => {
        const wish = { roomId: room, type, target: user, video: true, audio: true };
        const offer = await this.#describe("subscribe", wish, { of, kind: "offer" });
        if (!offer || !this.#rooms.has(room) || life?.ended) return false;
        const peer = this.#connect(of, life);
        for (const track of stream.getTracks()) stream.removeTrack(track);
        peer.stream = stream;
        const sdp = await peer.answer(offer);
        const reply = await this.#request("sdpRoom", { roomId: room, type, target: user, sdp }, { within: limits.media });
        if (reply.code === "200" && this.#isCurrent(peer)) return peer.stream;
        this.#drop(peer);
        return false;
      });
    }

    /** Resolves to the gateway's SDP, whether it comes in the reply or in an event; to null if it does not. */
    async #describe(op, fields, { of, kind }) {
      const key = [of.room, of.user, of.type, kind].join(" ");
      const event = new Promise((done) => this.#descriptions.set(key, done));
      const reply = await this.#request(op, fields, { within: limits.media });
      let sdp = null;
      if (reply.code === "200") sdp = reply.sdp ?? (await Promise.race([event, pause(limits.request)])) ?? null;
      else warn(`${op}: ${reply.code} ${reply.message}`);
      this.#descriptions.delete(key);
      return sdp;
    }

    /**
     * A connection that was up has failed: makes another for the same stream, unless
     * somebody ends the one or the other meanwhile. Until there is one the old one
     * keeps its place, for whoever ends it, and for #rejoin.
     */
    async #renew(peer) {
      if (peer.mesh && !peer.up) return; // its sender does it
      for (let tries = 0; tries < limits.renewals; tries++) {
        await pause(500 * 2 ** tries);
        if (!this.#online || !this.#isCurrent(peer)) return;
        const made = await (peer.up ? this.#publish(peer, peer.stream, peer.life) : this.#subscribe(peer, peer.stream, peer.life));
        const now = this.#peers.get(peer.key);
        if (made && (await now?.connected())) return;
        if (peer.life.ended || (now && now.life !== peer.life)) return; // ended, or begun anew, by somebody else
        now?.close();
        if (this.#rooms.has(peer.room)) this.#peers.set(peer.key, peer);
      }
    }

    #tellCandidate(peer, candidate) {
      if (!this.#isCurrent(peer)) return;
      this.#send("candidate", {
        roomId: peer.room, target: peer.user, candidate: candidate.toJSON(),
        type: peer.up ? "publisher" : "subscriber", cam: peer.type === "cam",
      });
    }

    /** An SDP of another member of a mesh room. */
    async #described({ user, type, sdp }) {
      const room = [...this.#rooms.values()].find(({ media, members }) => !media && members.has(user));
      if (!room) return; // strangers get no answer: it would tell them our addresses
      const of = { room: room.id, user, type: kindOf(type), mesh: true };
      try {
        const description = parsed(sdp, (text) => ({ type: text.includes("a=setup:actpass") ? "offer" : "answer", sdp: text }));
        if (description?.type === "answer") {
          await this.#peers.get(Peer.key({ ...of, up: true }))?.accept(description);
        } else {
          const peer = this.#connect({ ...of, up: false });
          const answer = await peer.answer(description);
          await this.#request("sdp", { roomId: room.id, target: user, type: of.type, sdp: answer });
        }
      } catch (error) {
        warn(`the SDP of ${user} is of no use:`, error.message);
      }
    }

    /** A candidate of another member of a mesh room. */
    #found({ user, candidate, type, cam }) {
      const init = parsed(candidate, (text) => ({ candidate: text, sdpMLineIndex: 0 }));
      if (!init?.candidate) return; // the end of candidates
      const near = [...this.#peers.values()].filter((peer) => peer.mesh && peer.user === user && peer.type === kindOf(cam));
      const named = near.filter((peer) => peer.isFor(init));
      const fitting = near.filter((peer) => (type !== "publisher" || !peer.up) && (type !== "subscriber" || peer.up));
      for (const peer of named.length ? named : fitting) peer.found(init);
    }
  }

  globalThis.Knowledgetalk = Knowledgetalk;
})();
