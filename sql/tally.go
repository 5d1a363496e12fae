package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/tablestats"
)

// sessionTally counts what a session's statements do, in its server's registry.
type sessionTally Session

// Scanned implements exec.Tally.
func (s *sessionTally) Scanned(t *plan.Table, scans, rows int64) {
	s.srv.tables.Scanned(s.databaseID, t.ID, scans, rows)
}

// Searched implements exec.Tally.
func (s *sessionTally) Searched(t *plan.Table, ix *plan.Index, scans, entries, rows int64) {
	s.srv.tables.Searched(s.databaseID, t.ID, ix.OID, tablestats.Reads{Scans: scans, Entries: entries, Rows: rows})
}

// Wrote implements exec.Tally.
func (s *sessionTally) Wrote(t *plan.Table, inserted, updated, deleted int64) {
	s.srv.tables.Wrote(s.databaseID, t.ID, tablestats.Writes{Inserted: inserted, Updated: updated, Deleted: deleted})
	c := tablestats.Change{Table: t.ID, Storage: t.StorageID, At: t.StatsAt}
	for i := range s.written {
		if w := &s.written[i]; w.Table == c.Table && w.Storage == c.Storage && w.At == c.At {
			w.Live += inserted - deleted
			w.Modified += inserted + updated + deleted
			return
		}
	}
	c.Live, c.Modified = inserted-deleted, inserted+updated+deleted
	s.written = append(s.written, c)
}

// TableStats returns what this node's sessions have done to tables, DatabaseStats to databases.
func (srv *Server) TableStats() []tablestats.Table { return srv.tables.Tables() }

// DatabaseStats is explained at TableStats.
func (srv *Server) DatabaseStats() []tablestats.Database { return srv.tables.Databases() }

// ResetStats forgets what this node has counted in a database.
func (srv *Server) ResetStats(db uint32) { srv.tables.Reset(db) }

// tableViews gives the views pg_stat_* this node's counters where the server has not given them the cluster's.
func (s *Session) tableViews(p *pgcatalog.Providers) {
	if p.Sizes != nil {
		p.Sizes = s.onceAStatement(p.Sizes)
	}
	if p.TableStats == nil {
		p.TableStats = func(context.Context) ([]tablestats.Table, error) { return s.srv.TableStats(), nil }
		p.DatabaseStats = func(context.Context) ([]tablestats.Database, error) { return s.srv.DatabaseStats(), nil }
		p.ResetStats = func(_ context.Context, db uint32) error { s.srv.ResetStats(db); return nil }
	}
}

// knownSizes are the sizes of tables that a statement has asked the cluster for: \dt+ asks once for each of them.
type knownSizes struct {
	at    int64 // the statement's time
	parts []pgcatalog.StorageSize
}

// onceAStatement answers a statement's further questions with the answer to the first.
func (s *Session) onceAStatement(ask func(context.Context) ([]pgcatalog.StorageSize, error)) func(context.Context) ([]pgcatalog.StorageSize, error) {
	return func(ctx context.Context) ([]pgcatalog.StorageSize, error) {
		if s.sizes.parts != nil && s.sizes.at == s.bctx.StmtTime {
			return s.sizes.parts, nil
		}
		parts, err := ask(ctx)
		if err == nil {
			s.sizes = knownSizes{s.bctx.StmtTime, parts}
		}
		return parts, err
	}
}
