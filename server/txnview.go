package server

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/locktable"
)

// txnPart is what one node knows of a transaction: its locks on the ranges led there.
type txnPart struct {
	ID      string             `json:"id"`
	Age     truetime.Timestamp `json:"age"`
	Gateway uint64             `json:"gateway"`
	State   locktable.State    `json:"state"`
	Waits   bool               `json:"waits,omitempty"`
	Ranges  []uint64           `json:"ranges"`
}

const maxTxnRows = 10000

func (s *Server) txnParts() []txnPart {
	var parts []txnPart
	for _, t := range s.core.Participants.Transactions() {
		p := txnPart{ID: hex.EncodeToString(t.ID[:]), Age: t.Age, Gateway: uint64(t.Gateway), State: t.State, Waits: len(t.Waits) > 0}
		for _, r := range t.Ranges {
			p.Ranges = append(p.Ranges, uint64(r))
		}
		if parts = append(parts, p); len(parts) >= maxTxnRows {
			break
		}
	}
	return parts
}

// transactionRows puts together what the nodes know of each transaction, and which session of its gateway runs it.
func (s *Server) transactionRows(ctx context.Context) ([]pgcatalog.Transaction, error) {
	parts, err := gather(ctx, s, viewTxns, s.txnParts)
	if err != nil {
		return nil, err
	}
	sessions, err := gather(ctx, s, viewActivity, s.activityRows)
	if err != nil {
		return nil, err
	}
	return joinTransactions(parts, sessions), nil
}

// joinTransactions: a transaction is as far as it has come anywhere, and waits if it waits anywhere. Its session is found by
// gateway and age, which hardly two transactions share and which a retry keeps.
func joinTransactions(parts []txnPart, sessions []pgcatalog.Activity) []pgcatalog.Transaction {
	type gatewayAge struct {
		gateway uint64
		age     truetime.Timestamp
	}
	bySession := map[gatewayAge]*pgcatalog.Activity{}
	for i := range sessions {
		if a := &sessions[i]; a.TxnAge != 0 {
			bySession[gatewayAge{uint64(sql.NodeOf(a.PID)), a.TxnAge}] = a
		}
	}
	whole := map[string]*txnPart{}
	var order []*txnPart
	for i := range parts {
		p := &parts[i]
		w := whole[p.ID]
		if w == nil {
			whole[p.ID] = p
			order = append(order, p)
			continue
		}
		w.State = max(w.State, p.State)
		w.Waits = w.Waits || p.Waits
		w.Ranges = append(w.Ranges, p.Ranges...)
	}
	slices.SortFunc(order, func(a, b *txnPart) int { return cmp.Or(cmp.Compare(a.Age, b.Age), cmp.Compare(a.ID, b.ID)) })
	var rows []pgcatalog.Transaction
	for _, p := range order {
		slices.Sort(p.Ranges)
		row := pgcatalog.Transaction{Node: p.Gateway, ID: p.ID, Age: p.Age, State: p.State.String(), Ranges: len(slices.Compact(p.Ranges))}
		if p.Waits && p.State == locktable.Active {
			row.State = "waiting"
		}
		if a := bySession[gatewayAge{p.Gateway, p.Age}]; a != nil {
			row.SessionPID, row.Statement = a.PID, parser.Fingerprint(a.Query)
		}
		rows = append(rows, row)
	}
	return rows
}
