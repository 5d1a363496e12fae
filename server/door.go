package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/meridian-db/meridian/pgwire/hba"
)

// door keeps strangers out of the admin port of a node that has certificates, where the port listens beyond loopback. It
// speaks TLS, and asks for a client certificate or the password of a superuser or of a role that may monitor. Profiles, which
// hold pieces of memory, are for superusers. Whether the node is up anybody may ask, in the clear too.
type door struct {
	s     *Server
	inner http.Handler
	cross *http.CrossOriginProtection

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*watcher // by the hash of the cookie
}

// watcher is somebody who has logged in with a browser.
type watcher struct {
	user        string
	since, seen time.Time
}

const (
	sessionCookie = "meridian_session"
	sessionIdle   = time.Hour
	sessionLife   = 12 * time.Hour
	maxWatchers   = 1000
	maxLoginForm  = 8 << 10
)

func newDoor(s *Server, inner http.Handler) *door {
	return &door{s: s, inner: inner, cross: http.NewCrossOriginProtection(), sessions: map[[sha256.Size]byte]*watcher{}}
}

// guarded reports whether the admin port needs a door.
func (s *Server) guarded() bool { return s.certs != nil && !loopback(s.listeners.HTTP.Addr().String()) }

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz", "/readyz":
		d.inner.ServeHTTP(w, r)
		return
	}
	if r.TLS == nil {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "this needs https", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusPermanentRedirect)
		return
	}
	w.Header().Set("Strict-Transport-Security", "max-age=86400")
	if err := d.cross.Check(r); err != nil {
		http.Error(w, "this comes from another site", http.StatusForbidden)
		return
	}
	switch {
	case r.URL.Path == "/login":
		d.login(w, r)
		return
	case r.URL.Path == "/logout" && r.Method == http.MethodPost:
		d.logout(w, r)
		return
	}
	user, err := d.who(r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	monitor, super := d.s.core.SQL.Watcher(user)
	if !monitor || !super && strings.HasPrefix(r.URL.Path, "/debug/") {
		d.refuse(w, r, &refusal{http.StatusForbidden, "role " + user + " may not see this"})
		return
	}
	if r.URL.Path == "/api/session" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte(user))
		return
	}
	d.inner.ServeHTTP(w, r)
}

// refusal is why somebody is not let in.
type refusal struct {
	status int
	reason string
}

func (e *refusal) Error() string { return e.reason }

var errNobody = &refusal{http.StatusUnauthorized, "log in first"}

// refuse sends a browser that asked for a page to the login, and tells all others what is missing.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *refusal
	if !errors.As(err, &e) {
		e = &refusal{http.StatusInternalServerError, err.Error()}
	}
	if e.status == http.StatusUnauthorized && r.Method == http.MethodGet && r.URL.Path == "/" {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	http.Error(w, e.reason, e.status)
}

// ready says why nobody can be let in yet.
func (d *door) ready() error {
	if !d.s.serving() {
		return &refusal{http.StatusServiceUnavailable, "the node does not serve yet; /readyz says why"}
	}
	return nil
}

// who returns the role that a request comes from: by a certificate, a password in its header, or a cookie.
func (d *door) who(r *http.Request) (string, error) {
	if err := d.ready(); err != nil {
		return "", err
	}
	if len(r.TLS.PeerCertificates) > 0 {
		user := r.TLS.PeerCertificates[0].Subject.CommonName
		if err := d.s.certs.VerifyUser(*r.TLS); err != nil {
			return "", &refusal{http.StatusForbidden, "client certificate: " + err.Error()}
		}
		if rule := d.rule(r, user); rule == nil || rule.Method != hba.Cert && rule.Method != hba.CertOrSCRAM && rule.Method != hba.Trust {
			return "", &refusal{http.StatusForbidden, "the authentication rules do not let role " + user + " in by a certificate"}
		}
		return user, nil
	}
	if user, password, ok := r.BasicAuth(); ok {
		return user, d.check(r, user, password)
	}
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", errNobody
	}
	now := time.Now()
	key := sha256.Sum256([]byte(c.Value))
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.sessions[key]
	if v == nil || now.Sub(v.seen) > sessionIdle || now.Sub(v.since) > sessionLife {
		delete(d.sessions, key)
		return "", errNobody
	}
	v.seen = now
	return v.user, nil
}

// rule is the authentication rule for a request, nil if it is to be refused. The port counts as a connection to the database
// postgres.
func (d *door) rule(r *http.Request, user string) *hba.Rule {
	if d.s.hba == nil {
		return &hba.Rule{Method: hba.CertOrSCRAM}
	}
	conn := hba.Conn{TLS: true, Addr: clientAddr(r), Database: "postgres", User: user,
		Member: func(role string) bool { return d.s.core.SQL.MemberOf(user, role) }}
	rule := hba.Match(d.s.hba.Rules(), &conn)
	if rule == nil || rule.Method == hba.Reject {
		return nil
	}
	return rule
}

// check verifies a password against the role's SCRAM verifier, no faster than the SQL port would.
func (d *door) check(r *http.Request, user, password string) error {
	addr := clientAddr(r)
	if wait := d.s.throttle.Wait(addr, user); wait > 0 {
		return &refusal{http.StatusTooManyRequests, "too many failed logins; try again in " + (wait.Round(time.Second) + time.Second).String()}
	}
	ok, err := d.s.core.SQL.CheckPassword(r.Context(), user, password)
	if err != nil {
		return err
	}
	if rule := d.rule(r, user); rule == nil || rule.ClientCert != "" || rule.Method != hba.SCRAM && rule.Method != hba.CertOrSCRAM {
		ok = false
	}
	if !ok {
		d.s.throttle.Failed(addr, user)
		return &refusal{http.StatusUnauthorized, "password authentication failed"}
	}
	d.s.throttle.Succeeded(addr, user)
	return nil
}

func clientAddr(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr().Unmap()
}

// login shows the form, or takes it.
func (d *door) login(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		d.form(w, http.StatusOK, "")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxLoginForm)
	user := r.PostFormValue("user")
	err := d.ready()
	if err == nil {
		err = d.check(r, user, r.PostFormValue("password"))
	}
	if err == nil {
		if monitor, _ := d.s.core.SQL.Watcher(user); !monitor {
			err = &refusal{http.StatusForbidden, "role " + user + " may not see the console"}
		}
	}
	d.s.audit.httpLogin(r, user, err)
	if err != nil {
		status := http.StatusInternalServerError
		var e *refusal
		if errors.As(err, &e) {
			status = e.status
		}
		d.form(w, status, err.Error())
		return
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	token := base64.RawURLEncoding.EncodeToString(raw)
	now := time.Now()
	d.mu.Lock()
	d.makeRoom(now)
	d.sessions[sha256.Sum256([]byte(token))] = &watcher{user: user, since: now, seen: now}
	d.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		MaxAge: int(sessionLife / time.Second)})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// makeRoom drops sessions that have ended, and the one not seen for longest when there are too many. d.mu is held.
func (d *door) makeRoom(now time.Time) {
	var oldest [sha256.Size]byte
	var at time.Time
	for k, v := range d.sessions {
		if now.Sub(v.seen) > sessionIdle || now.Sub(v.since) > sessionLife {
			delete(d.sessions, k)
		} else if at.IsZero() || v.seen.Before(at) {
			oldest, at = k, v.seen
		}
	}
	if len(d.sessions) >= maxWatchers {
		delete(d.sessions, oldest)
	}
}

func (d *door) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		d.mu.Lock()
		delete(d.sessions, sha256.Sum256([]byte(c.Value)))
		d.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (d *door) form(w http.ResponseWriter, status int, problem string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_ = loginPage.Execute(w, problem)
}

var loginPage = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Meridian: log in</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 0; padding: 0 16px;
  background: light-dark(#f6f7f9, #14171c); color: light-dark(#1b1f26, #e4e8ee); }
form { width: min(22rem, 100%); box-sizing: border-box; padding: 24px; border-radius: 10px;
  background: light-dark(#fff, #1d2128); border: 1px solid light-dark(#d9dde3, #323843); }
h1 { font-size: 1.25rem; margin: 0 0 12px; }
label { display: block; margin: 12px 0 4px; }
input, button { font: inherit; box-sizing: border-box; width: 100%; padding: 8px 10px; border-radius: 6px;
  border: 1px solid light-dark(#b4bac4, #4a5260); background: transparent; color: inherit; }
button { margin-top: 20px; background: light-dark(#1f5fbf, #2f6fd0); color: #fff; border-color: transparent; cursor: pointer; }
:focus-visible { outline: 3px solid light-dark(#1f5fbf, #7fb2ff); outline-offset: 2px; }
.problem { margin: 0 0 8px; padding: 8px 10px; border-radius: 6px; background: light-dark(#fde7e7, #4a2024); }
small { display: block; margin-top: 16px; opacity: .75; }
</style>
<form method="post" action="/login">
<h1>Meridian</h1>
{{with .}}<p class="problem" role="alert">{{.}}</p>{{end}}
<label for="user">Role</label>
<input id="user" name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button>
<small>A superuser, or a role with <code>meridian.monitor</code>.</small>
</form>
</html>
`))

// sniffer is a listener of a port that speaks TLS, and in the clear with those who do not begin with it.
type sniffer struct {
	net.Listener
	cfg   *tls.Config
	ready chan net.Conn
	stop  chan struct{}
	once  sync.Once
	slots chan struct{} // bounds the connections that have not said anything yet
}

const (
	sniffTimeout  = 10 * time.Second
	maxSniffing   = 256
	tlsRecordType = 0x16
)

func newSniffer(l net.Listener, cfg *tls.Config) *sniffer {
	s := &sniffer{Listener: l, cfg: cfg, ready: make(chan net.Conn), stop: make(chan struct{}), slots: make(chan struct{}, maxSniffing)}
	go s.run()
	return s
}

// run ends when the listener is closed.
func (s *sniffer) run() {
	defer s.end()
	for backoff := 5 * time.Millisecond; ; {
		c, err := s.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(backoff):
				backoff = min(2*backoff, time.Second)
				continue
			case <-s.stop:
				return
			}
		}
		select {
		case s.slots <- struct{}{}:
			go s.sniff(c)
		default:
			c.Close()
		}
	}
}

func (s *sniffer) sniff(c net.Conn) {
	defer func() { <-s.slots }()
	first := make([]byte, 1)
	c.SetReadDeadline(time.Now().Add(sniffTimeout))
	if _, err := c.Read(first); err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	var out net.Conn = &unread{Conn: c, first: first}
	if first[0] == tlsRecordType {
		out = tls.Server(out, s.cfg)
	}
	select {
	case s.ready <- out:
	case <-s.stop:
		c.Close()
	}
}

func (s *sniffer) end() { s.once.Do(func() { close(s.stop) }) }

// Accept implements net.Listener.
func (s *sniffer) Accept() (net.Conn, error) {
	select {
	case c := <-s.ready:
		return c, nil
	case <-s.stop:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *sniffer) Close() error {
	s.end()
	return s.Listener.Close()
}

// unread is a connection with its first byte put back.
type unread struct {
	net.Conn
	first []byte
}

func (u *unread) Read(b []byte) (int, error) {
	if len(u.first) > 0 && len(b) > 0 {
		n := copy(b, u.first)
		u.first = u.first[n:]
		return n, nil
	}
	return u.Conn.Read(b)
}
