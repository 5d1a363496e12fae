package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The faults a schedule is made of. No two of the first group overlap: a cluster of three must serve whatever happens
// to one of its nodes.
const (
	KindCrash    Kind = "crash"     // power failure, unsynced data lost in part, restart at the end
	KindRestart  Kind = "restart"   // orderly: leases are handed over, then the store is closed
	KindIsolate  Kind = "isolate"   // cut off, both ways
	KindDeaf     Kind = "deaf"      // sends and does not hear
	KindMute     Kind = "mute"      // hears and does not send
	KindFlap     Kind = "flap"      // cut off and back, again and again
	KindFullDisk Kind = "full disk" // every write fails: the node stops, and is restarted at the end
	KindBlackout Kind = "blackout"  // power failure of all nodes at once
	KindSick     Kind = "sick"      // its clock has lost its sources: it gives up its leases
	KindStall    Kind = "stall"     // stands still: what is sent to it or by it arrives afterwards, its disk syncs afterwards
	KindReplace  Kind = "replace"   // it is gone with its store for good, an empty one takes its place; ends when that has all replicas

	KindSlowDisk Kind = "slow disk" // syncs of one node take 20 to 200 ms
	KindBusy     Kind = "busy"      // one node applies what is committed, and installs snapshots, late
	KindLossy    Kind = "lossy"     // frames are lost, doubled and late, calls break
	KindWide     Kind = "wide"      // all clocks are uncertain by 25 ms and err inside of it
	KindJump     Kind = "jump"      // clocks are uncertain by up to 25 ms and jump inside of that, often to its ends
	KindLate     Kind = "late"      // some of the requests that a node sends for transactions take seconds; all else goes on
	KindSplit    Kind = "split"     // a range is split at a random list
	KindMove     Kind = "move"      // a lease is handed over
)

var (
	nodeKinds = []Kind{KindCrash, KindCrash, KindCrash, KindRestart, KindIsolate, KindDeaf, KindMute, KindFlap, KindFullDisk, KindBlackout, KindSick,
		KindStall, KindStall, KindReplace}
	otherKinds = []Kind{KindSlowDisk, KindBusy, KindLossy, KindWide, KindJump, KindLate, KindSplit, KindMove}
)

// Event is one fault.
type Event struct {
	At   time.Duration // after the load has begun
	For  time.Duration
	Kind Kind
	Node int    // index of the node, where one is meant
	Lead bool   // Whoever leads the range of a random list is meant, if anybody does.
	Seed uint64 // of what else is random about it
}

func (e Event) String() string {
	who := fmt.Sprintf("node %d", e.Node+1)
	if e.Lead {
		who = "leader"
	}
	return fmt.Sprintf("%9.3fs  %-9s %s for %.3fs", e.At.Seconds(), e.Kind, who, e.For.Seconds())
}

// onNode reports whether the fault keeps a node from serving.
func (e Event) onNode() bool { return slices.Contains(nodeKinds, e.Kind) }

// Schedule is the faults of a run, by time.
type Schedule []Event

func (s Schedule) String() string {
	var b strings.Builder
	for _, e := range s {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// Plan makes a schedule: a fault of one node every so often, and half as often one of another kind beside it.
func Plan(seed uint64, nodes int, length, every time.Duration) Schedule {
	rng := rand.New(rand.NewPCG(seed, 7))
	jitter := func(d time.Duration) time.Duration { return d/2 + time.Duration(rng.Int64N(int64(d))) }
	var s Schedule
	for at := jitter(every); at < length; {
		// Some last long enough for others to be elected and for clients to come back.
		e := Event{At: at, For: 200*time.Millisecond + time.Duration(rng.Int64N(int64(4*time.Second)))*time.Duration(1+rng.IntN(4)/3),
			Kind: nodeKinds[rng.IntN(len(nodeKinds))], Node: rng.IntN(nodes), Lead: rng.IntN(2) == 0, Seed: rng.Uint64()}
		s = append(s, e)
		if rng.IntN(2) == 0 {
			o := Event{At: at - every/4 + time.Duration(rng.Int64N(int64(every/2))), For: 200*time.Millisecond + time.Duration(rng.Int64N(int64(4*time.Second))),
				Kind: otherKinds[rng.IntN(len(otherKinds))], Node: rng.IntN(nodes), Seed: rng.Uint64()}
			s = append(s, o)
		}
		at += e.For + jitter(every)
	}
	slices.SortStableFunc(s, func(a, b Event) int { return int(a.At - b.At) })
	return s
}

// quiet returns how long no load runs from t on, when it only runs around faults; zero if it runs at t.
func (s Schedule) quiet(t time.Duration) time.Duration {
	const before, after = 300 * time.Millisecond, 1500 * time.Millisecond
	// No fault lasts longer than 10 s.
	i, _ := slices.BinarySearchFunc(s, t-10*time.Second, func(e Event, t time.Duration) int { return int(e.At - t) })
	for ; i < len(s) && s[i].At-before <= t; i++ {
		if t < s[i].At+s[i].For+after {
			return 0
		}
	}
	if i < len(s) {
		return s[i].At - before - t
	}
	return time.Hour
}
