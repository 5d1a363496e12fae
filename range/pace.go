package ranges

import (
	"context"
	"sync"
	"time"
)

// pace bounds the rate of something that is sent in pieces, by all who send together. What was not used is saved for
// paceBurst.
type pace struct {
	mu   sync.Mutex
	rate float64   // per second
	free time.Time // when what was taken so far has been paid for
}

// paceBurst is how long nobody has to have sent anything for this much to leave at once.
const paceBurst = 500 * time.Millisecond

// take waits until n more may be sent, or ctx ends.
func (p *pace) take(ctx context.Context, n int) error {
	p.mu.Lock()
	now := time.Now()
	if least := now.Add(-paceBurst); p.free.Before(least) {
		p.free = least
	}
	p.free = p.free.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	wait := p.free.Sub(now)
	p.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
