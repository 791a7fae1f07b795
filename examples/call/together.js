// What people do together besides talking, in a dialect that has words for it:
// sharing a screen or a whiteboard, writing, and what the host arranges.

import { Board } from "./board.js";
import { Chat } from "./chat.js";
import { Groups } from "./groups.js";
import { displayName } from "./identity.js";
import { Menu } from "./menu.js";

const $ = (id) => document.getElementById(id);

const everything = { screen: true, chat: true, whiteboard: true, draw: true, document: true };
const doings = { screen: "shares the screen", whiteboard: "opened the whiteboard", document: "shares a document" };

/**
 * Of the page it needs:
 *   wire, peers, me, stage  as they are now
 *   toast(text)             says something in passing
 *   rename(name)            we have another name
 *   move(group)             goes over to a group; null: back to the room
 *   gone()                  the room we are in has ended
 *   goHome(why)             ends the call
 */
export class Together {
  /** What the wire tells besides what every dialect does. */
  listener = {
    named: (user, name) => this.#named(user, name),
    shared: (user, content) => this.#shared(user, content),
    unshared: (user) => this.#unshared(user),
    said: (user, text) => this.#chat.add(this.#nameOf(user), text),
    drawn: (stroke) => this.#board.draw(stroke),
    pictureAsked: (user) => this.#givePicture(user),
    pictureGiven: (user, image) => this.#takePicture(user, image),
    invited: (user, group) => this.#groups.invited(this.#nameOf(user), group),
    noted: (user, body) => this.#noted(user, body),
    kicked: (user) => this.#page.goHome(`${this.#nameOf(user)}, who hosts the call, asked you to leave.`),
  };
  #page;
  #board;
  #chat;
  #groups;
  #people = new Map(); // user → {user, name, may}, without us
  #host = "";
  #may = everything;
  #sharing = null; // {user, content}: one at a time in a room
  #screen = null; // our own screen's track
  #asked = null; // whom we asked for their picture of the board

  constructor(page) {
    this.#page = page;
    this.#board = new Board($("board-canvas"), $("board-tools"), {
      stroke: (stroke) => this.#draw(stroke),
      forbidden: () => page.toast("The host does not let you draw."),
    });
    this.#chat = new Chat($("chat"), $("chat-button"), (text) => this.#say(text));
    this.#groups = new Groups({
      page,
      people: () => [...this.#people.values()].map(({ user }) => ({ user, name: this.#nameOf(user) })),
      explain: (outcome, what) => this.#explain(outcome, what),
    });
    new Menu(page.stage, {
      member: (user) => this.#people.get(user),
      keeps: () => this.#keeps,
      permit: (user, permits) => this.#permit(user, permits),
      kick: (user) => this.#kick(user),
      rename: (name) => this.#rename(name),
    });
    $("screen-button").hidden = !navigator.mediaDevices?.getDisplayMedia; // phones have none
    $("screen-button").addEventListener("click", () => this.#toggleScreen());
    $("board-button").addEventListener("click", () => this.#toggleBoard());
    $("sharing").querySelector("button").addEventListener("click", () => this.#stop());
  }

  // ---- coming and going

  /** A call begins: nothing of the last one is left. */
  begin() {
    this.#chat.clear();
    this.#groups.begin();
  }

  /** We are in a room, for the first time or again. */
  joined(members, { host, may, share, group, groups }) {
    this.#people.clear();
    for (const member of members) this.#people.set(member.user, member);
    this.#host = host;
    this.#endScreen();
    this.#sharing = null;
    this.#show();
    this.#mayNow(may);
    if (group !== this.#groups.at) this.#chat.remark(group ? "You went over to a group." : "You are back in the main room.");
    this.#groups.joined({ group, groups, keeps: this.#keeps });
    this.#page.stage.element.classList.toggle("keeps", this.#keeps);
    const kept = share?.user === this.#page.me.user && share.content === "screen"; // the seat was, and its screen is gone
    if (kept) this.#page.wire.unshare();
    else if (share) this.#shared(share.user, share.content, { late: true });
    this.#markHost();
  }

  arrived(member) {
    this.#people.set(member.user, member);
    this.#markHost();
    this.#groups.changed();
  }

  left(user) {
    this.#people.delete(user);
    this.#groups.changed();
  }

  /** The socket is lost, or the call is over: what is ours ends. */
  end() {
    this.#endScreen();
    this.#sharing = null;
    this.#show();
    this.#groups.end();
    $("menu").hidePopover();
  }

  /** The room has ended under us. */
  gone() {
    this.#endScreen();
    this.#groups.gone();
  }

  get #keeps() {
    return this.#host === this.#page.me?.user;
  }

  #markHost() {
    for (const tile of this.#page.stage.tiles()) tile.host(tile.element.dataset.user === this.#host);
  }

  #nameOf(user) {
    return this.#people.get(user)?.name || displayName(user);
  }

  #named(user, name) {
    const person = this.#people.get(user);
    if (!person || !name || person.name === name) return;
    person.name = name;
    this.#page.stage.tile(user)?.rename(name);
    this.#groups.changed();
    this.#show();
  }

  // Our own name goes out to the room, and with us into every other.
  async #rename(name) {
    const outcome = await this.#page.wire.rename(name);
    if (outcome.refused) this.#explain(outcome, "change your name");
    else this.#page.rename(name);
  }

  // ---- what is shared

  async #toggleBoard() {
    const mine = this.#sharing?.user === this.#page.me.user && this.#sharing.content;
    if (mine) await this.#stop();
    if (mine !== "whiteboard") await this.#start("whiteboard");
  }

  // Takes the lock, if it is free.
  async #start(content) {
    const outcome = await this.#page.wire.share(content);
    if (outcome.refused) {
      this.#explain(outcome, content === "screen" ? "share your screen" : "open the whiteboard");
      return false;
    }
    this.#sharing = { user: this.#page.me.user, content };
    this.#asked = null;
    this.#board.clear();
    this.#show();
    return true;
  }

  // Safari asks for a screen only right after a click, so that comes before all else.
  async #toggleScreen() {
    const { user, content } = this.#sharing ?? {};
    const mine = user === this.#page.me.user;
    if (mine && content === "screen") return this.#stop();
    if (user && !mine) { // which is why we may not, unless it is over just now
      if (await this.#start("screen")) await this.#stop();
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: false });
    } catch (error) {
      if (error.name !== "NotAllowedError") this.#page.toast(`Your screen cannot be shared (${error.name}).`);
      return;
    }
    const [track] = stream.getVideoTracks();
    const { peers } = this.#page;
    if (!peers) return track.stop(); // lost while the browser asked
    if (this.#sharing?.user === this.#page.me.user) await this.#stop();
    const started = await this.#start("screen");
    if (!started || peers !== this.#page.peers || track.readyState === "ended") {
      track.stop();
      if (started && peers === this.#page.peers) await this.#stop();
      return;
    }
    track.contentHint = "detail";
    track.onended = () => this.#stop(); // in the browser's own bar
    this.#screen = track;
    this.#page.peers.publish({ video: track, audio: null }, "screen");
    this.#show();
  }

  async #stop() {
    if (this.#sharing?.user !== this.#page.me?.user) return;
    this.#endScreen();
    this.#sharing = null;
    this.#show();
    await this.#page.wire.unshare();
  }

  #endScreen() {
    if (!this.#screen) return;
    this.#screen.onended = null;
    this.#screen.stop();
    this.#screen = null;
    this.#page.peers?.drop(this.#page.me.user, "screen");
  }

  #shared(user, content, { late = false } = {}) {
    this.#forgetScreen();
    this.#sharing = { user, content };
    this.#asked = null;
    this.#board.clear();
    if (late && content === "whiteboard") this.#askPicture();
    if (!late) this.#page.toast(`${this.#nameOf(user)} ${doings[content]}`);
    this.#show();
  }

  #unshared(user) {
    if (this.#sharing?.user !== user) return;
    this.#forgetScreen();
    this.#sharing = null;
    this.#show();
  }

  /** Somebody's screen has come. */
  async screen(user, track) {
    if (track.kind !== "video") return;
    this.#sharing = { user, content: "screen" };
    const video = $("screen");
    video.srcObject = new MediaStream([track]);
    this.#show();
    await video.play().catch(() => {}); // it is muted; an interrupted play is followed by another
  }

  #forgetScreen() {
    if (this.#sharing?.content === "screen") this.#page.peers?.drop(this.#sharing.user, "screen");
    $("screen").srcObject = null;
  }

  // Shows what #sharing says.
  #show() {
    const { user, content } = this.#sharing ?? {};
    const mine = content && user === this.#page.me?.user;
    const video = $("screen");
    if (content !== "screen" || mine) video.srcObject = null;
    const board = content === "whiteboard";
    const screen = Boolean(video.srcObject);
    video.hidden = !screen;
    $("board").hidden = !board;
    $("show").hidden = !board && !screen;
    if (content) $("show-name").textContent = mine ? "Your whiteboard" : `${this.#nameOf(user)}’s ${board ? "whiteboard" : "screen"}`;
    this.#page.stage.strip(board || screen);
    $("sharing").hidden = !(mine && this.#screen);
    for (const [id, what] of [["screen-button", "screen"], ["board-button", "whiteboard"]]) {
      $(id).setAttribute("aria-pressed", Boolean(mine) && content === what);
    }
  }

  // ---- the whiteboard

  async #draw(stroke) {
    const outcome = await this.#page.wire.draw(stroke);
    if (outcome.refused !== "denied" || this.#asked) return;
    this.#page.toast("The host does not let you draw.");
    this.#board.allow(false);
    this.#askPicture(); // the others have not seen what we drew
    await this.#lookAtPermits();
  }

  // The one who opened the board has the picture; if that is us, anybody does.
  #askPicture() {
    const keeper = this.#sharing?.user;
    const whom = keeper === this.#page.me.user ? [...this.#people.keys()][0] : keeper;
    if (!whom) return this.#board.clear();
    this.#asked = whom;
    this.#board.expectPicture();
    this.#page.wire.askPicture(whom);
  }

  #takePicture(user, image) {
    if (user !== this.#asked) return;
    this.#asked = null;
    this.#board.show(image);
  }

  #givePicture(user) {
    if (this.#sharing?.content === "whiteboard" && this.#people.has(user)) this.#page.wire.givePicture(user, this.#board.picture());
  }

  // ---- chat

  async #say(text) {
    const outcome = await this.#page.wire.say(text);
    if (outcome.refused) this.#explain(outcome, "write");
    else this.#chat.add("", text, { self: true });
    return !outcome.refused;
  }

  // ---- what the host does, and what others notice of it

  async #permit(user, permits) {
    const outcome = await this.#page.wire.permit(user, permits);
    if (outcome.refused) return this.#explain(outcome, "change that");
    Object.assign(this.#people.get(user)?.may ?? {}, permits);
    this.#page.wire.note(user, { note: "permits" }); // the dialect itself tells nobody
  }

  async #kick(user) {
    const outcome = await this.#page.wire.kick(user);
    if (outcome.refused) this.#explain(outcome, "ask anybody to leave");
    else this.#page.toast(`${this.#nameOf(user)} was asked to leave`);
  }

  // What anybody sends may say anything: it only has us look for ourselves.
  #noted(user, body) {
    if (body?.note === "permits") this.#lookAtPermits();
    else if (body?.note === "ended" && user === this.#host) this.#groups.ended(body.group);
    else if (typeof body === "string") this.#page.toast(`${this.#nameOf(user)}: ${body}`);
  }

  async #lookAtPermits() {
    const may = await this.#page.wire.permits();
    if (may) this.#mayNow(may);
  }

  #mayNow(may) {
    this.#may = may;
    this.#board.allow(may.draw);
    this.#chat.allow(may.chat);
    $("screen-button").classList.toggle("forbidden", !may.screen);
    $("board-button").classList.toggle("forbidden", !may.whiteboard);
    $("board-note").hidden = may.draw;
  }

  #explain({ refused, message }, what) {
    if (refused === "lost") return; // which the page says
    if (refused === "denied") this.#lookAtPermits();
    this.#page.toast({
      taken: `${this.#sharing ? this.#nameOf(this.#sharing.user) : "Somebody"} is sharing already. Only one person can at a time.`,
      denied: `The host does not let you ${what}.`,
      absent: "That person is not here any more.",
      late: "The gateway does not answer.",
    }[refused] ?? `You cannot ${what} now (${message}).`);
  }
}
