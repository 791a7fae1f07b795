package media

import (
	"crypto/rand"
	mathrand "math/rand/v2"
)

// guise is how a leg presents itself in our descriptions. A subscriber's leg whose client
// made the offer keeps that of the leg in whose place it comes, since an answer may name
// no request: a client that is told that somebody left and came back, while an answer
// about them is still on its way, makes an offer anew, and takes the answer to its first
// for that to its second. Then either answer leads to the leg that there is.
type guise struct {
	access access
	stream string // the msid that audio and video share (RFC 8830); it tells nothing of who sends it
	ssrcs  [video + 1]ssrcPair
}

// ssrcPair are the SSRCs of a track, and of what is sent again of it (RFC 4588).
type ssrcPair struct{ media, repair uint32 }

func newGuise() guise {
	g := guise{access: newAccess(), stream: rand.Text()}
	for k := range g.ssrcs {
		g.ssrcs[k] = newSSRCs()
	}
	return g
}

func newSSRCs() ssrcPair { return ssrcPair{mathrand.Uint32(), mathrand.Uint32()} }
