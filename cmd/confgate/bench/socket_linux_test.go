package bench

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
)

// TestReaderTakesJoinedPacketsApart: what was sent in one system call comes as it was
// cut.
func TestReaderTakesJoinedPacketsApart(t *testing.T) {
	r, err := newReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	gateway, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	raw, err := gateway.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const udpSegment = 103 // UDP_SEGMENT of linux/udp.h
	if err := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_UDP, udpSegment, 100) }); err != nil {
		t.Fatal(err)
	}
	sizes := make(chan int, 16)
	s, err := r.open(netip.MustParseAddrPort(gateway.LocalAddr().String()), func(b []byte) { sizes <- len(b) })
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.address()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{350, 60} {
		if _, err := gateway.WriteToUDPAddrPort(make([]byte, n), at); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{100, 100, 100, 50, 60} {
		if got := <-sizes; got != want {
			t.Errorf("a packet of %d bytes, want %d", got, want)
		}
	}
	s.close()
	s.close()
	if err := s.write([]byte{1}); err == nil {
		t.Error("a closed socket sends")
	}
	if _, err := s.address(); err == nil {
		t.Error("a closed socket has an address")
	}
}
