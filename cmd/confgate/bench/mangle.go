package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mangler makes frames that no client should send: those of a fuzz corpus, and such as
// were right once.
type mangler struct{ frames [][]byte }

// rightOnce are frames to begin with where there is no corpus.
var rightOnce = []string{
	`{"id":"receiveVideoFrom","userId":"1","sdpOffer":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"}`,
	`{"id":"onIceCandidate","userId":"1","candidate":{"candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}}`,
	`{"id":"videoStateFrom","userId":"1","video":"true"}`,
	`{"eventOp":"sdpRoom","reqId":"m1","roomId":"r1","type":"cam","sdp":{"type":"offer","sdp":"v=0"}}`,
	`{"eventOp":"drawing","reqId":"m2","roomId":"r1","xy":{"x0":0.1,"y0":0.2},"color":"black"}`,
	`42["knowledgetalk",{"eventOp":"memberList","roomId":"r1"}]`,
}

const maxCorpus = 4096 // files

// newMangler reads the corpora in some folders.
func newMangler(folders []string) (*mangler, error) {
	m := new(mangler)
	for _, frame := range rightOnce {
		m.frames = append(m.frames, []byte(frame))
	}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("no corpus in %s", folder)
		}
		for _, file := range files[:min(len(files), maxCorpus)] {
			frame, err := readCorpus(file)
			if err != nil {
				return nil, err
			}
			m.frames = append(m.frames, frame)
		}
	}
	return m, nil
}

// readCorpus reads the first value of a file of a Go fuzz corpus.
func readCorpus(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	line, _, _ := strings.Cut(rest, "\n")
	quoted, ok := strings.CutPrefix(line, "[]byte(")
	if !ok {
		return nil, fmt.Errorf("%s: no bytes", file)
	}
	value, err := strconv.Unquote(strings.TrimSuffix(strings.TrimSpace(quoted), ")"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return []byte(value), nil
}

// lasting are the words of frames that leave something behind when they are taken:
// rooms that wait minutes for whoever made them, or for ever. Those are no faults, but
// what is left in the end could not be told from one.
var lasting = [][]byte{[]byte("create"), []byte("destroy"), []byte(`\u`)}

// next gives a frame. Half of them are as they were written down.
func (m *mangler) next(rng *rand.Rand) []byte {
	for {
		frame := bytes.Clone(m.frames[rng.IntN(len(m.frames))])
		for range rng.IntN(2) * (1 + rng.IntN(8)) {
			frame = m.mutate(frame, rng)
		}
		if !containsAny(bytes.ToLower(frame), lasting) {
			return frame
		}
	}
}

func containsAny(b []byte, words [][]byte) bool {
	for _, w := range words {
		if bytes.Contains(b, w) {
			return true
		}
	}
	return false
}

const maxMangled = 1 << 14 // bytes of a frame

// tokens are what makes parsers stumble.
var tokens = []string{
	"{", "}", "[", "]", `"`, ",", ":", "null", "1e999", "-0", `"id":"id",`, "\x00", "\xff\xfe", "\xed\xa0\x80",
	"[[[[[[[[[[[[[[[[[[[[", `{"a":{"a":{"a":{"a":`, "a=group:BUNDLE\\r\\n", "m=video 9 UDP/TLS/RTP/SAVPF 96\\r\\n",
}

// mutate changes a frame in one place.
func (m *mangler) mutate(frame []byte, rng *rand.Rand) []byte {
	at := rng.IntN(len(frame) + 1)
	switch rng.IntN(6) {
	case 0: // cut off
		return frame[:at]
	case 1: // a bit
		if at < len(frame) {
			frame[at] ^= 1 << rng.IntN(8)
		}
		return frame
	case 2: // something put in
		token := tokens[rng.IntN(len(tokens))]
		return append(bytes.Clone(frame[:at]), append([]byte(token), frame[at:]...)...)
	case 3: // something left out
		end := min(at+1+rng.IntN(16), len(frame))
		return append(bytes.Clone(frame[:at]), frame[end:]...)
	case 4: // the end of another
		other := m.frames[rng.IntN(len(m.frames))]
		return append(bytes.Clone(frame[:at]), other[rng.IntN(len(other)+1):]...)
	default: // twice the same
		if len(frame) < maxMangled {
			return append(bytes.Clone(frame), frame[at:]...)
		}
		return frame
	}
}
