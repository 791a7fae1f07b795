// Headless Chromium with a fake camera and microphone, without a sandbox or a
// display, and deaf to the world outside the loopback.

import { chromium } from "playwright-core";

import { patience } from "./eventually.js";
import { scratch } from "./scratch.js";

const everywhere = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--allow-loopback-in-peer-connection", // a machine in CI may have no other network
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

export const fakeDevices = ["--use-fake-device-for-media-stream"];
export const grantAll = ["--use-fake-ui-for-media-stream"];

export async function launch(...args) {
  // Tabs are crashed on purpose here; what Chromium keeps of it is not for the
  // home directory.
  const dumps = scratch("crashes");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [...everywhere, ...args],
    env: { ...process.env, BREAKPAD_DUMP_LOCATION: dumps.path },
  });
  browser.once("disconnected", dumps.remove);
  browser.on("context", (context) => context.setDefaultTimeout(patience));
  return browser;
}

/**
 * Collects what goes wrong in a page: uncaught errors, rejected promises,
 * console errors (a failed request is one). The test asserts that the list is
 * empty. A console error whose text and address `expected` matches is no
 * complaint.
 */
export function watch(page, who, complaints, expected = () => false) {
  page.on("pageerror", (error) => complaints.push(`${who}: uncaught: ${error.stack ?? error}`));
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    const text = `${message.text()} ${message.location().url}`;
    if (!expected(text)) complaints.push(`${who}: console: ${text}`);
  });
}
