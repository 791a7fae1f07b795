package media

// Redundant audio (RFC 2198): a packet has its own voice, the primary block, and
// those of packets before it. Who does not want them gets the primary block alone.

// maxBlocks bounds the redundant blocks of a packet; browsers send one or two.
const maxBlocks = 8

// redPrimary gives where the primary block begins. ok is false for what is not RED
// around blocks of payload type inner.
func redPrimary(b []byte, inner uint8) (primary int, ok bool) {
	at, size := 0, 0
	for range maxBlocks {
		// Four bytes for a redundant block: a bit that says so, the payload type, 14
		// bits of how much older it is, 10 of its size. One byte for the last.
		if len(b) <= at || b[at]&0x7f != inner {
			return 0, false
		}
		if b[at]&0x80 == 0 {
			primary = at + 1 + size
			return primary, primary < len(b)
		}
		if len(b) < at+4 {
			return 0, false
		}
		size += int(b[at+2]&0x03)<<8 | int(b[at+3])
		at += 4
	}
	return 0, false
}

// renumberRED writes a receiver's payload type into the headers of a payload that
// redPrimary has found good.
func renumberRED(b []byte, inner uint8) {
	for at := 0; ; at += 4 {
		last := b[at]&0x80 == 0
		b[at] = b[at]&0x80 | inner
		if last {
			return
		}
	}
}
