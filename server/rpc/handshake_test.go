package rpc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	ranges "github.com/meridian-db/meridian/range"
)

// rawDial connects to a node without any of the handshake.
func rawDial(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// TestStrangers: what does not greet like a node is shown out, with a reason if it speaks the protocol at all, and the node
// goes on.
func TestStrangers(t *testing.T) {
	c := newCluster(t)
	n := c.add(2, handle(ServiceTxn, echo))
	a := c.add(1, plain)
	greeting := func(h hello) []byte {
		b := h.encode()
		return append(append([]byte(preface), byte(len(b))), b...)
	}
	good := hello{version: ProtocolVersion, class: classRequest, from: 1, to: 2, cluster: "c1"}
	with := func(edit func(*hello)) []byte {
		h := good
		edit(&h)
		return greeting(h)
	}
	for _, tc := range []struct {
		what string
		send []byte
		want string // of the refusal; empty: none
	}{
		{what: "HTTP/2", send: []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
		{what: "TLS", send: []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc")},
		{what: "a greeting without end", send: append([]byte(preface), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)},
		{what: "a long greeting", send: append([]byte(preface), 0x80, 0x80, 0x80, 0x01)},
		{what: "an empty greeting", send: append([]byte(preface), 0)},
		{what: "a cut greeting", send: append([]byte(preface), 3, ProtocolVersion, 0, 0x80)},
		{what: "a large node id", send: append(append([]byte(preface), 6, ProtocolVersion, 0), 0xff, 0xff, 0xff, 0x7f)},
		{what: "another version", send: with(func(h *hello) { h.version = 1 }), want: "protocol version 1 is not supported, this node speaks 2"},
		{what: "an unknown class", send: with(func(h *hello) { h.class = 77 }), want: "class 77"},
		{what: "another cluster", send: with(func(h *hello) { h.cluster = "c2" }), want: `cluster c1, not to "c2"`},
		{what: "no node", send: with(func(h *hello) { h.from = 0 }), want: "0 is no node id"},
		{what: "another address", send: with(func(h *hello) { h.to = 3 }), want: "this is node 2, not 3"},
		{what: "a copy", send: with(func(h *hello) { h.from = 2 }), want: "another process claims to be node 2"},
	} {
		nc := rawDial(t, c.addrs[2])
		if _, err := nc.Write(tc.send); err != nil {
			t.Fatal(err)
		}
		nc.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(nc)
		switch {
		case tc.want == "" && len(got) > 0:
			t.Errorf("%s: answered %q", tc.what, got)
		case tc.want != "" && (len(got) < 2 || got[1] != helloRefused || !strings.Contains(string(got), tc.want)):
			t.Errorf("%s: answered %q, want a refusal about %q", tc.what, got, tc.want)
		}
	}
	if _, err := a.Call(t.Context(), 2, ServiceTxn, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	n.shaking.Add(maxShaking)
	if got, _ := io.ReadAll(rawDial(t, c.addrs[2])); len(got) > 0 {
		t.Errorf("one stranger too many was answered %q", got)
	}
	n.shaking.Add(-maxShaking)
	if err := Greet(t.Context(), c.addrs[2], nil); err != nil {
		t.Errorf("a greeting: %v", err)
	}
}

// TestDialStranger: what answers at a node's address and is none is named.
func TestDialStranger(t *testing.T) {
	for what, answer := range map[string]string{
		"HTTP/2": "\x00\x00\x12\x04\x00\x00\x00\x00\x00", "an SMTP server": "220 mail ESMTP\r\n", "a wrong welcome": "\x02\x00\x80", "an empty answer": "\x01\x07",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			io.ReadFull(nc, make([]byte, len(preface)+2))
			io.WriteString(nc, answer)
		}()
		if err := Greet(t.Context(), l.Addr().String(), nil); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzDecodeHello(f *testing.F) {
	good := hello{version: ProtocolVersion, class: classBulk, from: 1, to: 300, cluster: "c"}
	f.Add(good.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil || h.version != ProtocolVersion {
			return
		}
		if again, err := decodeHello(h.encode()); err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

// mutual makes the TLS configurations of a cluster's nodes at 127.0.0.1, all with one certificate.
func mutual(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{Certificates: own, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, NextProtos: []string{ALPN}},
		&tls.Config{Certificates: own, RootCAs: pool, NextProtos: []string{ALPN}}
}

// TestTLS: everything goes over mutual TLS, and nobody gets in without it.
func TestTLS(t *testing.T) {
	c := newCluster(t)
	server, client := mutual(t)
	secure := func(cfg *Config, n *Network) {
		cfg.ServerTLS, cfg.ClientTLS = server, client
		if n == nil {
			return
		}
		n.Register(ServiceTxn, echo)
		n.SetBulk(func(_ context.Context, _ NodeID, s ranges.BulkStream) error {
			var sum []byte
			for {
				chunk, err := s.Recv()
				if err == io.EOF {
					return s.Send(sum)
				}
				if err != nil {
					return err
				}
				sum = binary.AppendUvarint(sum, uint64(len(chunk)))
			}
		})
	}
	a := c.add(1, secure)
	c.add(2, secure)
	large := bytes.Repeat([]byte("0123456789"), 1<<19)
	if got, err := a.Call(t.Context(), 2, ServiceTxn, large); err != nil || !bytes.Equal(got, append([]byte("n1:"), large...)) {
		t.Errorf("a call: %d bytes, %v", len(got), err)
	}
	s, err := a.OpenBulk(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var want []byte
	for _, n := range []int{1, ranges.MaxBulkChunk} {
		if err := s.Send(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		want = binary.AppendUvarint(want, uint64(n))
	}
	s.CloseSend()
	if got, err := s.Recv(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("bulk: %x, %v", got, err)
	}
	if err := Greet(t.Context(), c.addrs[2], client); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	for what, tc := range map[string]struct {
		cfg  *tls.Config
		want string
	}{
		"without TLS":             {nil, "with certificates while this one has none"},
		"without a certificate":   {&tls.Config{RootCAs: client.RootCAs}, "certificate required"},
		"with another's protocol": {&tls.Config{RootCAs: client.RootCAs, Certificates: client.Certificates, NextProtos: []string{"h2"}}, "no application protocol"},
		"with another CA":         {&tls.Config{}, "unknown authority"},
	} {
		if err := Greet(t.Context(), c.addrs[2], tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	plainNode := c.add(3, plain)
	if err := Greet(t.Context(), plainNode.cfg.Listener.Addr().String(), client); err == nil {
		t.Error("TLS was shaken with a node without")
	}
}
