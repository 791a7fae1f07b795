// The page: the lobby, the call, and what moves between them.

import { Devices } from "./devices.js";
import {
  dialectOfPage, displayName, identity, keepPlace, linkTo, plainIdentity, roomId, roomOfPage, tabSuffix, tidy,
} from "./identity.js";
import { Peers } from "./peers.js";
import { Stage } from "./tiles.js";
import { Together } from "./together.js";
import { EventOpWire } from "./wire-eventop.js";
import { Wire } from "./wire.js";

const joinPatience = 8_000; // milliseconds
const levelPeriod = 200; // milliseconds between two looks at the loudness
const speakingLevel = 0.02; // of 1
const speakingHold = 700; // milliseconds a mark stays after the last sound
const toastTime = 4_000;
const fitPause = 2_000; // for which tiles must have kept their size before others are told

const $ = (id) => document.getElementById(id);

let fitting = 0; // the timer

const stage = new Stage($("stage"), $("tile"), () => {
  clearTimeout(fitting);
  fitting = setTimeout(() => peers?.fit(), fitPause);
});
const devices = new Devices(devicesChanged);
const together = new Together({
  get wire() { return wire; },
  get peers() { return peers; },
  get me() { return me; },
  stage,
  toast,
  rename,
  move,
  gone,
  goHome,
});
const listener = {
  open() {
    awaitAnswer();
    wire.join(place());
  },
  lost,
  joined,
  full: () => goHome(`“${me.room}” is full. Try again when somebody has left, or take another room.`),
  arrived(member) {
    meet(member);
    together.arrived(member);
    toast(`${nameOf(member)} joined`);
  },
  left(user) {
    toast(`${stage.tile(user)?.name ?? displayName(user)} left`);
    peers?.drop(user);
    stage.remove(user);
    together.left(user);
    headcount();
  },
  feed: (user, source) => peers?.subscribe(user, source),
  answered: (user, sdp, source) => peers?.answered(user, sdp, source),
  found: (user, candidate, source) => peers?.found(user, candidate, source),
  video: (user, on) => others(user)?.set("video", on),
  audio: (user, on) => others(user)?.set("audio", on),
};
const wires = {
  id: new Wire(gatewayURL("ws/id"), listener),
  eventop: new EventOpWire(gatewayURL("ws/eventop"), {
    ...listener,
    ...together.listener,
    offered: (user, sdp, source) => peers?.offered(user, sdp, source),
    refused: (user, source, gone) => peers?.refused(user, source, gone),
    turnedAway,
    gone,
  }),
};

let dialect = dialectOfPage(); // chosen in the lobby
let wire = wires[dialect];
let me = null; // {name, room, user, group} from Join until Leave
let inCall = false; // from the first time in the room until Leave; the socket may be lost meanwhile
let peers = null; // while in the room
let sent = {}; // the device states that the room has been told
let patience = 0;
let ticking = 0;

function gatewayURL(path) {
  const url = new URL(path, document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url;
}

// Where we want to be, and how we come.
function place() {
  sent = { video: devices.on("video"), audio: devices.on("audio") };
  return { user: me.user, name: me.name, room: roomId(me.room), group: me.group, ...sent };
}

// ---- the lobby

async function join(event) {
  event.preventDefault();
  const name = $("name").value.trim();
  const room = tidy($("room").value);
  if (!name || !room) return;
  notice("");
  $("join-button").disabled = true;
  $("join-button").textContent = "Joining…";
  choosing(false);
  localStorage.setItem("name", name);
  setRoom(room);
  const tab = await tabSuffix();
  me = { name, room, user: dialect === "id" ? identity(name, tab) : plainIdentity(name, tab), group: null };
  together.begin();
  awaitAnswer();
  wire.open();
}

// Refusals are silent in this dialect. A gateway that has had us before is
// probably restarting, so we come again.
function awaitAnswer() {
  clearTimeout(patience);
  patience = setTimeout(() => {
    if (inCall) wire.again();
    else goHome("The gateway does not let you in. It may want a sign-in, or be about to restart.");
  }, joinPatience);
}

// A dialect that gives reasons gives them here.
function turnedAway(why) {
  if (!inCall) goHome(`The gateway does not let you in: ${why}.`);
}

function goHome(why = "") {
  clearTimeout(patience);
  clearInterval(ticking);
  together.end();
  wire.close();
  peers?.close();
  peers = me = null;
  inCall = false;
  stage.clear();
  banner("");
  $("sound").hidden = true;
  $("call").hidden = true;
  $("lobby").hidden = false;
  $("join-button").disabled = false;
  $("join-button").textContent = "Join";
  choosing(true);
  document.title = "confgate";
  notice(why);
  devicesChanged();
  $("join-button").focus();
}

function notice(text) {
  $("join-notice").textContent = text;
  $("join-notice").hidden = !text;
}

function setRoom(room) {
  $("room").value = room;
  keepPlace(room, dialect);
  showLinks(room);
}

function showLinks(room) {
  for (const a of document.querySelectorAll("[data-tab]")) a.href = linkTo(room, dialect);
}

// What the other dialect has no words for is hidden by the style sheet.
function setDialect(chosen) {
  dialect = chosen;
  wire = wires[dialect];
  document.body.dataset.dialect = dialect;
  for (const option of document.querySelectorAll("[name=dialect]")) option.checked = option.value === dialect;
  keepPlace(tidy($("room").value) || roomOfPage(), dialect);
  showLinks(tidy($("room").value));
}

// The dialect is fixed once a line is being opened: it would end up in the wrong call.
function choosing(may) {
  for (const option of document.querySelectorAll("[name=dialect]")) option.disabled = !may;
}

async function copyLink() {
  const link = linkTo(tidy($("room").value), dialect);
  try {
    await navigator.clipboard.writeText(link);
    toast("Link copied");
  } catch {
    toast(link); // no clipboard here: show it, it can be selected
  }
}

// ---- the call

function joined(members, room) {
  clearTimeout(patience);
  const again = inCall;
  inCall = true;
  me.group = room.group ?? null;
  heard.clear();
  $("lobby").hidden = true;
  $("call").hidden = false;
  $("room-name").textContent = me.room;
  banner("");
  stage.clear();
  peers?.close();
  peers = new Peers(me.user, wire, {
    track: async (user, track, source) => {
      if (source === "screen") return together.screen(user, track);
      const plays = (await stage.tile(user)?.show(track.kind, track)) ?? true;
      if (!plays) $("sound").hidden = false;
    },
    state: (user, state, source) => source === "cam" && stage.tile(user)?.state(state),
    place: (user) => stage.tile(user)?.place ?? { width: 0, height: 0 },
  });
  stage.add({ user: me.user, ...sent }, me.name, { self: true });
  members.forEach(meet);
  if (dialect !== "id") together.joined(members, room);
  headcount();
  devicesChanged();
  clearInterval(ticking);
  ticking = setInterval(markSpeakers, levelPeriod);
  if (!again) $("room-name").parentElement.focus(); // else somebody may be writing, and keys are shortcuts elsewhere
}

function meet(member) {
  stage.add(member, nameOf(member));
  headcount();
}

function nameOf({ user, name }) {
  return name || displayName(user);
}

function rename(name) {
  me.name = name;
  localStorage.setItem("name", name);
  $("name").value = name;
  stage.tile(me.user)?.rename(name);
}

// Over to a breakout group, or back to the room.
function move(group) {
  peers?.close();
  peers = null;
  together.end();
  me.group = group;
  awaitAnswer();
  wire.move(place());
}

// The room has ended under us, and its connections with it.
function gone() {
  peers?.close();
  peers = null;
  for (const tile of stage.tiles()) tile.state("lost");
  together.gone();
}

function lost(pause) {
  if (!inCall) return goHome("The gateway cannot be reached. Check your connection and try again.");
  together.end();
  peers?.close();
  peers = null;
  clearTimeout(patience);
  for (const tile of stage.tiles()) {
    tile.state("lost");
    tile.speaking(false);
  }
  banner(`The connection is lost. Trying again in ${Math.ceil(pause / 1000)} s…`);
}

function others(user) {
  return user === me?.user ? null : stage.tile(user); // our own tile shows the devices themselves
}

function headcount() {
  const people = stage.size;
  $("count").textContent = people;
  $("alone").hidden = people !== 1;
  document.title = `${me.room} (${people}) · confgate`;
}

const heard = new Map(); // user → when last loud

async function markSpeakers() {
  if (!peers || document.hidden) return;
  const now = performance.now();
  const levels = await peers.levels();
  if (!peers) return;
  for (const [user, level] of levels) {
    const tile = stage.tile(user);
    if (level > speakingLevel && tile?.element.dataset.audio === "on") heard.set(user, now);
    tile?.speaking(now - (heard.get(user) ?? -Infinity) < speakingHold);
  }
}

// ---- camera and microphone

function devicesChanged() {
  for (const kind of ["audio", "video"]) {
    const on = devices.on(kind);
    for (const button of document.querySelectorAll(`[data-switch=${kind}]`)) {
      button.setAttribute("aria-pressed", on);
      button.title = `${on ? "Turn off" : "Turn on"} ${kind === "audio" ? "microphone (M)" : "camera (V)"}`;
    }
  }
  showPreview();
  showProblem();
  if (inCall) showMyself();
}

function showPreview() {
  const video = $("preview").querySelector("video");
  const track = inCall ? null : devices.tracks.video;
  if (track !== (video.srcObject?.getTracks()[0] ?? null)) video.srcObject = track && new MediaStream([track]);
  $("preview").dataset.video = track ? "on" : "off";
  $("preview-text").textContent = devices.asking ? "Your browser asks for camera and microphone…" : "Your camera is off";
}

let told = ""; // the last problem that was told in the call

function showProblem() {
  const problem = devices.problem;
  if (inCall && problem && problem !== told) toast(problem);
  told = problem;
  $("device-notice").hidden = !problem;
  $("device-notice").querySelector("p").textContent = problem && `${problem} You can join all the same and listen.`;
}

function showMyself() {
  const tile = stage.tile(me.user);
  const { audio, video } = devices.tracks;
  tile.show("video", video);
  for (const kind of ["audio", "video"]) {
    const on = devices.on(kind);
    tile.set(kind, on);
    if (peers && sent[kind] !== on) tell(kind, on);
  }
  peers?.publish({ audio, video });
  if (!audio && !video && tile.element.dataset.state === "new") tile.state("listening");
}

function tell(kind, on) {
  sent[kind] = on;
  if (kind === "video") wire.videoState(me.user, on);
  else wire.audioState(me.user, on);
}

async function toggle(kind) {
  told = ""; // asked again, told again
  await devices.toggle(kind);
}

// ---- small things

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

function toast(text) {
  const p = document.createElement("p");
  p.textContent = text;
  $("toasts").append(p);
  setTimeout(() => p.remove(), toastTime);
}

async function turnSoundOn() {
  $("sound").hidden = true;
  for (const tile of stage.tiles()) await tile.play();
}

function shortcut(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("input:not([type=radio])")) return;
  const key = event.key.toLowerCase();
  if (key === "m") toggle("audio");
  if (key === "v") toggle("video");
}

$("join").addEventListener("submit", join);
$("room").addEventListener("input", () => showLinks(tidy($("room").value)));
$("device-retry").addEventListener("click", () => devices.start());
$("leave").addEventListener("click", () => {
  wire.leave();
  goHome();
});
$("sound").querySelector("button").addEventListener("click", turnSoundOn);
for (const b of document.querySelectorAll("[data-switch]")) b.addEventListener("click", () => toggle(b.dataset.switch));
for (const b of document.querySelectorAll("[data-copy]")) b.addEventListener("click", copyLink);
for (const option of document.querySelectorAll("[name=dialect]")) option.addEventListener("change", () => setDialect(option.value));
addEventListener("keydown", shortcut);

$("name").value = localStorage.getItem("name") ?? "";
setRoom(roomOfPage());
setDialect(dialect);
devices.start();
