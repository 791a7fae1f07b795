// How large pictures are sent, and how large they are wanted: a camera's comes in
// two layers, and each tile says in its description what it can take of them.

// A picture of a camera is 640 × 360. Its half is what a tile in a large call or
// beside a screen shows; browsers send a third, smaller one only with larger ones.
const layers = [
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 200_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 900_000 },
];
const fewestPixels = 480 * 270; // of a camera's picture that browsers send in two layers
const half = { width: 320, height: 180 };
const stretch = 1.25; // a picture may be shown so much larger than it is

const screenBitrate = 2_500_000;
const headers = 1.2; // what comes on top: RTP's headers, retransmission, and an encoder's moods
const packaging = 1.05; // and what comes on top of that: UDP and IP

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

/** The bits a second that a picture needs which fills such a place, in the screen's own pixels. */
export function needed(source, { width, height }) {
  if (source === "screen") return screenBitrate * headers;
  const small = Math.max(width / half.width, height / half.height) <= stretch;
  return layers.at(small ? 0 : -1).maxBitrate * headers;
}

/** The description with that limit on the video (RFC 8866, section 5.8, and RFC 3890). */
export function limited(sdp, bits) {
  const limit = `b=AS:${Math.ceil((bits * packaging) / 1000)}\r\nb=TIAS:${Math.round(bits)}\r\n`;
  const [session, ...sections] = sdp.split(/^(?=m=)/m);
  return session + sections.map((s) => (s.startsWith("m=video") ? withLimit(s, limit) : s)).join("");
}

// It stands between the address and the attributes.
function withLimit(section, limit) {
  return section.replace(/^b=.*\r\n/gm, "").replace(/^(?=a=)/m, limit);
}
