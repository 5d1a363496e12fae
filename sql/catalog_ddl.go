package sql

import (
	"cmp"
	"context"
	"errors"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/ddl"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// Execute implements CatalogTxn.
func (v *catalogView) Execute(ctx context.Context, stmt ast.Stmt, env DDLEnv) (string, error) {
	if err := v.txn.Statement(ctx); err != nil {
		return "", err
	}
	v.txn.Bind(env.Txn)
	v.refresh()
	s := v.s
	temp := s.tempSchemaName()
	tag, err := ddl.Execute(ctx, stmt, &ddl.Env{
		View:       v.txn,
		User:       cmp.Or(env.User, v.env().User),
		SearchPath: s.CurrentSchemas(false),
		TempSchema: temp,
		Text:       env.Text,
		Describe: func(ctx context.Context, q ast.Stmt) ([]ddl.Column, error) {
			p, err := s.planOwn(ctx, q, env.Params, plan.Security{})
			if err != nil {
				return nil, err
			}
			cols := make([]ddl.Column, len(p.Columns))
			for i, c := range p.Columns {
				cols[i] = ddl.Column{Name: c.Name, Type: c.Type, Mutable: p.Mutable}
			}
			return cols, nil
		},
		Query: func(ctx context.Context, q ast.Stmt, emit func([]types.Datum) error) error {
			_, err := s.runOwn(ctx, q, env.Params, plan.Security{}, emit)
			return err
		},
		Constant:         s.constant(env),
		OlderNodes:       s.olderNodes(),
		OlderHstore:      s.srv.cfg.Hstore != nil && !s.srv.cfg.Hstore(),
		OlderExclusions:  s.srv.cfg.Exclusions != nil && !s.srv.cfg.Exclusions(),
		OlderOrders:      s.anonymous(),
		OlderDefinitions: s.srv.cfg.Definitions != nil && !s.srv.cfg.Definitions(),
		Exec: func(ctx context.Context, q ast.Stmt, as uint32) (int64, error) {
			return s.runOwn(ctx, q, env.Params, plan.Security{User: as, Off: s.setting("row_security") == "off"}, nil)
		},
		FireTruncate: func(ctx context.Context, table uint32, timing byte) error {
			v.refresh()
			return s.fireTruncate(ctx, v, table, timing)
		},
		BuildIndex: func(ctx context.Context, table, index uint32) error {
			return v.buildIndex(ctx, table, index, env)
		},
		InUse: s.readsTable,
		InSchema: func(schema string, f func() error) error {
			path := s.path()
			s.searchPath = append([]string{schema}, path...)
			s.plannerEpoch++
			defer func() {
				s.searchPath = path
				s.plannerEpoch++
			}()
			v.refresh()
			return f()
		},
		LargeObjectOwner: s.largeOwner,
		CheckRoutine: func(ctx context.Context, f *catalog.Function) error {
			v.refresh()
			return s.checkRoutine(ctx, f)
		},
		DefaultTablespace: s.setting("default_tablespace"),
		Nodes:             s.localities(),
		Defer:             s.deferIndex(v),
		DeferValidation:   s.deferValidation(v),
		DeferRewrite:      s.deferRewrite(v),
		ManyRows:          s.manyRows,
		Notice:            s.notice,
		HashPassword:      HashPassword,
	})
	v.refresh()
	switch n := stmt.(type) {
	case *ast.CreateTableStmt:
		s.hasOnCommit = s.hasOnCommit || n.OnCommit > ast.OnCommitPreserve
	case *ast.CreateTableAsStmt:
		s.hasOnCommit = s.hasOnCommit || n.Into.OnCommit > ast.OnCommitPreserve
	}
	if err == nil && !s.hasTemp && v.snap.SchemaByName(temp) != nil {
		s.hasTemp = true
		s.searchPath = nil
		s.plannerEpoch++
	}
	return tag, err
}

// olderNodes is ddl.Env.OlderNodes.
func (s *Session) olderNodes() bool {
	all := s.srv.cfg.NewCatalog
	return all != nil && !all()
}

// constant is ddl.Env.Constant.
func (s *Session) constant(env DDLEnv) func(ctx context.Context, e ast.Expr, t *types.T) (types.Datum, bool, error) {
	if s.olderNodes() {
		return nil
	}
	return func(ctx context.Context, e ast.Expr, t *types.T) (types.Datum, bool, error) {
		q := &ast.SelectStmt{Targets: []*ast.Target{{Expr: e, Pos: ast.Pos{Off: e.Position()}}}, Pos: ast.Pos{Off: -1}}
		p, err := s.planOwn(ctx, q, env.Params, plan.Security{})
		if err != nil || p.Volatile {
			return types.Null, false, err
		}
		v := plpgsql.Value{T: p.Columns[0].Type}
		if _, err := s.runOwn(ctx, q, env.Params, plan.Security{}, func(row []types.Datum) error { v.D = types.Detach(row[0]); return nil }); err != nil {
			return types.Null, false, err
		}
		d, err := (&routineHost{s: s}).Coerce(ctx, v, t)
		return d, true, err
	}
}

// buildIndex fills a new index from the rows of its table, in the statement's transaction.
func (v *catalogView) buildIndex(ctx context.Context, table, index uint32, env DDLEnv) error {
	v.refresh()
	t, err := v.SnapshotCatalog.TableByID(table)
	if err != nil {
		return err
	}
	_, ix := v.snap.IndexByOID(index)
	if t == nil || ix == nil {
		return errors.New("sql: index to be built is not in the catalog")
	}
	for _, pi := range t.AllIndexes() {
		if pi.ID == ix.ID {
			e := exec.Env{Txn: env.Txn, Isolation: v.s.txn.iso, Builtin: &v.s.bctx, Catalog: v, RowID: v.s.srv.cfg.RowID, Anonymous: v.s.anonymous(), Virtual: v.env()}
			_, err := exec.BuildIndex(ctx, &e, t, pi)
			return err
		}
	}
	return errors.New("sql: index to be built is not in the plan's table")
}

// planOwn plans a query that the session runs for itself, in its transaction, with the policies that concern as.
func (s *Session) planOwn(ctx context.Context, node ast.Stmt, params []types.Datum, as plan.Security) (*plan.Plan, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	return plan.Prepare(ctx, node, plan.Env{Catalog: c, SearchPath: s.path(), Builtin: &s.bctx, Anonymous: s.anonymous(), NumParams: len(params), Security: as})
}

// runOwn plans and runs a query that the session runs for itself, in its transaction.
func (s *Session) runOwn(ctx context.Context, node ast.Stmt, params []types.Datum, as plan.Security, sink func([]types.Datum) error) (int64, error) {
	for try := 0; ; try++ {
		p, err := s.planOwn(ctx, node, params, as)
		if err != nil {
			return 0, err
		}
		var env exec.Env
		if err := s.prepareEnv(ctx, &env, p, params); err != nil {
			if errors.Is(err, catalog.ErrChanged) && try < maxReplans {
				if err := s.txn.catalog.Statement(ctx); err != nil {
					return 0, err
				}
				continue
			}
			return 0, err
		}
		if sink == nil && len(p.Columns) > 0 {
			sink = func([]types.Datum) error { return nil }
		}
		res, err := exec.Run(ctx, p, &env, sink)
		return res.Rows, err
	}
}

// tempSchemaName is the name of the session's schema for temporary tables, which is made with the first.
func (s *Session) tempSchemaName() string { return "pg_temp_" + itoa(int(s.pid)) }

// discardTemp drops the session's temporary tables.
func (s *Session) discardTemp(ctx context.Context) error {
	if !s.hasTemp {
		return nil
	}
	inBlock := s.txn.phase == phaseBlock
	out := s.out
	s.out = discardOutput{out}
	err := s.runDDL(ctx, &statement{node: s.dropTempSchema()}, nil)
	s.out = out
	if err == nil && !inBlock {
		s.hasTemp = false
	}
	s.searchPath = nil
	s.plannerEpoch++
	return err
}

// dropTempSchema is the statement that drops the schema of the session's temporary tables.
func (s *Session) dropTempSchema() *ast.DropStmt {
	return &ast.DropStmt{Object: ast.ObjSchema, Objects: []*ast.ObjectName{{Names: []string{s.tempSchemaName()}}}, IfExists: true, Behavior: ast.Cascade}
}

// dropTemp drops what temporary tables the session leaves behind.
func (s *Session) dropTemp() {
	if !s.hasTemp {
		return
	}
	ctx := context.WithoutCancel(s.stmtCtx.base)
	s.out = discardOutput{s.out}
	if err := s.runDDL(ctx, &statement{node: s.dropTempSchema()}, nil); err != nil {
		s.Abort(ctx)
		s.srv.cfg.Log.Warn("temporary tables not dropped", "session", s.pid, "error", err)
	}
}

// discardOutput keeps what a closing session still says from its client.
type discardOutput struct{ Output }

func (discardOutput) Complete(string)         {}
func (discardOutput) Notice(*pgerr.Error)     {}
func (discardOutput) Parameter(_, _ string)   {}
func (discardOutput) Mark() Mark              { return Mark{} }
func (discardOutput) Rewind(Mark) bool        { return true }
func (discardOutput) Row([]types.Datum) error { return nil }
