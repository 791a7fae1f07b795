// Measures calls on lines that lose packets, and on thin ones, and says PASS or FAIL
// for each: LEVELS=1,5,10 (percent lost each way) SECONDS=60 (of each line) node links.js.
// It takes minutes, and wants a machine with nothing else to do: a browser that has no
// time sends, sees and estimates less. loss.test.js and thin.test.js try a little of it.
// Signalling goes by TCP, which the lines here do not carry.

import { setTimeout as pause } from "node:timers/promises";

import { fakeDevices, launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { detour, Impairment } from "./harness/impairment.js";
import { Ledger } from "./harness/ledger.js";
import { connected, received, sent, watchFrames } from "./harness/reception.js";
import { restlessPicture } from "./harness/restless.js";
import { Visitor } from "./harness/visitor.js";

const levels = (process.env.LEVELS ?? "1,5,10,20,30").split(",").filter(Boolean).map(Number);
const seconds = Number(process.env.SECONDS ?? 60);

// What may be lost of a picture after repair, in percent, by what the line loses.
const residualGoals = new Map([[1, 0.05], [5, 0.1], [10, 0.5], [20, 2], [30, 6]]);
const moreConcealed = 5; // percent of the sound, beyond what the line loses
const wholeWithin = 5; // seconds, from the end of the loss
const lossy = { delay: 40, jitter: 10 };

const thin = { rate: 1e6, queue: 50, delay: 20 };
const tooThin = 2 / 3; // of what is sent, if that is less: the page sends no more than 1 Mbit/s can just bear
const voiceOnly = { rate: 80e3, queue: 50, delay: 20 };
const half = 320; // pixels that the smaller layer is wide
const smallerWithin = 5; // seconds
const lostAfterwards = 10; // percent
const largerWithin = 15; // seconds
const thinSeconds = 20; // after which that has to be so: the longer it was thin, the later it is tried again
const lastTryWithin = 65; // seconds: what tries are apart at most, and a little
const patience = 120_000; // milliseconds, before a goal counts as never met
const patienceForWhole = 30_000;

let gateway, browser;
const complaints = [];
let passed = true;

async function main() {
  const built = await build();
  [gateway, browser] = await Promise.all([Gateway.start(built.binary), launch(...fakeDevices)]);
  try {
    if (levels.length > 0) await lossyLines();
    await thinLines();
  } finally {
    await browser.close();
    await gateway.stop();
    built.remove();
  }
  row("all", "errors in the pages", complaints.length, "0", complaints.length === 0);
  process.exitCode = passed ? 0 : 1;
}

// Two calls, one after the other: in the first, two receive by bad lines, one in each
// dialect; in the second, who sends does.
async function lossyLines() {
  const camera = { sends: { width: 400, height: 224 } };
  const ann = await visitor("Ann", "/?room=receive", camera);
  const ben = await visitor("Ben", "/?room=receive");
  const cid = await visitor("Cid", "/?room=receive&dialect=eventop");
  await lossyCall([ann, ben, cid], [
    { name: "to id", from: ann, to: ben, bad: ben, way: "down" },
    { name: "to eventOp", from: ann, to: cid, bad: cid, way: "down" },
  ]);
  const dan = await visitor("Dan", "/?room=send", camera);
  const eve = await visitor("Eve", "/?room=send");
  await lossyCall([dan, eve], [{ name: "from id", from: dan, to: eve, bad: dan, way: "up" }]);
}

async function lossyCall(people, lines) {
  for (const p of people) await p.join();
  for (const { from, to } of lines) {
    await to.watches(from.name);
    await to.tileOf(from.name).locator("video").evaluate(watchFrames);
  }
  for (const level of levels) {
    for (const { bad } of lines) bad.line.become({ ...lossy, loss: level / 100 });
    await Promise.all(lines.map((line) => lossyLine(line, level)));
  }
  await leave(people);
}

async function lossyLine({ name, from, to, bad, way }, level) {
  for (const p of [from, to]) await p.page.evaluate(() => (window.longestGap = 0));
  const { picture } = watchLine(bad.line)[way];
  const then = { ...(await look(from, to)), ...(await bad.page.evaluate(connected)) };
  await pause(seconds * 1_000);
  const now = await look(from, to);
  const still = await bad.page.evaluate(connected);
  bad.line.become({});
  const { taken, lost } = picture;
  const whole = await wholeAgain(from, to);
  const residual = (100 * (lost - picture.repaired)) / taken; // what is asked for again comes a little later

  const line = `${level} % lost, ${name}`;
  const concealed = concealedShare(then, now);
  const decoded = (100 * (now.framesDecoded - then.framesDecoded)) / Math.max(1, now.frames - then.frames);
  const residualGoal = residualGoals.get(level) ?? level;
  row(line, "picture lost after repair", percent(residual), `at most ${residualGoal} %`, residual <= residualGoal);
  row(line, "", `of ${taken}, ${percent((100 * lost) / taken)} lost on the line, ${picture.repeated} sent again; ${percent(decoded)} of the frames decoded, longest gap ${Math.round(now.longestGap)} ms`);
  row(line, "sound concealed", percent(concealed), `at most ${level + moreConcealed} %`, concealed <= level + moreConcealed);
  row(line, "stays connected", `${still.sound} of ${still.made}`, `${then.made}`, still.sound === then.made && still.made === then.made);
  row(line, "whole again after", `${whole.toFixed(1)} s`, `at most ${wholeWithin} s`, whole <= wholeWithin);
}

function watchLine(line) {
  const ledgers = { up: new Ledger(), down: new Ledger() };
  line.watch = (direction, datagram, lost) => ledgers[direction].note(datagram, lost);
  return ledgers;
}

// The seconds until all that is sent is seen and heard, for a second.
async function wholeAgain(from, to) {
  const begun = performance.now();
  const looks = [];
  while (performance.now() - begun < patienceForWhole) {
    looks.push({ at: performance.now(), ...(await look(from, to)) });
    const now = looks.at(-1);
    const then = looks.findLast((l) => l.at <= now.at - 1_000);
    if (then) {
      const frames = now.frames - then.frames;
      const seen = now.framesDecoded - then.framesDecoded > 0.8 * frames;
      if (frames > 1 && seen && concealedShare(then, now) < moreConcealed) return (then.at - begun) / 1_000;
    }
    await pause(250);
  }
  return Infinity;
}

async function look(from, to) {
  const [outbound, inbound] = await Promise.all([from.page.evaluate(sent), to.page.evaluate(received)]);
  return { ...outbound, ...inbound };
}

// One who sends a large picture and a small one, and one whose line becomes thin.
async function thinLines() {
  const ann = await visitor("Ann", "/?room=thin", { sends: { width: 640, height: 360 } });
  const ben = await visitor("Ben", "/?room=thin", { grant: [] });
  await ann.join();
  await ben.join();
  await ben.watches("Ann");
  await eventually("the whole picture", async () => (await width(ben)) > half, { within: patience });
  await thinLine(ben);
  await hopelessLine(ben);
  await leave([ann, ben]);
}

async function thinLine(ben) {
  let sent = 0;
  await secondsUntil("as much as there is of the picture", async () => (sent = await rateOf(ben)), (r) => r > 0.9 * thin.rate, 45_000);
  const rate = Math.min(thin.rate, tooThin * sent);
  const line = `${Math.round(rate / 1e3)} kbit/s`;
  const whole = watchLine(ben.line).down;
  ben.line.become({ ...thin, rate });
  const down = await secondsUntil("the smaller picture", () => width(ben), (w) => w <= half);
  row(line, "smaller picture after", `${down.toFixed(1)} s`, `at most ${smallerWithin} s`, down <= smallerWithin);
  row(line, "", `lost until then: ${lossOf(whole)}`);
  const smaller = watchLine(ben.line).down;
  await pause(thinSeconds * 1_000);
  row(line, "lost afterwards", percent(lossShare(smaller)), `at most ${lostAfterwards} %`, lossShare(smaller) <= lostAfterwards);
  row(line, "", lossOf(smaller));
  ben.line.become({});
  const up = await secondsUntil("the larger picture", () => width(ben), (w) => w > half);
  row("wide again", "larger picture after", `${up.toFixed(1)} s`, `at most ${largerWithin} s`, up <= largerWithin);
  const small = await shareOf(30, async () => (await width(ben)) <= half);
  row("wide again", "smaller again then", percent(small), "0 %", small === 0);
}

// What comes to somebody, in bits a second.
async function rateOf({ line }) {
  const rateSeconds = 5;
  let bytes = 0;
  line.watch = (direction, datagram) => {
    if (direction === "down") bytes += datagram.length;
  };
  await pause(1_000 * rateSeconds);
  return (8 * bytes) / rateSeconds;
}

// The percentage of so many seconds in which look() was true.
async function shareOf(seconds, look) {
  const ends = performance.now() + 1_000 * seconds;
  let looks = 0;
  let seen = 0;
  while (performance.now() < ends) {
    looks++;
    if (await look()) seen++;
    await pause(200);
  }
  return (100 * seen) / looks;
}

async function hopelessLine(ben) {
  const line = `${voiceOnly.rate / 1e3} kbit/s`;
  const paused = () => gateway.metric("confgate_pictures_paused_total");
  const before = await paused();
  ben.line.become(voiceOnly);
  const off = await secondsUntil("no picture", paused, (n) => n > before);
  row(line, "no picture after", `${off.toFixed(1)} s`, "ever", off < Infinity);
  await pause(1_000); // for what was under way
  const then = await ben.page.evaluate(received);
  await pause(3_000); // within the time before the first try
  const now = await ben.page.evaluate(received);
  const concealed = concealedShare(then, now);
  row(line, "sound concealed then", percent(concealed), `at most ${moreConcealed} %`, concealed <= moreConcealed);
  const ledger = watchLine(ben.line).down;
  await pause(seconds * 1_000);
  row(line, "", `in ${seconds} s more, with tries: ${lossOf(ledger)}`);
  ben.line.become({});
  const frames = await ben.frames("Ann");
  const any = await secondsUntil("a picture", () => ben.frames("Ann"), (n) => n > frames + 5);
  row("wide again", "a picture after", `${any.toFixed(1)} s`, `at most ${lastTryWithin} s`, any <= lastTryWithin);
  const up = await secondsUntil("the larger picture", () => width(ben), (w) => w > half);
  row("wide again", "the larger one after", `${up.toFixed(1)} s more`, `at most ${lastTryWithin} s`, up <= lastTryWithin);
}

function width(person) {
  return person.tileOf("Ann").locator("video").evaluate((video) => video.videoWidth);
}

// The seconds until look() gives what is wanted.
async function secondsUntil(what, look, wanted, within = patience) {
  const begun = performance.now();
  try {
    await eventually(what, async () => wanted(await look()), { within });
  } catch (error) {
    console.error(error.message);
    return Infinity;
  }
  return (performance.now() - begun) / 1_000;
}

function concealedShare(then, now) {
  return (100 * (now.concealedSamples - then.concealedSamples)) / Math.max(1, now.totalSamplesReceived - then.totalSamplesReceived);
}

const lossShare = ({ picture, voice }) => (100 * (picture.lost + voice.lost)) / Math.max(1, picture.taken + voice.taken);
const lossOf = ({ picture, voice }) =>
  `${percent((100 * picture.lost) / Math.max(1, picture.taken))} of ${picture.taken} of the picture, ${percent((100 * voice.lost) / Math.max(1, voice.taken))} of ${voice.taken} of the voice`;
const percent = (n) => `${n.toFixed(2)} %`;

async function visitor(name, url, { sends } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: sends ? ["camera", "microphone"] : [] });
  const line = await Impairment.start(gateway.mediaPort, { seed: 20 });
  await context.addInitScript(detour, line.port);
  if (sends) await context.addInitScript(restlessPicture, sends);
  const page = await context.newPage();
  watch(page, name, complaints);
  await page.goto(gateway.url + url);
  const person = new Visitor(name, page);
  person.line = line;
  await person.settled();
  return person;
}

async function leave(people) {
  for (const { page, line } of people) {
    await page.context().close();
    line.stop();
  }
}

function row(line, what, measured, goal = "", pass = undefined) {
  passed &&= pass !== false;
  const verdict = pass === undefined ? "" : pass ? "PASS" : "FAIL";
  console.log([line.padEnd(22), what.padEnd(27), String(measured).padEnd(13), goal.padEnd(16), verdict].join("").trimEnd());
}

await main();
