package plan

import (
	"context"
	"sort"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// binder is the state of one Prepare.
type binder struct {
	ctx      context.Context
	env      *Env
	path     []string // search path, a view's own while its query is bound
	fold     *builtin.Ctx
	params   []*Param
	slots    int
	subqs    []*Subquery
	ctes     int
	tables   map[uint32]struct{}
	depth    int
	maxDepth int
	// viewDepth guards against views that refer to themselves.
	viewDepth int
	// writes: the statement modifies something; calls: functions that may, and refuse to themselves where they must not;
	// volatile: it calls a volatile function.
	// mutable: a function or cast in it is not immutable.
	writes, calls, volatile, mutable bool
	noFold                           bool
	caseSlots                        []Slot
	hiddenRels                       []string
	nodeIDs                          int
	hints                            []types.Datum // values of the parameters, for estimates
	needs                            map[needKey]map[int16]bool
	unchecked                        bool                             // privileges were noted already
	ruleSources                      []func() (Node, []nsItem, error) // what stands for the rows of statements that are rewritten by rules
	ruling                           []ruleKey                        // rules that are being applied
	targets                          map[uint32]bool                  // relations that are written to
	role                             uint32                           // owner of the view that is being bound
	policing                         []uint32                         // tables whose policies are being bound
	secure                           bool                             // the plan depends on Env.Security
	stored                           int                              // depth of stored expressions and views, which see no Variables
}

func newBinder(ctx context.Context, env *Env) *binder {
	b := &binder{ctx: ctx, env: env, path: env.SearchPath, fold: env.Builtin, tables: map[uint32]struct{}{}, maxDepth: env.MaxDepth}
	if b.fold == nil {
		b.fold = &builtin.Ctx{Context: ctx, Settings: types.DefaultSettings}
	}
	if b.maxDepth == 0 {
		b.maxDepth = 6000
	}
	return b
}

func (b *binder) newSlot() Slot {
	b.slots++
	return b.slots - 1
}

func (b *binder) nextCTE() int {
	b.ctes++
	return b.ctes - 1
}

func prepare(ctx context.Context, stmt ast.Stmt, env Env) (*Plan, error) {
	if ex, ok := stmt.(*ast.ExplainStmt); ok {
		return prepareExplain(ctx, ex, env)
	}
	b := newBinder(ctx, &env)
	s := &scope{b: b, q: &query{}}
	var q *bound
	var err error
	p := &Plan{Verb: stmt.Tag(), ReadOnly: true}
	switch st := stmt.(type) {
	case *ast.SelectStmt:
		q, err = s.selectStmt(st)
	case *ast.InsertStmt:
		p.Verb, p.ReadOnly = "INSERT 0", false
		q, err = s.dml(st)
	case *ast.UpdateStmt, *ast.DeleteStmt, *ast.MergeStmt:
		p.ReadOnly = false
		q, err = s.dml(st)
	default:
		return nil, pgerr.Unsupported("%s cannot be planned", stmt.Tag())
	}
	if err != nil {
		return nil, err
	}
	return b.finish(p, q)
}

// decidedParams are the types of a statement's parameters, those that it does not mention included.
func (b *binder) decidedParams() ([]*types.T, error) {
	var out []*types.T
	for i := range b.env.NumParams {
		if i >= len(b.params) {
			t := types.Unknown
			if i < len(b.env.ParamTypes) && b.env.ParamTypes[i] != nil {
				t = b.env.ParamTypes[i]
			}
			b.params = append(b.params, &Param{N: i, T: t})
		}
	}
	for i, x := range b.params {
		if x.T.OID == types.OIDUnknown {
			return nil, pgerr.New(pgerr.IndeterminateDatatype, "could not determine data type of parameter $%d", i+1)
		}
		out = append(out, x.T)
	}
	return out, nil
}

// finish optimises a bound statement and completes its plan.
func (b *binder) finish(p *Plan, q *bound) (*Plan, error) {
	for i := range q.cols {
		q.cols[i].expr = b.settle(q.cols[i].expr)
		c := q.cols[i]
		p.Columns = append(p.Columns, Column{Name: c.name, Type: c.expr.Type(), TableOID: c.table, AttNum: c.attnum})
	}
	var err error
	if p.ParamTypes, err = b.decidedParams(); err != nil {
		return nil, err
	}
	if b.env.ParamValues != nil {
		b.hints = b.env.ParamValues(p.ParamTypes)
	}
	out := make([]Expr, len(q.cols))
	for i := range q.cols {
		out[i] = q.cols[i].expr
	}
	o := &optimizer{b: b}
	root, out, err := o.optimize(q.node, out)
	if err != nil {
		return nil, err
	}
	p.Root, p.Output = root, out
	p.NumSlots, p.Subqueries, p.NumCTEs = b.slots, o.subqs, b.ctes
	if b.writes || b.calls {
		p.Calls = p.ReadOnly && !b.writes
		p.ReadOnly = false
	}
	for id := range b.tables {
		p.Tables = append(p.Tables, id)
	}
	sort.Slice(p.Tables, func(i, j int) bool { return p.Tables[i] < p.Tables[j] })
	p.Volatile, p.Mutable = b.volatile, b.mutable
	p.NumNodes = b.nodeIDs
	p.Needs = b.listNeeds()
	b.secureFor(p)
	p.Fast, p.PointKey = fastPath(p)
	if p.Fast == nil {
		o.hasten(p.Root)
	}
	return p, nil
}
