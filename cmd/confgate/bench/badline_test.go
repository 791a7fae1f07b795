package bench

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// TestBadLine sends datagrams there and back over lines of different weather.
func TestBadLine(t *testing.T) {
	for name, c := range map[string]struct {
		weather   weather
		sent      int
		least     int // that come back
		corrupted bool
	}{
		"clear":   {weather{}, 50, 50, false},
		"slow":    {weather{delay: 5 * time.Millisecond, jitter: 5 * time.Millisecond}, 50, 50, false},
		"twice":   {weather{twice: 1}, 10, 40, false}, // each way
		"corrupt": {weather{corrupt: 1}, 10, 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			echo := openEcho(t)
			f := new(fates)
			line, err := newBadLine(echo, c.weather, 1, f)
			if err != nil {
				t.Fatal(err)
			}
			defer line.close()
			conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(line.port())})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			payload := bytes.Repeat([]byte{0x5a}, 100)
			for range c.sent {
				if _, err := conn.Write(payload); err != nil {
					t.Fatal(err)
				}
			}
			buffer, whole := make([]byte, 2*len(payload)), 0
			for range c.least {
				n, err := conn.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(buffer[:n], payload) {
					whole++
				}
			}
			if c.corrupted == (whole == c.least) || f.lost.Load() != 0 || c.corrupted != (f.corrupted.Load() > 0) {
				t.Errorf("%d of %d whole, %d lost, %d corrupted", whole, c.least, f.lost.Load(), f.corrupted.Load())
			}
		})
	}
}

// TestBadLineLoses: a line that loses all passes nothing, and one seed loses the same.
func TestBadLineLoses(t *testing.T) {
	echo := openEcho(t)
	var lost [2]uint64
	for i := range lost {
		f := new(fates)
		line, err := newBadLine(echo, weather{loss: 0.5}, 42, f)
		if err != nil {
			t.Fatal(err)
		}
		out := line.towards(line.near.LocalAddr().(*net.UDPAddr).AddrPort())
		for range 1000 {
			line.draw(parcel{from: out, send: func([]byte) {}}, []byte{1})
		}
		line.close()
		lost[i] = f.lost.Load()
	}
	if lost[0] != lost[1] || lost[0] < 400 || lost[0] > 600 {
		t.Errorf("%d and %d of 1000 lost", lost[0], lost[1])
	}
}

// openEcho sends back what it gets until the test ends.
func openEcho(t *testing.T) (port uint16) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, datagram)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buffer[:n], from)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-ended })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}
