package truetime

import (
	"net"
	"testing"
	"time"
)

// TestNTPSourceKeepsItsSocket: samples go over one socket until one of them fails, and over a new one from then on.
func TestNTPSourceKeepsItsSocket(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	src := &ntpSource{addr: server.LocalAddr().String()}
	defer src.Close()
	first, err := src.dial("", src.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Errorf("a query closed the socket: %v", err)
	}
	second, err := src.dial("", src.addr)
	if err != nil {
		t.Fatal(err)
	}
	if first.LocalAddr().String() != second.LocalAddr().String() {
		t.Error("the second query got another socket")
	}
	if err := src.drop(); err != nil {
		t.Fatal(err)
	}
	if err := first.SetDeadline(time.Now().Add(time.Minute)); err == nil {
		t.Error("the socket outlives a query that failed")
	}
	third, err := src.dial("", src.addr)
	if err != nil || third.SetDeadline(time.Now().Add(time.Minute)) != nil {
		t.Errorf("no new socket after a failure: %v", err)
	}
}
