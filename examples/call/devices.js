// Our own camera and microphone: getting them, switching them, and saying in
// plain words what is wrong when they cannot be had.
//
// A microphone that is off stays open and sends silence, so that it is back
// at once. A camera that is off is closed, so that its lamp goes out.

const wanted = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 24, max: 30 }, facingMode: "user" },
};

const names = { audio: "microphone", video: "camera" };

/** The listener is called, without arguments, whenever something changed. */
export class Devices {
  tracks = { audio: null, video: null };
  asking = false;
  #problems = { audio: null, video: null }; // DOMException names
  #changed;

  constructor(changed) {
    this.#changed = changed;
  }

  /** Whether the device is sending. */
  on(kind) {
    return Boolean(this.tracks[kind]?.enabled);
  }

  /** Asks for both at once, which is one question to the person. */
  async start() {
    this.asking = true;
    this.#changed();
    const failed = await this.#take({ audio: !this.tracks.audio, video: !this.tracks.video });
    if (failed) await this.#takeWhatThereIs(failed);
    this.asking = false;
    this.#changed();
  }

  async toggle(kind) {
    const track = this.tracks[kind];
    if (track && kind === "audio") {
      track.enabled = !track.enabled;
    } else if (track) {
      this.#release(kind);
    } else {
      await this.#take({ [kind]: true });
    }
    this.#changed();
  }

  /** One sentence or two for the person, or "" when all is well. */
  get problem() {
    const { audio, video } = this.#problems;
    if (!audio && !video) return "";
    if (audio === video) return sentence(audio, "camera and microphone", true);
    return [video && sentence(video, names.video), audio && sentence(audio, names.audio)].filter(Boolean).join(" ");
  }

  // One missing device fails the question for both. Ask for each alone, but
  // after a refusal only for what has been granted: no second question.
  async #takeWhatThereIs(failure) {
    for (const kind of ["audio", "video"]) {
      if (this.tracks[kind]) continue;
      if (failure === "NotAllowedError" && !(await granted(names[kind]))) continue;
      await this.#take({ [kind]: true });
    }
  }

  // Returns the name of the failure, or "".
  async #take(kinds) {
    const constraints = Object.fromEntries(Object.keys(kinds).filter((k) => kinds[k]).map((k) => [k, wanted[k]]));
    if (Object.keys(constraints).length === 0) return "";
    let failure = "";
    try {
      if (!navigator.mediaDevices) throw new DOMException("insecure page", "SecurityError");
      const stream = await navigator.mediaDevices.getUserMedia(constraints);
      for (const track of stream.getTracks()) this.#keep(track);
    } catch (error) {
      failure = error.name;
    }
    for (const kind of Object.keys(constraints)) this.#problems[kind] = failure || null;
    return failure;
  }

  #keep(track) {
    this.#release(track.kind); // two questions may have been open at once
    this.tracks[track.kind] = track;
    track.onended = () => { // unplugged, or taken back in the browser's own menu
      if (this.tracks[track.kind] !== track) return;
      this.tracks[track.kind] = null;
      this.#problems[track.kind] = "Ended";
      this.#changed();
    };
  }

  #release(kind) {
    const track = this.tracks[kind];
    this.tracks[kind] = null;
    track?.stop();
  }
}

async function granted(name) {
  try {
    return (await navigator.permissions.query({ name })).state === "granted";
  } catch {
    return false; // not every browser tells
  }
}

function sentence(failure, what, both = false) {
  const is = both ? "are" : "is";
  switch (failure) {
    case "NotAllowedError":
      return `Your ${what} ${is} blocked. Allow ${both ? "them" : "it"} in the browser’s address bar, then try again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return both ? "No camera and no microphone were found." : `No ${what} was found.`;
    case "NotReadableError":
    case "AbortError":
      return `Your ${what} ${is} in use by another program, or cannot be started.`;
    case "SecurityError":
      return "Browsers give camera and microphone only to pages that come over HTTPS or from this machine itself.";
    case "Ended":
      return `Your ${what} ${both ? "were" : "was"} unplugged or taken away.`;
    default:
      return `Your ${what} cannot be used (${failure}).`;
  }
}
