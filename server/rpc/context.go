package rpc

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// reqContext is a handler's context. Most requests never look at Done, so its channel and timer are made on
// first use: a full context.WithDeadline costs more than the rest of the envelope.
type reqContext struct {
	parent   context.Context // the stream's
	deadline time.Time
	mu       sync.Mutex
	done     chan struct{}
	err      error
	timer    *time.Timer
	after    map[*func()]struct{}
	stop     func() bool // detaches from parent
}

func (c *reqContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *reqContext) Value(key any) any { return c.parent.Value(key) }

func (c *reqContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		} else {
			c.armLocked()
		}
	}
	return c.done
}

// armLocked makes the end of the deadline and of the stream an event.
func (c *reqContext) armLocked() {
	if c.stop != nil {
		return
	}
	c.stop = context.AfterFunc(c.parent, func() { c.cancel(context.Canceled) })
	if !c.deadline.IsZero() {
		c.timer = time.AfterFunc(time.Until(c.deadline), func() { c.cancel(context.DeadlineExceeded) })
	}
}

func (c *reqContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.parent.Err() != nil:
		return context.Canceled
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// AfterFunc lets package context attach children without a goroutine each.
func (c *reqContext) AfterFunc(f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	c.armLocked()
	if c.after == nil {
		c.after = map[*func()]struct{}{}
	}
	key := &f
	c.after[key] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, ok := c.after[key]
		delete(c.after, key)
		return ok
	}
}

// cancel ends the context once; nil err means that the handler has returned.
func (c *reqContext) cancel(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	after := c.after
	c.after = nil
	stop := c.stop
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	for f := range after {
		go (*f)()
	}
}

// withTrace adds the caller's span, so that the handler's spans become its children.
func withTrace(ctx context.Context, sc trace.SpanContext) context.Context {
	if !sc.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, sc)
}
