package pgcatalog

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/tablestats"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
)

// Providers is what the node offers to the views over its state. A nil function gives an empty view. Package
// server fills it in.
type Providers struct {
	Settings func() []Setting
	Activity func(ctx context.Context) ([]Activity, error) // of the whole cluster
	Prepared func() []PreparedStatement                    // of the session
	Cursors  func() []Cursor                               // of the session
	// LargeObjects lists those of the session's database, page by page if told.
	LargeObjects func(ctx context.Context, pages bool, row func(LargeObject) error) error
	Clock        func() truetime.Status
	ClockNode    uint64
	Nodes        func(ctx context.Context) ([]Node, error)
	Ranges       func(ctx context.Context) ([]Range, error)
	Placement    func(ctx context.Context) ([]PlacementDecision, error)
	Replicas     func(ctx context.Context) ([]Replica, error)
	Transactions func(ctx context.Context) ([]Transaction, error)
	Locks        func(ctx context.Context) ([]Lock, error)
	Jobs         func(ctx context.Context) ([]Job, error)
	Indexes      func() []IndexProgress // indexes that this node builds
	Slots        func(ctx context.Context) ([]ReplicationSlot, error)
	Senders      func() []ReplicationSender                     // of this node
	Statements   func(ctx context.Context) ([]Statement, error) // of the whole cluster
	// TableStats and DatabaseStats are what all nodes have counted, a row for each node and table or database; ResetStats
	// has them begin anew in a database.
	TableStats    func(ctx context.Context) ([]tablestats.Table, error)
	DatabaseStats func(ctx context.Context) ([]tablestats.Database, error)
	ResetStats    func(ctx context.Context, database uint32) error
	// Sizes are the bytes that tables and indexes take, in parts that add up.
	Sizes func(ctx context.Context) ([]StorageSize, error)

	AuthRules func() ([]AuthRule, error) // of this node; nil: it has no file of them
}

// ProviderSource is implemented by what is handed to catalog.VirtualEnv.Providers.
type ProviderSource interface {
	CatalogProviders() *Providers
}

func (g *gen) providers() *Providers {
	switch p := g.env.Providers.(type) {
	case *Providers:
		return p
	case ProviderSource:
		return p.CatalogProviders()
	}
	return &Providers{}
}

// IndexProgress is a row of pg_stat_progress_create_index.
type IndexProgress struct {
	PID          int32
	DatabaseID   uint32
	Database     string
	Table, Index uint32
	Total, Done  int64 // rows
}

func pgStatProgressCreateIndex(g *gen) error {
	p := g.providers()
	if p.Indexes == nil {
		return nil
	}
	for _, i := range p.Indexes() {
		if err := g.row("pid", i.PID, "datid", i.DatabaseID, "datname", i.Database, "relid", i.Table, "index_relid", i.Index,
			"command", "CREATE INDEX CONCURRENTLY", "phase", "building index: scanning table", "tuples_total", i.Total, "tuples_done", i.Done); err != nil {
			return err
		}
	}
	return nil
}

// Setting is a row of pg_settings.
type Setting struct {
	Name, Value, Unit, Category, Description string
	Context, Type, Source                    string
	Min, Max, Boot, Reset                    string
	Enum                                     []string
}

// WaitJob is the wait event of sessions whose statement waits for a job's end.
const WaitJob = "JobEnd"

// Activity is a row of pg_stat_activity: one client session.
type Activity struct {
	PID                                             int32
	DatabaseID, RoleID                              uint32
	Database, Role, Application                     string
	ClientAddr                                      string
	ClientPort                                      int
	BackendStart, TxnStart, QueryStart, StateChange time.Time // zero: none
	WaitType, WaitEvent, State, Query               string
	Kind                                            string             // "client backend"
	TxnAge                                          truetime.Timestamp // of its transaction; zero: none
	TLS                                             *TLS               // nil: in the clear
}

// TLS describes how a client's connection is encrypted: a row of pg_stat_ssl.
type TLS struct {
	Version, Cipher string // as OpenSSL names them: TLSv1.3, TLS_AES_256_GCM_SHA384
	Bits            int    // of the cipher's key
	// Of a certificate that the client has shown and that was verified; empty without one.
	ClientDN, ClientSerial, IssuerDN string
}

// PreparedStatement is a row of pg_prepared_statements.
type PreparedStatement struct {
	Name, Statement string
	Time            time.Time
	Params          []types.OID
	FromSQL         bool
	GenericPlans    int64
	CustomPlans     int64
}

// Cursor is a row of pg_cursors.
type Cursor struct {
	Name, Statement              string
	Holdable, Binary, Scrollable bool
	Created                      time.Time
}

// statRows are the views over sessions and settings.
var statRows = map[string]generator{
	"pg_catalog.pg_settings":                   pgSettings,
	"pg_catalog.pg_stat_activity":              pgStatActivity,
	"pg_catalog.pg_stat_ssl":                   pgStatSSL,
	"pg_catalog.pg_hba_file_rules":             pgHBAFileRules,
	"pg_catalog.pg_stat_progress_create_index": pgStatProgressCreateIndex,
	"pg_catalog.pg_prepared_statements":        pgPrepared,
	"pg_catalog.pg_cursors":                    pgCursors,
	"pg_catalog.pg_timezone_names":             pgTimezoneNames,
}

// pgEpoch is 2000-01-01, where PostgreSQL's timestamps begin, in microseconds since 1970.
const pgEpoch = 946684800000000

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return types.NewTimestampTZ(t.UnixMicro() - pgEpoch)
}

func instant(t truetime.Timestamp) any {
	if t == 0 {
		return nil
	}
	return types.NewTimestampTZ(int64(t)/1000 - pgEpoch)
}

func duration(d time.Duration) any {
	return types.NewInterval(&types.Interval{Micros: d.Microseconds()})
}

// timestamp reads a stored timestamp, "" for none.
func (g *gen) timestamp(text string) any {
	if text == "" {
		return nil
	}
	d, err := types.ParseText(text, types.ByOID(types.OIDTimestampTZ), types.DefaultSettings)
	if err != nil {
		return nil
	}
	return d
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func pgSettings(g *gen) error {
	p := g.providers()
	if p.Settings == nil {
		return nil
	}
	for _, s := range p.Settings() {
		var enum any
		if s.Enum != nil {
			enum = s.Enum
		}
		if err := g.row("name", s.Name, "setting", s.Value, "unit", orNull(s.Unit), "category", s.Category, "short_desc", s.Description,
			"context", s.Context, "vartype", s.Type, "source", s.Source, "min_val", orNull(s.Min), "max_val", orNull(s.Max),
			"enumvals", enum, "boot_val", s.Boot, "reset_val", s.Reset, "pending_restart", false); err != nil {
			return err
		}
	}
	return nil
}

func pgStatActivity(g *gen) error {
	p := g.providers()
	if p.Activity == nil {
		return nil
	}
	sessions, err := p.Activity(g.ctx)
	if err != nil {
		return err
	}
	for _, a := range sessions {
		if !g.mayWatch(a.RoleID) {
			// What others do, their statements' values included, is theirs, and monitors' to see.
			if err := g.row("datid", a.DatabaseID, "datname", orNull(a.Database), "pid", a.PID, "usesysid", a.RoleID, "usename", orNull(a.Role),
				"application_name", a.Application, "query", "<insufficient privilege>"); err != nil {
				return err
			}
			continue
		}
		var port any
		if a.ClientPort != 0 {
			port = a.ClientPort
		}
		if err := g.row("datid", a.DatabaseID, "datname", orNull(a.Database), "pid", a.PID, "usesysid", a.RoleID, "usename", orNull(a.Role),
			"application_name", a.Application, "client_addr", orNull(a.ClientAddr), "client_port", port, "backend_start", moment(a.BackendStart),
			"xact_start", moment(a.TxnStart), "query_start", moment(a.QueryStart), "state_change", moment(a.StateChange),
			"wait_event_type", orNull(a.WaitType), "wait_event", orNull(a.WaitEvent), "state", orNull(a.State), "query", a.Query,
			"backend_type", a.Kind); err != nil {
			return err
		}
	}
	return nil
}

// pgStatSSL has, as in PostgreSQL, no rows for sessions that the user may not watch, nor for those that came by no network.
func pgStatSSL(g *gen) error {
	p := g.providers()
	if p.Activity == nil {
		return nil
	}
	sessions, err := p.Activity(g.ctx)
	if err != nil {
		return err
	}
	for _, a := range sessions {
		if a.ClientPort == 0 || !g.mayWatch(a.RoleID) {
			continue
		}
		row := []any{"pid", a.PID, "ssl", a.TLS != nil}
		if t := a.TLS; t != nil {
			row = append(row, "version", t.Version, "cipher", t.Cipher, "bits", t.Bits, "client_dn", orNull(t.ClientDN), "issuer_dn", orNull(t.IssuerDN))
			if n, err := types.ParseNumeric(t.ClientSerial); err == nil {
				row = append(row, "client_serial", types.NewNumeric(n))
			}
		}
		if err := g.row(row...); err != nil {
			return err
		}
	}
	return nil
}

// mayWatch reports whether the user may see what sessions of a role do.
func (g *gen) mayWatch(role uint32) bool {
	me := g.snap.RoleByID(g.env.User)
	return me == nil || me.Super || g.snap.IsMember(me.ID, role) || g.snap.Monitors(me)
}

func pgPrepared(g *gen) error {
	p := g.providers()
	if p.Prepared == nil {
		return nil
	}
	for _, s := range p.Prepared() {
		if err := g.row("name", s.Name, "statement", s.Statement, "prepare_time", moment(s.Time), "parameter_types", nonNil(s.Params),
			"from_sql", s.FromSQL, "generic_plans", s.GenericPlans, "custom_plans", s.CustomPlans); err != nil {
			return err
		}
	}
	return nil
}

func pgCursors(g *gen) error {
	p := g.providers()
	if p.Cursors == nil {
		return nil
	}
	for _, c := range p.Cursors() {
		if err := g.row("name", c.Name, "statement", c.Statement, "is_holdable", c.Holdable, "is_binary", c.Binary,
			"is_scrollable", c.Scrollable, "creation_time", moment(c.Created)); err != nil {
			return err
		}
	}
	return nil
}

// pgTimezoneNames lists the zone the session can be sure of; the full list lives in the time zone database.
func pgTimezoneNames(g *gen) error {
	return g.row("name", "UTC", "abbrev", "UTC", "utc_offset", duration(0), "is_dst", false)
}
