package server

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime/ntpserver"
)

// TestSecureCluster: two nodes under one CA form a cluster; one with certificates of another CA stays out.
func TestSecureCluster(t *testing.T) {
	ts, err := ntpserver.Listen(ntpserver.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer ts.Close()
	certs, foreign := t.TempDir(), t.TempDir()
	writeCerts(t, certs)
	writeCerts(t, foreign)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	node := func(certs string, join ...string) *Server {
		s, err := New(Config{Store: t.TempDir(), Certs: certs, SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0",
			TimeSources: []string{"ntp://" + ts.Addr()}, Join: join, Logger: testLogger(t)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := node(certs)
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	b := node(certs, a.RPCAddr())
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	if b.NodeID() != 2 || b.ClusterID() != a.ClusterID() {
		t.Errorf("node %d of cluster %s joined cluster %s", b.NodeID(), b.ClusterID(), a.ClusterID())
	}
	if err := put(ctx, b.core.DB, string(accountKey(1)), "x"); err != nil {
		t.Error(err)
	}
	resp, err := http.Get("http://" + b.HTTPAddr() + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("readyz: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	short, cancelShort := context.WithTimeout(ctx, time.Second)
	defer cancelShort()
	if err := node(foreign, a.RPCAddr()).Start(short); err == nil {
		t.Error("a node with certificates of another CA joined")
	}
}
