// Package console is the web page on a node's admin port: what the cluster does and why, for people. It is
// a folder of embedded files, a script for each view, and one JSON document, which the page asks for every second; it needs
// no outside asset, no build step, and changes nothing. Whoever may read the metrics may read it: it has no login of its own (package server
// puts one in front where it is needed), and shows statements without their literals and settings without secrets.
//
// The package knows nothing of the server: a Source hands it a Cluster.
package console

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"time"

	"github.com/meridian-db/meridian/sql/stmtstats"
)

// Source describes the cluster. It is asked by several pages at once.
type Source interface {
	Cluster(ctx context.Context) (*Cluster, error)
}

// Cluster is the state of the cluster as far as the answering node can learn it. Durations are seconds.
type Cluster struct {
	ID           string        `json:"id"`
	Node         uint64        `json:"node"` // who answers
	Now          time.Time     `json:"now"`
	Version      string        `json:"version"`
	Nodes        []Node        `json:"nodes"`
	Ranges       []Range       `json:"ranges"`
	Statements   []Statement   `json:"statements"`
	Transactions []Transaction `json:"transactions"`
	Locks        []Lock        `json:"locks"`
	Sessions     []Session     `json:"sessions"`
	Jobs         []Job         `json:"jobs"`
	Decisions    []Decision    `json:"decisions"` // about placement, the newest first
}

// Node is one node. One that did not answer has its registration only.
type Node struct {
	ID       uint64             `json:"id"`
	Region   string             `json:"region"`
	Zone     string             `json:"zone"`
	SQLAddr  string             `json:"sqlAddr"`
	RPCAddr  string             `json:"rpcAddr"`
	Version  string             `json:"version"`
	Started  time.Time          `json:"started"`
	Live     bool               `json:"live"`
	Draining bool               `json:"draining"`
	Answered bool               `json:"answered"`
	Problem  string             `json:"problem,omitempty"` // why it does not serve
	Clock    Clock              `json:"clock"`
	Metrics  map[string]float64 `json:"metrics"` // sums of the Prometheus metrics in MetricNames
	Peers    []Peer             `json:"peers"`
	Settings map[string]string  `json:"settings"` // how it was started, without secrets
}

// MetricNames are the metrics that the page draws. Counters grow; the page shows their rates.
var MetricNames = []string{
	"meridian_sql_statements_total", "meridian_sql_errors_total", "meridian_sql_retries_total", "meridian_sql_sessions",
	"meridian_gateway_commits_total", "meridian_txn_commit_wait_seconds_sum", "meridian_txn_lock_wait_seconds_sum",
	"meridian_txn_wounds_total", "meridian_range_log_fsyncs_total", "meridian_range_log_fsync_seconds_sum", "meridian_range_leaders",
	"meridian_range_replicas", "meridian_range_safe_time_lag_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes",
	"process_start_time_seconds", "meridian_store_disk_available_bytes", "meridian_store_disk_size_bytes",
}

// Clock is a node's clock.
type Clock struct {
	Synced   bool         `json:"synced"`
	Fenced   string       `json:"fenced,omitempty"` // why the node does not serve from its clock
	Bound    float64      `json:"bound"`            // half the interval
	MaxBound float64      `json:"maxBound"`         // beyond it the node fences itself
	Offset   float64      `json:"offset"`           // middle of the interval minus the host's wall clock
	Sources  []TimeSource `json:"sources"`
}

// TimeSource is one source's newest sample.
type TimeSource struct {
	Name    string  `json:"name"`
	Offset  float64 `json:"offset"`
	Bound   float64 `json:"bound"`
	Age     float64 `json:"age"` // negative: no sample
	Verdict string  `json:"verdict"`
	Error   string  `json:"error,omitempty"`
}

// Peer is a node's connection to another.
type Peer struct {
	Node      uint64  `json:"node"`
	Connected bool    `json:"connected"`
	RTT       float64 `json:"rtt"`
}

// Range is one range, as its leader sees it.
type Range struct {
	ID       uint64  `json:"id"`
	Start    string  `json:"start"`
	End      string  `json:"end"`
	Table    string  `json:"table"` // of the first key, "" for system ranges
	Replicas []int64 `json:"replicas"`
	Learners []int64 `json:"learners"`
	Wanted   int     `json:"wanted"` // voters that its policy asks for, 0: the cluster's number
	Leader   uint64  `json:"leader"`
	Size     int64   `json:"size"`
	Applied  uint64  `json:"applied"`
	Lag      float64 `json:"lag"`
	Quiesced bool    `json:"quiesced"`
}

// Statement sums a statement's executions over all nodes.
type Statement struct {
	Text        string  `json:"text"`
	Database    string  `json:"database"`
	Calls       int64   `json:"calls"`
	Failures    int64   `json:"failures"`
	Rows        int64   `json:"rows"`
	Retries     int64   `json:"retries"`
	RPCs        int64   `json:"rpcs"` // requests to nodes
	Total       float64 `json:"total"`
	Mean        float64 `json:"mean"`
	P50         float64 `json:"p50"`
	P99         float64 `json:"p99"`
	Max         float64 `json:"max"`
	LockWait    float64 `json:"lockWait"`
	Replication float64 `json:"replication"`
	CommitWait  float64 `json:"commitWait"`
	Histogram   []int64 `json:"histogram"` // counts by bucket; bucket i ends at 16 µs times 2^i
}

// maxStatements bounds what one answer carries.
const maxStatements = 100

// SumStatements merges the nodes' statistics, those that took most time first. database names an oid.
func SumStatements(nodes [][]stmtstats.Totals, database func(uint32) string) []Statement {
	merged := stmtstats.Merge(nodes)
	out := make([]Statement, 0, min(len(merged), maxStatements))
	for i := range merged {
		if len(out) == maxStatements {
			break
		}
		t := &merged[i]
		s := Statement{Text: t.Key.Text, Database: database(t.Key.Database), Calls: t.Calls, Failures: t.Failures, Rows: t.Rows, Retries: t.Retries, RPCs: t.RPCs,
			Total: t.Elapsed.Seconds(), Mean: t.Mean().Seconds(), P50: t.Quantile(0.5).Seconds(), P99: t.Quantile(0.99).Seconds(),
			Max: t.Max.Seconds(), LockWait: t.LockWait.Seconds(), Replication: t.Replication.Seconds(), CommitWait: t.CommitWait.Seconds()}
		last := 0
		for b, n := range t.Histogram {
			if n > 0 {
				last = b + 1
			}
		}
		s.Histogram = t.Histogram[:last]
		out = append(out, s)
	}
	return out
}

// Transaction is a transaction that holds locks.
type Transaction struct {
	ID        string    `json:"id"`
	Node      uint64    `json:"node"`
	PID       int32     `json:"pid"`
	Since     time.Time `json:"since"`
	State     string    `json:"state"`
	Ranges    int       `json:"ranges"`
	Statement string    `json:"statement"`
}

// Lock is a lock held or awaited.
type Lock struct {
	Range       uint64 `json:"range"`
	Key         string `json:"key"`
	Mode        string `json:"mode"`
	Transaction string `json:"transaction"`
	Granted     bool   `json:"granted"`
}

// Session is a client's session.
type Session struct {
	PID         int32     `json:"pid"`
	User        string    `json:"user"`
	Database    string    `json:"database"`
	Application string    `json:"application"`
	Client      string    `json:"client"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	Statement   string    `json:"statement"` // without literals
}

// Job is a background job.
type Job struct {
	ID          uint64    `json:"id"`
	Kind        string    `json:"kind"`
	State       string    `json:"state"`
	Description string    `json:"description"`
	Started     time.Time `json:"started"`
	Fraction    float64   `json:"fraction"`
	Error       string    `json:"error,omitempty"`
}

// Decision is one of the placer.
type Decision struct {
	Time    time.Time `json:"time"`
	Node    uint64    `json:"node"` // who decided
	Range   uint64    `json:"range"`
	Action  string    `json:"action"`
	Change  string    `json:"change"`
	Reason  string    `json:"reason"`
	Outcome string    `json:"outcome"`
	Took    float64   `json:"took"`
}

//go:embed assets
var embedded embed.FS

// Handler serves the page at / and its document at /api/cluster.
func Handler(src Source) http.Handler {
	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/cluster", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		c, err := src.Cluster(ctx)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(c) // the reader has gone: nobody left to tell
	})
	// Who is logged in: nobody, where nobody has to. A door in front of the page answers by itself.
	mux.HandleFunc("GET /api/session", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	files := http.FileServerFS(assets)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	})
	return mux
}
