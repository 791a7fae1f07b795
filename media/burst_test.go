package media

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"confgate/core"
)

// numbersAt reads the sequence numbers of the n RTP packets that came to a sink.
func numbersAt(t *testing.T, sink *net.UDPConn, n int) (seqs []uint16) {
	t.Helper()
	if err := sink.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, maxPacket); len(seqs) < n; {
		size, err := sink.Read(b)
		if err != nil {
			t.Fatalf("%d packets came, want %d: %v", len(seqs), n, err)
		}
		if isRTP(b[:size]) {
			seqs = append(seqs, binary.BigEndian.Uint16(b[2:]))
		}
	}
	return seqs
}

// TestJoinDuringBurst has somebody join when half a burst has been read. What is in
// the ring already is replayed, and what has yet to be forwarded is not sent twice:
// that would be two packets, with two times of sending, under one number of SRTP.
func TestJoinDuringBurst(t *testing.T) {
	for name, test := range map[string]struct{ before, during, after int }{
		"the key frame is forwarded": {3, 4, 2},
		"it is part of the burst":    {0, 4, 2},
		"it ends the burst":          {0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroadcast(newStage(t, core.MediaOptions{}), 0)
			send := func(n int) {
				for range n {
					b.next(false)
					copy(b.body, payload('a', false, 0)) // the first is the key frame
				}
			}
			send(test.before)
			b.w.flush()
			send(test.during)
			b.join(b.s.sink())
			send(test.after)
			b.w.flush()
			b.next(true) // which ends the test
			n := test.before + test.during + test.after + 1
			seqs := numbersAt(t, b.sinks[0], n)
			for i, seq := range seqs {
				if seq != seqs[0]+uint16(i) {
					t.Fatalf("sent %v", seqs)
				}
			}
		})
	}
}
