// What a page sent and received, by its own account. All of this runs in the page,
// where window.connections has its connections, and so may use nothing from
// outside itself.

/** Before the page's scripts: keeps its connections in window.connections. */
export function collectConnections() {
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super(configuration);
      window.connections.push(this);
    }
  };
}

/** The frames of the camera that were sent, in the layer that had most of them. */
export async function sent() {
  let frames = 0;
  for (const connection of window.connections) {
    for (const report of (await connection.getStats()).values()) {
      if (report.type === "outbound-rtp" && report.kind === "video") frames = Math.max(frames, report.framesSent ?? 0);
    }
  }
  return { frames };
}

/** From now on window.longestGap is the longest time between two pictures of this video, in milliseconds. */
export function watchFrames(video) {
  let last = performance.now();
  window.longestGap = 0;
  const shown = (now) => {
    window.longestGap = Math.max(window.longestGap, now - last);
    last = now;
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
}

/** How many connections the page has made, and how many of them are as they should be. */
export function connected() {
  return { made: window.connections.length, sound: window.connections.filter((c) => c.connectionState === "connected").length };
}

/** The counters of what came in, summed over the page's connections, and longestGap. */
export async function received() {
  const counters = {
    video: ["framesDecoded", "freezeCount", "totalFreezesDuration"],
    audio: ["concealedSamples", "totalSamplesReceived"],
  };
  const sum = { longestGap: window.longestGap };
  for (const connection of window.connections) {
    for (const report of (await connection.getStats()).values()) {
      if (report.type !== "inbound-rtp") continue;
      for (const counter of counters[report.kind]) sum[counter] = (sum[counter] ?? 0) + (report[counter] ?? 0);
    }
  }
  return sum;
}
