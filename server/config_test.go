package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestConfigErrors: each mistake names its flag and the fix, before anything is touched.
func TestConfigErrors(t *testing.T) {
	dir := t.TempDir()
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for _, tc := range []struct {
		name string
		edit func(*Config)
		flag string
	}{
		{"no store", func(c *Config) { c.Store = "" }, "store"},
		{"no certs", func(c *Config) { c.Insecure = false }, "certs"},
		{"certs missing", func(c *Config) { c.Insecure = false; c.Certs = filepath.Join(dir, "none") }, "certs"},
		{"both", func(c *Config) { c.Certs = dir }, "insecure"},
		{"sql not loopback", func(c *Config) { c.SQLAddr = "0.0.0.0:1" }, "sql-addr"},
		{"rpc not loopback", func(c *Config) { c.RPCAddr = "0.0.0.0:1" }, "rpc-addr"},
		{"no host to advertise", func(c *Config) { c.RPCAddr = ":7433"; c.InsecureListenAnywhere = true }, "advertise-rpc-addr"},
		{"bad address", func(c *Config) { c.SQLAddr = "nowhere" }, "sql-addr"},
		{"occupied port", func(c *Config) { c.HTTPAddr = used.Addr().String() }, "http-addr"},
		{"bad join", func(c *Config) { c.Join = []string{"x"} }, "join"},
		{"no time source", func(c *Config) { c.Join = []string{"127.0.0.1:1"} }, "time-source"},
		{"bad time source", func(c *Config) { c.TimeSources = []string{"ftp://x"} }, "time-source"},
		{"time source twice", func(c *Config) { c.TimeSources = []string{"ntp://a", "ntp://a:123"} }, "time-source"},
		{"bad region", func(c *Config) { c.Region = "a b" }, "region"},
		{"bad latency", func(c *Config) { c.SimulatedLatency = filepath.Join(dir, "none") }, "simulated-latency"},
		{"uncertainty", func(c *Config) { c.MaxClockUncertainty = time.Hour }, "max-clock-uncertainty"},
		{"poll", func(c *Config) { c.ClockPollInterval = time.Nanosecond }, "clock-poll-interval"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := Config{Store: filepath.Join(dir, "s"), Insecure: true, SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0"}
			tc.edit(&cfg)
			s, err := New(cfg)
			if err == nil {
				s.Stop()
			}
			var fe *FlagError
			if !errors.As(err, &fe) || fe.Flag != tc.flag || fe.Fix == "" {
				t.Errorf("got %v, want an error about --%s", err, tc.flag)
			}
		})
	}
}

// TestStoreInUse: two nodes cannot share a directory.
func TestStoreInUse(t *testing.T) {
	cfg := Config{Store: t.TempDir(), Insecure: true, SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0"}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second node on the store: %v", err)
	}
	a.Stop()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Stop()
}

func TestIdentityRoundTrip(t *testing.T) {
	fs := vfs.NewMem()
	for _, id := range []Identity{{StoreID: "s"}, {StoreID: "s", ClusterID: "c", NodeID: 7}, {StoreID: "s", ClusterID: "c", NodeID: 1, Founding: true}} {
		if err := id.Save(fs, "d"); err != nil {
			t.Fatal(err)
		}
		got, ok, err := LoadIdentity(fs, "d")
		if err != nil || !ok || got != id {
			t.Errorf("%+v came back as %+v, %v, %v", id, got, ok, err)
		}
	}
	// Data without an identity is not a new store.
	fs = vfs.NewMem()
	if err := writeFileAtomic(fs, "d/state", "x", []byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadIdentity(fs, "d"); err == nil {
		t.Error("a store without IDENTITY was taken for a new one")
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add(Identity{StoreID: "s", ClusterID: "c", NodeID: 7}.encode())
	f.Add([]byte("meridian-store 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := parseIdentity(b)
		if err != nil {
			return
		}
		again, err := parseIdentity(id.encode())
		if err != nil || again != id {
			t.Errorf("%q: %+v, then %+v, %v", b, id, again, err)
		}
	})
}

func TestLatency(t *testing.T) {
	wan, err := ParseLatency("wan", []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	if ab, ac := wan.RoundTrip("b", "a"), wan.RoundTrip("a", "c"); ab != 30*time.Millisecond || ac != 60*time.Millisecond || wan.RoundTrip("a", "a") != 0 {
		t.Errorf("wan: %s, %s", ab, ac)
	}
	file, err := readLatency(strings.NewReader("# distances\na b 5ms\n\n* * 7ms # the rest\na a 1ms\n"), "f")
	if err != nil || file.RoundTrip("b", "a") != 5*time.Millisecond || file.RoundTrip("x", "y") != 7*time.Millisecond || file.RoundTrip("a", "a") != time.Millisecond || file.RoundTrip("b", "b") != 0 {
		t.Errorf("file: %+v, %v", file, err)
	}
	for _, bad := range []string{"a b", "a b x", "a b -1s", "a b 2h"} {
		if _, err := readLatency(strings.NewReader(bad), "f"); err == nil || !strings.Contains(err.Error(), "f:1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	world, err := ParseLatency("world", []string{"us-east", "eu-west", "ap-south"})
	if err != nil || world.RoundTrip("eu-west", "us-east") != 80*time.Millisecond || world.RoundTrip("ap-south", "eu-west") != 150*time.Millisecond || world.RoundTrip("ap-south", "ap-south") != 0 {
		t.Errorf("world: %+v, %v", world, err)
	}
	for i, a := range KnownRegions() {
		for _, b := range KnownRegions()[:i] {
			if d := world.RoundTrip(a, b); d < 20*time.Millisecond || d > 400*time.Millisecond {
				t.Errorf("%s to %s: %s", a, b, d)
			}
		}
	}
	if _, err := ParseLatency("world", []string{"us-east", "mars"}); err == nil || !strings.Contains(err.Error(), `"mars"`) {
		t.Errorf("mars: %v", err)
	}
	if off, _ := ParseLatency("off", nil); !off.Off() || off.RoundTrip("a", "b") != 0 {
		t.Error("off adds latency")
	}
}

// writeCerts makes a CA and a node certificate for 127.0.0.1 that serves both ends.
func writeCerts(t *testing.T, dir string) {
	t.Helper()
	issue := func(tmpl, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parentKey == nil {
			parent, parentKey = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: from, NotAfter: to, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, caKey := issue(ca, nil, nil)
	node := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	nodeDER, nodeKey := issue(node, ca, caKey)
	keyDER, err := x509.MarshalECPrivateKey(nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	write("ca.crt", "CERTIFICATE", caDER)
	write("node.crt", "CERTIFICATE", nodeDER)
	write("node.key", "EC PRIVATE KEY", keyDER)
}
