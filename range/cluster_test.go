package ranges

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/truetime"
)

// The scripts in testdata/cluster run a cluster of three nodes on virtual time. What they print depends on
// the protocol alone, not on how the goroutines happened to run.
//
//	lead n1 key=a              hand the lease over, or wait for it
//	put key=a value=1          on the leader; timestamps are named t1, t2, ...
//	get n2 key=a at=t1         what n2 may answer by itself; "not safe" when it may not
//	wait-safe n2 key=a at=now  as a follower that asks its leader
//	prepare n2 at=t3 / resolve pretend a prepared transaction
//	merge key=a                the range of a absorbs its right neighbour
//	split key=m, change voters=(..), isolate n3, heal n3, crash n3, restart n3, wait 500ms
//	ranges                     what each node holds
//	event n2 key=a             what n2's machine was told last
func TestClusterScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/cluster", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 1, 4, func(c *Config) { c.Nodes = nil })
			defer s.close()
			w := &clusterWorld{sim: s, ts: map[string]truetime.Timestamp{}}
			s.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
			s.leader("a", 5*time.Second)
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return w.run(t, d) })
		})
	})
}

type clusterWorld struct {
	*sim
	ts   map[string]truetime.Timestamp // by name, and the newest of each key
	puts int
}

func (w *clusterWorld) run(t *testing.T, d *datadriven.TestData) string {
	arg := func(key string) string {
		for _, a := range d.CmdArgs {
			if a.Key == key && len(a.Vals) > 0 {
				return a.Vals[0]
			}
		}
		return ""
	}
	var x *simNode
	if len(d.CmdArgs) > 0 {
		x = w.nodes[parseNode(d.CmdArgs[0].Key)]
	}
	at := func() truetime.Timestamp {
		if arg("at") == "now" {
			return x.clock.Now().Latest
		}
		return w.ts[arg("at")]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	result := func(err error) string {
		switch {
		case err == nil:
			return "ok"
		case errors.Is(err, context.DeadlineExceeded):
			return "timeout"
		}
		return err.Error()
	}
	switch d.Cmd {
	case "lead":
		for {
			r := w.leader(arg("key"), 10*time.Second)
			if r.NodeID() == x.id {
				return ""
			}
			_ = r.TransferLease(ctx, x.id)
			time.Sleep(50 * time.Millisecond)
		}
	case "put":
		r := w.leader(arg("key"), 10*time.Second)
		ts, err := w.put(r, arg("key"), arg("value"))
		if err != nil {
			return result(err)
		}
		name := fmt.Sprintf("t%d", w.puts+1)
		// Timestamps of one key ascend; those of two ranges need commit wait for that.
		if prev := w.ts[arg("key")]; ts <= prev {
			t.Fatalf("%s got %s after %s", arg("key"), ts, prev)
		}
		w.ts[name], w.ts[arg("key")] = ts, ts
		w.puts++
		return name
	case "get", "wait-safe":
		r, ok := x.store.ReplicaForKey([]byte(arg("key")))
		if !ok {
			return "no replica"
		}
		ts := at()
		if d.Cmd == "wait-safe" {
			if err := r.WaitSafe(ctx, ts); err != nil {
				return result(err)
			}
		}
		if r.SafeTime() < ts {
			return "not safe"
		}
		return w.get(x, arg("key"), ts)
	case "prepare", "resolve":
		for _, r := range x.store.Replicas() {
			m := r.machine.(*register)
			m.mu.Lock()
			if d.Cmd == "prepare" {
				m.floor = at()
			} else {
				m.floor = truetime.MaxTimestamp
			}
			m.mu.Unlock()
		}
		return ""
	case "split":
		err := w.leader(arg("key"), 10*time.Second).Split(ctx, []byte(arg("key")))
		if err == nil {
			w.leader(arg("key"), 10*time.Second)
			synctest.Wait()
			time.Sleep(300 * time.Millisecond)
		}
		return result(err)
	case "merge":
		err := w.leader(arg("key"), 10*time.Second).Merge(ctx)
		time.Sleep(300 * time.Millisecond)
		return result(err)
	case "change":
		var voters []NodeID
		for _, a := range d.CmdArgs {
			for _, v := range a.Vals {
				voters = append(voters, parseNode(v))
			}
		}
		err := w.leader("a", 10*time.Second).ChangeReplicas(ctx, voters)
		time.Sleep(300 * time.Millisecond)
		return result(err)
	case "isolate":
		w.net.isolate(x.id, true)
	case "heal":
		w.net.isolate(x.id, false)
	case "crash":
		w.crash(x)
	case "restart":
		w.restart(x)
	case "wait":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(dur)
	case "ranges":
		return w.describe()
	case "event":
		r, ok := x.store.ReplicaForKey([]byte(arg("key")))
		if !ok {
			return "no replica"
		}
		m := r.machine.(*register)
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.events[len(m.events)-1]
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	return ""
}

// describe prints what each node holds. Range ids depend on who split, so ranges are named by their start.
func (w *clusterWorld) describe() string {
	var lines []string
	for id := NodeID(1); int(id) <= len(w.nodes); id++ {
		x := w.nodes[id]
		if x.store == nil {
			lines = append(lines, fmt.Sprintf("%s down", id))
			continue
		}
		for _, r := range x.store.Replicas() {
			d := r.Desc()
			role := "follower"
			if r.leading.Load() {
				role = "leader"
			}
			var rs []string
			for _, rd := range d.Replicas {
				s := rd.Node.String()
				if rd.Type != Voter {
					s += ":" + rd.Type.String()
				}
				rs = append(rs, s)
			}
			sort.Strings(rs)
			if d.Frozen != nil {
				role = "frozen " + role
			}
			start, end := fmt.Sprintf("%q", d.Start), fmt.Sprintf("%q", d.End)
			lines = append(lines, fmt.Sprintf("%s %s [%s,%s) generation %d on %s", id, role, start, end, d.Generation, strings.Join(rs, " ")))
		}
	}
	return strings.Join(lines, "\n")
}
