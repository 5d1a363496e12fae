package history

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// Transfer moves Amount from one account to another.
type Transfer struct {
	ID       int
	From, To string
	Amount   int64
	Start    time.Time
	End      time.Time
	Outcome  Outcome
	CommitTS truetime.Timestamp
}

// Balances is one read of all accounts.
type Balances struct {
	ID     int
	Start  time.Time
	End    time.Time
	ReadTS truetime.Timestamp // zero for a read under locks
	Stale  bool
	Values map[string]int64
}

// Bank is the history of a bank workload.
type Bank struct {
	Initial   map[string]int64
	Since     truetime.Timestamp // the initial balances are there from then on
	Transfers []Transfer
	Reads     []Balances
}

// CheckBank checks that every read shows the initial total, and that reads at a timestamp show, account by
// account, what the transfers up to that timestamp leave. A transfer of unknown outcome may or may not be in a
// read; while one is open the second check is limited to accounts that none of them touches.
func CheckBank(b *Bank) *Report {
	r := &Report{Txns: len(b.Transfers) + len(b.Reads)}
	var total int64
	for _, v := range b.Initial {
		total += v
	}
	doubtful := map[string]bool{}
	var done []Transfer
	for _, t := range b.Transfers {
		switch t.Outcome {
		case Committed:
			done = append(done, t)
		case Unknown:
			doubtful[t.From], doubtful[t.To] = true, true
		}
	}
	sort.Slice(done, func(i, j int) bool { return done[i].CommitTS < done[j].CommitTS })
	// Two transfers of one account at one timestamp would leave their order open.
	last := map[string]Transfer{}
	for _, t := range done {
		for _, a := range []string{t.From, t.To} {
			if p, ok := last[a]; ok && t.CommitTS != 0 && p.CommitTS == t.CommitTS && p.ID != t.ID {
				r.add("timestamp order", "transfers %d and %d of %s both at %s", p.ID, t.ID, a, t.CommitTS)
			}
			last[a] = t
		}
	}
	reads := slices.Clone(b.Reads)
	sort.Slice(reads, func(i, j int) bool { return reads[i].ReadTS < reads[j].ReadTS })
	state, next := maps.Clone(b.Initial), 0
	for _, read := range reads {
		if read.ReadTS != 0 && read.ReadTS < b.Since {
			continue // before there were accounts
		}
		var sum int64
		for _, v := range read.Values {
			sum += v
		}
		if sum != total || len(read.Values) != len(b.Initial) {
			r.add("total", "read %d [%s, %s] at %s: %d accounts with %d, want %d with %d",
				read.ID, stamp(read.Start), stamp(read.End), read.ReadTS, len(read.Values), sum, len(b.Initial), total)
		}
		if read.ReadTS == 0 {
			continue
		}
		for ; next < len(done) && done[next].CommitTS <= read.ReadTS; next++ {
			state[done[next].From] -= done[next].Amount
			state[done[next].To] += done[next].Amount
		}
		names := slices.Sorted(maps.Keys(state))
		for _, a := range names {
			if !doubtful[a] && read.Values[a] != state[a] {
				r.add("replay", "read %d at %s: %s holds %d, by %d transfers up to then %d",
					read.ID, read.ReadTS, a, read.Values[a], next, state[a])
			}
		}
		// External consistency: what was acknowledged before the read began has a timestamp it can see.
		if !read.Stale {
			for _, t := range done[next:] {
				if t.End.Before(read.Start) {
					r.add("replay", "read %d at %s began at %s and misses transfer %d, answered at %s with %s",
						read.ID, read.ReadTS, stamp(read.Start), t.ID, stamp(t.End), t.CommitTS)
					break
				}
			}
		}
	}
	for _, t := range done {
		if t.CommitTS != 0 && (t.CommitTS.Time().Before(t.Start) || t.CommitTS.Time().After(t.End)) {
			r.add("I6", "transfer %d [%s, %s] committed at %s", t.ID, stamp(t.Start), stamp(t.End), t.CommitTS)
		}
	}
	return r
}

func (t Transfer) String() string {
	return fmt.Sprintf("transfer %d: %d from %s to %s, %s at %s", t.ID, t.Amount, t.From, t.To, t.Outcome, t.CommitTS)
}
