package rpc

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// silentPings is how many beats pass without a sign of life, a ping at each of them, before a connection is given up.
const silentPings = 3

// restBeats is the number of beats between the pings of a connection that rests. Those for requests never do: their
// silence is how a node learns that a peer is cut off, and their pings compare the clocks. Nodes of a version that pings at
// every beat give a connection up at the fourth one without a message.
const restBeats = 3

// pulse looks after all connections of a node at the same moment, every PingInterval. With a timer each, an idle process
// woke up for every one of them, and its peers for every ping.
type pulse struct {
	mu      sync.Mutex
	members []*func()
}

// join has f called at every beat until leave. f must not block.
func (p *pulse) join(f func()) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &f
	p.members = append(slices.Clip(p.members), m)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.members = slices.DeleteFunc(slices.Clone(p.members), func(x *func()) bool { return x == m })
	}
}

// run beats until stop is closed.
func (p *pulse) run(interval time.Duration, stop <-chan struct{}) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		p.mu.Lock()
		members := p.members
		p.mu.Unlock()
		for _, f := range members {
			(*f)()
		}
	}
}

// hearing tells how long the other end of a connection has been silent. Any message is a sign of life.
type hearing struct {
	messages atomic.Uint64
	// The rest is the pulse's own.
	seen   uint64
	silent int
	begun  bool
}

func (h *hearing) note() { h.messages.Add(1) }

// silentFor is called at every beat and returns at how many in a row nothing had come. The first one does not count: the
// connection may have been made just before.
func (h *hearing) silentFor() int {
	now := h.messages.Load()
	if now != h.seen || !h.begun {
		h.seen, h.silent, h.begun = now, 0, true
	} else {
		h.silent++
	}
	return h.silent
}

// probes decides when the dialing end of a connection pings. It belongs to the pulse.
type probes struct {
	hearing
	restless   bool   // pings at every beat
	sent       uint64 // by the outbox, as of the last beat
	resting    int    // beats since the last ping
	unanswered int    // beats since the first ping after which nothing was heard
}

// beat reports whether to ping, or else to give up, when so many messages have been put into the outbox so far.
func (p *probes) beat(sent uint64) (ping, lost bool) {
	p.resting++
	switch {
	case p.silentFor() == 0:
		p.unanswered = 0
	case p.unanswered > 0:
		p.unanswered++
	}
	if p.unanswered > silentPings {
		return false, true
	}
	if !p.restless && p.unanswered == 0 && p.sent == sent && p.resting < restBeats {
		return false, false
	}
	p.sent, p.resting, p.unanswered = sent+1, 0, max(p.unanswered, 1)
	return true, false
}
