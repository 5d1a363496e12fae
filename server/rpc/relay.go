package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Two nodes that cannot reach each other while both reach a third one are a partial partition: leases stay where they
// are, for a leader keeps its quorum, and the other node's clients could do nothing on its ranges for as long as it lasts.
// So a request to a peer whose connection is down goes through another node that has one. Only transactions travel so:
// consensus has a quorum without, and lease votes belong to those who hear the leader.

// relayPause is how long a peer that nobody could reach is not asked for again: as a rule its process has ended.
const relayPause = 200 * time.Millisecond

// An answer to a relayed request starts with what became of it.
const (
	relayAnswer      = 0 // payload: the answer
	relayFailure     = 1 // payload: code (uvarint), text: the handler's error
	relayUnavailable = 2 // it was not executed
	relayAmbiguous   = 3 // it may have been executed
)

// relays reports whether requests for a service may go through a third node. What they mean must not depend on who
// sends them.
func (s Service) relays() bool { return s == ServiceTxn }

// relay sends a request through another node. ok is false when there is none that could: the request was not executed.
func (l *link) relay(ctx context.Context, service Service, payload []byte) (resp []byte, err error, ok bool) {
	n := l.n
	if !service.relays() || len(payload) > MaxPayload-16 || time.Now().UnixNano() < l.noRelay.Load() {
		return nil, nil, false
	}
	b := binary.AppendUvarint(make([]byte, 0, len(payload)+8), uint64(l.peer))
	b = append(append(b, byte(service)), payload...)
	for _, via := range n.connected(NodeID(l.via.Load())) {
		if via == l.peer {
			continue
		}
		ans, err := n.call(ctx, n.link(via, classRequest), ServiceRelay, b)
		var remote *RemoteError
		switch {
		case errors.Is(err, ErrUnavailable):
			continue
		case errors.As(err, &remote) && remote.Code == CodePanic, err != nil && remote == nil:
			return nil, err, true
		case err != nil || len(ans) == 0 || ans[0] == relayUnavailable:
			continue
		}
		l.via.Store(uint32(via))
		n.m.relayed.Inc()
		switch body := ans[1:]; ans[0] {
		case relayAnswer:
			return body, nil, true
		case relayFailure:
			code, k := binary.Uvarint(body)
			if k <= 0 {
				return nil, fmt.Errorf("%w: %s: malformed answer through %s", ErrAmbiguous, l.peer, via), true
			}
			return nil, &RemoteError{Peer: l.peer, Code: code, Text: string(body[k:])}, true
		default:
			return nil, fmt.Errorf("%w: %s, through %s: %s", ErrAmbiguous, l.peer, via, body), true
		}
	}
	l.via.Store(0)
	l.noRelay.Store(time.Now().Add(relayPause).UnixNano())
	return nil, nil, false
}

// connected lists the peers with a connection, first before all others.
func (n *Network) connected(first NodeID) []NodeID {
	var out []NodeID
	n.reqLinks.Range(func(k, v any) bool {
		if v.(*link).session.Load() != nil {
			out = append(out, k.(NodeID))
		}
		return true
	})
	slices.Sort(out)
	if i := slices.Index(out, first); i > 0 {
		out[0], out[i] = out[i], out[0]
	}
	return out
}

// handleRelay passes a request on to its peer, by a connection that there is already. It is never relayed twice.
func (n *Network) handleRelay(ctx context.Context, from NodeID, payload []byte) ([]byte, error) {
	to, k := binary.Uvarint(payload)
	if k <= 0 || len(payload) <= k || to == 0 || to >= 1<<16 {
		return nil, errFrame
	}
	service, body := Service(payload[k]), payload[k+1:]
	l, ok := n.reqLinks.Load(NodeID(to))
	if !ok || !service.relays() || l.(*link).session.Load() == nil {
		return []byte{relayUnavailable}, nil
	}
	resp, err := n.call(ctx, l.(*link), service, body)
	var remote *RemoteError
	switch {
	case err == nil && len(resp) < MaxPayload:
		return append(append(make([]byte, 0, len(resp)+1), relayAnswer), resp...), nil
	case err == nil:
		return append([]byte{relayAmbiguous}, "the answer is too large"...), nil
	case errors.As(err, &remote):
		return append(binary.AppendUvarint([]byte{relayFailure}, remote.Code), remote.Text...), nil
	case errors.Is(err, ErrUnavailable):
		return []byte{relayUnavailable}, nil
	}
	return append([]byte{relayAmbiguous}, err.Error()...), nil
}
