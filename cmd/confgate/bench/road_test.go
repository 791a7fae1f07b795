package bench

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
)

// travel dials a listener over a road and gives both ends.
func travel(t *testing.T, r *road) (client, gateway net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = r.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	gateway, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close(); gateway.Close() })
	return client, gateway
}

func home() netip.Addr { return netip.MustParseAddr("127.0.0.1") }

func TestRoadReset(t *testing.T) {
	r := newRoad(home())
	_, gateway := travel(t, r)
	r.reset()
	if _, err := gateway.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the gateway sees %v, and no reset", err)
	}
}

// TestRoadSilence: nothing passes, and the client learns when the gateway hangs up.
func TestRoadSilence(t *testing.T) {
	r := newRoad(home())
	client, gateway := travel(t, r)
	r.silence()
	if n, err := client.Write([]byte("nobody hears this")); n != 17 || err != nil {
		t.Error(n, err)
	}
	gateway.Write([]byte("nor this"))
	gateway.Close()
	<-r.gone
	read := make(chan error)
	go func() { _, err := client.Read(make([]byte, 1)); read <- err }()
	client.Close()
	if err := <-read; err == nil {
		t.Error("something was read")
	}
}

// TestRoadStall: the gateway goes on hearing a client that reads nothing.
func TestRoadStall(t *testing.T) {
	r := newRoad(home())
	client, gateway := travel(t, r)
	r.stall()
	gateway.Write([]byte("not read"))
	client.Write([]byte("x"))
	if n, err := gateway.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Error(n, err)
	}
	gateway.Close()
	for err := error(nil); err == nil; {
		_, err = client.Write([]byte("x"))
	}
	<-r.gone
}
