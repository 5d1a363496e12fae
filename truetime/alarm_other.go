//go:build !linux

package truetime

import (
	"context"
	"time"
)

// alarm falls back to the runtime's timers.
type alarm struct{}

func (a *alarm) open() error { return nil }
func (a *alarm) close()      {}

func (a *alarm) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
