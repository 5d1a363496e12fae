package pgcatalog

import (
	"slices"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/tablestats"
	"github.com/meridian-db/meridian/sql/types"
)

// counterRows are the views over what statements have done.
var counterRows = map[string]generator{
	"pg_catalog.pg_stat_database":        pgStatDatabase,
	"pg_catalog.pg_stat_user_tables":     tableCounters(false),
	"pg_catalog.pg_stat_all_tables":      tableCounters(false),
	"pg_catalog.pg_statio_user_tables":   tableBlocks,
	"pg_catalog.pg_statio_all_tables":    tableBlocks,
	"pg_catalog.pg_stat_user_indexes":    indexCounters(false),
	"pg_catalog.pg_stat_all_indexes":     indexCounters(false),
	"pg_catalog.pg_statio_user_indexes":  indexCounters(true),
	"pg_catalog.pg_statio_all_indexes":   indexCounters(true),
	"pg_catalog.pg_stat_xact_all_tables": tableCounters(true), "pg_catalog.pg_stat_xact_user_tables": tableCounters(true),
}

// counted are the counters of tables, summed over the nodes.
func (g *gen) counted() (map[uint32]*tablestats.Table, error) {
	p := g.providers()
	if p.TableStats == nil {
		return nil, nil
	}
	list, err := p.TableStats(g.ctx)
	if err != nil {
		return nil, err
	}
	out := map[uint32]*tablestats.Table{}
	for i := range list {
		c := &list[i]
		var at int64
		if t := g.snap.TableByID(c.ID); t != nil {
			if st := g.snap.Stats(t); st != nil {
				at = st.At
			}
			if c.Storage != t.StorageID() || c.At != at {
				c.Live, c.Modified = 0, 0 // of rows that are gone, or counted by newer statistics
			}
		}
		sum := out[c.ID]
		if sum == nil {
			out[c.ID] = c
			continue
		}
		sum.SeqScans += c.SeqScans
		sum.SeqRows += c.SeqRows
		sum.Live += c.Live
		sum.Modified += c.Modified
		sum.Reads.Add(c.Reads)
		sum.Writes.Add(c.Writes)
		for _, x := range c.Indexes {
			if j := slices.IndexFunc(sum.Indexes, func(y tablestats.Index) bool { return y.ID == x.ID }); j >= 0 {
				sum.Indexes[j].Add(x.Reads)
			} else {
				sum.Indexes = append(sum.Indexes, x)
			}
		}
	}
	return out, nil
}

// countedTables are the tables that views with counters list: those that hold rows themselves, and partitioned ones if
// told.
func (g *gen) countedTables(partitioned bool) []*catalog.Table {
	return slices.DeleteFunc(g.snap.Tables(), func(t *catalog.Table) bool {
		return !t.IsTable() || t.IsPartitioned() && !partitioned
	})
}

// tableCounters makes the rows of pg_stat_user_tables and its relatives. Those of pg_stat_xact_* are zero: what a
// transaction has done so far is counted with everything else.
func tableCounters(transaction bool) generator {
	return func(g *gen) error {
		counts, err := g.counted()
		if err != nil {
			return err
		}
		for _, t := range g.countedTables(true) {
			c := counts[t.ID]
			if c == nil || transaction {
				c = &tablestats.Table{}
			}
			pairs := []any{"relid", t.ID, "schemaname", g.snap.SchemaName(t.Schema), "relname", t.Name,
				"seq_scan", c.SeqScans, "seq_tup_read", c.SeqRows,
				"n_tup_ins", c.Inserted, "n_tup_upd", c.Updated, "n_tup_del", c.Deleted, "n_tup_hot_upd", 0}
			if slices.ContainsFunc(visibleIndexes(t), func(*catalog.Index) bool { return true }) {
				pairs = append(pairs, "idx_scan", c.Reads.Scans, "idx_tup_fetch", c.Reads.Rows)
			}
			if !transaction {
				pairs = append(pairs, g.rowCounters(t, c)...)
			}
			if err := g.row(pairs...); err != nil {
				return err
			}
		}
		return nil
	}
}

// rowCounters are the columns of a table that no transaction has of its own. There are no dead rows to be vacuumed:
// old versions go when they have left the retention window.
func (g *gen) rowCounters(t *catalog.Table, c *tablestats.Table) []any {
	live := c.Live
	analyzed, auto := 0, 0
	var pairs []any
	if st := g.snap.Stats(t); st != nil {
		live += int64(st.Rows)
		at := types.NewTimestampTZ(st.At - pgEpoch)
		if st.Auto {
			auto = 1
			pairs = append(pairs, "last_autoanalyze", at)
		} else {
			analyzed = 1
			pairs = append(pairs, "last_analyze", at)
		}
	}
	return append(pairs, "n_live_tup", max(live, 0), "n_dead_tup", 0, "n_mod_since_analyze", c.Modified, "n_ins_since_vacuum", c.Inserted,
		"vacuum_count", 0, "autovacuum_count", 0, "analyze_count", analyzed, "autoanalyze_count", auto)
}

// tableBlocks lists tables without blocks: what is cached is counted by store, not by table.
func tableBlocks(g *gen) error {
	for _, t := range g.countedTables(false) {
		if err := g.row("relid", t.ID, "schemaname", g.snap.SchemaName(t.Schema), "relname", t.Name, "heap_blks_read", 0, "heap_blks_hit", 0,
			"idx_blks_read", 0, "idx_blks_hit", 0); err != nil {
			return err
		}
	}
	return nil
}

func indexCounters(blocks bool) generator {
	return func(g *gen) error {
		var counts map[uint32]*tablestats.Table
		if !blocks {
			var err error
			if counts, err = g.counted(); err != nil {
				return err
			}
		}
		for _, t := range g.countedTables(false) {
			for _, ix := range visibleIndexes(t) {
				pairs := []any{"relid", t.ID, "indexrelid", ix.OID, "schemaname", g.snap.SchemaName(t.Schema), "relname", t.Name, "indexrelname", ix.Name}
				if blocks {
					pairs = append(pairs, "idx_blks_read", 0, "idx_blks_hit", 0)
				} else {
					r := tablestats.Reads{}
					if c := counts[t.ID]; c != nil {
						if j := slices.IndexFunc(c.Indexes, func(y tablestats.Index) bool { return y.ID == ix.OID }); j >= 0 {
							r = c.Indexes[j].Reads
						}
					}
					pairs = append(pairs, "idx_scan", r.Scans, "idx_tup_read", r.Entries, "idx_tup_fetch", r.Rows)
				}
				if err := g.row(pairs...); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func pgStatDatabase(g *gen) error {
	p := g.providers()
	counts := map[uint32]*tablestats.Database{}
	backends := map[uint32]int{}
	if p.DatabaseStats != nil {
		list, err := p.DatabaseStats(g.ctx)
		if err != nil {
			return err
		}
		for i := range list {
			d := &list[i]
			if sum := counts[d.ID]; sum != nil {
				sum.Add(d)
			} else {
				counts[d.ID] = d
			}
		}
	}
	if p.Activity != nil {
		list, err := p.Activity(g.ctx)
		if err != nil {
			return err
		}
		for _, a := range list {
			backends[a.DatabaseID]++
		}
	}
	for _, db := range g.snap.Databases() {
		d := counts[db.ID]
		if d == nil {
			d = &tablestats.Database{}
		}
		var reset time.Time
		if d.Reset {
			reset = d.Since
		}
		if err := g.row("datid", db.ID, "datname", db.Name, "numbackends", backends[db.ID], "xact_commit", d.Commits, "xact_rollback", d.Rollbacks,
			"blks_read", 0, "blks_hit", 0, "tup_returned", d.Returned, "tup_fetched", d.Fetched,
			"tup_inserted", d.Inserted, "tup_updated", d.Updated, "tup_deleted", d.Deleted,
			"conflicts", 0, "temp_files", 0, "temp_bytes", 0, "deadlocks", 0, "blk_read_time", 0, "blk_write_time", 0,
			"session_time", 0, "active_time", 0, "idle_in_transaction_time", 0, "sessions", d.Sessions,
			"sessions_abandoned", 0, "sessions_fatal", 0, "sessions_killed", 0, "stats_reset", moment(reset)); err != nil {
			return err
		}
	}
	return nil
}

// nothing is the value of a void function.
func nothing(*call) (types.Datum, error) { return types.NewString(""), nil }

// statReset is pg_stat_reset.
func statReset(c *call) (types.Datum, error) {
	if r := c.snap.RoleByID(c.env.User); r != nil && !r.Super {
		return types.Null, pgerr.New(pgerr.InsufficientPrivilege, "permission denied for function %s", c.fn.Name)
	}
	p := (&gen{ctx: c.ctx.Context, env: c.env, snap: c.snap}).providers()
	if p.ResetStats == nil || c.snap.Database() == nil {
		return nothing(c)
	}
	return types.NewString(""), p.ResetStats(c.ctx.Context, c.snap.Database().ID)
}

// tableStat answers the functions that the views of PostgreSQL are made of: pg_stat_get_tuples_inserted(oid) and so on.
func tableStat(c *call) (types.Datum, error) {
	if t := c.fn.Ret; t != types.OIDInt8 && t != types.OIDInt4 {
		return types.Null, nil
	}
	if len(c.args) != 1 {
		return types.NewInt(0), nil
	}
	g := &gen{ctx: c.ctx.Context, env: c.env, snap: c.snap}
	t, ix := c.snap.TableByID(c.oid(0)), (*catalog.Index)(nil)
	if t == nil {
		t, ix = c.snap.IndexByOID(c.oid(0))
	}
	if t == nil {
		return types.NewInt(0), nil
	}
	counts, err := g.counted()
	if err != nil {
		return types.Null, err
	}
	s := counts[t.ID]
	if s == nil {
		s = &tablestats.Table{}
	}
	var r tablestats.Reads
	if ix != nil {
		if j := slices.IndexFunc(s.Indexes, func(y tablestats.Index) bool { return y.ID == ix.OID }); j >= 0 {
			r = s.Indexes[j].Reads
		}
	}
	var n int64
	switch strings.TrimPrefix(c.fn.Name, "pg_stat_get_") {
	case "numscans":
		if n = s.SeqScans; ix != nil {
			n = r.Scans
		}
	case "tuples_returned":
		if n = s.SeqRows; ix != nil {
			n = r.Entries
		}
	case "tuples_fetched":
		if n = s.Reads.Rows; ix != nil {
			n = r.Rows
		}
	case "tuples_inserted":
		n = s.Inserted
	case "tuples_updated":
		n = s.Updated
	case "tuples_deleted":
		n = s.Deleted
	case "mod_since_analyze":
		n = s.Modified
	case "ins_since_vacuum":
		n = s.Inserted
	case "live_tuples":
		if n = s.Live; g.snap.Stats(t) != nil {
			n += int64(g.snap.Stats(t).Rows)
		}
		n = max(n, 0)
	}
	return types.NewInt(n), nil
}
