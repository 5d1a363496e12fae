package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/pgwire/throttle"
	"github.com/meridian-db/meridian/sql/audit"
)

// TestConsoleDoor: beyond loopback the admin port speaks TLS and lets in superusers and monitors, by certificate, password or a
// browser's login, and nobody else; whether the node is up anybody may ask.
func TestConsoleDoor(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log := filepath.Join(t.TempDir(), "audit.log")
	s, certs := secureNode(t, []string{"eve", "watch", "postgres"}, func(c *Config) { c.HTTPAddr, c.AuditLog = "0.0.0.0:0", log }, func(s *Server) {
		s.throttle = throttle.New(throttle.Config{Refill: time.Hour, PerAddress: 6})
	})
	ca, err := os.ReadFile(filepath.Join(certs, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	root, err := pgx.Connect(ctx, dsnOf(s, "postgres", "root's", "sslmode=verify-full sslrootcert="+filepath.Join(certs, "ca.crt")))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close(ctx)
	for _, q := range []string{"create role watch login password 'w'", "alter role watch set meridian.monitor = on", "create role eve login password 'e'"} {
		execute(t, ctx, root, q)
	}
	_, port, _ := net.SplitHostPort(s.HTTPAddr())
	base := "https://localhost:" + port
	client := func(cert string) *http.Client {
		cfg := &tls.Config{RootCAs: pool}
		if cert != "" {
			pair, err := tls.LoadX509KeyPair(filepath.Join(certs, cert+".crt"), filepath.Join(certs, cert+".key"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		tr := &http.Transport{TLSClientConfig: cfg}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	get := func(c *http.Client, url string, edit ...func(*http.Request)) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range edit {
			f(req)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), resp.Header
	}
	stranger := client("")

	for path, want := range map[string]int{"/": 303, "/api/cluster": 401, "/metrics": 401, "/debug/pprof/heap": 401, "/healthz": 200, "/readyz": 200, "/login": 200, "/nothing": 401} {
		if got, body, _ := get(stranger, base+path); got != want {
			t.Errorf("a stranger gets %d for %s, want %d: %s", got, path, want, body)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/metrics": 308, "/": 308} {
		got, _, h := get(stranger, "http://localhost:"+port+path)
		if got != want || want == 308 && !strings.HasPrefix(h.Get("Location"), base) {
			t.Errorf("in the clear: %d for %s, to %q, want %d", got, path, h.Get("Location"), want)
		}
	}
	for _, tc := range []struct {
		cert, path string
		want       int
	}{
		{"client.postgres", "/debug/pprof/goroutine?debug=1", 200},
		{"client.watch", "/metrics", 200},
		{"client.watch", "/api/cluster", 200},
		{"client.watch", "/debug/pprof/goroutine?debug=1", 403},
		{"client.eve", "/metrics", 403},
		{"node", "/metrics", 403},
	} {
		if got, body, _ := get(client(tc.cert), base+tc.path); got != tc.want {
			t.Errorf("with %s: %d for %s, want %d: %s", tc.cert, got, tc.path, tc.want, body)
		}
	}
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for _, tc := range []struct {
		user, password string
		want           int
	}{{"watch", "w", 200}, {"watch", "x", 401}, {"nobody", "w", 401}, {"eve", "e", 403}} {
		if got, body, _ := get(stranger, base+"/metrics", basic(tc.user, tc.password)); got != tc.want {
			t.Errorf("%s with password %s: %d, want %d: %s", tc.user, tc.password, got, tc.want, body)
		}
	}

	t.Run("browser", func(t *testing.T) {
		jar, _ := cookiejar.New(nil)
		c := client("")
		c.Jar = jar
		post := func(path, user, password, origin string) (int, string) {
			req, err := http.NewRequestWithContext(ctx, "POST", base+path, strings.NewReader(url.Values{"user": {user}, "password": {password}}.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", origin)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if set := resp.Header.Get("Set-Cookie"); set != "" && path == "/login" {
				for _, flag := range []string{"Secure", "HttpOnly", "SameSite=Strict"} {
					if !strings.Contains(set, flag) {
						t.Errorf("cookie %q is not %s", set, flag)
					}
				}
			}
			return resp.StatusCode, string(b)
		}
		if got, _ := post("/login", "watch", "w", "https://evil.example"); got != 403 {
			t.Errorf("from another site: %d", got)
		}
		if got, page := post("/login", "watch", "wrong-guess", base); got != 401 || !strings.Contains(page, "password authentication failed") || strings.Contains(page, "wrong-guess") {
			t.Errorf("a wrong password: %d\n%s", got, page)
		}
		if got, page := post("/login", "eve", "e", base); got != 403 || !strings.Contains(page, "may not see the console") {
			t.Errorf("eve: %d\n%s", got, page)
		}
		if got, _ := post("/login", "watch", "w", base); got != 303 {
			t.Fatalf("login: %d", got)
		}
		if got, user, _ := get(c, base+"/api/session"); got != 200 || user != "watch" {
			t.Errorf("session: %d, %q", got, user)
		}
		if got, _, _ := get(c, base+"/"); got != 200 {
			t.Errorf("console: %d", got)
		}
		// Who loses the right loses the console, cookie or not.
		execute(t, ctx, root, "alter role watch reset meridian.monitor")
		for got := 200; got != 403; {
			if got, _, _ = get(c, base+"/api/session"); ctx.Err() != nil {
				t.Fatal("the console stayed open")
			}
		}
		execute(t, ctx, root, "alter role watch set meridian.monitor = on")
		for got := 403; got != 200; {
			if got, _, _ = get(c, base+"/api/session"); ctx.Err() != nil {
				t.Fatal("the console stayed closed")
			}
		}
		cookies := jar.Cookies(must(url.Parse(base)))
		if got, _ := post("/logout", "", "", base); got != 303 {
			t.Errorf("logout: %d", got)
		}
		if got, _, _ := get(client(""), base+"/api/session", func(r *http.Request) {
			for _, k := range cookies {
				r.AddCookie(k)
			}
		}); got != 401 {
			t.Errorf("the old cookie after logging out: %d", got)
		}
	})

	t.Run("guessing", func(t *testing.T) {
		seen := 0
		for seen == 0 && ctx.Err() == nil {
			if got, _, _ := get(stranger, base+"/metrics", basic("watch", "guess")); got == 429 {
				seen++
			}
		}
		if got, _, _ := get(stranger, base+"/metrics", basic("watch", "w")); got != 429 {
			t.Errorf("the right password after guesses: %d", got)
		}
		// One limiter for both ports.
		if code := loginCode(t, ctx, dsnOf(s, "watch", "w", "sslmode=verify-full sslrootcert="+filepath.Join(certs, "ca.crt"))); code != "53400" {
			t.Errorf("at the SQL port: %q", code)
		}
	})

	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(string(b)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		kinds[e.Port+" "+e.Event]++
	}
	for _, want := range []string{"http login", "http login_failed", "sql login", "sql login_failed"} {
		if kinds[want] == 0 {
			t.Errorf("no %s in the audit log: %v", want, kinds)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
