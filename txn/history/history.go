package history

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// Outcome is what a client knows about the end of a transaction.
type Outcome uint8

const (
	Unknown   Outcome = iota // no answer, or an ambiguous one
	Committed                // acknowledged
	Aborted                  // certainly without effect
)

func (o Outcome) String() string { return [...]string{"unknown", "committed", "aborted"}[o] }

// Op is one step of a transaction: an append of Value, or a read that saw List.
type Op struct {
	Key    string
	Append bool
	Value  int64
	List   []int64
}

func (o Op) String() string {
	if o.Append {
		return fmt.Sprintf("append(%s %d)", o.Key, o.Value)
	}
	const tail = 8 // Lists grow long; how they end is what matters.
	if n := len(o.List); n > tail {
		return fmt.Sprintf("read(%s [%d elements, %s)", o.Key, n, strings.TrimPrefix(fmt.Sprint(o.List[n-tail:]), "["))
	}
	return fmt.Sprintf("read(%s %v)", o.Key, o.List)
}

// Txn is one transaction as its client saw it. Start is taken before it begins, End after its last answer,
// both from one clock for all clients: true time.
type Txn struct {
	ID       int
	Client   string
	Start    time.Time
	End      time.Time // zero when no answer came
	Outcome  Outcome
	CommitTS truetime.Timestamp // of a writing transaction, when answered
	ReadTS   truetime.Timestamp // of a snapshot
	// Stale marks a snapshot that was asked to be old: real time does not bind it to what came before.
	Stale bool
	Ops   []Op
	Note  string // for people: how it went
}

func (t *Txn) writes() bool {
	for _, o := range t.Ops {
		if o.Append {
			return true
		}
	}
	return false
}

func (t *Txn) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "T%d", t.ID)
	if t.Client != "" {
		fmt.Fprintf(&b, " by %s", t.Client)
	}
	fmt.Fprintf(&b, " %s [%s, ", t.Outcome, stamp(t.Start))
	if t.End.IsZero() {
		b.WriteString("?]")
	} else {
		fmt.Fprintf(&b, "%s]", stamp(t.End))
	}
	if t.CommitTS != 0 {
		fmt.Fprintf(&b, " s=%s", t.CommitTS)
	}
	if t.ReadTS != 0 {
		fmt.Fprintf(&b, " at=%s", t.ReadTS)
	}
	for _, o := range t.Ops {
		b.WriteByte(' ')
		b.WriteString(o.String())
	}
	if t.Note != "" {
		fmt.Fprintf(&b, " (%s)", t.Note)
	}
	return b.String()
}

func stamp(t time.Time) string { return truetime.FromTime(t).String() }

// History is a set of transactions, in no particular order.
type History []*Txn

// String prints one transaction per line, by start.
func (h History) String() string {
	s := append(History(nil), h...)
	sort.SliceStable(s, func(i, j int) bool { return s[i].Start.Before(s[j].Start) })
	var b strings.Builder
	for _, t := range s {
		b.WriteString(t.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Recorder collects transactions from concurrent clients.
type Recorder struct {
	now func() time.Time
	mu  sync.Mutex
	all History
}

// NewRecorder returns a Recorder; now is the clock for all clients (time.Now, in a bubble the virtual one).
func NewRecorder(now func() time.Time) *Recorder { return &Recorder{now: now} }

// Begin records the start of a transaction. The Txn belongs to the caller until End.
func (r *Recorder) Begin(client string) *Txn {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &Txn{ID: len(r.all) + 1, Client: client, Start: r.now()}
	r.all = append(r.all, t)
	return t
}

// End records the answer. Without a call of End the outcome stays unknown.
func (r *Recorder) End(t *Txn, o Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.Outcome = o; o != Unknown {
		t.End = r.now()
	}
}

// History returns what was recorded. It may be called once all clients have stopped.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(History(nil), r.all...)
}

// Anomaly is one violation.
type Anomaly struct {
	// Name is a short class: "aborted read", "intermediate read", "phantom value", "duplicate",
	// "incompatible order", "internal", "lost update", "G0", "G1c", "G-single", "G2-item" (each with
	// "-realtime" when only real time closes the cycle), "timestamp order", "I6", "total", "replay".
	Name   string
	Detail string
}

func (a Anomaly) String() string { return a.Name + ": " + a.Detail }

// Report is the result of a check. Err is what tests look at.
type Report struct {
	Anomalies []Anomaly
	Txns      int // transactions that took part
	Edges     int // dependencies found
}

func (r *Report) add(name, format string, args ...any) {
	const limit = 10 // one bug shows in thousands of transactions
	if len(r.Anomalies) < limit {
		r.Anomalies = append(r.Anomalies, Anomaly{name, fmt.Sprintf(format, args...)})
	}
}

// Has reports whether an anomaly whose name starts with prefix was found.
func (r *Report) Has(prefix string) bool {
	for _, a := range r.Anomalies {
		if strings.HasPrefix(a.Name, prefix) {
			return true
		}
	}
	return false
}

// Err returns nil for a clean report, else an error with all anomalies.
func (r *Report) Err() error {
	if len(r.Anomalies) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "history: %d anomalies in %d transactions", len(r.Anomalies), r.Txns)
	for _, a := range r.Anomalies {
		b.WriteString("\n" + a.String())
	}
	return fmt.Errorf("%s", b.String())
}
