package bench

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func TestMangler(t *testing.T) {
	corpus := t.TempDir()
	const line = "go test fuzz v1\n[]byte(\"{\\x22id\\x22:\\x22\\xff\")\n"
	if err := os.WriteFile(filepath.Join(corpus, "one"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := newMangler([]string{corpus})
	if err != nil {
		t.Fatal(err)
	}
	if last := m.frames[len(m.frames)-1]; string(last) != "{\"id\":\"\xff" {
		t.Errorf("corpus read as %q", last)
	}
	one, other := rand.New(rand.NewPCG(1, 0)), rand.New(rand.NewPCG(1, 0))
	changed := 0
	for range 5000 {
		frame := m.next(one)
		if !bytes.Equal(frame, m.next(other)) {
			t.Fatal("one seed gives different frames")
		}
		if containsAny(frame, lasting) || len(frame) > 8*maxMangled {
			t.Fatalf("%q", frame)
		}
		changed++
		for _, f := range m.frames {
			if bytes.Equal(f, frame) {
				changed--
				break
			}
		}
	}
	if changed < 1000 || changed > 4000 {
		t.Errorf("%d of 5000 frames are changed", changed)
	}
}

func TestManglerRefuses(t *testing.T) {
	if _, err := newMangler([]string{filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a corpus that is not there is taken")
	}
	corpus := t.TempDir()
	for _, text := range []string{"", "go test fuzz v1\nint(1)\n", "go test fuzz v1\n[]byte(x)\n"} {
		if err := os.WriteFile(filepath.Join(corpus, "one"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newMangler([]string{corpus}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
