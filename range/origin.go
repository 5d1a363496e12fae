package ranges

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// origins counts, on the leader, the requests for a range by the gateway that sent them: placement moves the leaders of
// ranges that follow the workload to the region that sends most.
type origins struct {
	list atomic.Pointer[[]*origin] // replaced, never changed; a few nodes
	mu   sync.Mutex                // guards replacing list, and the rates
	at   time.Time                 // of the rates
}

type origin struct {
	node NodeID
	n    atomic.Uint64
	last uint64  // n at origins.at
	rate float64 // per second, decayed over loadWindow
}

// CountRequest notes a request of a gateway that this replica has served as the leader.
func (r *Replica) CountRequest(gateway NodeID) {
	if gateway == 0 {
		return
	}
	o := &r.origins
	if list := o.list.Load(); list != nil {
		for _, x := range *list {
			if x.node == gateway {
				x.n.Add(1)
				return
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*origin
	if old := o.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if i := slices.IndexFunc(list, func(x *origin) bool { return x.node == gateway }); i >= 0 {
		list[i].n.Add(1)
		return
	}
	x := &origin{node: gateway}
	x.n.Store(1)
	list = append(list, x)
	slices.SortFunc(list, func(a, b *origin) int { return cmp.Compare(a.node, b.node) })
	o.list.Store(&list)
}

// divideLoad has the right half of a split begin with half of what is known of the requests, so that its leader stays where
// they come from.
func (r *Replica) divideLoad(right *Replica) {
	r.load.divide(&right.load)
	o := &r.origins
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list.Load()
	if list == nil {
		return
	}
	var half []*origin
	for _, x := range *list {
		x.rate /= 2
		half = append(half, &origin{node: x.node, rate: x.rate})
	}
	right.origins.at = o.at
	right.origins.list.Store(&half)
}

// RequestRates returns how many requests per second have lately come from each gateway, by node, in two significant
// digits; those below one are left out. The rates are those of this replica's own time as the leader.
func (r *Replica) RequestRates() map[NodeID]float64 {
	out := map[NodeID]float64{}
	for _, l := range r.requestRates(time.Now()) {
		out[l.node] = l.load
	}
	return out
}

func (r *Replica) requestRates(now time.Time) []nodeLoad {
	o := &r.origins
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list.Load()
	if list == nil {
		return nil
	}
	d := now.Sub(o.at)
	var out []nodeLoad
	for _, x := range *list {
		switch n := x.n.Load(); {
		case o.at.IsZero():
			x.last = n
		case d >= time.Second:
			k := math.Exp(-float64(d) / float64(loadWindow))
			x.rate = k*x.rate + (1-k)*float64(n-x.last)/d.Seconds()
			x.last = n
		}
		if rate := twoDigits(x.rate); rate > 0 {
			out = append(out, nodeLoad{x.node, rate})
		}
	}
	if o.at.IsZero() || d >= time.Second {
		o.at = now
	}
	return out
}
