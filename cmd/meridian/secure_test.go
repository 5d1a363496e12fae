package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/cmd/internal/proc"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/server/rpc"
)

// issue makes certificates as docs/OPERATIONS.md says, by `meridian cert`.
func issue(t *testing.T, args ...string) {
	t.Helper()
	if out, err := try(nil, append([]string{"cert"}, args...)...); err != nil {
		t.Fatalf("meridian cert %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// startSecure starts a cluster with certificates and the password of postgres.
func startSecure(t *testing.T, nodes int, certs, password string) *proc.Cluster {
	t.Helper()
	return startWith(t, proc.Config{Nodes: nodes, Certs: certs, Env: []string{"MERIDIAN_POSTGRES_PASSWORD=" + password}})
}

// TestSecureLogin runs a cluster with --certs as docs/OPERATIONS.md tells: nodes know each other by certificate, and
// psql logs in by SCRAM-SHA-256 over TLS that it verifies. Whoever lacks a password, a certificate or TLS gets one clear
// error, and the cluster goes on.
func TestSecureLogin(t *testing.T) {
	dir := t.TempDir()
	ca, certs, foreign := filepath.Join(dir, "ca"), filepath.Join(dir, "node"), filepath.Join(dir, "foreign")
	issue(t, "ca", "--out", ca)
	issue(t, "node", "--ca", ca, "--out", certs, "--host", "localhost,127.0.0.1")
	issue(t, "ca", "--out", foreign)
	issue(t, "node", "--ca", foreign, "--out", foreign, "--host", "localhost,127.0.0.1")

	c := startSecure(t, 3, certs, "s3cret")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dsn := func(node int, user, password, rest string) string {
		host, port, _ := net.SplitHostPort(c.Nodes[node].SQLAddr)
		return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=postgres connect_timeout=10 %s", host, port, user, password, rest)
	}
	verified := "sslmode=verify-full sslrootcert=" + filepath.Join(certs, "ca.crt")

	admin := connect(t, ctx, dsn(0, "postgres", "s3cret", verified))
	defer admin.Close(ctx)
	mustExec(t, ctx, admin, `create role alice login password 'wonder'`)
	mustExec(t, ctx, admin, `create table t (id int primary key)`)
	mustExec(t, ctx, admin, `insert into t values (1)`)
	mustExec(t, ctx, admin, `grant select on t to alice`)

	t.Run("psql", func(t *testing.T) {
		if _, err := exec.LookPath("psql"); err != nil {
			t.Skip("psql is not installed")
		}
		for _, tc := range []struct {
			name, conn, want string
			fails            bool
		}{
			{"verify-full with channel binding", dsn(1, "alice", "wonder", verified+" channel_binding=require"), "alice|1", false},
			{"TLS unverified", dsn(2, "alice", "wonder", "sslmode=require"), "alice|1", false},
			{"wrong password", dsn(1, "alice", "wrong", verified), `FATAL:  password authentication failed for user "alice"`, true},
			{"no such role", dsn(1, "bob", "wrong", verified), `FATAL:  password authentication failed for user "bob"`, true},
			{"no TLS", dsn(1, "alice", "wonder", "sslmode=disable"), "connection requires TLS", true},
			{"another CA", dsn(1, "alice", "wonder", "sslmode=verify-full sslrootcert="+filepath.Join(foreign, "ca.crt")), "certificate verify failed", true},
			{"another host", dsn(1, "alice", "wonder", "sslmode=verify-full host=elsewhere.test hostaddr=127.0.0.1 sslrootcert="+filepath.Join(certs, "ca.crt")),
				`does not match host name "elsewhere.test"`, true},
		} {
			var out bytes.Buffer
			cmd := exec.CommandContext(ctx, "psql", "-X", "-At", "-d", tc.conn, "-c", "select current_user, count(*) from t group by 1")
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); (err != nil) != tc.fails || !strings.Contains(out.String(), tc.want) {
				t.Errorf("%s: psql printed %q (%v), want %q", tc.name, out.String(), err, tc.want)
			}
		}
	})

	for _, tc := range []struct{ name, conn, code string }{
		{"wrong password", dsn(0, "alice", "wrong", verified), "28P01"},
		{"no such role", dsn(0, "bob", "wonder", verified), "28P01"},
		{"no TLS", dsn(0, "alice", "wonder", "sslmode=disable"), "28000"},
	} {
		_, err := pgx.Connect(ctx, tc.conn)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != tc.code {
			t.Errorf("%s: %v, want SQLSTATE %s", tc.name, err, tc.code)
		}
	}

	t.Run("node port", func(t *testing.T) {
		// TLS 1.3: the server's refusal of our certificate arrives with the first read.
		for name, cfg := range map[string]*tls.Config{
			"no certificate":   {InsecureSkipVerify: true, NextProtos: []string{rpc.ALPN}},
			"a foreign node's": {InsecureSkipVerify: true, NextProtos: []string{rpc.ALPN}, Certificates: []tls.Certificate{keyPair(t, foreign)}},
		} {
			conn, err := tls.Dial("tcp", c.Nodes[0].RPCAddr, cfg)
			if err == nil {
				conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				_, err = conn.Read(make([]byte, 1))
				conn.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "tls: ") {
				t.Errorf("%s: %v, want a TLS alert", name, err)
			}
		}
		own := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{rpc.ALPN}, Certificates: []tls.Certificate{keyPair(t, certs)}}
		if err := rpc.Greet(ctx, c.Nodes[0].RPCAddr, own); err != nil {
			t.Errorf("with the node's certificate: %v", err)
		}
	})

	t.Run("foreign node", func(t *testing.T) {
		// It cannot join, says why, and goes on trying until it is told to stop.
		store := filepath.Join(dir, "foreign-store")
		out := runUntil(t, "certificate signed by unknown authority", append([]string{"start", "--store", store, "--certs", foreign,
			"--sql-addr", "127.0.0.1:0", "--rpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--join", c.Nodes[0].RPCAddr},
			timeSources(c)...)...)
		noTrace(t, "foreign node", out)
	})

	t.Run("doctor", func(t *testing.T) {
		n := c.Nodes[0]
		examine := func(certs string, rest ...string) (string, error) {
			return try(nil, append(append([]string{"doctor", "--store", filepath.Join(dir, "not", "there"), "--certs", certs,
				"--sql-addr", "127.0.0.1:0", "--rpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}, timeSources(c)...), rest...)...)
		}
		out, err := examine(certs, "--join", n.RPCAddr)
		for _, want := range []string{"does not exist yet", "GiB are free", "an fsync takes", "is free", "good until", "bound", "the time is known to", n.RPCAddr + " answers"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%v, no %q in\n%s", err, want, out)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "not")); err == nil {
			t.Error("it made the store's directory")
		}
		for _, tc := range []struct {
			certs string
			args  []string
			want  string
		}{
			{foreign, []string{"--join", n.RPCAddr}, "FAIL  --join"},
			{certs, []string{"--join", "127.0.0.1:1"}, "FAIL  --join"},
			{certs, []string{"--sql-addr", n.SQLAddr}, "FAIL  --sql-addr"},
			{certs, []string{"--advertise-rpc-addr", "elsewhere.test:7433"}, "FAIL  --certs"},
			{certs, []string{"--store", certs + "/ca.crt"}, "FAIL  --store"},
			{certs, []string{"--time-source", "ntp://127.0.0.1:1"}, "warn  --time-source"},
		} {
			out, err := examine(tc.certs, tc.args...)
			if (err == nil) != strings.HasPrefix(tc.want, "warn") || !strings.Contains(out, tc.want) {
				t.Errorf("%v: %v, no %q in\n%s", tc.args, err, tc.want, out)
			}
			noTrace(t, "doctor", out)
		}
	})

	t.Run("certificates", func(t *testing.T) {
		bad := func(name string, edit func(dir string)) string {
			d := filepath.Join(dir, name)
			if err := os.CopyFS(d, os.DirFS(certs)); err != nil {
				t.Fatal(err)
			}
			edit(d)
			return d
		}
		put := func(dir, name, from string) {
			b, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, tc := range []struct{ dir, want string }{
			{bad("nokey", func(d string) { os.Remove(filepath.Join(d, "node.key")) }), "node.key"},
			{bad("noca", func(d string) { os.WriteFile(filepath.Join(d, "ca.crt"), nil, 0o600) }), "ca.crt holds no certificate"},
			{bad("otherca", func(d string) { put(d, "ca.crt", filepath.Join(foreign, "ca.crt")) }), "unknown authority"},
			{bad("otherkey", func(d string) { put(d, "node.key", filepath.Join(foreign, "node.key")) }), "does not match"},
			{bad("expired", func(d string) { writeExpired(t, d) }), "expired"},
		} {
			_, err := try(nil, "start", "--store", filepath.Join(dir, "unused"), "--certs", tc.dir, "--rpc-addr", "127.0.0.1:0")
			var fe *server.FlagError
			if !errors.As(err, &fe) || fe.Flag != "certs" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want an error of --certs about %q", filepath.Base(tc.dir), err, tc.want)
			}
		}
	})

	var n int
	if err := admin.QueryRow(ctx, `select count(*) from t`).Scan(&n); err != nil || n != 1 {
		t.Errorf("after all that: %d rows, %v", n, err)
	}
}

func keyPair(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func timeSources(c *proc.Cluster) (args []string) {
	for _, a := range c.TimeSources() {
		args = append(args, "--time-source", a)
	}
	return args
}

// writeExpired puts a certificate into dir that ended an hour ago, with its own CA.
func writeExpired(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, content := range map[string][]byte{"ca.crt": cert, "node.crt": cert,
		"node.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
