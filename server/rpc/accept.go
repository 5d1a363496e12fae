package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// acceptFrames serves the accepting end of a connection with frames until it ends.
func (n *Network) acceptFrames(c *conn, from NodeID, cl class) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	a := &accepted{n: n, from: from, ctx: ctx, out: newOutbox(n.latency(from), c)}
	a.mu.reqs = map[uint64]*reqContext{}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		a.out.run(ctx)
	}()
	leave := a.watch(c, cl)
	err := a.read(c)
	leave()
	if cl == classRequest && n.cfg.OnLost != nil && n.ctx.Err() == nil {
		n.cfg.OnLost(from)
	}
	cancel()
	c.Close()
	a.out.close()
	wg.Wait()
	if errors.Is(err, errFrame) {
		n.m.badFrames.Inc()
		n.cfg.Logger.Warn("peer sent a malformed frame", "peer", from, "err", err)
	}
}

// accepted is the accepting end of a connection with frames.
type accepted struct {
	n     *Network
	from  NodeID
	ctx   context.Context
	out   *outbox
	heard hearing
	mu    struct {
		sync.Mutex
		reqs map[uint64]*reqContext
	}
}

// watch closes the connection once nothing has been read for a while: the dialing node pings. Where packets are lost in one
// direction only this is how the accepting end learns of it, whose requests are then canceled. The dialing end is first to
// give up, as a rule, and connects again.
func (a *accepted) watch(c *conn, cl class) (leave func()) {
	patience := silentPings
	if cl != classRequest {
		patience += restBeats
	}
	return a.n.pulse.join(func() {
		if a.heard.silentFor() > patience {
			c.Close()
		}
	})
}

func (a *accepted) read(c *conn) error {
	var f frame
	for {
		if err := c.readFrame(&f, maxFrame); err != nil {
			return err
		}
		a.heard.note()
		switch f.kind {
		case frameRaft:
			if a.n.cfg.Raft != nil {
				a.n.cfg.Raft(a.from, f.payload)
			}
		case frameRequest:
			a.request(&f)
		case frameCancel:
			a.mu.Lock()
			rc := a.mu.reqs[f.id]
			a.mu.Unlock()
			if rc != nil {
				rc.cancel(context.Canceled)
			}
		case framePing:
			pong := frame{kind: framePong, id: f.id}
			if a.n.cfg.Clock != nil {
				pong.clock, pong.valid = a.n.cfg.Clock.Peer()
			}
			a.out.put(&pong)
		default:
			return fmt.Errorf("%w: kind %d from a dialing node", errFrame, f.kind)
		}
	}
}

func (a *accepted) request(f *frame) {
	h := a.n.handlers[f.service]
	if h == nil {
		a.failure(f.id, CodeNoService, fmt.Sprintf("no service %d", f.service))
		return
	}
	rc := &reqContext{parent: withTrace(a.ctx, f.trace)}
	if f.timeout > 0 {
		rc.deadline = time.Now().Add(f.timeout)
	}
	a.mu.Lock()
	if len(a.mu.reqs) >= a.n.cfg.MaxHandlers {
		a.mu.Unlock()
		a.failure(f.id, CodeOverloaded, "too many requests are being handled for this peer")
		return
	}
	if a.mu.reqs[f.id] != nil {
		a.mu.Unlock()
		a.failure(f.id, CodeHandler, "the request id is in use")
		return
	}
	a.mu.reqs[f.id] = rc
	a.mu.Unlock()
	a.n.work.do(job{a: a, h: h, rc: rc, id: f.id, payload: f.payload})
}

func (a *accepted) failure(id, code uint64, text string) {
	if len(text) > 4096 {
		text = text[:4096]
	}
	a.out.put(&frame{kind: frameFailure, id: id, code: code, payload: []byte(text)})
}

// job is one request on its way through a worker.
type job struct {
	a       *accepted
	h       Handler
	rc      *reqContext
	id      uint64
	payload []byte
}

func (j *job) run() {
	defer func() {
		j.a.mu.Lock()
		delete(j.a.mu.reqs, j.id)
		j.a.mu.Unlock()
		j.rc.cancel(context.Canceled)
		if p := recover(); p != nil {
			j.a.n.cfg.Logger.Error("request handler panicked", "peer", j.a.from, "panic", p, "stack", string(debug.Stack()))
			j.a.n.m.panics.Inc()
			j.a.failure(j.id, CodePanic, fmt.Sprintf("internal error: %v", p))
		}
	}()
	resp, err := j.h(j.rc, j.a.from, j.payload)
	switch {
	case err != nil && j.rc.Err() != nil:
		// Its caller has given up, or does at this moment, and knows why by its own context: an answer that won the race
		// would make a failure of this node of it.
	case err != nil:
		j.a.failure(j.id, CodeHandler, err.Error())
	case len(resp) > MaxPayload:
		j.a.failure(j.id, CodeHandler, fmt.Sprintf("the answer has %d bytes, more than %d", len(resp), MaxPayload))
	default:
		if err := j.a.out.put(&frame{kind: frameAnswer, id: j.id, payload: resp}); errors.Is(err, errOutboxFull) {
			j.a.failure(j.id, CodeHandler, err.Error())
		}
	}
}

// workers run handlers on goroutines that are kept for the next request: a handler's stack grows deep, and
// growing it anew for each request is what a fresh goroutine costs most.
type workers struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	idle []chan job // newest last
}

const maxIdleWorkers = 256

func (w *workers) do(j job) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		c <- j
		return
	}
	w.wg.Add(1)
	w.mu.Unlock()
	go w.run(j)
}

func (w *workers) run(j job) {
	defer w.wg.Done()
	c := make(chan job, 1)
	ctx := j.a.n.ctx
	for {
		j.run()
		j = job{}
		w.mu.Lock()
		if len(w.idle) >= maxIdleWorkers || ctx.Err() != nil {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, c)
		w.mu.Unlock()
		select {
		case j = <-c:
		case <-ctx.Done():
			// do may have chosen this worker just now.
			w.mu.Lock()
			for i := range w.idle {
				if w.idle[i] == c {
					w.idle = append(w.idle[:i], w.idle[i+1:]...)
					break
				}
			}
			w.mu.Unlock()
			select {
			case j = <-c:
			default:
				return
			}
		}
	}
}

func (w *workers) wait() { w.wg.Wait() }
