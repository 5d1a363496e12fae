package ranges

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// askSupport has a round of lease votes start now.
func (s *Store) askSupport() {
	select {
	case s.supportCh <- struct{}{}:
	default:
	}
}

// Beat has a round of lease votes start now, and others when it is called again: with what else a node sends every half
// second (the network's pings), so that an idle process wakes up once for all. Without beats the store keeps time itself.
func (s *Store) Beat() {
	s.beats.Store(true)
	s.askSupport()
}

func (s *Store) supportLoop() {
	tick := time.NewTicker(s.cfg.SupportInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		case <-s.supportCh:
		}
		if s.beats.Load() {
			tick.Reset(s.cfg.SupportInterval * 3 / 2) // should they end
		}
		s.supportRound()
	}
}

// peers are the nodes that share ranges with this one, as of a layout. They belong to supportLoop.
type peers struct {
	layout uint64 // Store.layout before the look, and one
	nodes  map[NodeID]bool
}

// peerNodes returns the nodes that share ranges with this one.
func (s *Store) peerNodes() map[NodeID]bool {
	layout := s.layout.Load() + 1
	if s.peers.layout == layout {
		return s.peers.nodes
	}
	peers := make(map[NodeID]bool)
	var last []ReplicaDesc
	for _, r := range s.replicaList() {
		rs := r.Desc().Replicas
		if len(last) > 0 && len(rs) > 0 && &rs[0] == &last[0] {
			continue
		}
		for _, rd := range rs {
			if rd.Node != s.cfg.NodeID {
				peers[rd.Node] = true
			}
		}
		last = rs
	}
	s.peers.layout, s.peers.nodes = layout, peers
	return peers
}

// supportRound asks every peer, and this node itself, for support. A node whose clock is not good asks for
// none: its leases run out and others take over.
func (s *Store) supportRound() {
	if s.cfg.Clock.Health() != nil || s.failed() || len(s.replicaList()) == 0 {
		return
	}
	now := s.cfg.Clock.Now()
	want := now.Latest.Add(s.cfg.SupportWindow)
	payload := supportRequest(s.boot, want, s.ended)
	if g, err := s.support(s.cfg.NodeID, s.boot, want); err == nil {
		s.takeSupport(s.cfg.NodeID, g, now)
	}
	for peer := range s.peerNodes() {
		if _, busy := s.peerBusy.LoadOrStore(peer, struct{}{}); busy {
			continue
		}
		s.spawn(func() {
			defer s.peerBusy.Delete(peer)
			ctx, cancel := context.WithTimeout(s.ctx, s.cfg.SupportWindow/2)
			defer cancel()
			ans, err := s.cfg.Transport.Call(ctx, peer, methodSupport, payload)
			if err != nil {
				return
			}
			rd := reader{b: ans}
			g := granted{epoch: rd.uvarint(), until: truetime.Timestamp(rd.uvarint())}
			if !rd.bad {
				s.takeSupport(peer, g, s.cfg.Clock.Now())
			}
		})
	}
}

// supportRequest is what a life of this node asks for, and when the leases of all earlier ones end (zero: not known).
func supportRequest(boot uint64, want, ended truetime.Timestamp) []byte {
	b := binary.AppendUvarint(nil, boot)
	b = binary.AppendUvarint(b, uint64(want))
	return binary.AppendUvarint(b, uint64(ended))
}

// farewellTime bounds how long a store that closes waits for the others to hear of it.
const farewellTime = 500 * time.Millisecond

// farewell tells the others, in the name of the node's next life, which asks for nothing yet, that the leases of this one
// end at end. Those that it has handed over have other holders already. But a range may have been split off a moment
// before, and would wait for a leader until the promises run out.
func (s *Store) farewell(end truetime.Timestamp) {
	peers := make(map[NodeID]bool)
	for _, r := range s.replicaList() {
		for _, rd := range r.Desc().Replicas {
			if rd.Node != s.cfg.NodeID {
				peers[rd.Node] = true
			}
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, farewellTime)
	defer cancel()
	payload := supportRequest(s.boot+1, 0, end)
	var wg sync.WaitGroup
	for peer := range peers {
		wg.Go(func() {
			// Who does not hear it waits, as after a crash.
			_, _ = s.cfg.Transport.Call(ctx, peer, methodSupport, payload)
		})
	}
	wg.Wait()
}

// support promises a peer support, durably.
func (s *Store) support(peer NodeID, peerBoot uint64, want truetime.Timestamp) (granted, error) {
	now := s.cfg.Clock.Now()
	var ceiling truetime.Timestamp
	if s.votes.needCeiling(peer, want, now) != 0 {
		// One at a time, so that a lower ceiling never overwrites a higher one.
		select {
		case s.ceilings <- struct{}{}:
		case <-s.ctx.Done():
			return granted{}, ErrClosed
		}
		defer func() { <-s.ceilings }()
		if ceiling = s.votes.needCeiling(peer, want, now); ceiling != 0 {
			cs := s.votes.ceilings(peer, ceiling, now)
			records := make(map[string][]byte, len(cs))
			for n, c := range cs {
				records[ceilingName(n)] = binary.AppendUvarint(nil, uint64(c))
			}
			if err := s.log.SetStores(records); err != nil {
				return granted{}, err
			}
			s.votes.raiseCeilings(cs)
		}
	}
	return s.votes.grant(peer, peerBoot, want, ceiling, now), nil
}

func (s *Store) handleSupport(from NodeID, payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	boot, want, ended := rd.uvarint(), truetime.Timestamp(rd.uvarint()), truetime.Timestamp(rd.uvarint())
	if rd.bad {
		return nil, errFrame
	}
	newLife := s.votes.lifeChanged(from, boot)
	s.votes.ended(from, boot, ended)
	g, err := s.support(from, boot, want)
	if err != nil {
		return nil, err
	}
	if newLife {
		// Its earlier life's ranges have lost their leader, whatever it promises now.
		for _, r := range s.replicaList() {
			if r.LeaderHint() == from {
				r.stir()
			}
		}
	}
	b := binary.AppendUvarint(nil, g.epoch)
	return binary.AppendUvarint(b, uint64(g.until)), nil
}

// takeSupport records a promise and looks for leases that it completes.
func (s *Store) takeSupport(peer NodeID, g granted, now truetime.Interval) {
	revived := !s.votes.supports(peer, now)
	newEpoch, changed := s.votes.record(peer, g)
	if !changed || !newEpoch && !revived && !s.leaseWanted.Swap(false) {
		return
	}
	for _, r := range s.replicaList() {
		if !r.leading.Load() {
			continue
		}
		if r.wantLease.Load() {
			s.leaseWanted.Store(true)
			r.poke(flagLook)
		}
		if newEpoch || revived {
			if _, ok := r.Desc().ReplicaOn(peer); ok {
				r.poke(flagWake) // have the follower answer, under the new epoch
			}
		}
	}
}
