package bench

import (
	"fmt"
	"strings"
	"testing"
)

func TestLogbook(t *testing.T) {
	l := newLogbook()
	fmt.Fprint(l, `{"level":"INFO","msg":"a"}`+"\n"+`{"level":"ERR`)
	fmt.Fprint(l, `OR","msg":"b"}`+"\npanic: c\n"+`{"level":"WARN","msg":"d"}`+"\n"+`{"level":"ERROR"`) // no end yet
	n, first := l.complaints()
	if n != 2 || len(first) != 2 || !strings.Contains(first[0], `"b"`) || first[1] != "panic: c" {
		t.Errorf("%d: %q", n, first)
	}
	if !strings.Contains(l.tail(), "panic: c") {
		t.Error(l.tail())
	}
	for range 100 {
		fmt.Fprint(l, strings.Repeat("x", 2*maxLine)+"\n")
	}
	if n, first := l.complaints(); n != 102 || len(first) != maxErrors || len(l.tail()) > 2*lastLines*maxInfo {
		t.Errorf("%d complaints, %d kept, %d bytes of tail", n, len(first), len(l.tail()))
	}
}
