package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// EndTransaction implements plpgsql.Host: COMMIT and ROLLBACK in a procedure or DO block that the client has called
// outside of a transaction block, directly or through procedures only. What follows runs in a new transaction. From the
// first commit on the client's statement can no longer be repeated as a whole: a conflict after it is the client's to see.
func (h *routineHost) EndTransaction(ctx context.Context, rollback, chain bool) error {
	s := h.s
	verb := "commit"
	if rollback {
		verb = "roll back"
	}
	switch {
	case !h.transactional:
		return pgerr.New(invalidTransactionTermination, "invalid transaction termination")
	case s.routines.caught > 0:
		return pgerr.New(invalidTransactionTermination, "cannot %s while a subtransaction is active", verb)
	}
	modes := s.chainModes()
	// Cursors that loops are going through outlive the transaction.
	pinned := false
	for _, p := range s.portals {
		if c := p.declared; c != nil && c.pinned {
			c.held, pinned = true, true
		}
	}
	if rollback {
		if pinned {
			if err := s.holdCursors(ctx); err != nil {
				return err
			}
			for _, p := range s.portals {
				if c := p.declared; c != nil && c.pinned {
					c.survives = true
				}
			}
		}
		s.endTxn(ctx, false)
	} else if err := s.commit(ctx); err != nil {
		return err
	} else {
		s.routines.committed = true
	}
	s.startTxn(phaseImplicit)
	t := &s.txn
	if chain {
		t.isoName, t.iso, t.readOnly, t.defer_ = modes.isoName, isolationOf[modes.isoName], modes.readOnly, modes.defer_
		s.syncTxnSettings()
	}
	t.replay.stop()
	t.used = true
	if _, err := s.pinCatalog(ctx); err != nil {
		return err
	}
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return err
	}
	s.bctx.Context = ctx
	return tx.Step(ctx)
}

const invalidTransactionTermination = "2D000"

// PinCursor implements plpgsql.Cursors.
func (h *routineHost) PinCursor(name string) {
	if p := h.s.portals[name]; p != nil && p.declared != nil {
		p.declared.pinned = true
	}
}
