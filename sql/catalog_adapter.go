package sql

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// CatalogConfig configures NewCatalog.
type CatalogConfig struct {
	Manager *catalog.Manager // Required.
	// Providers is what the node offers to system views; the session's own parts are added to a copy.
	Providers *pgcatalog.Providers
}

// nodeCatalog is the Catalog over a node's catalog.Manager.
type nodeCatalog struct {
	cfg   CatalogConfig
	views atomic.Uint64 // numbers views with changes of their own

	mu    sync.Mutex
	plans map[planCatalogKey]*plan.SnapshotCatalog // of the newest snapshots
}

// planCatalogKey is what the planner's view is made of: a snapshot, with the statistics of a moment.
type planCatalogKey struct {
	snap  *catalog.Snapshot
	stats uint64
}

// maxPlanCatalogs bounds nodeCatalog.plans: one for each database at the current version, and a few that
// open transactions still use.
const maxPlanCatalogs = 64

// NewCatalog returns the Catalog over a manager.
func NewCatalog(cfg CatalogConfig) (Catalog, error) {
	if cfg.Manager == nil {
		return nil, errors.New("sql: CatalogConfig.Manager is required")
	}
	return &nodeCatalog{cfg: cfg, plans: map[planCatalogKey]*plan.SnapshotCatalog{}}, nil
}

// Login implements Catalog.
func (c *nodeCatalog) Login(ctx context.Context, user, database string) (Login, error) {
	snap := c.cfg.Manager.Snapshot(0)
	role := snap.RoleByName(user)
	if role == nil {
		return Login{}, pgerr.New(pgerr.InvalidAuthorizationSpecification, "role \"%s\" does not exist", user)
	}
	if !role.Login {
		return Login{}, pgerr.New(pgerr.InvalidAuthorizationSpecification, "role \"%s\" is not permitted to log in", user)
	}
	db := snap.DatabaseByName(database)
	if db == nil {
		return Login{}, pgerr.New(pgerr.InvalidCatalogName, "database \"%s\" does not exist", database)
	}
	if !db.AllowConn {
		return Login{}, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "database \"%s\" is not currently accepting connections", database)
	}
	login := Login{Superuser: role.Super, DatabaseID: db.ID, RoleID: role.ID,
		Limits: &ConnectionLimits{Role: role.ConnLimit, Database: db.ConnLimit}}
	for _, s := range db.Settings {
		login.Settings = append(login.Settings, NameValue{s.Name, s.Value})
	}
	for _, s := range role.Settings {
		if s.DB == 0 || s.DB == db.ID {
			login.Settings = append(login.Settings, NameValue{s.Name, s.Value})
		}
	}
	return login, nil
}

// Verifier implements Catalog.
func (c *nodeCatalog) Verifier(user string) (string, bool) {
	r := c.cfg.Manager.Snapshot(0).RoleByName(user)
	if r == nil || !r.Login {
		return "", false
	}
	return r.Verifier, true
}

// Begin implements Catalog.
func (c *nodeCatalog) Begin(ctx context.Context, s *Session) (CatalogTxn, error) {
	v, err := c.cfg.Manager.Begin(ctx, s.databaseID, catalog.Options{Pinned: s.txn.phase != phaseIdle && s.txn.pinsCatalog()})
	if err != nil {
		return nil, err
	}
	// The session's view is reused: what it knows about the snapshot it showed last mostly still holds.
	view := &s.view
	if view.txn != nil {
		view = &catalogView{}
	}
	view.c, view.s, view.txn = c, s, v
	view.refresh()
	return view, nil
}

// pinsCatalog reports whether the transaction reads at one timestamp, so that it must see one version.
func (t *txnState) pinsCatalog() bool {
	return t.phase == phaseBlock && (t.readOnly || t.iso == kv.Snapshot)
}

// planCatalog returns the planner's view of a snapshot, made once for snapshots that are shared.
func (c *nodeCatalog) planCatalog(snap *catalog.Snapshot, shared bool) *plan.SnapshotCatalog {
	if !shared {
		return plan.FromSnapshot(snap)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := planCatalogKey{snap, snap.StatsEpoch()}
	p := c.plans[key]
	if p == nil {
		if len(c.plans) >= maxPlanCatalogs {
			clear(c.plans)
		}
		p = plan.FromSnapshot(snap)
		c.plans[key] = p
	}
	return p
}

// catalogView is a CatalogTxn over a catalog.Txn.
type catalogView struct {
	*plan.SnapshotCatalog // of snap
	c                     *nodeCatalog
	s                     *Session
	txn                   *catalog.Txn
	snap                  *catalog.Snapshot
	edits                 uint64
	stats                 uint64 // epoch of the statistics
	own                   uint64 // number of the view's own state, 0 while it is the shared one
	venv                  catalog.VirtualEnv
}

// refresh follows the view to the snapshot it shows now.
func (v *catalogView) refresh() {
	snap, edits := v.txn.Snapshot(), v.txn.Edits()
	stats := snap.StatsEpoch()
	if snap == v.snap && edits == v.edits && stats == v.stats {
		return
	}
	v.snap, v.edits, v.stats = snap, edits, stats
	v.SnapshotCatalog = v.c.planCatalog(snap, edits == 0)
	v.own = 0
	if edits > 0 {
		v.own = v.c.views.Add(1)
	}
}

// Table implements plan.Catalog.
func (v *catalogView) Table(path []string, schema, name string) (*plan.Table, error) {
	v.refresh()
	return v.SnapshotCatalog.Table(path, schema, name)
}

// TableByID implements plan.Catalog.
func (v *catalogView) TableByID(id uint32) (*plan.Table, error) {
	v.refresh()
	return v.SnapshotCatalog.TableByID(id)
}

// Type implements plan.Catalog.
func (v *catalogView) Type(path []string, n *ast.TypeName) (*types.T, error) {
	v.refresh()
	return v.SnapshotCatalog.Type(path, n)
}

// Statement implements CatalogTxn.
func (v *catalogView) Statement(ctx context.Context) error {
	err := v.txn.Statement(ctx)
	v.refresh()
	return err
}

// AsOf implements CatalogTxn.
func (v *catalogView) AsOf(ctx context.Context, tx kv.Txn) error {
	err := v.txn.AsOf(ctx, tx)
	v.refresh()
	return err
}

// Use implements CatalogTxn.
func (v *catalogView) Use(ctx context.Context, tables []uint32) error {
	if len(tables) == 0 {
		return nil
	}
	return v.txn.Use(ctx, tables)
}

// ownVersion marks versions that no other view shows.
const ownVersion = 1 << 63

// Version implements CatalogTxn. New statistics make a new version, so that plans made with others go.
func (v *catalogView) Version() uint64 {
	v.refresh()
	if v.own != 0 {
		return ownVersion | v.own
	}
	return v.snap.Version() | v.stats<<40&^ownVersion
}

// Changed implements CatalogTxn.
func (v *catalogView) Changed() bool { return v.txn.Changed() }

// SchemaExists implements CatalogTxn.
func (v *catalogView) SchemaExists(name string) bool {
	v.refresh()
	return v.snap.SchemaByName(name) != nil
}

// RoleExists implements CatalogTxn.
func (v *catalogView) RoleExists(name string) (superuser, ok bool) {
	v.refresh()
	r := v.snap.RoleByName(name)
	return r != nil && r.Super, r != nil
}

// TypeByOID implements CatalogTxn.
func (v *catalogView) TypeByOID(oid types.OID) *types.T {
	v.refresh()
	return v.snap.TypeByOID(oid)
}

// RegName implements types.RegResolver.
func (v *catalogView) RegName(typ types.OID, oid uint32) (string, bool) {
	return pgcatalog.RegName(v.env(), typ, oid)
}

// RegLookup implements types.RegResolver.
func (v *catalogView) RegLookup(typ types.OID, name string) (uint32, error) {
	return pgcatalog.RegLookup(v.env(), typ, name)
}

// Function implements CatalogTxn.
func (v *catalogView) Function(fn *builtin.Func) builtin.EvalFunc {
	return pgcatalog.Function(fn, v.s.virtualEnv)
}

// virtualEnv is what functions over the catalog see: the view of the transaction that is open when they run.
func (s *Session) virtualEnv() *catalog.VirtualEnv {
	if v, ok := s.txn.catalog.(*catalogView); ok {
		return v.env()
	}
	return &catalog.VirtualEnv{}
}

// Virtual implements CatalogTxn.
func (v *catalogView) Virtual() any { return v.env() }

func (v *catalogView) env() *catalog.VirtualEnv {
	v.refresh()
	v.venv.Snapshot, v.venv.SearchPath = v.snap, v.s.path()
	v.venv.User = v.s.roleID
	if v.s.user != v.s.args.User {
		if r := v.snap.RoleByName(v.s.user); r != nil {
			v.venv.User = r.ID
		}
	}
	v.venv.Providers = v.s
	return &v.venv
}

// CatalogProviders implements pgcatalog.ProviderSource.
func (s *Session) CatalogProviders() *pgcatalog.Providers {
	p := &pgcatalog.Providers{}
	if c, ok := s.srv.cfg.Catalog.(*nodeCatalog); ok && c.cfg.Providers != nil {
		*p = *c.cfg.Providers
	}
	p.Indexes = s.srv.indexProgress
	if p.Jobs == nil {
		p.Jobs = s.srv.JobRows
	}
	s.replicationViews(p)
	s.tableViews(p)
	p.LargeObjects = s.largeRows
	p.Settings, p.Prepared, p.Cursors = s.settingRows, s.preparedRows, s.cursorRows
	if p.Activity == nil {
		p.Activity = func(context.Context) ([]pgcatalog.Activity, error) { return s.srv.Activity(), nil }
	}
	return p
}

// Mark implements CatalogTxn.
func (v *catalogView) Mark() CatalogMark { return v.txn.Mark() }

// RollbackTo implements CatalogTxn.
func (v *catalogView) RollbackTo(m CatalogMark) {
	if mark, ok := m.(catalog.Mark); ok {
		v.txn.RollbackTo(mark)
	}
}

// BeforeCommit implements CatalogTxn.
func (v *catalogView) BeforeCommit(ctx context.Context, tx kv.Txn) error {
	bound, err := v.txn.PreCommit(ctx)
	if err != nil {
		return err
	}
	if bound != truetime.MaxTimestamp {
		tx.CommitBefore(bound)
	}
	return nil
}

// Release implements CatalogTxn.
func (v *catalogView) Release(committed bool) {
	v.txn.Finish(committed)
	v.txn = nil
	if v.own != 0 {
		v.snap, v.SnapshotCatalog = nil, nil
	}
}

// Routines implements plan.RoutineCatalog.
func (v *catalogView) Routines(path []string, schema, name string) []*builtin.Func {
	v.refresh()
	if schema == "pg_temp" {
		schema = v.s.tempSchemaName()
	}
	if schema == "" {
		// Unlike tables, temporary functions are found by their schema's name only.
		path = slices.DeleteFunc(slices.Clone(path), func(p string) bool { return p == v.s.tempSchemaName() })
	}
	return v.SnapshotCatalog.Routines(path, schema, name)
}

// OperatorRoutines implements plan.RoutineCatalog.
func (v *catalogView) OperatorRoutines(name string) []*builtin.Func {
	v.refresh()
	return v.SnapshotCatalog.OperatorRoutines(name)
}
