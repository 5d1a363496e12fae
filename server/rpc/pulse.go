package rpc

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// silentPings is how many intervals between two pings pass without a sign of life before a connection is given up.
const silentPings = 3

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
