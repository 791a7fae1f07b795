// Waiting for a condition: look, pause a moment, look again, until a deadline.

import { setTimeout as pause } from "node:timers/promises";

const period = 100;

/** What is waited for at most, in milliseconds: long, as a busy machine is no failure. */
export const patience = 90_000;

/**
 * Resolves to the first truthy value of look(). When none came in time the
 * error says what was waited for. A look that throws counts as "not yet",
 * unless fatal is set.
 */
export async function eventually(what, look, { within = patience, fatal = false } = {}) {
  const deadline = Date.now() + within;
  let last;
  for (;;) {
    try {
      last = await look();
      if (last) return last;
    } catch (error) {
      if (fatal) throw error;
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${what} (last seen: ${describe(last)})`);
    await pause(period);
  }
}

function describe(value) {
  return value instanceof Error ? value.message : JSON.stringify(value);
}
