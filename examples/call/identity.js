// Who we are and where we are. The gateway takes a user who joins twice for
// one who moved: the newer tab displaces the older one. Two people may well
// have the same name, so a person's identity is the name and a suffix that
// belongs to the tab; only the name is ever shown.

const suffixLength = 6;

export function identity(name, tab) {
  return `${name}#${tab}`;
}

/**
 * The same for a dialect whose ids are made of letters, digits, - and _ only.
 * There the name is told apart from the id, but people whose dialect has no names
 * are shown what the id holds of it.
 */
export function plainIdentity(name, tab) {
  const letters = name.normalize("NFKD").replace(/\p{M}/gu, "").replace(/[^a-z0-9-]+/gi, "_").replace(/^_+|_+$/g, "");
  return `${letters.slice(0, 40) || "guest"}__${tab}`;
}

/** The part of an identity that a person typed; other clients have no suffix. */
export function displayName(user) {
  const plain = user.match(new RegExp(`^(.+)__[0-9a-z]{${suffixLength}}$`));
  if (plain) return plain[1].replaceAll("_", " ");
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

/** The dialect in the page's address: "id" unless it says "eventop". */
export function dialectOfPage() {
  const asked = new URLSearchParams(location.search).get("dialect")?.toLowerCase();
  return asked === "eventop" ? "eventop" : "id";
}

export function keepPlace(room, dialect) {
  history.replaceState(null, "", linkTo(room, dialect));
}

export function linkTo(room, dialect) {
  const url = new URL(location.href);
  url.search = new URLSearchParams(dialect === "id" ? { room } : { room, dialect });
  url.hash = "";
  return url.href;
}

/** What a person typed, as a room: "My Team " and "my-team" are one place. */
export function tidy(room) {
  return room.trim().toLocaleLowerCase("en").replace(/\s+/g, "-").slice(0, 60);
}

/**
 * The room's id on the wire, the same in every dialect: one of them takes
 * letters, digits, - and _ only, 64 at most, so anything else is written as its code.
 */
export function roomId(room) {
  return `c-${room.replace(/[^a-z0-9_-]/g, (c) => `_${c.codePointAt(0).toString(16)}`)}`.slice(0, 64);
}

function pick(words) {
  return words[random(words.length)];
}

function random(n) {
  return Math.floor(Math.random() * n);
}
