// What a line loses of media, and what comes after all: read from RTP headers, which
// SRTP leaves in the clear. What repeats a packet (RFC 4588) has its timestamp, and its
// payload but for a number before that. Payload types are those that Chromium and the
// gateway give to what they send by default.

const voice = new Set([111, 63]); // Opus, and RED around it
const repair = new Set([97]); // of VP8
const numberSize = 2; // bytes

/** Ledger is of one direction of one line, and one picture a timestamp. */
export class Ledger {
  voice = { taken: 0, lost: 0 };
  picture = { taken: 0, lost: 0, repaired: 0, repeated: 0 };
  #missing = new Map(); // timestamp and size of lost packets of a picture → how many

  note(datagram, lost) {
    if (!isRTP(datagram)) return;
    const payloadType = datagram[1] & 0x7f;
    const timestamp = datagram.readUInt32BE(4);
    if (voice.has(payloadType)) this.#count(this.voice, lost);
    else if (repair.has(payloadType)) this.#repeat(`${timestamp} ${payloadSize(datagram) - numberSize}`, lost);
    else if (this.#count(this.picture, lost)) this.#miss(`${timestamp} ${payloadSize(datagram)}`);
  }

  #count(of, lost) {
    of.taken++;
    if (lost) of.lost++;
    return lost;
  }

  #miss(key) {
    this.#missing.set(key, (this.#missing.get(key) ?? 0) + 1);
  }

  // A packet that comes twice is repaired once.
  #repeat(key, lost) {
    this.picture.repeated++;
    const missing = this.#missing.get(key);
    if (lost || !missing) return;
    this.picture.repaired++;
    if (missing === 1) this.#missing.delete(key);
    else this.#missing.set(key, missing - 1);
  }
}

// What follows the header and its extension (RFC 3550 section 5.1).
function payloadSize(datagram) {
  const header = 12 + 4 * (datagram[0] & 0x0f);
  const extension = datagram[0] & 0x10 ? 4 + 4 * datagram.readUInt16BE(header + 2) : 0;
  return datagram.length - header - extension;
}

// What is no RTP is STUN, DTLS or RTCP (RFC 5761, RFC 7983).
function isRTP(datagram) {
  return datagram.length >= 12 && datagram[0] >> 6 === 2 && !(datagram[1] >= 192 && datagram[1] <= 223);
}
