package server

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stop drains the node and closes it: new clients are refused, running statements may finish, leases move to
// other nodes, all within Config.DrainTimeout; then everything closes in the reverse order of Start.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	return s.stop(ctx)
}

// closeClients ends the sessions: those that are idle at once, the others when their statement is done, or ctx ends,
// or most of the cluster is gone: when all nodes are told to end, what still runs on the last waits for nothing.
func (s *Server) closeClients(ctx context.Context) {
	if s.wire == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for s.majority() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.noDrain.Load() {
			s.wire.Close()
		} else {
			s.wire.Shutdown(ctx)
		}
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(time.Second):
		// A commit that waits for a quorum which is gone would wait on: its outcome is unknown then.
		s.core.DB.Close()
		<-done
	}
}

// majority reports whether this node and those it is connected to are most of the cluster.
func (s *Server) majority() bool {
	nodes, up := s.registry.Nodes(), 1
	for _, n := range nodes {
		if n.ID != s.identity.NodeID && s.rpc.Connected(n.ID) {
			up++
		}
	}
	return up > len(nodes)/2
}

// stopCatalog gives the catalog lease back while a quorum may still live, and waits a moment for it: without that
// a schema change elsewhere only has to wait out the lease. What is left ends with the transaction layer.
func (s *Server) stopCatalog() {
	if s.core == nil || s.noDrain.Load() || !s.majority() {
		return
	}
	done := make(chan struct{})
	s.background(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(s.bgCtx, 500*time.Millisecond)
		defer cancel()
		s.core.StopSQL(ctx)
	})
	select {
	case <-done:
	case <-time.After(500 * time.Millisecond):
	}
}

// halt is Stop without handing leases over, when the whole cluster ends.
func (s *Server) halt() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	s.noDrain.Store(true)
	return s.stop(ctx)
}

func (s *Server) stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		was := nodeState(s.state.Load())
		s.setState(stateDraining)
		if s.core != nil && !s.noDrain.Load() {
			s.announceDraining()
		}
		s.closeClients(ctx)
		s.stopCatalog()
		if s.core != nil && (was == stateServing || was == stateDraining) && !s.noDrain.Load() && s.Failure() == nil {
			if err := s.core.Drain(ctx); err != nil {
				s.log.Warn("not all leases could be handed over", "err", err)
			}
		}
		var errs []error
		for i := len(s.closers) - 1; i >= 0; i-- {
			if err := s.closers[i].f(ctx); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", s.closers[i].name, err))
			}
		}
		s.bgStop()
		s.stopErr = errors.Join(errs...)
		s.state.Store(int32(stateStopped))
		s.log.Info("node has stopped")
	})
	return s.stopErr
}
