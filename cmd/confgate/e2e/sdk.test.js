// The SDK that the gateway serves, in real browsers, on a page from another
// origin that was written from the SDK's public documentation. Every error in
// any page fails the story.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { fakeDevices, grantAll, launch } from "./harness/browser.js";
import { eventually } from "./harness/eventually.js";
import { build, Gateway } from "./harness/gateway.js";
import { Person } from "./sdk/person.js";
import { startClassroom } from "./sdk/site.js";

const framings = (process.env.FRAMING ?? "socket.io,websocket").split(",");

const microphoneOnly = { audio: true, video: false };
const red = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==";

let built, gateway, site, browser;

before(async () => {
  built = await build();
  [gateway, site, browser] = await Promise.all([
    Gateway.start(built.binary),
    startClassroom(),
    launch(...fakeDevices, ...grantAll, "--autoplay-policy=no-user-gesture-required"),
  ]);
});

after(async () => {
  await browser?.close();
  await site?.stop();
  await gateway?.kill();
  await built?.remove();
});

const isRed = (r, g, b, a) => r > 200 && g < 50 && b < 50 && a > 200;
const isEmpty = (r, g, b, a) => a === 0;

for (const framing of framings) {
  describe(`a lesson over ${framing}`, () => {
    const complaints = [];
    const [ann, ben, cid, dot] = ["ann", "ben", "cid", "dot"].map((name) => new Person(name));
    const comes = (person) => person.comes({ browser, site, gateway, complaints, framing });
    let room;

    after(() => Promise.all([ann, ben, cid, dot].map((p) => p.goes())));
    const noComplaints = () => assert.deepEqual(complaints, []);

    test("three people see and hear each other; one only watches", async () => {
      await Promise.all([ann, ben, cid].map(comes));
      assert.equal(await ann.page.evaluate(() => (app.sdk.getSocket() instanceof WebSocket ? "websocket" : "socket.io")), framing);
      ({ roomId: room } = await ann.does("sdk.createVideoRoom", null, "lesson", 4, true, true));
      assert.match(room, /^r\d{7}$/);
      const { title, media, talkingNoty } = await ann.does("enter", room);
      assert.deepEqual({ title, media, talkingNoty }, { title: "lesson", media: true, talkingNoty: true });
      assert.equal(await ann.does("sdk.isMedia"), true);
      assert.equal(await ann.does("publish"), true);

      const { members, host } = await ben.does("enter", room); // late: ann is there already
      assert.deepEqual(Object.keys(members), ["ann", "ben"]);
      assert.equal(host.id, "ann");
      await ben.sees("ann");
      await cid.does("enter", room); // no camera at all
      assert.equal(await ben.does("publish"), true);
      await Promise.all([ann.sees("ben"), cid.sees("ann"), cid.sees("ben")]);
      await Promise.all([ann, cid].map((p) => p.hears({ type: "talking", roomId: room, user: "ben", talking: true })));
      await ann.hears({ type: "talking", roomId: room, user: "ann", talking: true });
      noComplaints();
    });

    test("the camera is replaced, and the others keep seeing it", async () => {
      assert.equal(await ben.does("changeCamera"), true);
      await Promise.all([ann.sees("ben"), cid.sees("ben")]);
      assert.equal((await ben.does("sdk.editUserInfo", "Benjamin", false)).code, "200");
      await Promise.all([ann, cid].map((p) => p.hears({ type: "editUserInfo", user: "ben", name: "Benjamin", video: false, audio: true })));
      assert.equal(await ben.does("sdk.getName"), "Benjamin");
      noComplaints();
    });

    test("a connection that fails is made anew, in the same stream", async () => {
      for (const [person, id] of [[cid, "ann"], [ann, "ann"]]) {
        await person.page.evaluate((whose) => {
          const peer = app.sdk.getPeer(whose);
          app.before = { peer, stream: app.sdk.getStream(whose) };
          Object.defineProperty(peer, "connectionState", { value: "failed" });
          peer.dispatchEvent(new Event("connectionstatechange"));
        }, id);
        await eventually(`${person.name} has another connection for ${id}`, () => person.page.evaluate((whose) =>
          app.sdk.getPeer(whose) !== app.before.peer && app.sdk.getPeer(whose).connectionState === "connected", id));
        assert.equal(await person.page.evaluate((whose) => app.sdk.getStream(whose) === app.before.stream, id), true);
        await Promise.all([cid.sees("ann"), ben.sees("ann")]);
      }
      noComplaints();
    });

    test("one shares a screen at a time", async () => {
      assert.equal((await ann.does("shareScreen")).code, "200");
      await Promise.all([ben, cid].map((p) => p.seesScreen()));
      assert.equal(await ben.does("shareScreen"), false);
      assert.equal((await ben.does("sdk.shareStop")).code, "440");

      await comes(dot); // late, with a microphone
      assert.deepEqual((await dot.does("enter", room)).share, { type: "screen", user: "ann" });
      await Promise.all([dot.seesScreen(), dot.sees("ben")]);
      assert.equal(await dot.does("publish", microphoneOnly), true);
      await Promise.all([ann, ben, cid].map((p) => p.hearsVoice("dot")));

      assert.equal((await ann.does("sdk.shareStop")).code, "200");
      await Promise.all([ben, cid, dot].map((p) => p.hears({ type: "shareStop", user: "ann" })));
      assert.equal(await ben.does("sdk.getStream", "screen"), undefined);
      assert.equal((await ben.does("shareScreen")).code, "200");
      await ann.seesScreen();
      await ben.page.evaluate(() => { // as the browser's own button does
        const [track] = app.screen.getVideoTracks();
        track.stop();
        track.dispatchEvent(new Event("ended"));
      });
      await ann.hears({ type: "shareStop", user: "ben" });
      assert.equal(await ann.does("sdk.getShareType"), null);
      noComplaints();
    });

    test("what is drawn on the board is seen by all, late comers too", async () => {
      assert.equal(await ann.does("sdk.whiteBoardStart", "the canvas"), true);
      await Promise.all([ben, cid].map((p) => p.hears({ type: "whiteboard", user: "ann" })));
      await ann.does("sdk.setTool", "pen", "red", 9);
      await ann.draws([0.1, 0.5], [0.9, 0.5]);
      await Promise.all([ann, ben, cid, dot].map((p) => p.board("a red line", 0.5, 0.5, isRed)));

      await ben.does("sdk.drawingInit");
      await ben.does("sdk.setTool", "eraser", "black", 30);
      await ben.draws([0.5, 0.2], [0.5, 0.8]);
      await Promise.all([ann, cid].map((p) => p.board("a gap", 0.5, 0.5, isEmpty)));
      await cid.board("the rest of the line", 0.2, 0.5, isRed);

      await ann.does("sdk.setTool", "shape", "red", 9, "square");
      await ann.draws([0.3, 0.1], [0.7, 0.3]);
      await cid.board("a square", 0.3, 0.2, isRed);

      await ben.does("sdk.setTool", "textbox", "red", 40);
      await ben.draws([0.1, 0.6]);
      await ben.page.keyboard.type("M");
      await ben.page.keyboard.press("Escape");
      await Promise.all([ann, cid].map((p) => p.boardHas("a letter", [0.1, 0.6, 0.25, 0.85], isRed)));

      await dot.does("sdk.canvasClear");
      await Promise.all([ann, ben, cid].map((p) => p.board("nothing", 0.2, 0.5, isEmpty)));
      await ann.does("sdk.setTool", "pen", "red", 9);
      await ann.draws([0.1, 0.5], [0.9, 0.5]);
      await dot.goes();
      await comes(dot);
      assert.deepEqual((await dot.does("enter", room)).share, { type: "whiteboard", user: "ann" });
      await dot.does("sdk.canvasInit", "the canvas");
      assert.equal((await dot.does("sdk.reqCanvasImage", "ann")).code, "200");
      await dot.hears({ type: "updateImage", sender: "ann" });
      await dot.board("the line", 0.5, 0.5, isRed);
      noComplaints();
    });

    test("who may not draw is seen by nobody", async () => {
      assert.equal((await ann.does("sdk.permit", "ben", null, false)).code, "200");
      assert.equal((await ann.does("sdk.memberList", room)).members.ben.permit.draw, false);
      await ben.does("sdk.setTool", "pen", "red", 9);
      await ben.draws([0.1, 0.2], [0.9, 0.2]);
      assert.equal((await ben.does("sdk.permit", "cid", true)).code, "413", "only the host permits");
      assert.equal((await ann.does("sdk.permit", "ben", null, true)).code, "200");
      await ben.draws([0.1, 0.8], [0.9, 0.8]);
      for (const p of [ann, cid]) {
        await p.board("the second line", 0.5, 0.8, isRed);
        await p.board("not the first", 0.5, 0.2, isEmpty);
      }
      assert.equal((await ann.does("sdk.shareStop")).code, "200");
      noComplaints();
    });

    test("pages of a document are shown to all", async () => {
      assert.equal((await cid.does("sdk.documentStart", "the canvas")).code, "200");
      assert.equal((await cid.does("sdk.documentShare", "javascript:alert(1)")).code, "422");
      assert.equal((await cid.does("sdk.documentShare", red)).code, "200");
      await ann.hears({ type: "documentShare", user: "cid", img: red });
      await Promise.all([ann, ben, cid].map((p) => p.board("a red page", 0.5, 0.9, isRed)));
      assert.equal((await cid.does("sdk.shareStop")).code, "200");
      noComplaints();
    });

    test("messages reach the room, or one person", async () => {
      const text = "<img src=x onerror=alert(1)> 안녕";
      assert.equal((await ann.does("sdk.chat", text, room)).code, "200");
      await Promise.all([ben, cid].map((p) => p.hears({ type: "chat", user: "ann", message: text })));
      assert.equal((await ben.does("sdk.chat", "psst", null, "ann")).code, "200");
      await ann.hears({ type: "chat", user: "ben", message: "psst" });
      assert.equal(await cid.heard({ type: "chat", message: "psst" }), 0);
      assert.equal(await ann.heard({ type: "chat", message: text }), 0, "no echo");
      const rich = { type: "permit", screen: true };
      assert.equal((await ann.does("sdk.inform", rich, "cid")).code, "200");
      await cid.hears({ type: "inform", user: "ann", message: rich });
      noComplaints();
    });

    test("two go to a room of their own and come back", async () => {
      const { code, groupId } = await ann.does("sdk.createGroup", ["ben", "cid"], "group work");
      assert.equal(code, "200");
      for (const p of [ben, cid]) {
        await p.hears({ type: "createGroup", user: "ann", groupId });
        assert.equal((await p.does("leave")).code, "200");
        await p.does("enter", groupId);
        assert.equal(await p.does("publish"), true);
      }
      await Promise.all([ben.sees("cid"), cid.sees("ben")]);
      assert.equal((await ann.does("sdk.inform", "five minutes", "ben")).code, "200");
      await ben.hears({ type: "inform", user: "ann", message: "five minutes" });

      assert.equal((await ann.does("sdk.endGroup", groupId)).code, "200");
      for (const p of [ben, cid]) {
        assert.equal((await p.does("leave", groupId)).code, "200", "it is gone already");
        await p.does("enter", room);
        assert.equal(await p.does("publish"), true);
      }
      await Promise.all([ann.sees("ben"), ann.sees("cid"), ben.sees("ann"), ben.sees("cid"), cid.sees("ben")]);
      noComplaints();
    });

    test("a lost connection comes back, and with it the person", async () => {
      assert.equal((await ben.does("sdk.editUserInfo", null, false)).code, "200");
      await ben.page.evaluate(() => {
        const socket = app.sdk.getSocket();
        (socket.io?.engine ?? socket).close();
      });
      assert.deepEqual(await ben.hears({ type: "reconnected" }), { type: "reconnected", code: "200", rooms: [room] });
      await ann.hears({ type: "leave", user: "ben" });
      await Promise.all([ann.sees("ben"), cid.sees("ben"), ben.sees("ann"), ben.sees("cid")]);
      await eventually("ben's camera is shown as off, as before", async () =>
        (await ann.does("sdk.memberList")).members.ben.video === false);
      noComplaints();
    });

    test("who is asked to leaves; who ends the room ends it for all", async () => {
      assert.equal((await ann.does("sdk.kickOut", "cid")).code, "200");
      await cid.hears({ type: "kickOut", user: "ann", roomId: room });
      await Promise.all([ann, ben].map((p) => p.hears({ type: "leave", user: "cid" })));
      assert.equal(await cid.does("sdk.getRoomId"), null);
      assert.equal((await ann.does("sdk.destroyRoom", room)).code, "200");
      assert.equal((await ben.does("leave", room)).code, "200");
      await Promise.all([ann, ben, cid, dot].map((p) => p.does("sdk.disconnect")));
      await eventually("nobody is left", async () => (await gateway.metric("confgate_members")) === 0);
      noComplaints();
    });
  });

  test(`one person is online once over ${framing}`, async () => {
    const complaints = [];
    const [gus, same] = [new Person("gus"), new Person("gus")];
    const where = { browser, site, gateway, complaints, framing };
    try {
      await gus.comes(where);
      await assert.rejects(same.comes(where), /"409"/);
      await same.goes();
      await same.comes({ ...where, forced: true });
      await gus.hears({ type: "disconnected" });
      await eventually("the first gus stays away", async () => (await gus.page.evaluate(() => app.sdk.getSocket())) === null);
      assert.equal((await same.does("sdk.createVideoRoom")).code, "200");
      await same.does("sdk.disconnect");
      assert.equal((await same.does("sdk.createVideoRoom")).code, "504");
      assert.equal((await same.does("sdk.init", "school")).code, "421", "no authKey");
      assert.equal((await same.does("start", { cpCode: "school" })).code, "200");
      assert.match(await same.does("sdk.getUserId"), /^u\d{7}$/);
      assert.deepEqual(complaints, []);
    } finally {
      await Promise.all([gus, same].map((p) => p.goes()));
    }
  });

  test(`two people call each other directly over ${framing}`, async () => {
    const complaints = [];
    const [eve, fay] = [new Person("eve"), new Person("fay")];
    await Promise.all([eve, fay].map((p) => p.comes({ browser, site, gateway, complaints, framing })));
    try {
      const { roomId } = await eve.does("sdk.createRoom");
      assert.equal((await eve.does("enter", roomId)).media, false);
      await fay.does("enter", roomId);
      await eve.hears({ type: "join" });
      assert.equal(await eve.does("call", "fay"), true);
      await fay.hears({ type: "subscribed", user: "eve", cam: true });
      await fay.sees("eve");
      assert.equal(await fay.does("call", "eve"), true);
      await Promise.all([eve.sees("fay"), fay.sees("eve")]);

      assert.equal((await eve.does("shareScreen", "fay")).code, "200");
      await fay.hears({ type: "subscribed", user: "eve", cam: false });
      await fay.seesScreen();
      assert.equal(await fay.does("shareScreen", "eve"), false);
      await eve.does("sdk.shareStop");
      await fay.hears({ type: "shareStop", user: "eve" });

      assert.equal(await eve.does("sdk.removeLocalPeer", "fay", "cam"), true);
      assert.equal(await eve.does("sdk.removePeer", "fay", "cam"), true);
      assert.equal(await eve.does("sdk.removePeer", "fay", "cam"), false);
      assert.equal(await eve.does("call", "fay"), true);
      await fay.sees("eve");
      await fay.does("leave");
      await eve.hears({ type: "leave", user: "fay" });
      assert.deepEqual(await eve.page.evaluate(() => Object.keys(app.sdk.getAllPeers())), []);
      assert.deepEqual(complaints, []);
    } finally {
      await Promise.all([eve, fay].map((p) => p.goes()));
    }
  });
}
