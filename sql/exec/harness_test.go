package exec

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/inverted"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// testDB is a database for tests: tables made from CREATE TABLE statements, rows in kvtest. It knows as
// much of the catalog as the executor needs.
type testDB struct {
	t      testing.TB
	kv     *kvtest.DB
	tables map[string]*plan.Table
	seqs   map[uint32]*int64
	names  map[uint32]string
	next   uint32
	iso    kv.Isolation
	// noIndexes makes CREATE INDEX do nothing, for tests that compare answers with and without.
	noIndexes bool
	// remoteRows is plan.Env.RemoteRows.
	remoteRows float64
	txn        kv.Txn // an open transaction block
}

func newTestDB(t testing.TB) *testDB {
	return &testDB{t: t, kv: kvtest.New(), tables: map[string]*plan.Table{}, seqs: map[uint32]*int64{}, names: map[uint32]string{}, next: 100}
}

func (db *testDB) Table(_ []string, schema, name string) (*plan.Table, error) {
	if schema != "" && schema != "public" {
		return nil, nil
	}
	return db.tables[name], nil
}

func (db *testDB) TableByID(id uint32) (*plan.Table, error) {
	for _, t := range db.tables {
		if t.ID == id {
			return t, nil
		}
	}
	return nil, nil
}

func (db *testDB) Type(_ []string, n *ast.TypeName) (*types.T, error) {
	name := n.Name()
	switch name {
	case "serial":
		name = "int4"
	case "bigserial":
		name = "int8"
	}
	t := types.ByName(name)
	if t == nil {
		if t = types.ByInternalName(name); t == nil {
			return nil, types.ErrUndefinedType(name)
		}
	}
	if len(n.Typmods) > 0 {
		var mods []int32
		for _, m := range n.Typmods {
			if c, ok := m.(*ast.Const); ok {
				mods = append(mods, int32(c.Int))
			}
		}
		m, err := types.TypmodIn(t, mods)
		if err != nil {
			return nil, err
		}
		t = t.WithTypmod(m)
	}
	if n.IsArray() {
		t = types.ArrayOf(t)
	}
	return t, nil
}

func (db *testDB) newSeq(name string) uint32 {
	db.next++
	db.seqs[db.next] = new(int64)
	db.names[db.next] = name
	return db.next
}

// ctx makes the function context, with sequences.
func (db *testDB) ctx(ctx context.Context) *builtin.Ctx {
	return &builtin.Ctx{Context: ctx, Settings: types.DefaultSettings, Hook: func(f *builtin.Func) builtin.EvalFunc {
		if f.Name != "nextval" {
			return nil
		}
		return func(_ *builtin.Ctx, args []types.Datum) (types.Datum, error) {
			v := db.seqs[uint32(args[0].Int())]
			*v++
			return types.NewInt(*v), nil
		}
	}}
}

func (db *testDB) createTable(st *ast.CreateTableStmt) error {
	db.next++
	t := &plan.Table{ID: db.next, StorageID: db.next, Schema: "public", Name: st.Table.Name, RowCount: -1}
	var pk []string
	pkName := st.Table.Name + "_pkey"
	index := uint16(2)
	type uniq struct {
		name string
		cols []string
		nnd  bool
	}
	var uniques []uniq
	var fks []*plan.ForeignKey
	addFK := func(c *ast.Constraint, cols []string) error {
		parent := db.tables[c.RefTable.Name]
		if c.RefTable.Name == t.Name {
			parent = t
		}
		if parent == nil {
			return pgerr.New(pgerr.UndefinedTable, "relation %q does not exist", c.RefTable.Name)
		}
		f := &plan.ForeignKey{Name: c.Name, ChildID: t.ID, ParentID: parent.ID, OnDelete: plan.FKAction(c.OnDelete), OnUpdate: plan.FKAction(c.OnUpdate),
			ChildSchema: "public", ChildName: t.Name, ParentSchema: "public", ParentName: parent.Name, MatchFull: c.Match == ast.FKMatchFull}
		if f.Name == "" {
			f.Name = t.Name + "_" + strings.Join(cols, "_") + "_fkey"
		}
		for _, n := range cols {
			f.ChildCols = append(f.ChildCols, t.Columns[slices.IndexFunc(t.Columns, func(c *plan.TableColumn) bool { return c.Name == n })].ID)
		}
		if len(c.RefColumns) == 0 {
			for _, k := range parent.Primary.Keys {
				f.ParentCols = append(f.ParentCols, parent.Columns[k.Col].ID)
			}
		}
		for _, n := range c.RefColumns {
			f.ParentCols = append(f.ParentCols, parent.Columns[parent.Column(n)].ID)
		}
		fks = append(fks, f)
		t.FKs = append(t.FKs, f)
		parent.Inbound = append(parent.Inbound, f)
		return nil
	}
	var late []func() error
	checks := func(c *ast.Constraint, name string) {
		if c.Name != "" {
			name = c.Name
		}
		t.Checks = append(t.Checks, &plan.Check{Name: name, Expr: c.Expr})
	}
	for i, c := range st.Columns {
		ty, err := db.Type(nil, c.Type)
		if err != nil {
			return err
		}
		col := &plan.TableColumn{ID: uint32(i + 1), AttNum: int16(i + 1), Name: c.Name, T: ty}
		t.Columns = append(t.Columns, col)
		if n := c.Type.Name(); n == "serial" || n == "bigserial" {
			col.Sequence, col.NotNull = db.newSeq(t.Name+"_"+c.Name+"_seq"), true
		}
		for _, k := range c.Constraints {
			switch k.Kind {
			case ast.ConstrNotNull:
				col.NotNull = true
			case ast.ConstrDefault:
				col.Default = k.Expr
			case ast.ConstrIdentity:
				col.Sequence, col.NotNull = db.newSeq(t.Name+"_"+c.Name+"_seq"), true
				col.Identity = 'd'
				if k.Always {
					col.Identity = 'a'
				}
			case ast.ConstrGenerated:
				col.Generated = k.Expr
			case ast.ConstrCheck:
				checks(k, t.Name+"_"+c.Name+"_check")
			case ast.ConstrPrimary:
				pk = []string{c.Name}
			case ast.ConstrUnique:
				name := k.Name
				if name == "" {
					name = t.Name + "_" + c.Name + "_key"
				}
				uniques = append(uniques, uniq{name, []string{c.Name}, k.NullsNotDistinct})
			case ast.ConstrForeign:
				late = append(late, func() error { return addFK(k, []string{c.Name}) })
			}
		}
	}
	for _, k := range st.Constraints {
		switch k.Kind {
		case ast.ConstrCheck:
			checks(k, t.Name+"_check")
		case ast.ConstrPrimary:
			pk = k.Columns
			if k.Name != "" {
				pkName = k.Name
			}
		case ast.ConstrUnique:
			name := k.Name
			if name == "" {
				name = t.Name + "_" + strings.Join(k.Columns, "_") + "_key"
			}
			uniques = append(uniques, uniq{name, k.Columns, k.NullsNotDistinct})
		case ast.ConstrForeign:
			late = append(late, func() error { return addFK(k, k.FKColumns) })
		}
	}
	if pk == nil {
		t.Columns = append(t.Columns, &plan.TableColumn{ID: uint32(len(t.Columns) + 1), AttNum: int16(len(t.Columns) + 1), Name: "rowid", T: types.Int8, NotNull: true, Hidden: true})
		pk = []string{"rowid"}
	}
	t.Finish()
	keys := func(names []string) []plan.IndexKey {
		var out []plan.IndexKey
		for _, n := range names {
			o := t.Column(n)
			out = append(out, plan.IndexKey{Col: o, T: t.Columns[o].T})
		}
		return out
	}
	t.Primary = &plan.Index{ID: 1, Name: pkName, Primary: true, Unique: true, Keys: keys(pk), Constraint: pkName}
	for _, k := range t.Primary.Keys {
		t.Columns[k.Col].NotNull = true
	}
	for _, u := range uniques {
		t.Indexes = append(t.Indexes, &plan.Index{ID: index, Name: u.name, Unique: true, Keys: keys(u.cols), Constraint: u.name, NullsNotDistinct: u.nnd})
		index++
	}
	db.tables[t.Name] = t
	for _, f := range late {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// createIndex adds an index and fills it by rewriting the table's rows.
func (db *testDB) createIndex(ctx context.Context, st *ast.CreateIndexStmt) error {
	old := db.tables[st.Table.Name]
	if old == nil {
		return pgerr.New(pgerr.UndefinedTable, "relation %q does not exist", st.Table.Name)
	}
	if db.noIndexes && !st.Unique {
		return nil
	}
	t := &plan.Table{ID: old.ID, StorageID: old.StorageID, Schema: old.Schema, Name: old.Name, Columns: old.Columns, Primary: old.Primary,
		Indexes: slices.Clone(old.Indexes), Checks: old.Checks, FKs: old.FKs, Inbound: old.Inbound, RowCount: old.RowCount}
	t.Finish()
	ix := &plan.Index{ID: uint16(2 + len(t.Indexes)), Name: st.Name, Unique: st.Unique, Where: st.Where, Inverted: st.AccessMethod == "gin"}
	for _, e := range st.Elems {
		k := plan.IndexKey{Col: -1, Desc: e.Dir == ast.SortDesc}
		if e.Expr != nil {
			k.Expr = e.Expr
			k.T = types.Text
			if strings.Contains(fmt.Sprintf("%+v", e.Expr), "int") {
				k.T = types.Int4
			}
		} else {
			k.Col = t.Column(e.Name)
			k.T = t.Columns[k.Col].T
		}
		k.NullsFirst = k.Desc
		if e.Nulls == ast.NullsFirst {
			k.NullsFirst = true
		} else if e.Nulls == ast.NullsLast {
			k.NullsFirst = false
		}
		if ix.Inverted {
			if k.Class = inverted.Default(k.T); len(e.OpClass) > 0 {
				k.Class = inverted.Named(e.OpClass[0])
			}
		}
		ix.Keys = append(ix.Keys, k)
	}
	for _, n := range st.Include {
		ix.Include = append(ix.Include, t.Column(n.Name))
	}
	t.Indexes = append(t.Indexes, ix)
	db.tables[t.Name] = t
	txn, err := db.kv.Begin(ctx, kv.TxnOptions{})
	if err != nil {
		return err
	}
	if _, err := BuildIndex(ctx, &Env{Txn: txn, Builtin: db.ctx(ctx), Catalog: db}, t, ix); err != nil {
		txn.Rollback(ctx)
		db.tables[t.Name] = old
		return err
	}
	_, err = txn.Commit(ctx)
	return err
}

type testResult struct {
	cols []string
	rows [][]string
	tag  string
}

func (r *testResult) String() string {
	var b strings.Builder
	for _, row := range r.rows {
		b.WriteString(strings.Join(row, "|"))
		b.WriteByte('\n')
	}
	return b.String()
}

// run executes statements; the last one's result is returned.
func (db *testDB) run(text string, params ...types.Datum) (*testResult, error) {
	ctx := context.Background()
	stmts, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	res := &testResult{}
	for _, s := range stmts {
		if res, err = db.stmt(ctx, s, params); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func (db *testDB) stmt(ctx context.Context, s ast.Statement, params []types.Datum) (*testResult, error) {
	switch st := s.Stmt.(type) {
	case *ast.CreateTableStmt:
		return &testResult{tag: "CREATE TABLE"}, db.createTable(st)
	case *ast.CreateIndexStmt:
		return &testResult{tag: "CREATE INDEX"}, db.createIndex(ctx, st)
	case *ast.DropStmt:
		for _, o := range st.Objects {
			n := o.Names
			delete(db.tables, n[len(n)-1])
		}
		return &testResult{tag: "DROP"}, nil
	}
	b := db.ctx(ctx)
	p, err := plan.Prepare(ctx, s.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, NumParams: s.NumParams, Builtin: b, RemoteRows: db.remoteRows})
	if err != nil {
		return nil, err
	}
	return db.exec(ctx, p, b, params)
}

func (db *testDB) exec(ctx context.Context, p *plan.Plan, b *builtin.Ctx, params []types.Datum) (*testResult, error) {
	txn := db.txn
	if txn == nil {
		var err error
		if txn, err = db.kv.Begin(ctx, kv.TxnOptions{Isolation: db.iso, ReadOnly: p.ReadOnly}); err != nil {
			return nil, err
		}
		defer txn.Rollback(ctx)
	}
	env := &Env{Txn: txn, Isolation: db.iso, ReadOnly: p.ReadOnly && db.txn == nil, Params: params, Builtin: b, Catalog: db}
	res := &testResult{}
	for _, c := range p.Columns {
		res.cols = append(res.cols, c.Name)
	}
	r, err := Run(ctx, p, env, func(row []types.Datum) error {
		out := make([]string, len(row))
		for i, d := range row {
			if d.IsNull() {
				out[i] = "NULL"
			} else {
				out[i] = string(types.AppendText(nil, d, p.Columns[i].Type, types.DefaultSettings))
			}
		}
		res.rows = append(res.rows, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	res.tag = fmt.Sprintf("%s %d", r.Verb, r.Rows)
	if db.txn == nil {
		_, err = txn.Commit(ctx)
	}
	return res, err
}

func (db *testDB) must(text string, params ...types.Datum) *testResult {
	db.t.Helper()
	r, err := db.run(text, params...)
	if err != nil {
		db.t.Fatalf("%s\n%v", text, err)
	}
	return r
}

// errText is an error as golden files show it.
func errText(err error) string {
	var out strings.Builder
	if e, ok := err.(*pgerr.Error); ok {
		fmt.Fprintf(&out, "ERROR %s: %s", e.Code, e.Message)
		if e.Detail != "" {
			fmt.Fprintf(&out, "\nDETAIL: %s", e.Detail)
		}
		if e.Hint != "" {
			fmt.Fprintf(&out, "\nHINT: %s", e.Hint)
		}
		return out.String()
	}
	return "ERROR " + err.Error()
}

func tableOf(s ast.Statement) *ast.RangeVar { return s.Stmt.(*ast.InsertStmt).Table }
