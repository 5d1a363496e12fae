package sim

import "time"

// courier is a goroutine that carries messages, one after the other. A goroutine for each message would grow its stack
// anew each time a handler runs on it, which was a tenth of what idle clusters cost.
type courier chan delivery

// delivery is a message under way: f runs at the peer after the delay, unless the peer goes before.
type delivery struct {
	peer  *Endpoint
	delay time.Duration
	f     func()
}

// deliver runs f on the peer's side after the latency, unless either end has gone. It reports whether f was scheduled.
func (e *Endpoint) deliver(peer *Endpoint, delay time.Duration, f func()) bool {
	if e.ctx.Err() != nil || peer.ctx.Err() != nil {
		return false
	}
	peer.wg.Add(1)
	n := e.net
	n.mu.Lock()
	var c courier
	if last := len(n.idle) - 1; last >= 0 {
		c, n.idle = n.idle[last], n.idle[:last]
	}
	n.mu.Unlock()
	if c == nil {
		c = make(courier, 1)
		go n.carry(c)
	}
	c <- delivery{peer, delay, f}
	return true
}

// carry is a courier's life. It is idle again before its message counts as delivered: the network has none but idle ones
// when the last endpoint has closed.
func (n *Network) carry(c courier) {
	t := time.NewTimer(time.Hour)
	t.Stop()
	for d := range c {
		if d.delay > 0 {
			t.Reset(d.delay)
			select {
			case <-t.C:
			case <-d.peer.ctx.Done():
				t.Stop()
			}
		}
		if d.peer.ctx.Err() == nil {
			d.f()
		}
		n.mu.Lock()
		n.idle = append(n.idle, c)
		n.mu.Unlock()
		d.peer.wg.Done()
	}
}
