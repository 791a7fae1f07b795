// One room, two dialects: people of the community app, with sockjs-client and
// kurento-utils from npm, and people of the classroom, with the gateway's SDK.
// Both clients throw on words they do not know, and every error fails the story.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { fakeDevices, grantAll, launch, watch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { startSite } from "./harness/site.js";
import { Person } from "./sdk/person.js";
import { startClassroom } from "./sdk/site.js";

const versions = { sockjs: "1.6.1", kurento: "6.18.0" };
const room = "town-hall";
const cpCode = "id"; // the tenant of everyone at the community app

let built, gateway, community, classroom, browser;
const complaints = [];
const [ann, ben] = ["ann", "ben"].map((name) => new Member(name));
const [cid, dot] = ["cid", "dot"].map((name) => new Person(name));

before(async () => {
  built = await build();
  [gateway, community, classroom, browser] = await Promise.all([
    Gateway.start(built.binary),
    startSite({ sockjs: [versions.sockjs], kurento: [versions.kurento] }),
    startClassroom(),
    launch(...fakeDevices, ...grantAll, "--autoplay-policy=no-user-gesture-required"),
  ]);
});

after(async () => {
  await browser?.close();
  await community?.stop();
  await classroom?.stop();
  await gateway?.kill();
  await built?.remove();
});

const noComplaints = () => assert.deepEqual(complaints, []);

test("two and two see and hear each other", async () => {
  await ann.enters();
  await cid.comes({ browser, site: classroom, gateway, complaints, cpCode });
  assert.equal((await cid.does("sdk.createVideoRoom", room)).code, "443", "it is there already");
  const { media, members } = await cid.does("enter", room);
  assert.equal(media, true);
  assert.deepEqual(Object.keys(members), ["ann", "cid"]);
  assert.equal(await cid.does("publish"), true);
  await ben.enters();
  await cid.hears({ type: "join" });
  await dot.comes({ browser, site: classroom, gateway, complaints, cpCode });
  await dot.does("enter", room);
  assert.equal(await dot.does("publish"), true);

  const all = [ann, ben, cid, dot];
  await Promise.all(all.flatMap((to) => all.filter((from) => from !== to).map((from) => to.sees(from.name))));
  noComplaints();
});

test("states are told in everyone's own words", async () => {
  await ann.does("toggleVideo", false);
  for (const p of [cid, dot]) await p.hears({ type: "editUserInfo", user: "ann", video: false, audio: true });
  await ben.hears({ id: "videoStateAnswer", userId: "ann", video: false });
  assert.equal((await cid.does("sdk.editUserInfo", "Cid", null, false)).code, "200");
  for (const p of [ann, ben]) await p.hears({ id: "audioStateAnswer", userId: "cid", audio: false });
  await dot.hears({ type: "editUserInfo", user: "cid", name: "Cid", audio: false });
  noComplaints();
});

test("what one dialect has no words for is not told in it", async () => {
  assert.equal((await cid.does("sdk.chat", "hello", room)).code, "200");
  await dot.hears({ type: "chat", user: "cid", message: "hello" });
  assert.equal(await cid.does("sdk.whiteBoardStart", "the canvas"), true);
  await dot.hears({ type: "whiteboard", user: "cid" });
  await cid.draws([0.1, 0.5], [0.9, 0.5]);
  await dot.board("a line", 0.5, 0.5, (r, g, b, a) => a > 100);
  assert.equal((await cid.does("sdk.shareStop")).code, "200");
  assert.equal((await cid.does("shareScreen")).code, "200");
  await dot.seesScreen();
  assert.equal((await cid.does("sdk.shareStop")).code, "200");
  await dot.hears({ type: "shareStop", user: "cid" });
  await Promise.all([ann.sees("cid"), ben.sees("dot"), dot.sees("ann")]);
  noComplaints();
});

test("who leaves has left for all", async () => {
  await ann.does("leave");
  for (const p of [cid, dot]) await p.hears({ type: "leave", user: "ann" });
  await ben.hears({ id: "participantLeft", userId: "ann" });
  assert.equal((await cid.does("leave")).code, "200");
  await ben.hears({ id: "participantLeft", userId: "cid" });
  await Promise.all([ben.sees("dot"), dot.sees("ben")]);
  await Promise.all([ann, ben, cid, dot].map((p) => p.goes()));
  await eventually("nobody is left", async () => (await gateway.metric("confgate_members")) === 0);
  noComplaints();
});

// Member is somebody at the community app, told of as a Person is.
function Member(name) {
  let page;
  const received = () => page.evaluate(() => window.app.received);
  const stats = async (user) => (await page.evaluate(() => window.app.stats()))[user];

  this.name = name;
  this.goes = () => page?.context().close();
  this.does = (method, ...args) => page.evaluate(([m, given]) => window.app[m](...given), [method, args]);

  this.enters = async () => {
    page = await (await browser.newContext()).newPage();
    watch(page, name, complaints);
    await page.goto(community.url(versions));
    await page.evaluate((options) => window.app.connect(options), {
      url: `${gateway.url}/rtc`, transport: "websocket", userId: name, roomId: room,
      media: { audio: true, video: { width: 160, height: 90, frameRate: 10 } },
    });
    await this.hears({ id: "existingParticipants" });
  };

  this.hears = (fields) => eventually(`${name} hears ${JSON.stringify(fields)}`, async () =>
    (await received()).find((m) => Object.entries(fields).every(([key, value]) => m[key] === value)));

  this.sees = async (user) => {
    const then = (await stats(user)) ?? { frames: 0, packets: 0 };
    let now;
    await eventually(`${name} receives ${user}`, async () => {
      now = await stats(user);
      return now?.shown && now.frames > then.frames && now.packets > then.packets;
    }).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify({ then, now })}\n${gateway.log}`);
    });
  };
}
