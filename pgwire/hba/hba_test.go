package hba

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) []Rule {
	t.Helper()
	rules, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestFirstMatchWins goes through a file with one rule of each kind; the method tells which one was found.
func TestFirstMatchWins(t *testing.T) {
	rules := parse(t, `# TYPE DATABASE USER ADDRESS METHOD
local   all             all                                     trust
hostnossl all           all             0.0.0.0/0               reject
hostssl all             mallory         all                     reject   # whatever comes below
hostssl "all"           all             10.1.0.0/16             scram-sha-256
hostssl sameuser        all             10.2.0.0  255.255.0.0   scram-sha-256 clientcert=verify-full
hostssl app,"my db"     ann, bob        fd00::/8                cert
host    replication     rep             all                     scram-sha-256
hostssl samerole        all             192.168.0.0/24          cert-or-scram
hostssl all             +ops            samehost                \
        cert
host    all             all             127.0.0.1/8             trust
`)
	if err := Check(rules); err != nil {
		t.Fatal(err)
	}
	member := func(role string) bool { return role == "ops" || role == "team" }
	for _, tc := range []struct {
		name string
		c    Conn
		line int // 0: none
	}{
		{"unix socket", Conn{Local: true, Database: "app", User: "ann"}, 2},
		{"in the clear", Conn{Addr: netip.MustParseAddr("10.1.2.3"), Database: "app", User: "ann"}, 3},
		{"in the clear, IPv6", Conn{Addr: netip.MustParseAddr("fd00::1"), Database: "app", User: "ann"}, 0},
		{"rejected by name", Conn{TLS: true, Addr: netip.MustParseAddr("10.1.2.3"), Database: "all", User: "mallory"}, 4},
		{"a database called all", Conn{TLS: true, Addr: netip.MustParseAddr("10.1.2.3"), Database: "all", User: "ann"}, 5},
		{"another database", Conn{TLS: true, Addr: netip.MustParseAddr("10.1.2.3"), Database: "app", User: "ann"}, 0},
		{"mapped address", Conn{TLS: true, Addr: netip.MustParseAddr("::ffff:10.1.2.3"), Database: "all", User: "ann"}, 5},
		{"sameuser", Conn{TLS: true, Addr: netip.MustParseAddr("10.2.9.9"), Database: "ann", User: "ann"}, 6},
		{"not sameuser", Conn{TLS: true, Addr: netip.MustParseAddr("10.2.9.9"), Database: "bob", User: "ann"}, 0},
		{"lists", Conn{TLS: true, Addr: netip.MustParseAddr("fd12::1"), Database: "my db", User: "bob"}, 7},
		{"outside of the network", Conn{TLS: true, Addr: netip.MustParseAddr("fe12::1"), Database: "my db", User: "bob"}, 0},
		{"replication", Conn{TLS: true, Addr: netip.MustParseAddr("1.2.3.4"), User: "rep", Replication: true}, 8},
		{"a database called replication", Conn{TLS: true, Addr: netip.MustParseAddr("1.2.3.4"), User: "rep", Database: "replication"}, 0},
		{"samerole", Conn{TLS: true, Addr: netip.MustParseAddr("192.168.0.7"), User: "ann", Database: "team", Member: member}, 9},
		{"not samerole", Conn{TLS: true, Addr: netip.MustParseAddr("192.168.0.7"), User: "ann", Database: "other", Member: member}, 0},
		{"group, same host", Conn{TLS: true, Addr: netip.MustParseAddr("4.4.4.4"), User: "ann", Database: "x", Member: member,
			SameHost: func(netip.Addr) bool { return true }}, 10},
		{"group, another host", Conn{TLS: true, Addr: netip.MustParseAddr("4.4.4.4"), User: "ann", Database: "x", Member: member,
			SameHost: func(netip.Addr) bool { return false }}, 0},
		{"loopback", Conn{TLS: true, Addr: netip.MustParseAddr("127.0.0.9"), User: "ann", Database: "x"}, 12},
	} {
		got := 0
		if r := Match(rules, &tc.c); r != nil {
			got = r.Line
		}
		if got != tc.line {
			t.Errorf("%s: line %d, want %d", tc.name, got, tc.line)
		}
	}
	if r := rules[4]; r.Method != SCRAM || r.ClientCert != VerifyFull || r.Net.String() != "10.2.0.0/16" {
		t.Errorf("%+v", r)
	}
}

// TestErrors: what is not understood is an error of its line, never a rule that means something else.
func TestErrors(t *testing.T) {
	for line, want := range map[string]string{
		"hostgssenc all all all gss":                          "not supported",
		"tcp all all all trust":                               "invalid connection type",
		"host all":                                            "before role",
		"host all all":                                        "before IP address",
		"host all all example.com scram-sha-256":              "names of hosts",
		"host all all 10.0.0.0 scram-sha-256":                 "invalid IP mask",
		"host all all 10.0.0.0 255.0.255.0 scram-sha-256":     "ones are not at the beginning",
		"host all all 10.0.0.0 ffff:: scram-sha-256":          "do not match",
		"host all all 10.0.0.0/33 scram-sha-256":              "invalid CIDR",
		"host all all all":                                    "before authentication method",
		"host all all all md5":                                "not supported",
		"host all all all scram":                              "invalid authentication method",
		"host all all all cert":                               "only supported on hostssl",
		"hostssl all all all cert map=m":                      "\"map\" is not supported",
		"hostssl all all all cert clientcert=verify-ca":       "only accepts",
		"host all all all scram-sha-256 clientcert=verify-ca": "hostssl",
		"hostssl all all all scram-sha-256 clientcert=maybe":  "invalid value",
		"hostssl all all all scram-sha-256 clientcert":        "name=value",
		"host all /^a.*$ all scram-sha-256":                   "regular expressions",
		"host @dbs all all scram-sha-256":                     "included files",
		"host \"all all all trust":                            "not closed",
		"host,hostssl all all all trust":                      "multiple values",
	} {
		rules := parse(t, "local all all trust\n"+line)
		if len(rules) != 2 || rules[1].Err == nil || !strings.Contains(rules[1].Err.Error(), want) {
			t.Errorf("%s: %+v, want an error with %q", line, rules[len(rules)-1].Err, want)
		}
		if err := Check(rules); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestFileReload: a new file holds at once; a bad or missing one leaves the old rules in force.
func TestFileReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hba.conf")
	stamp := time.Now()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp = stamp.Add(time.Second) // file systems may not tell two writes of one moment apart
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	if _, err := Open(path, log); err == nil {
		t.Error("a missing file was taken")
	}
	write("# nothing\n")
	if _, err := Open(path, log); err == nil {
		t.Error("a file without rules was taken")
	}
	write("host all all all reject\n")
	f, err := Open(path, log)
	if err != nil {
		t.Fatal(err)
	}
	method := func() Method { return f.Rules()[0].Method }
	if m := method(); m != Reject {
		t.Fatal(m)
	}
	write("host all all all scram-sha-256\n")
	if m := method(); m != SCRAM {
		t.Errorf("after a change: %s", m)
	}
	write("host all all all trust\nhost all all nonsense\n")
	if m := method(); m != SCRAM {
		t.Errorf("after a bad change: %s", m)
	}
	if lines, err := f.Lines(); err != nil || len(lines) != 2 || lines[1].Err == nil {
		t.Errorf("lines: %+v, %v", lines, err)
	}
	os.Remove(path)
	if m := method(); m != SCRAM {
		t.Errorf("without the file: %s", m)
	}
	write("host all all all reject\n")
	if m := method(); m != Reject {
		t.Errorf("when it is back: %s", m)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("hostssl all,\"x y\" +ops 10.0.0.0 255.0.0.0 scram-sha-256 clientcert=verify-full # c")
	f.Add("local all \\\nall trust")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := Parse(strings.NewReader(text))
		if err != nil || Check(rules) != nil {
			return
		}
		Match(rules, &Conn{TLS: true, Addr: netip.MustParseAddr("::1"), Database: "d", User: "u"})
		for _, r := range rules {
			if len(r.Databases) == 0 || len(r.Users) == 0 || r.Method == "" {
				t.Errorf("%q made the rule %+v", text, r)
			}
		}
	})
}
