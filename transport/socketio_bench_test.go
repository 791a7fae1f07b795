package transport

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// An idle client costs little: one that has connected, was served once, and waits.
func BenchmarkIdleClient(b *testing.B) {
	for _, tt := range []struct{ name, query, event string }{
		{"revision 4", "EIO=4&transport=websocket", `42["say","\"hello\""]`},
		{"revision 3", "EIO=3&transport=websocket", `42/more,["say","\"hello\""]`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			edge := New(Config{Hub: newHub()})
			server := httptest.NewServer(edge.Handler([]Door{{"/socket.io", talk.Framing, parrot}}, nil))
			defer server.Close()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			goroutines := runtime.NumGoroutine()
			for b.Loop() {
				idle(b, server.Listener.Addr().String(), tt.query, tt.event)
			}
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&after)
			per := func(x, y uint64) float64 { return float64(int64(y-x)) / float64(b.N) }
			b.ReportMetric(per(before.HeapInuse, after.HeapInuse), "heap-B/client")
			b.ReportMetric(per(before.StackInuse, after.StackInuse), "stack-B/client")
			b.ReportMetric(per(uint64(goroutines), uint64(runtime.NumGoroutine())), "goroutines/client")
			if err := edge.Shutdown(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
}

// idle opens a connection by hand and says one thing, so that what is measured is
// the server's.
func idle(b *testing.B, addr, query, event string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "GET /socket.io/?"+query+" HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"+
		"User-Agent: "+strings.Repeat("x", 120)+"\r\n\r\n")
	r := bufio.NewReaderSize(conn, 16)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatal(resp, err)
	}
	_, ns, _ := strings.Cut(strings.Split(event, "[")[0], "42")
	conn.Write(masked("40" + ns))
	conn.Write(masked(event))
	for said := false; !said; {
		said = strings.Contains(string(readText(b, r)), `"hello"`)
	}
}

// readText reads a short frame.
func readText(b *testing.B, r *bufio.Reader) []byte {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		b.Fatal(err)
	}
	size := int(head[1])
	if size == 126 {
		var n [2]byte
		io.ReadFull(r, n[:])
		size = int(n[0])<<8 | int(n[1])
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		b.Fatal(err)
	}
	return payload
}
