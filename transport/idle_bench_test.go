package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// An idle client costs little: one that has connected, was let in, was told
// something, and waits. The count includes its own end of the connection, which is
// in this process too.
//
//	go test ./transport -run '^$' -bench Idle -benchtime 2000x
func BenchmarkIdleClient(b *testing.B) {
	for _, tt := range []struct {
		name, path string
		frames     []string // the last one is answered with "hello"
	}{
		{"websocket", "/rtc/websocket", []string{"hello USER", `"hello"`}},
		{"sockjs", "/rtc/0/s/websocket", []string{`["hello USER"]`, `["hello"]`}},
		{"socketio 4", "/socket.io/?EIO=4&transport=websocket", []string{"40", `42["say","hello USER"]`, `42["say","\"hello\""]`}},
		{"socketio 3", "/socket.io/?EIO=3&transport=websocket", []string{"40/more", `42/more,["say","hello USER"]`, `42/more,["say","\"hello\""]`}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			edge := New(Config{Hub: newHub(), Limits: DefaultLimits()})
			doors := []Door{{"/rtc", (*Edge).SockJS, parrot}, {"/socket.io", talk.Framing, parrot}}
			server := httptest.NewUnstartedServer(nil)
			server.Config = NewServer(edge.Handler(doors, nil), edge.config.Log)
			server.Start()
			defer server.Close()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			goroutines := runtime.NumGoroutine()
			for n := 0; b.Loop(); n++ {
				idle(b, server.Listener.Addr().String(), tt.path, n, tt.frames)
			}
			for range 4 { // stacks shrink by half each time
				runtime.GC()
			}
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

// idle opens a connection by hand and says a few things, so that what is measured is
// the server's.
func idle(b *testing.B, addr, path string, n int, frames []string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"+
		"User-Agent: "+strings.Repeat("x", 120)+"\r\n\r\n")
	r := bufio.NewReaderSize(conn, 16)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatal(resp, err)
	}
	for _, frame := range frames {
		conn.Write(masked(strings.Replace(frame, "USER", fmt.Sprint("u", n), 1)))
	}
	for said := false; !said; {
		said = strings.Contains(string(readText(b, r)), "hello")
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
