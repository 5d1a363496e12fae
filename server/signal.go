package server

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql"
)

// signalTimeout bounds how long a signal may be on its way to another node.
const signalTimeout = 5 * time.Second

// signal implements sql.Config.Signal. A node that the cluster does not know has no sessions.
func (s *Server) signal(ctx context.Context, node, pid int32, sig sql.Signal) (bool, error) {
	if _, known := s.registry.get(ranges.NodeID(node)); node <= 0 || !known {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	b, err := s.rpc.Call(ctx, ranges.NodeID(node), rpc.ServiceServer, binary.BigEndian.AppendUint32([]byte{opSignal, byte(sig)}, uint32(pid)))
	return len(b) == 1 && b[0] == 1, err
}

// handleSignal answers signal.
func (s *Server) handleSignal(b []byte) ([]byte, error) {
	if len(b) != 5 || !s.serving() {
		return nil, errUnknownOp
	}
	found, pid := false, int32(binary.BigEndian.Uint32(b[1:]))
	switch sql.Signal(b[0]) {
	case sql.SignalCancel:
		found = s.core.SQL.CancelSession(pid)
	case sql.SignalTerminate:
		found = s.core.SQL.TerminateSession(pid)
	default:
		return nil, errors.New("unknown signal")
	}
	if found {
		return []byte{1}, nil
	}
	return []byte{0}, nil
}

// forwardCancel sends a cancel request on to the node of its session. The client gets no answer in any case.
func (s *Server) forwardCancel(ctx context.Context, pid int32, key []byte) {
	node := ranges.NodeID(sql.NodeOf(pid))
	if _, known := s.registry.get(node); pid <= 0 || !known || node == s.identity.NodeID {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	if _, err := s.rpc.Call(ctx, node, rpc.ServiceServer, append(binary.BigEndian.AppendUint32([]byte{opCancel}, uint32(pid)), key...)); err != nil {
		s.log.Warn("a cancel request did not reach its session", "peer", node, "err", err)
	}
}

// handleCancel answers forwardCancel. It does not tell whether there is such a session, or the key was right.
func (s *Server) handleCancel(b []byte) ([]byte, error) {
	if len(b) < 4 || !s.serving() {
		return nil, errUnknownOp
	}
	s.wire.Cancel(int32(binary.BigEndian.Uint32(b)), b[4:])
	return nil, nil
}
