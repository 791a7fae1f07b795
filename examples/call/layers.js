// How large pictures are sent, and how large they are wanted: a camera's comes in
// two layers, and each tile says in its description what it can take of them.

// A picture of a camera is 640 × 360. Its half is what a tile in a large call or
// beside a screen shows; browsers send a third, smaller one only with larger ones.
const layers = [
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 200_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 900_000 },
];
const fewestPixels = 480 * 270; // of a camera's picture that browsers send in two layers
const small = { width: 400, height: 225 }; // the half, shown a quarter larger than it is

const screenBitrate = 2_500_000;

/**
 * The encodings to send. One layer is enough of a screen, which is read rather than
 * seen, and of a picture that is small itself.
 */
export function encodings(source, track, { layered }) {
  if (source === "screen") return [{ maxBitrate: screenBitrate }];
  const { width, height } = track?.getSettings() ?? {};
  return layered && !(width * height < fewestPixels) ? layers : [{ maxBitrate: layers.at(-1).maxBitrate }];
}

/** Whether a description has more than one layer of a picture (RFC 8853). */
export function isLayered(sdp) {
  return /^a=simulcast:/m.test(sdp);
}

/** The largest picture that is of use in such a place, in the screen's own pixels; null is any. */
export function useful(source, { width, height }) {
  return source !== "screen" && width <= small.width && height <= small.height ? small : null;
}

/** The description with that wish on the video (RFC 6236). */
export function sized(sdp, picture) {
  if (!picture) return sdp;
  const wish = `a=imageattr:* recv [x=[16:${picture.width}],y=[16:${picture.height}]]\r\n`;
  const [session, ...sections] = sdp.split(/^(?=m=)/m);
  return session + sections.map((s) => (s.startsWith("m=video") ? s + wish : s)).join("");
}
