// Who we are and where we are. The gateway takes a user who joins twice for
// one who moved: the newer tab displaces the older one. Two people may well
// have the same name, so a person's identity is the name and a suffix that
// belongs to the tab; only the name is ever shown.

const suffixLength = 6;

export function identity(name, tab) {
  return `${name}#${tab}`;
}

/** The part of an identity that a person typed; other clients have no suffix. */
export function displayName(user) {
  return user.replace(new RegExp(`#[0-9a-z]{${suffixLength}}$`), "") || user;
}

/**
 * The tab's suffix. It survives a reload, so that one comes back as oneself.
 * A duplicated tab inherits it, which the lock finds out.
 */
export function tabSuffix() {
  return (suffix ??= findSuffix());
}

let suffix; // a promise, once asked for

async function findSuffix() {
  const kept = sessionStorage.getItem("suffix");
  if (kept && (await hold(kept))) return kept;
  const made = fresh();
  await hold(made);
  sessionStorage.setItem("suffix", made);
  return made;
}

// Holds a lock of that name for as long as the tab lives. Pages that came over
// plain HTTP have no locks; there a duplicated tab displaces its twin.
function hold(suffix) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request(`tab ${suffix}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {});
    });
  });
}

function fresh() {
  const digits = crypto.getRandomValues(new Uint8Array(suffixLength));
  return Array.from(digits, (d) => (d % 36).toString(36)).join("");
}

const colours = ["amber", "azure", "coral", "green", "indigo", "ivory", "olive", "rose", "silver", "violet"];
const birds = ["crane", "finch", "heron", "kestrel", "lark", "magpie", "owl", "robin", "swift", "wren"];

/** The room in the page's address; a new one gets a name that can be said aloud. */
export function roomOfPage() {
  return tidy(new URLSearchParams(location.search).get("room") ?? "") || `${pick(colours)}-${pick(birds)}-${10 + random(90)}`;
}

export function keepRoom(room) {
  history.replaceState(null, "", linkTo(room));
}

export function linkTo(room) {
  const url = new URL(location.href);
  url.search = new URLSearchParams({ room });
  url.hash = "";
  return url.href;
}

/** What a person typed, as a room: "My Team " and "my-team" are one place. */
export function tidy(room) {
  return room.trim().toLocaleLowerCase("en").replace(/\s+/g, "-").slice(0, 60);
}

function pick(words) {
  return words[random(words.length)];
}

function random(n) {
  return Math.floor(Math.random() * n);
}
