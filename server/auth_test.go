package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/pgwire/throttle"
)

// startNode starts a cluster of one node on free ports. tune may change the configuration, and the server before it starts.
func startNode(t *testing.T, tune func(*Config), before ...func(*Server)) *Server {
	t.Helper()
	cfg := Config{Store: t.TempDir(), SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Logger: testLogger(t)}
	tune(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range before {
		f(s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// secureNode makes a CA, a node's certificates and clients' ones, and starts a node with them.
func secureNode(t *testing.T, roles []string, tune func(*Config), before ...func(*Server)) (s *Server, certs string) {
	t.Helper()
	ca, certs := t.TempDir(), t.TempDir()
	if err := IssueCA(ca, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := IssueNode(ca, certs, []string{"localhost", "127.0.0.1"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		if err := IssueClient(ca, certs, role, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	return startNode(t, func(c *Config) {
		c.Certs, c.PostgresPassword = certs, "root's"
		tune(c)
	}, before...), certs
}

// loginCode tries to log in and returns the SQLSTATE of the refusal, "" when it is let in.
func loginCode(t *testing.T, ctx context.Context, dsn string) string {
	t.Helper()
	conn, err := pgx.Connect(ctx, dsn)
	if err == nil {
		conn.Close(ctx)
		return ""
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		t.Fatalf("%s: %v", dsn, err)
	}
	return pg.Code
}

func dsnOf(s *Server, user, password, rest string) string {
	host, port, _ := net.SplitHostPort(s.SQLAddr())
	return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=postgres connect_timeout=20 %s", host, port, user, password, rest)
}

// TestAuthenticationRules: certificates of clients, and a file of rules that is changed while the node runs.
func TestAuthenticationRules(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	rules := filepath.Join(t.TempDir(), "hba.conf")
	stamp := time.Now()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp = stamp.Add(time.Second)
		if err := os.Chtimes(rules, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	write("hostssl all all all cert-or-scram\nhost all loner 127.0.0.1/32 trust\n")
	s, certs := secureNode(t, []string{"ann", "bob", "postgres"}, func(c *Config) { c.HBA = rules })
	tls := "sslmode=verify-full sslrootcert=" + filepath.Join(certs, "ca.crt")
	cert := func(name string) string {
		return fmt.Sprintf("%s sslcert=%s sslkey=%s", tls, filepath.Join(certs, "client."+name+".crt"), filepath.Join(certs, "client."+name+".key"))
	}
	node := fmt.Sprintf("%s sslcert=%s sslkey=%s", tls, filepath.Join(certs, "node.crt"), filepath.Join(certs, "node.key"))
	root, err := pgx.Connect(ctx, dsnOf(s, "postgres", "root's", tls))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close(ctx)
	for _, q := range []string{"create role ann login password 'a'", "create role bob login", "create role ops", "create role loner login",
		"create role localhost login superuser", "grant ops to bob", "create role late login password 'l' valid until '2001-01-01'"} {
		execute(t, ctx, root, q)
	}
	// pg_stat_ssl tells whose certificate was shown.
	for name, want := range map[string]string{cert("ann"): "/OU=Meridian client/CN=ann", tls: ""} {
		c, err := pgx.Connect(ctx, dsnOf(s, "ann", "a", name))
		if err != nil {
			t.Fatal(err)
		}
		var dn, serial string
		row := c.QueryRow(ctx, `select coalesce(client_dn, ''), coalesce(client_serial::text, '') from pg_stat_ssl
			where pid = pg_backend_pid() and ssl and version = 'TLSv1.3' and cipher like 'TLS_%' and bits in (128, 256)`)
		if err := row.Scan(&dn, &serial); err != nil || dn != want || (serial == "") != (want == "") {
			t.Errorf("pg_stat_ssl of a session with the certificate %q: %q, serial %q, %v", want, dn, serial, err)
		}
		c.Close(ctx)
	}
	check := func(what string, want map[string]string) {
		t.Helper()
		for dsn, code := range want {
			if got := loginCode(t, ctx, dsn); got != code {
				t.Errorf("%s: %s: SQLSTATE %q, want %q", what, dsn[strings.Index(dsn, "user="):], got, code)
			}
		}
	}
	check("certificate or password", map[string]string{
		dsnOf(s, "ann", "x", cert("ann")):         "",
		dsnOf(s, "ann", "a", tls):                 "",
		dsnOf(s, "ann", "x", tls):                 "28P01",
		dsnOf(s, "ann", "a", cert("bob")):         "28000", // whoever shows a certificate is judged by it
		dsnOf(s, "bob", "x", cert("bob")):         "",
		dsnOf(s, "localhost", "x", node):          "28000", // a node's certificate is nobody's
		dsnOf(s, "late", "l", tls):                "28P01",
		dsnOf(s, "ann", "a", "sslmode=disable"):   "28000",
		dsnOf(s, "loner", "x", "sslmode=disable"): "",
	})
	write("hostssl all ann all scram-sha-256 clientcert=verify-full\nhostssl all +ops all cert\nhostssl all loner all reject\nhostssl all postgres samehost scram-sha-256\n")
	check("other rules, without a restart", map[string]string{
		dsnOf(s, "ann", "a", cert("ann")):         "",
		dsnOf(s, "ann", "x", cert("ann")):         "28P01",
		dsnOf(s, "ann", "a", tls):                 "28000",
		dsnOf(s, "bob", "x", cert("bob")):         "",
		dsnOf(s, "bob", "x", tls):                 "28000",
		dsnOf(s, "loner", "x", tls):               "28000",
		dsnOf(s, "loner", "x", "sslmode=disable"): "28000",
		dsnOf(s, "late", "l", tls):                "28000", // no rule
	})
	write("hostssl all all all trust\nhost all all all md5\n")
	check("a file with an error is not used", map[string]string{dsnOf(s, "ann", "a", tls): "28000"})

	var line int
	var kind, method, mask, problem *string
	var dbs []string
	row := root.QueryRow(ctx, `select line_number, type, database, auth_method, netmask, error from pg_hba_file_rules where error is null`)
	if err := row.Scan(&line, &kind, &dbs, &method, &mask, &problem); err != nil || line != 1 || *kind != "hostssl" || *method != "trust" || len(dbs) != 1 || mask != nil {
		t.Errorf("pg_hba_file_rules: %v, line %d", err, line)
	}
	if err := root.QueryRow(ctx, `select line_number, type, error from pg_hba_file_rules where error is not null`).Scan(&line, &kind, &problem); err != nil || line != 2 || kind != nil {
		t.Errorf("pg_hba_file_rules: %v, line %d", err, line)
	}
	ann, err := pgx.Connect(ctx, dsnOf(s, "ann", "a", cert("ann")))
	if err != nil {
		t.Fatal(err)
	}
	defer ann.Close(ctx)
	if code := <-failing(ctx, ann, "select * from pg_hba_file_rules"); code != "42501" {
		t.Errorf("ann reads the rules: %s", code)
	}
	var query string
	if err := ann.QueryRow(ctx, `select query from pg_stat_activity where usename = 'postgres'`).Scan(&query); err != nil || query != "<insufficient privilege>" {
		t.Errorf("ann sees %q (%v) of another role's session", query, err)
	}
	execute(t, ctx, root, "alter role ann set meridian.monitor = on")
	for query == "<insufficient privilege>" && ctx.Err() == nil { // the catalog's new version reaches sessions with their next transaction
		if err := ann.QueryRow(ctx, `select query from pg_stat_activity where usename = 'postgres'`).Scan(&query); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuessingIsThrottled: after some wrong passwords even the right one has to wait, and others do not.
func TestGuessingIsThrottled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, certs := secureNode(t, nil, func(*Config) {}, func(s *Server) {
		s.throttle = throttle.New(throttle.Config{Refill: time.Hour, PerAddress: 5})
	})
	tls := "sslmode=verify-full sslrootcert=" + filepath.Join(certs, "ca.crt")
	for i := range 5 {
		if code := loginCode(t, ctx, dsnOf(s, "postgres", "guess", tls)); code != "28P01" {
			t.Fatalf("guess %d: %s", i, code)
		}
	}
	if code := loginCode(t, ctx, dsnOf(s, "postgres", "root's", tls)); code != "53400" {
		t.Errorf("the right password from a guesser's address: SQLSTATE %q, want 53400", code)
	}
}

// TestRoleLimits: connections, statements and memory of a role are bounded by settings that it cannot change.
func TestRoleLimits(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s := startNode(t, func(c *Config) { c.Insecure = true })
	as := func(user string) (*pgx.Conn, error) {
		return pgx.Connect(ctx, "postgres://"+user+"@"+s.SQLAddr()+"/postgres?sslmode=disable")
	}
	root, err := as("postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close(ctx)
	for _, q := range []string{"create role few login connection limit 2", "create role slow login", "create role small login", "create role free login",
		"alter role slow set meridian.statement_rate = 1", "alter role small set meridian.role_memory = '4MB'",
		"create database narrow connection limit 1"} {
		execute(t, ctx, root, q)
	}
	code := func(err error) string {
		var pg *pgconn.PgError
		errors.As(err, &pg)
		if pg == nil {
			return fmt.Sprint(err)
		}
		return pg.Code
	}

	t.Run("connections", func(t *testing.T) {
		var open []*pgx.Conn
		for range 2 {
			c, err := as("few")
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		if _, err := as("few"); code(err) != "53300" {
			t.Errorf("the third connection: %v", err)
		}
		open[0].Close(ctx)
		for { // the server notices the end of a connection by itself
			c, err := as("few")
			if err == nil {
				c.Close(ctx)
				break
			}
			if code(err) != "53300" || ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		open[1].Close(ctx)
		narrow := func(user string) (*pgx.Conn, error) {
			return pgx.Connect(ctx, "postgres://"+user+"@"+s.SQLAddr()+"/narrow?sslmode=disable")
		}
		c, err := narrow("free")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(ctx)
		if _, err := narrow("free"); code(err) != "53300" {
			t.Errorf("the second connection to the database: %v", err)
		}
		if c, err := narrow("postgres"); err != nil {
			t.Errorf("a superuser: %v", err)
		} else {
			c.Close(ctx)
		}
	})

	t.Run("not theirs to change", func(t *testing.T) {
		c, err := as("slow")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(ctx)
		for _, q := range []string{"set meridian.statement_rate = 0", "alter role slow set meridian.statement_rate = 0",
			"alter role slow reset meridian.statement_rate", "alter role slow reset all", "alter role slow set meridian.monitor = on"} {
			for { // the refusals count as statements
				got := <-failing(ctx, c, q)
				if got == "53400" && ctx.Err() == nil {
					continue
				}
				if got != "42501" {
					t.Errorf("%s: %s", q, got)
				}
				break
			}
		}
	})

	t.Run("statements", func(t *testing.T) {
		// Eight sessions ask all the time: much more than one a second together.
		codes := make(chan string)
		for range 8 {
			c, err := as("slow")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(ctx)
			go func() {
				got := ""
				for range 4 {
					if _, err := c.Exec(ctx, "select 1"); err != nil {
						got = code(err)
					}
				}
				codes <- got
			}()
		}
		limited := 0
		for range 8 {
			switch got := <-codes; got {
			case "53400":
				limited++
			case "":
			default:
				t.Error(got)
			}
		}
		if limited == 0 {
			t.Error("32 statements at once passed a limit of one a second")
		}
	})

	t.Run("memory", func(t *testing.T) {
		const greedy = "select count(*) from (select array_agg(i) from generate_series(1, 600000) i) x"
		c, err := as("small")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(ctx)
		if got := <-failing(ctx, c, greedy); got != "53200" {
			t.Errorf("%s with 4 MB: %s", greedy, got)
		}
		if got := <-failing(ctx, root, greedy); got != "<nil>" {
			t.Errorf("%s without a limit: %s", greedy, got)
		}
	})
}
