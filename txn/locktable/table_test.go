package locktable

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/truetime"
)

// TestTraces runs the golden scripts of testdata. A transaction tN has age N: the smaller is the older.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{txns: map[string]*Txn{}, waits: map[string][]*Request{}}
		s.table = New(100, s.wound)
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	table  *Table
	right  *Table
	txns   map[string]*Txn
	waits  map[string][]*Request
	events []string
}

func name(x *Txn) string { return fmt.Sprintf("t%d", x.Age) }

func (s *script) wound(victim, by *Txn) {
	if by == nil {
		s.events = append(s.events, name(victim)+" expired")
		return
	}
	s.events = append(s.events, name(victim)+" wounded by "+name(by))
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	arg := func(key string) string {
		for _, a := range d.CmdArgs {
			if a.Key == key && len(a.Vals) > 0 {
				return a.Vals[0]
			}
		}
		return ""
	}
	var who string
	if len(d.CmdArgs) > 0 && len(d.CmdArgs[0].Vals) == 0 {
		who = d.CmdArgs[0].Key
	}
	x := s.txns[who]
	if x == nil && strings.HasPrefix(who, "t") {
		var age int64
		_, _ = fmt.Sscanf(who, "t%d", &age)
		var err error
		if x, err = s.table.Begin(TxnID{byte(age)}, age, 1, 0); err != nil {
			return err.Error() + "\n"
		}
		s.txns[who] = x
	}
	switch d.Cmd {
	case "lock":
		start := []byte(arg("key"))
		var end []byte
		if a, b, ok := strings.Cut(arg("span"), "-"); ok {
			start, end = []byte(a), []byte(b)
		}
		mode, policy := Shared, Block
		if arg("mode") == "exclusive" {
			mode = Exclusive
		}
		if arg("policy") == "try" {
			policy = Try
		}
		r, err := s.table.Acquire(x, start, end, mode, policy)
		switch {
		case err != nil:
			s.events = append(s.events, who+": "+err.Error())
		case r != nil:
			s.waits[who] = append(s.waits[who], r)
		}
	case "press": // has waited for long
		for _, r := range s.waits[who] {
			s.table.Press(r)
		}
	case "cancel":
		for _, r := range s.waits[who] {
			_ = s.table.Cancel(r)
		}
	case "release":
		s.table.Release(x)
		delete(s.txns, who)
	case "committing", "prepared":
		var ts int64
		_, _ = fmt.Sscan(arg("ts"), &ts)
		to := Committing
		if d.Cmd == "prepared" {
			to = Prepared
		}
		if err := s.table.BeginCommit(x, to, truetime.Timestamp(ts)); err != nil {
			s.events = append(s.events, who+": "+err.Error())
		}
	case "reopen":
		s.table.Reopen(x)
	case "conflict": // what a snapshot read waits for
		var ts int64
		_, _ = fmt.Sscan(arg("ts"), &ts)
		y, _ := s.table.Conflict([]byte(arg("key")), nil, truetime.Timestamp(ts), nil)
		if y == nil {
			return "none\n"
		}
		return name(y) + "\n"
	case "blockers":
		for _, r := range s.waits[who] {
			for _, y := range s.table.Blockers(r) {
				s.events = append(s.events, who+" is blocked by "+name(y))
			}
		}
	case "escalate":
		a, b, _ := strings.Cut(arg("span"), "-")
		s.events = append(s.events, fmt.Sprint(s.table.Escalate(x, []byte(a), []byte(b))))
	case "touch":
		s.table.Touch([]TxnID{x.ID})
	case "sweep":
		keep := int64(2)
		if v := arg("keep"); v != "" {
			_, _ = fmt.Sscan(v, &keep)
		}
		_, silent := s.table.Sweep(keep)
		for _, y := range silent {
			s.events = append(s.events, name(y)+" silent")
		}
	case "disconnected":
		s.table.Disconnected(1)
	case "begin": // again, with the token that the entry had, or another
		token := x.Token
		if arg("token") == "other" {
			token += 1000
		}
		_, err := s.table.Begin(x.ID, x.Age, 1, token)
		return fmt.Sprintln(err)
	case "handoff":
		s.table.Close()
		s.report()
		enc := s.table.Encode(nil)
		s.table = New(1, s.wound)
		if err := s.table.Decode(enc, nil); err != nil {
			t.Fatal(err)
		}
		for n, old := range s.txns {
			y := s.table.Lookup(old.ID)
			if y == nil {
				delete(s.txns, n)
				continue
			}
			if y.Token != old.Token {
				t.Fatalf("%s: token %d became %d", n, old.Token, y.Token)
			}
			s.txns[n] = y
		}
	case "split":
		s.right = New(1, s.wound)
		s.table.SplitOff([]byte(arg("key")), s.right)
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	s.report()
	out := strings.Join(s.events, "\n")
	s.events = nil
	if out != "" {
		out += "\n"
	}
	out += show("", s.table)
	if s.right != nil {
		out += show("right: ", s.right)
	}
	return out
}

// report notes the requests that have ended.
func (s *script) report() {
	for _, who := range sortedKeys(s.waits) {
		var still []*Request
		for _, r := range s.waits[who] {
			switch {
			case !r.finished:
				still = append(still, r)
			case r.err != nil:
				s.events = append(s.events, who+": "+r.err.Error())
			default:
				s.events = append(s.events, who+" granted")
			}
		}
		s.waits[who] = still
	}
}

func sortedKeys(m map[string][]*Request) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func show(prefix string, t *Table) string {
	var b strings.Builder
	for _, l := range t.Locks(0) {
		verb := "holds"
		if l.Waiting {
			verb = "awaits"
		}
		key := string(l.Start)
		if l.End != nil {
			key += "-" + string(l.End)
		}
		fmt.Fprintf(&b, "%st%d %s %s(%s)", prefix, l.Age, verb, key, l.Mode)
		if l.State != Active {
			fmt.Fprintf(&b, " %s", l.State)
		}
		b.WriteByte('\n')
	}
	if err := checkTable(t); err != nil {
		fmt.Fprintf(&b, "BROKEN: %v\n", err)
	}
	if b.Len() == 0 {
		return prefix + "no locks\n"
	}
	return b.String()
}

// TestCheckerFindsConflicts makes sure that the model's checker can fail.
func TestCheckerFindsConflicts(t *testing.T) {
	tab := New(1, nil)
	x, _ := tab.Begin(TxnID{1}, 1, 1, 0)
	y, _ := tab.Begin(TxnID{2}, 2, 1, 0)
	tab.grantPoint(x, nil, []byte("a"), Exclusive)
	tab.grantSpan(y, []byte("a"), []byte("b"), Shared)
	if checkTable(tab) == nil {
		t.Fatal("conflicting locks pass")
	}
	if !bytes.Equal(tab.Encode(nil), tab.Encode(nil)) {
		t.Fatal("Encode is not deterministic")
	}
}
