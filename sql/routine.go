package sql

import (
	"context"
	"errors"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// Users' functions run inside the statement that calls them, in its transaction.

const (
	// maxRoutineDepth bounds calls inside calls; triggers count.
	maxRoutineDepth = 250
	// maxRoutines bounds the functions whose code a session keeps.
	maxRoutines = 500
)

// routineCode is what a session keeps of a function that it has called.
type routineCode struct {
	desc  *catalog.Function
	sql   []*routineStmt
	pl    *plpgsql.Function
	plans map[*plpgsql.Query]*routineStmt
}

// routineStmt is a statement of a function with its plan.
type routineStmt struct {
	node    ast.Stmt
	text    string // that errors show; shift is what a position in node's text is more than one in it
	shift   int
	plan    *plan.Plan
	version uint64
	epoch   uint64
	params  []*types.T
	trans   transitionKey
}

// coercionKey names a conversion.
type coercionKey struct {
	from, to types.OID
	typmod   int32
}

type coercion func(*builtin.Ctx, types.Datum) (types.Datum, error)

// routineState is a session's part of running functions.
type routineState struct {
	code  map[uint32]*routineCode
	casts map[coercionKey]coercion
	depth int
	// triggers is how many of them are triggers' functions.
	triggers int
	// client is set while a CALL or DO is the whole of an implicit transaction, and transactional passes that on to the
	// procedure that is entered next, which may then end transactions. committed says that one did.
	client, transactional, committed bool
	// trans are the transition tables of the trigger function that is running.
	trans *transitionTables
	// event is set while an event trigger's function runs.
	event *eventContext
	// caught counts the blocks with exception handlers that are running.
	caught int
	// frames are the calls and queries that are running, the innermost last.
	frames []frame
}

// callRoutine implements builtin.Ctx.Routine.
func (s *Session) callRoutine(call *builtin.Call, args []types.Datum) ([][]types.Datum, error) {
	r := call.Func.User.(*plan.Routine)
	if s.audit.on {
		s.auditCall(r.Desc)
	}
	if r.Desc.Ret.OID == types.OIDTrigger || r.Desc.Ret.OID == types.OIDEventTrigger {
		return nil, pgerr.Unsupported("trigger functions can only be called as triggers")
	}
	fields := call.Columns
	if fields == nil && call.Ret.Kind == types.KindTuple && call.Ret.Def != nil {
		fields = call.Ret.Def.Fields
	}
	vals := make([]plpgsql.Value, len(args))
	for i, d := range args {
		t := call.Func.Types[i]
		if i < len(call.Args) && (t.Class == 'p' || t.OID == types.OIDRecord) {
			t = call.Args[i]
			if call.Gathered > 0 && i == len(call.Func.Types)-1 {
				t = types.ArrayOf(t)
			}
		}
		vals[i] = plpgsql.Value{D: types.Detach(d), T: t}
	}
	return s.runRoutine(r.Desc, vals, plpgsql.Return{Type: call.Ret, Set: call.RetSet, Void: call.Ret.OID == types.OIDVoid || r.Desc.Procedure && len(r.Desc.Outputs()) == 0, Fields: fields})
}

// runRoutine runs a function's body as its owner and under its settings, where it says so.
func (s *Session) runRoutine(f *catalog.Function, args []plpgsql.Value, ret plpgsql.Return) (rows [][]types.Datum, err error) {
	transactional := s.routines.transactional && len(f.Settings) == 0 && !f.Definer
	s.routines.transactional = false
	leave, err := s.enterRoutine(f)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx := s.bctx.Context
	code, err := s.codeOf(f, args, ret.Trigger)
	if err != nil {
		return nil, err
	}
	if code.pl != nil {
		m := &plpgsql.Machine{Host: &routineHost{s: s, code: code, transactional: transactional}, Fn: code.pl, Ret: ret}
		defer s.enterFrame(m, &err)()
		if err := m.Start(ctx, args); err != nil {
			return nil, err
		}
		if err := m.Run(ctx); err != nil {
			return nil, err
		}
		if ret.Void && !f.Procedure {
			return [][]types.Datum{{types.NewString("")}}, nil
		}
		return m.Rows, nil
	}
	return s.runSQLRoutine(ctx, f, code, args, ret)
}

// enterRoutine prepares for a function's body; leave undoes it.
func (s *Session) enterRoutine(f *catalog.Function) (leave func(), err error) {
	if s.routines.depth >= maxRoutineDepth {
		return nil, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded").
			WithHint("Functions and triggers may call one another %d levels deep.", maxRoutineDepth)
	}
	s.routines.depth++
	bctx, user, super, trans := s.bctx.Context, s.user, s.superuser, s.routines.trans
	s.routines.trans = nil
	undo := []func(){func() {
		s.routines.depth--
		s.routines.trans = trans
		s.bctx.Context, s.user, s.superuser = bctx, user, super
	}}
	leave = func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	if f.Definer {
		if v, ok := s.txn.catalog.(*catalogView); ok {
			if r := v.snap.RoleByID(f.Owner); r != nil {
				s.user, s.superuser = r.Name, r.Super
			}
		}
	}
	for _, set := range f.Settings {
		old := s.setting(set.Name)
		if err := s.setSetting(set.Name, set.Value, true); err != nil {
			leave()
			return nil, err
		}
		undo = append(undo, func() { s.setSetting(set.Name, old, true) })
	}
	if f.Atomic && len(f.Path) > 0 {
		path := s.searchPath
		s.searchPath = append([]string{"pg_catalog"}, f.Path...)
		undo = append(undo, func() { s.searchPath = path })
	}
	return leave, nil
}

// codeOf parses a function's body, once for each version of it.
func (s *Session) codeOf(f *catalog.Function, args []plpgsql.Value, trigger bool) (*routineCode, error) {
	poly := false
	for _, a := range f.Args {
		if t := types.ByOID(a.Type.OID); t != nil && t.Class == 'p' {
			poly = true
		}
	}
	if c := s.routines.code[f.ID]; c != nil && c.desc == f && !poly {
		return c, nil
	}
	c, err := s.compile(f, args, trigger)
	if err != nil || f.ID == 0 {
		return c, err
	}
	if s.routines.code == nil || len(s.routines.code) >= maxRoutines {
		s.routines.code = map[uint32]*routineCode{}
	}
	s.routines.code[f.ID] = c
	return c, nil
}

func (s *Session) compile(f *catalog.Function, args []plpgsql.Value, trigger bool) (*routineCode, error) {
	c := &routineCode{desc: f, plans: map[*plpgsql.Query]*routineStmt{}}
	if f.Lang == "sql" {
		sts, err := parser.Parse(f.Body)
		if err != nil {
			return nil, unplaced(err)
		}
		for _, st := range sts {
			c.sql = append(c.sql, &routineStmt{node: st.Stmt, text: f.Body})
		}
		return c, nil
	}
	sig := plpgsql.Signature{Name: f.Name, Display: s.routineSignature(f), Trigger: trigger || f.Ret.OID == types.OIDTrigger, EventTrigger: f.Ret.OID == types.OIDEventTrigger}
	in := 0
	for _, a := range f.Args {
		p := plpgsql.Param{Name: a.Name, Type: s.resolveType(a.Type.OID), Mode: a.Mode}
		if a.Mode != 'o' && a.Mode != 't' {
			if in < len(args) && args[in].T != nil && p.Type != nil && p.Type.Class == 'p' {
				p.Type = args[in].T
			}
			in++
		}
		sig.Params = append(sig.Params, p)
	}
	var err error
	c.pl, err = plpgsql.Parse(f.Body, sig, typeLookup{s})
	return c, err
}

// unplaced drops an error's position, which is none in the text that the client sent.
func unplaced(err error) error {
	var e *pgerr.Error
	if errors.As(err, &e) && e.Position > 0 {
		k := *e
		k.Position = 0
		return &k
	}
	return err
}

// typeLookup implements plpgsql.Types.
type typeLookup struct{ s *Session }

func (l typeLookup) Type(name string) (*types.T, error) {
	n, err := parser.ParseType(name)
	if err != nil {
		return nil, unplaced(err)
	}
	c, err := l.s.pinCatalog(l.s.context())
	if err != nil {
		return nil, err
	}
	t, err := c.Type(l.s.path(), n)
	return t, unplaced(err)
}

func (l typeLookup) table(names []string) (*plan.Table, error) {
	c, err := l.s.pinCatalog(l.s.context())
	if err != nil {
		return nil, err
	}
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2]
	}
	t, err := c.Table(l.s.path(), schema, names[len(names)-1])
	if err == nil && t == nil {
		err = pgerr.New(pgerr.UndefinedTable, "relation %q does not exist", strings.Join(names, "."))
	}
	return t, err
}

func (l typeLookup) ColumnType(names []string) (*types.T, error) {
	if len(names) < 2 {
		return nil, pgerr.New(pgerr.SyntaxError, "invalid type name %q", strings.Join(names, ".")+"%TYPE")
	}
	t, err := l.table(names[:len(names)-1])
	if err != nil {
		return nil, err
	}
	i := t.Column(names[len(names)-1])
	if i < 0 {
		return nil, pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", names[len(names)-1], t.Name)
	}
	return t.Columns[i].T, nil
}

func (l typeLookup) RowType(names []string) (*types.T, error) {
	t, err := l.table(names)
	if err != nil {
		return nil, err
	}
	return l.s.rowTypeOf(t), nil
}

// rowTypeOf is the row type of a table.
func (s *Session) rowTypeOf(t *plan.Table) *types.T {
	if d, ok := t.Descriptor.(*catalog.Table); ok {
		if v, ok := s.txn.catalog.(*catalogView); ok {
			return v.snap.RowTypeOf(d)
		}
	}
	def := &types.Def{}
	for _, c := range t.Columns {
		if !c.Hidden {
			def.Fields = append(def.Fields, types.Field{Name: c.Name, Type: c.T})
		}
	}
	r := *types.Record
	r.Def = def
	return &r
}

func (s *Session) context() context.Context {
	if s.bctx.Context != nil {
		return s.bctx.Context
	}
	return s.stmtCtx.base
}

// sqlVars are the parameters of a function in SQL, by name; a column of the same name comes first.
type sqlVars struct {
	fn    string
	names map[string]int
}

func (v sqlVars) Variable(names []string) (param, used int, ok bool) {
	if len(names) > 1 && names[0] == v.fn {
		if i, ok := v.names[names[1]]; ok {
			return i, 2, true
		}
	}
	i, ok := v.names[names[0]]
	return i, 1, ok
}

func (v sqlVars) Conflict() plan.NameConflict { return plan.PreferColumn }

func (v sqlVars) Field(e plan.Expr, name string, pos int32, field func(plan.Expr, string, int32) (plan.Expr, error)) (plan.Expr, error) {
	return field(e, name, pos)
}

func varsOf(f *catalog.Function) sqlVars {
	v := sqlVars{fn: f.Name, names: map[string]int{}}
	for i, a := range f.Inputs() {
		if a.Name != "" {
			v.names[a.Name] = i
		}
	}
	return v
}

// runSQLRoutine runs the statements of a function in SQL; the last one's rows are the result.
func (s *Session) runSQLRoutine(ctx context.Context, f *catalog.Function, code *routineCode, args []plpgsql.Value, ret plpgsql.Return) (out [][]types.Datum, err error) {
	vars := varsOf(f)
	fr := &sqlFrame{name: f.Name, inline: inlined(f, code, ret)}
	defer s.enterFrame(fr, &err)()
	for i, st := range code.sql {
		fr.stmt = 0
		if isPlanned(st.node) {
			p, err := s.planRoutine(ctx, st, vars, paramTypes(args))
			if err != nil {
				return nil, err
			}
			// What columns the caller expects of a record is known only now.
			if i == len(code.sql)-1 && f.Ret.OID == types.OIDRecord && len(f.Outputs()) == 0 && ret.Fields != nil {
				if err := checkResultColumns(types.Record, p.Columns, ret.Fields); err != nil {
					return nil, err
				}
			}
		}
		fr.stmt = i + 1
		last := i == len(code.sql)-1 && !ret.Void
		emit := func(cols []plpgsql.Column, row []types.Datum) error {
			if !last {
				return nil
			}
			r, err := s.resultRow(ctx, cols, row, ret)
			if err != nil {
				return err
			}
			out = append(out, r)
			if !ret.Set {
				return errFirstRow
			}
			return nil
		}
		_, err := s.runRoutineStmt(ctx, f.Volatility, st, vars, args, emit)
		if err != nil && !(last && errors.Is(err, errFirstRow)) {
			return nil, err
		}
	}
	return out, nil
}

var errFirstRow = errors.New("sql: one row is enough")

// resultRow converts a row of a function's last statement to what the function returns.
func (s *Session) resultRow(ctx context.Context, cols []plpgsql.Column, row []types.Datum, ret plpgsql.Return) ([]types.Datum, error) {
	h := &routineHost{s: s}
	if ret.Anonymous() {
		if len(row) == 1 && row[0].Kind() == types.KindTuple {
			return []types.Datum{types.Detach(row[0])}, nil
		}
		return []types.Datum{plpgsql.Record(cols, row).D}, nil
	}
	if ret.Fields == nil {
		out := make([]types.Datum, len(row))
		for i, d := range row {
			if i == 0 && ret.Type.Kind != types.KindTuple {
				if got := cols[i].Type; got.OID != types.OIDUnknown && !builtin.CanCoerce(got, ret.Type, builtin.CastAssignment) {
					// It was made with check_function_bodies off, or for another definition of what it reads.
					return nil, resultMismatch(ret.Type).WithDetail("Actual return type is %s.", types.TypeName(got))
				}
				var err error
				if d, err = h.Coerce(ctx, plpgsql.Value{D: d, T: cols[i].Type}, ret.Type); err != nil {
					return nil, err
				}
			}
			out[i] = types.Detach(d)
		}
		return out, nil
	}
	if len(row) == 1 && len(ret.Fields) != 1 && row[0].Kind() == types.KindTuple {
		t := row[0].Tuple()
		cols = nil
		for i := range t.Elems {
			cols = append(cols, plpgsql.Column{Type: ret.Fields[min(i, len(ret.Fields)-1)].Type})
		}
		row = t.Elems
	}
	if len(row) != len(ret.Fields) {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "function return row and query-specified return row do not match").
			WithDetail("Returned row contains %d attributes, but query expects %d.", len(row), len(ret.Fields))
	}
	out := make([]types.Datum, len(row))
	for i, d := range row {
		d, err := h.Coerce(ctx, plpgsql.Value{D: d, T: cols[i].Type}, ret.Fields[i].Type)
		if err != nil {
			return nil, err
		}
		out[i] = types.Detach(d)
	}
	return out, nil
}

// sameParams reports whether a plan made for parameters of these types fits others.
func sameParams(a, b []*types.T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x.OID != y.OID || x.Typmod != y.Typmod || (x.Def == nil) != (y.Def == nil) {
			return false
		}
		if x.Def == nil || x.OID != types.OIDRecord {
			continue
		}
		if len(x.Def.Fields) != len(y.Def.Fields) {
			return false
		}
		for k := range x.Def.Fields {
			if x.Def.Fields[k].Name != y.Def.Fields[k].Name || x.Def.Fields[k].Type.OID != y.Def.Fields[k].Type.OID {
				return false
			}
		}
	}
	return true
}

// planRoutine returns the plan of a function's statement for parameters of these types.
func (s *Session) planRoutine(ctx context.Context, st *routineStmt, vars plan.Variables, params []*types.T) (*plan.Plan, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	version := c.Version()
	if st.plan != nil && st.version == version && st.epoch == s.plannerEpoch && s.serves(st.plan) && st.trans == s.routines.trans.keyOf() && sameParams(st.params, params) {
		return st.plan, nil
	}
	p, err := plan.Prepare(ctx, st.node, plan.Env{Catalog: c, SearchPath: s.path(), Builtin: &s.bctx, Anonymous: s.anonymous(), NumParams: len(params), ParamTypes: params, Variables: vars,
		Security: s.security(), Relations: s.routines.trans.visible()})
	if err != nil {
		return nil, placedIn(err, st.text, st.shift)
	}
	st.plan, st.version, st.epoch, st.params, st.trans = p, version, s.plannerEpoch, params, s.routines.trans.keyOf()
	return p, nil
}

// paramTypes are the types of variables as parameters; a record without a value is a record without fields.
func paramTypes(vals []plpgsql.Value) []*types.T {
	out := make([]*types.T, len(vals))
	for i, v := range vals {
		out[i] = v.T
		if v.T == nil {
			out[i] = types.Record
		}
	}
	return out
}

func datums(vals []plpgsql.Value) []types.Datum {
	out := make([]types.Datum, len(vals))
	for i, v := range vals {
		out[i] = v.D
	}
	return out
}

func columnsOfPlan(p *plan.Plan) []plpgsql.Column {
	if len(p.Columns) == 0 {
		return nil
	}
	out := make([]plpgsql.Column, len(p.Columns))
	for i, c := range p.Columns {
		out[i] = plpgsql.Column{Name: c.Name, Type: c.Type}
	}
	return out
}

// runRoutineStmt runs a statement of a function.
func (s *Session) runRoutineStmt(ctx context.Context, volatility byte, st *routineStmt, vars plan.Variables, vals []plpgsql.Value, emit func([]plpgsql.Column, []types.Datum) error) (plpgsql.Result, error) {
	if !isPlanned(st.node) {
		return plpgsql.Result{}, s.runRoutineUtility(ctx, volatility, st)
	}
	for try := 0; ; try++ {
		p, err := s.planRoutine(ctx, st, vars, paramTypes(vals))
		if err != nil {
			return plpgsql.Result{}, err
		}
		if _, isSelect := st.node.(*ast.SelectStmt); !isSelect && volatility != 'v' {
			return plpgsql.Result{}, pgerr.Unsupported("%s is not allowed in a non-volatile function", st.node.Tag())
		}
		var env exec.Env
		if s.txn.lone && !p.ReadOnly {
			return plpgsql.Result{}, errReadOnly(p.Verb)
		}
		if err := s.prepareEnv(ctx, &env, p, datums(vals)); err != nil {
			if errors.Is(err, catalog.ErrChanged) && try < maxReplans {
				if err := s.txn.catalog.Statement(ctx); err != nil {
					return plpgsql.Result{}, err
				}
				continue
			}
			return plpgsql.Result{}, err
		}
		cols := columnsOfPlan(p)
		var sink func([]types.Datum) error
		if len(cols) > 0 || p.Verb == "SELECT" {
			sink = func(row []types.Datum) error {
				if emit == nil {
					return nil
				}
				return emit(cols, row)
			}
		}
		res, err := exec.Run(ctx, p, &env, sink)
		s.bctx.Context = ctx
		_, sel := st.node.(*ast.SelectStmt)
		return plpgsql.Result{Columns: cols, Rows: res.Rows, Select: sel}, err
	}
}

// quietOutput keeps the tags of statements inside a function from the client.
type quietOutput struct{ Output }

func (quietOutput) Complete(string)            {}
func (quietOutput) CompleteRows(string, int64) {}
func (quietOutput) EmptyQuery()                {}

// runRoutineUtility runs a statement that is not planned.
func (s *Session) runRoutineUtility(ctx context.Context, volatility byte, st *routineStmt) error {
	if volatility != 'v' {
		return pgerr.Unsupported("%s is not allowed in a non-volatile function", st.node.Tag())
	}
	switch st.node.(type) {
	case *ast.TransactionStmt:
		return pgerr.Unsupported("unsupported transaction command in PL/pgSQL")
	case *ast.CopyStmt, *ast.PrepareStmt, *ast.ExecuteStmt, *ast.DeallocateStmt, *ast.DeclareCursorStmt, *ast.FetchStmt, *ast.CloseStmt,
		*ast.DiscardStmt, *ast.VacuumStmt, *ast.ExplainStmt, *ast.CreateDatabaseStmt, *ast.DropDatabaseStmt:
		return pgerr.Unsupported("%s is not supported in a function", st.node.Tag())
	case *ast.SetStmt, *ast.LockStmt, *ast.ConstraintsSetStmt, *ast.NotifyStmt:
		out := s.out
		s.out = quietOutput{out}
		defer func() { s.out = out }()
		return s.runUtility(ctx, &statement{node: st.node}, nil, nil, false, false)
	}
	if s.txn.readOnly || s.txn.lone {
		return errReadOnly(st.node.Tag())
	}
	_, err := s.executeDDL(ctx, &statement{node: st.node}, nil)
	s.bctx.Context = ctx
	return err
}

// checkRoutine checks the body of a function that is being created.
func (s *Session) checkRoutine(ctx context.Context, f *catalog.Function) error {
	if s.setting("check_function_bodies") == "off" {
		return nil
	}
	s.bctx.Context = ctx
	var args []plpgsql.Value
	poly := false
	for _, a := range f.Inputs() {
		t := s.resolveType(a.Type.OID)
		if t == nil {
			t = types.Unknown
		}
		poly = poly || t.Class == 'p'
		args = append(args, plpgsql.Value{T: t})
	}
	code, err := s.compile(f, args, false)
	if err != nil || code.pl != nil || poly {
		return err
	}
	for _, st := range code.sql {
		st.text = "" // what the client sent has the body in it
	}
	return s.checkSQLRoutine(ctx, f, code, args)
}

// checkSQLRoutine plans the statements of a function in SQL and compares the last one's columns with the result.
func (s *Session) checkSQLRoutine(ctx context.Context, f *catalog.Function, code *routineCode, args []plpgsql.Value) error {
	ret := s.resolveType(f.Ret.OID)
	mismatch := func(format string, a ...any) error {
		return resultMismatch(ret).WithDetail(format, a...)
	}
	vars := varsOf(f)
	var last *plan.Plan
	for _, st := range code.sql {
		last = nil
		if !isPlanned(st.node) {
			if _, ok := st.node.(*ast.TransactionStmt); ok {
				return pgerr.New(invalidFunctionDefinition, "%s is not allowed in an SQL function", st.node.Tag())
			}
			continue
		}
		p, err := s.planRoutine(ctx, st, vars, paramTypes(args))
		if err != nil {
			return err
		}
		last = p
	}
	if f.Ret.OID == types.OIDVoid || f.Procedure && len(f.Outputs()) == 0 {
		return nil
	}
	if last == nil || len(last.Columns) == 0 {
		return mismatch("Function's final statement must be SELECT or INSERT/UPDATE/DELETE RETURNING.")
	}
	var fields []types.Field
	for _, a := range f.Outputs() {
		fields = append(fields, types.Field{Name: a.Name, Type: s.resolveType(a.Type.OID)})
	}
	if len(fields) <= 1 && f.Ret.OID != types.OIDRecord {
		fields = nil
		if ret.Kind == types.KindTuple && ret.Def != nil {
			fields = ret.Def.Fields
		}
	}
	if fields == nil {
		if ret.OID == types.OIDRecord {
			return nil
		}
		if len(last.Columns) != 1 {
			return mismatch("Final statement must return exactly one column.")
		}
		if got := last.Columns[0].Type; got.OID != types.OIDUnknown && !builtin.CanCoerce(got, ret, builtin.CastAssignment) {
			return mismatch("Actual return type is %s.", types.TypeName(got))
		}
		return nil
	}
	return checkResultColumns(ret, last.Columns, fields)
}

// checkResultColumns compares the columns of a function's last statement with those of its result.
func checkResultColumns(ret *types.T, cols []plan.Column, fields []types.Field) error {
	if len(cols) == 1 && cols[0].Type.Kind == types.KindTuple && len(fields) != 1 {
		return nil
	}
	if len(cols) < len(fields) {
		return resultMismatch(ret).WithDetail("Final statement returns too few columns.")
	}
	if len(cols) > len(fields) {
		return resultMismatch(ret).WithDetail("Final statement returns too many columns.")
	}
	for i, c := range cols {
		if c.Type.OID != types.OIDUnknown && !builtin.CanCoerce(c.Type, fields[i].Type, builtin.CastAssignment) {
			return resultMismatch(ret).WithDetail("Final statement returns %s instead of %s at column %d.", types.TypeName(c.Type), types.TypeName(fields[i].Type), i+1)
		}
	}
	return nil
}

func resultMismatch(ret *types.T) *pgerr.Error {
	return pgerr.New(invalidFunctionDefinition, "return type mismatch in function declared to return %s", types.TypeName(ret))
}

// invalidFunctionDefinition is SQLSTATE 42P13.
const invalidFunctionDefinition = "42P13"

// runDo is DO.
func (s *Session) runDo(ctx context.Context, n *ast.DoStmt) error {
	f := &catalog.Function{Header: catalog.Header{Name: "inline_code_block"}, Lang: "plpgsql", Volatility: 'v', Ret: catalog.TypeRef{OID: types.OIDVoid, Typmod: -1}}
	for _, o := range n.Options {
		switch o.Name {
		case "as":
			f.Body = o.Arg.Str
		case "language":
			f.Lang = strings.ToLower(o.Arg.Str)
		}
	}
	switch f.Lang {
	case "plpgsql":
	case "sql":
		return pgerr.Unsupported("language \"sql\" does not support inline code execution")
	default:
		return pgerr.New(pgerr.UndefinedObject, "language %q does not exist", f.Lang)
	}
	s.bctx.Context = ctx
	if _, err := s.pinCatalog(ctx); err != nil {
		return err
	}
	s.routines.transactional, s.routines.client = s.routines.client, false
	_, err := s.runRoutine(f, nil, plpgsql.Return{Void: true})
	return err
}
