// The `eventOp` dialect over a bare WebSocket: every word of its wire is in this
// file and nowhere else on the page. It has the methods of the other wire, and
// those for what only this dialect has words for. Requests give a promise of an
// outcome: what the reply holds, with `refused` being "" or the reason.

import { Line } from "./line.js";

const patience = 10_000; // milliseconds that a reply may take
const anonymous = "익명"; // the name of people who gave none

// Who knocks. A gateway in development mode lets everybody in.
const credentials = { cpCode: "confgate", authKey: "dev" };

const reasons = {
  401: "unauthorized",
  410: "absent",
  413: "denied",
  440: "taken",
  441: "gone",
  443: "exists",
  444: "full",
  451: "silent",
  504: "late",
};

/**
 * The listener is told what the other wire tells, and:
 *   offered(user, sdp, source)  the gateway's offer after subscribe()
 *   refused(user, source, gone) there is no connection for this feed; gone: nor is the feed
 *   turnedAway(why)             we were not let in
 *   named(user, name)           somebody has another name now
 *   shared(user, content)       "screen", "whiteboard" or "document"
 *   unshared(user)
 *   said(user, text)
 *   drawn(stroke)               {x0, y0, x1, y1, tool, colour, width, text}, places in 0…1
 *   pictureAsked(user), pictureGiven(user, image)
 *   invited(user, group)        into a breakout group
 *   noted(user, body)           any JSON that somebody sent to us
 *   kicked(user)
 *   gone()                      the room has ended under us
 */
export class EventOpWire {
  gatewayOffers = true;
  iceServers = [];
  #line;
  #listener;
  #user = "";
  #room = "";
  #lastRequest = 0;
  #asked = new Map(); // reqId → the function that takes the reply

  constructor(url, listener) {
    this.#listener = listener;
    this.#line = new Line(url, {
      open: () => listener.open(),
      lost: (pause) => {
        this.#giveUp();
        listener.lost(pause);
      },
      heard: (message) => this.#heard(message),
    });
  }

  open() {
    this.#line.open();
  }

  close() {
    this.#line.close();
    this.#giveUp();
    this.#room = "";
  }

  again() {
    this.#line.again();
  }

  // ---- coming and going

  /** Comes in: into the group if one is given and still there, else the room. */
  async join({ user, name, room, group, video, audio }) {
    this.#user = user;
    // A page that comes back is not to wait until its old socket has timed out.
    const welcome = await this.#ask("register", { ...credentials, userId: user, name, device: "browser", forced: true });
    if (welcome.refused) return this.#notLetIn(welcome);
    this.iceServers = welcome.iceServers ?? [];
    await this.#enter({ room, group, video, audio });
  }

  /** Goes over to a group, or back to the room if none is given. */
  async move({ room, group, video, audio }) {
    this.leave();
    await this.#enter({ room, group, video, audio });
  }

  leave() {
    this.#ask("leaveRoom", { roomId: this.#room });
    this.#room = "";
  }

  async #enter({ room, group, video, audio }) {
    if (group) {
      const joined = await this.#ask("joinRoom", { roomId: group });
      if (!joined.refused) return this.#joined(joined, { group, video, audio });
      if (joined.refused !== "gone") return this.#notLetIn(joined);
    }
    const made = await this.#ask("createVideoRoom", { roomId: room });
    if (made.refused && made.refused !== "exists") return this.#notLetIn(made);
    const joined = await this.#ask("joinRoom", { roomId: room });
    if (joined.refused) return this.#notLetIn(joined);
    this.#joined(joined, { video, audio });
  }

  #joined({ roomId, members, host, share, group: groups = [] }, { group = null, video, audio }) {
    this.#line.settled();
    this.#room = roomId;
    const everyone = Object.values(members).map(memberOf);
    this.#listener.joined(everyone.filter(({ user }) => user !== this.#user), {
      group,
      groups,
      host: host.id,
      may: everyone.find(({ user }) => user === this.#user).may,
      share: share && { user: share.user, content: share.type },
    });
    // Everybody begins with both on.
    if (!video || !audio) this.#ask("editUserInfo", { roomId: this.#room, video, audio });
  }

  #notLetIn({ refused, message }) {
    if (refused === "lost") return; // the line says so itself
    if (refused === "full") this.#listener.full();
    else this.#listener.turnedAway(message);
  }

  // ---- media

  async offer(user, sdp, source) {
    const reply = await this.#inRoom("sdpRoom", { type: source, sdp: { type: "offer", sdp } });
    if (reply.sdp) this.#listener.answered(user, reply.sdp.sdp, source);
    else if (reply.refused !== "lost") this.#listener.refused(user, source);
  }

  /** Asks for the gateway's offer of what that member sends. */
  async subscribe(user, source) {
    const reply = await this.#inRoom("subscribe", { type: source, target: user });
    if (reply.sdp) this.#listener.offered(user, reply.sdp.sdp, source);
    else if (reply.refused !== "lost") this.#listener.refused(user, source, reply.refused === "silent");
  }

  async answer(user, sdp, source) {
    const reply = await this.#inRoom("sdpRoom", { type: source, target: user, sdp: { type: "answer", sdp } });
    if (reply.refused && reply.refused !== "lost") this.#listener.refused(user, source);
  }

  trickle(user, candidate, source) {
    this.#inRoom("candidate", { target: user, cam: source === "cam", candidate });
  }

  videoState(_, video) {
    this.#inRoom("editUserInfo", { video });
  }

  audioState(_, audio) {
    this.#inRoom("editUserInfo", { audio });
  }

  // ---- what people do together

  rename(name) {
    return this.#inRoom("editUserInfo", { name });
  }

  share(content) {
    return this.#inRoom(content, {});
  }

  unshare() {
    return this.#inRoom("shareStop", {});
  }

  say(message) {
    return this.#inRoom("chat", { message });
  }

  draw({ tool, x0, y0, x1, y1, colour, width }) {
    return this.#inRoom("drawing", {
      xy: { x0, y0, x1, y1 }, tool, color: colour, strokeWidth: width, type: "line", state: "move",
    });
  }

  askPicture(user) {
    return this.#inRoom("reqCanvasImage", { target: user });
  }

  givePicture(user, img) {
    return this.#ask("updateImage", { target: user, img });
  }

  // ---- what the host does

  permit(user, permits) {
    return this.#inRoom("permit", { target: user, ...permits });
  }

  kick(user) {
    return this.#inRoom("kickOut", { target: user });
  }

  group(list, title) {
    return this.#inRoom("createGroup", { list, title });
  }

  endGroup(groupId) {
    return this.#inRoom("endGroup", { groupId });
  }

  /** Tells somebody something, in whatever room they are. */
  note(user, message) {
    return this.#ask("inform", { target: user, message });
  }

  /** What oneself may do now. Nobody is told when the host changes it. */
  async permits() {
    const { members } = await this.#inRoom("memberList", {});
    return members?.[this.#user] && memberOf(members[this.#user]).may;
  }

  // ---- requests and replies

  // A room that is gone is told of once, whatever was asked of it.
  async #inRoom(eventOp, fields) {
    const roomId = this.#room;
    if (!roomId) return { refused: "lost" };
    const outcome = await this.#ask(eventOp, { roomId, ...fields });
    if (outcome.refused === "gone" && roomId === this.#room) {
      this.#room = "";
      this.#listener.gone();
    }
    return roomId === this.#room ? outcome : { refused: "lost" };
  }

  #ask(eventOp, fields) {
    const reqId = `p${++this.#lastRequest}`;
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle({ code: "504", message: "The gateway does not answer." }), patience);
      const settle = (reply) => {
        clearTimeout(timer);
        this.#asked.delete(reqId);
        resolve({ ...reply, refused: reply.code === "200" ? "" : (reasons[reply.code] ?? reply.code) });
      };
      this.#asked.set(reqId, settle);
      if (!this.#line.send({ eventOp, reqId, ...fields })) settle({ code: "lost" });
    });
  }

  #giveUp() {
    for (const settle of [...this.#asked.values()]) settle({ code: "lost" });
  }

  // ---- what comes in

  #heard(m) {
    if (m.code !== undefined) return this.#asked.get(m.reqId)?.(m);
    if (m.roomId !== undefined && m.roomId !== this.#room) return; // of a room that we have left
    if (m.eventOp === "drawing") return this.#drawn(m);
    if (m.eventOp === "presence") this.#happened(m);
    // The gateway's descriptions come as an event as well as in the reply, which suffices.
  }

  #happened(m) {
    const to = this.#listener;
    switch (m.type) {
      case "join": return to.arrived(memberOf(m.user));
      case "leave": return to.left(m.user);
      case "publish": return m.feeds.forEach(({ id, type }) => to.feed(id, type));
      case "editUserInfo": return this.#edited(m);
      case "screen":
      case "whiteboard":
      case "document": return to.shared(m.user, m.type);
      case "shareStop": return to.unshared(m.user);
      case "chat": return to.said(m.user, typeof m.message === "string" ? m.message : JSON.stringify(m.message));
      case "drawing": return this.#drawn(m);
      case "reqCanvasImage": return to.pictureAsked(m.sender);
      case "updateImage": return to.pictureGiven(m.sender, m.img);
      case "createGroup": return to.invited(m.user, m.groupId);
      case "inform": return to.noted(m.user, m.message);
      case "kickOut": return to.kicked(m.user);
      case "destroyRoom": return to.gone();
    }
  }

  #edited({ user, name, video, audio }) {
    this.#listener.named(user, name === anonymous ? "" : name);
    this.#listener.video(user, video);
    this.#listener.audio(user, audio);
  }

  #drawn({ xy, tool, color, strokeWidth, text }) {
    this.#listener.drawn({ ...xy, tool, colour: color, width: strokeWidth, text });
  }
}

function memberOf({ id, name, video, audio, permit }) {
  return { user: id, name: name === anonymous ? "" : name, video, audio, may: permit };
}
