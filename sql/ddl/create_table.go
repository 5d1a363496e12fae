package ddl

import (
	"context"
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// rowIDColumn is the hidden column that keys the rows of a table without a primary key.
const rowIDColumn = "rowid"

// maxColumns is PostgreSQL's limit.
const maxColumns = 1600

var systemColumns = map[string]bool{"ctid": true, "xmin": true, "cmin": true, "xmax": true, "cmax": true, "tableoid": true}

// serialTypes are the type names that mean an integer with a sequence.
var serialTypes = map[string]types.OID{
	"smallserial": types.OIDInt2, "serial2": types.OIDInt2, "serial": types.OIDInt4, "serial4": types.OIDInt4,
	"bigserial": types.OIDInt8, "serial8": types.OIDInt8,
}

func (x *executor) createTable(ctx context.Context, s *ast.CreateTableStmt) error {
	switch {
	case s.Foreign:
		return pgerr.Unsupported("foreign tables are not supported")
	case len(s.Inherits) > 0 && s.PartitionBy != nil:
		return pgerr.New(pgerr.InvalidObjectDefinition, "cannot create partitioned table as inheritance child")
	case s.PartitionOf != nil:
		return x.createPartition(ctx, s)
	}
	t, schema, err := x.newTable(ctx, s.Table, s.IfNotExists)
	if err != nil || t == nil {
		return err
	}
	t.Options = relOptions(s.Options)
	if t.Tablespace, err = x.tablespaceFor(s.Tablespace, t.Persistence == 't', s.PartitionBy != nil); err != nil {
		return err
	}
	if err := setOnCommit(t, s.OnCommit); err != nil {
		return err
	}
	columns, constraints, err := x.expandLikes(s)
	if err != nil {
		return err
	}
	if s.OfType != nil {
		if columns, err = x.columnsOfType(t, s); err != nil {
			return err
		}
	}
	b := &tableBuilder{x: x, t: t, schema: schema}
	if len(s.Inherits) > 0 {
		parents, err := x.parentsOf(t, s.Inherits)
		if err != nil {
			return err
		}
		if err := b.inheritFrom(ctx, parents); err != nil {
			return err
		}
	}
	for i, c := range columns {
		if have := t.Column(c.Name); have != nil && have.Inherited && !have.Local {
			err = b.mergeColumn(ctx, c, i+1)
		} else {
			err = b.addColumn(ctx, c)
		}
		if err != nil {
			return err
		}
	}
	if err := b.settleInherited(); err != nil {
		return err
	}
	b.constraints = append(b.constraints, constraints...)
	if s.PartitionBy != nil {
		t.Kind = catalog.RelPartitioned
		if t.Partitioning, err = x.partitionSpec(ctx, t, s.PartitionBy); err != nil {
			return err
		}
	}
	if err := b.finish(ctx); err != nil {
		return err
	}
	for _, id := range t.Inherits {
		if err := x.setHeir(ctx, id, t.ID, true); err != nil {
			return err
		}
	}
	return x.copyLikeIndexes(ctx, s, b.t)
}

// newTable makes the descriptor of a new relation; nil when it exists and that is fine.
func (x *executor) newTable(ctx context.Context, r *ast.RangeVar, ifNotExists bool) (*catalog.Table, *catalog.Schema, error) {
	schema, err := x.targetSchema(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	if x.relationTaken(schema, r.Name) {
		if ifNotExists {
			x.notice(pgerr.DuplicateTable, "relation %q already exists, skipping", r.Name)
			return nil, nil, nil
		}
		return nil, nil, pgerr.New(pgerr.DuplicateTable, "relation %q already exists", r.Name)
	}
	id, err := x.View.NewID(ctx)
	if err != nil {
		return nil, nil, err
	}
	rowType, err := x.View.NewID(ctx)
	if err != nil {
		return nil, nil, err
	}
	rowArray, err := x.View.NewID(ctx)
	if err != nil {
		return nil, nil, err
	}
	t := &catalog.Table{
		Header: catalog.Header{ID: id, Name: r.Name, Owner: x.User}, DB: schema.DB, Schema: schema.ID,
		Kind: catalog.RelTable, Persistence: 'p', NextIndexID: 1, RowType: rowType, RowArray: rowArray,
	}
	t.ACL = x.newACL(ast.ObjTable, schema.ID)
	switch r.Persistence {
	case ast.Temporary:
		t.Persistence = 't'
	case ast.Unlogged:
		t.Persistence = 'u' // Stored like any other: nothing here is cheaper to lose.
	}
	return t, schema, nil
}

// relOptions keeps storage parameters as PostgreSQL shows them. They have no effect.
func relOptions(opts []*ast.DefElem) []string {
	var out []string
	for _, o := range opts {
		v := "true"
		if o.Arg != nil {
			v = argText(o.Arg)
		}
		name := o.Name
		if o.Namespace != "" {
			name = o.Namespace + "." + name
		}
		out = append(out, name+"="+v)
	}
	return out
}

// argText writes an option's value as text.
func argText(a *ast.DefArg) string {
	if a == nil {
		return ""
	}
	switch a.Kind {
	case ast.DefString, ast.DefFloat:
		return a.Str
	case ast.DefInteger:
		return strconv.FormatInt(a.Int, 10)
	case ast.DefBool:
		return strconv.FormatBool(a.Bool)
	case ast.DefType:
		return a.Type.Name()
	case ast.DefNames:
		return a.Names[len(a.Names)-1]
	case ast.DefList:
		if len(a.Names) > 0 {
			return a.Names[len(a.Names)-1]
		}
	case ast.DefRole:
		return a.Role.Name
	case ast.DefExpr:
		return parser.DeparseExpr(a.Expr)
	}
	return ""
}

// tableBuilder collects the parts of a table that is being created or changed. Columns are added first;
// finish then adds what refers to them.
type tableBuilder struct {
	x           *executor
	t           *catalog.Table // not shared; replaced by finish with what was stored
	schema      *catalog.Schema
	constraints []*ast.Constraint // of the table, and of columns turned into those
	sequences   []*catalog.Table  // of serial and identity columns
	generated   []*ast.Constraint // ConstrDefault and ConstrGenerated with Columns set
	fresh       bool              // finish creates the table
	conflicts   map[string]string // by column: what of several parents differs
}

// addColumn adds a column with its constraints.
func (b *tableBuilder) addColumn(ctx context.Context, def *ast.ColumnDef) error {
	x := b.x
	at := int(ast.PgPos(def.Position()))
	if systemColumns[def.Name] {
		return pgerr.New(pgerr.DuplicateColumn, "column name %q conflicts with a system column name", def.Name)
	}
	if b.t.Column(def.Name) != nil {
		return pgerr.New(pgerr.DuplicateColumn, "column %q specified more than once", def.Name).WithPosition(0)
	}
	if len(b.t.Columns) >= maxColumns {
		return pgerr.New(pgerr.TooManyColumns, "tables can have at most %d columns", maxColumns)
	}
	c := &catalog.Column{Num: int16(len(b.t.Columns) + 1), Name: def.Name}
	serial := types.OID(0)
	if len(def.Type.Names) == 1 && !def.Type.IsArray() {
		serial = serialTypes[def.Type.Names[0]]
	}
	if serial != 0 {
		c.T = types.ByOID(serial)
		c.NotNull = true
	} else {
		t, err := x.resolveType(def.Type, def.Name)
		if err != nil {
			return err
		}
		c.T = t
	}
	c.Type = typeRef(c.T)
	if len(def.Collation) > 0 {
		if err := checkCollation(def.Collation, c.T); err != nil {
			return err
		}
		c.Collation = def.Collation[len(def.Collation)-1]
	}
	b.t.Columns = append(b.t.Columns, c)
	var null, notNull, deflt bool
	for _, k := range def.Constraints {
		switch k.Kind {
		case ast.ConstrNull:
			null = true
		case ast.ConstrNotNull:
			notNull = true
			c.NotNull = true
		case ast.ConstrDefault:
			if deflt {
				return pgerr.New(pgerr.SyntaxError, "multiple default values specified for column %q of table %q", c.Name, b.t.Name).WithPosition(at)
			}
			deflt = true
			b.generated = append(b.generated, &ast.Constraint{Kind: k.Kind, Columns: []string{c.Name}, Expr: k.Expr, Pos: k.Pos})
		case ast.ConstrGenerated:
			if k.Virtual {
				return pgerr.Unsupported("virtual generated columns are not supported")
			}
			b.generated = append(b.generated, &ast.Constraint{Kind: k.Kind, Columns: []string{c.Name}, Expr: k.Expr, Pos: k.Pos})
		case ast.ConstrIdentity:
			if err := b.identity(ctx, c, k); err != nil {
				return err
			}
			notNull = true
		case ast.ConstrCheck:
			b.constraints = append(b.constraints, k)
		case ast.ConstrPrimary, ast.ConstrUnique, ast.ConstrForeign:
			k := *k
			if k.Kind == ast.ConstrForeign {
				k.FKColumns = []string{c.Name}
			} else {
				k.Columns = []string{c.Name}
			}
			b.constraints = append(b.constraints, &k)
		default:
			return pgerr.Unsupported("this kind of column constraint is not supported")
		}
	}
	if deflt && c.Identity != 0 || serial != 0 && c.Identity != 0 {
		return pgerr.New(pgerr.SyntaxError, "both default and identity specified for column %q of table %q", c.Name, b.t.Name)
	}
	if deflt && hasGenerated(b.generated, c.Name) {
		return pgerr.New(pgerr.SyntaxError, "both default and generation expression specified for column %q of table %q", c.Name, b.t.Name)
	}
	if c.Identity != 0 && hasGenerated(b.generated, c.Name) {
		return pgerr.New(pgerr.SyntaxError, "both identity and generation expression specified for column %q of table %q", c.Name, b.t.Name)
	}
	if null && notNull {
		return pgerr.New(pgerr.SyntaxError, "conflicting NULL/NOT NULL declarations for column %q of table %q", c.Name, b.t.Name)
	}
	if serial != 0 {
		if deflt {
			return pgerr.New(pgerr.SyntaxError, "multiple default values specified for column %q of table %q", c.Name, b.t.Name)
		}
		return b.serial(ctx, c, serial)
	}
	return nil
}

func hasGenerated(ks []*ast.Constraint, column string) bool {
	return slices.ContainsFunc(ks, func(k *ast.Constraint) bool { return k.Kind == ast.ConstrGenerated && k.Columns[0] == column })
}

// knownCollations are those whose order is byte order, the only one there is.
var knownCollations = map[string]bool{"C": true, "POSIX": true, "default": true, "ucs_basic": true, "C.UTF-8": true, "C.utf8": true}

func checkCollation(name []string, t *types.T) error {
	n := name[len(name)-1]
	if !knownCollations[n] {
		return pgerr.New(pgerr.UndefinedObject, "collation %q for encoding \"UTF8\" does not exist", n)
	}
	if t != nil && t.BaseType().Category != 'S' && !(t.IsArray() && t.Elem.Category == 'S') {
		return pgerr.New(pgerr.DatatypeMismatch, "collations are not supported by type %s", types.TypeName(t))
	}
	return nil
}

// serial gives a column a sequence and the default that draws from it.
func (b *tableBuilder) serial(ctx context.Context, c *catalog.Column, typ types.OID) error {
	seq, err := b.x.newSequence(ctx, b, c, &catalog.Sequence{Type: typ}, nil)
	if err != nil {
		return err
	}
	c.Sequence = seq.ID
	c.Default = parser.DeparseExpr(nextvalExpr(seq.ID))
	return nil
}

func (b *tableBuilder) identity(ctx context.Context, c *catalog.Column, k *ast.Constraint) error {
	if !identityType(c.T) {
		return pgerr.New(pgerr.InvalidParameterValue, "identity column type must be smallint, integer, or bigint")
	}
	if c.Identity != 0 {
		return pgerr.New(pgerr.SyntaxError, "multiple identity specifications for column %q of table %q", c.Name, b.t.Name)
	}
	seq, err := b.x.newSequence(ctx, b, c, &catalog.Sequence{Type: c.T.OID, Identity: true}, k.Options)
	if err != nil {
		return err
	}
	c.Sequence, c.NotNull, c.Identity = seq.ID, true, 'd'
	if k.Always {
		c.Identity = 'a'
	}
	return nil
}

// finish stores the table. First without what refers to its columns, so that expressions can be checked
// against it, then with it.
func (b *tableBuilder) finish(ctx context.Context) error {
	x := b.x
	b.fresh = true
	for _, k := range b.constraints {
		if k.Kind == ast.ConstrPrimary {
			if err := b.primaryKey(ctx, k); err != nil {
				return err
			}
		}
	}
	if b.t.Primary == nil && !b.t.IsPartitioned() {
		if err := b.rowID(ctx); err != nil {
			return err
		}
	}
	for _, k := range b.constraints {
		if k.Kind == ast.ConstrUnique {
			if err := b.unique(ctx, k); err != nil {
				return err
			}
		}
	}
	for _, k := range b.generated {
		if k.Kind == ast.ConstrDefault {
			if err := b.setDefault(ctx, b.t.Column(k.Columns[0]), k.Expr); err != nil {
				return err
			}
		}
	}
	if err := x.View.Put(ctx, b.t); err != nil {
		return err
	}
	for _, s := range b.sequences {
		if err := x.View.Put(ctx, s); err != nil {
			return err
		}
	}
	return b.addDependent(ctx)
}

// addDependent adds generated columns, checks and foreign keys to a stored table.
func (b *tableBuilder) addDependent(ctx context.Context) error {
	x := b.x
	again := false
	t := b.t.Clone()
	for _, k := range b.generated {
		if k.Kind == ast.ConstrGenerated {
			if err := x.setGenerated(ctx, t, k); err != nil {
				return err
			}
			again = true
		}
	}
	for _, k := range b.constraints {
		switch k.Kind {
		case ast.ConstrCheck:
			if err := x.mergeCheck(ctx, t, k); err != nil {
				return err
			}
			again = true
		case ast.ConstrExclusion:
			ix, err := (&tableBuilder{x: x, t: t, schema: b.schema}).exclusion(ctx, k)
			if err != nil {
				return err
			}
			t.Indexes = append(t.Indexes, ix)
			again = true
		}
	}
	if again {
		if err := x.View.Put(ctx, t); err != nil {
			return err
		}
		b.t = t
	}
	for _, k := range b.constraints {
		if k.Kind == ast.ConstrForeign {
			nt, err := x.addForeignKey(ctx, b.t, k)
			if err != nil {
				return err
			}
			b.t = nt
		}
	}
	return nil
}

// rowID adds the hidden column that keys the rows.
func (b *tableBuilder) rowID(ctx context.Context) error {
	name := chooseName(rowIDColumn, "", "", func(s string) bool { return b.t.Column(s) != nil })
	if b.t.Column(rowIDColumn) == nil {
		name = rowIDColumn
	}
	c := &catalog.Column{Num: int16(len(b.t.Columns) + 1), Name: name, Type: catalog.TypeRef{OID: types.OIDInt8, Typmod: -1}, NotNull: true, Hidden: true}
	b.t.Columns = append(b.t.Columns, c)
	oid, err := b.x.View.NewID(ctx)
	if err != nil {
		return err
	}
	b.t.Primary = &catalog.Index{OID: oid, ID: b.nextIndex(), Name: name, Unique: true, Hidden: true, Keys: []catalog.IndexKey{{Column: c.Num}}}
	return nil
}

func (b *tableBuilder) nextIndex() uint16 {
	id := max(b.t.NextIndexID, 1)
	b.t.NextIndexID = id + 1
	return id
}

// checkExprShape refuses what no stored expression may contain.
func checkExprShape(e ast.Expr, what string, columns bool) error {
	var err error
	ast.WalkAll(e, func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.FuncCall:
			err = checkFuncShape(e, what+"s")
		case *ast.SubLink:
			err = pgerr.New(pgerr.FeatureNotSupported, "cannot use subquery in %s", what).WithPosition(int(ast.PgPos(e.Position())))
		case *ast.ColumnRef:
			if !columns {
				err = pgerr.New(pgerr.FeatureNotSupported, "cannot use column reference in %s", what).WithPosition(int(ast.PgPos(e.Position())))
			}
		case *ast.Param:
			err = pgerr.New(pgerr.UndefinedParameter, "there is no parameter $%d", e.Number).WithPosition(int(ast.PgPos(e.Position())))
		}
		return err == nil
	}, nil)
	return err
}

// checkFuncShape refuses aggregates, window functions and functions that return sets.
func checkFuncShape(f *ast.FuncCall, what string) error {
	at := int(ast.PgPos(f.Position()))
	if f.Over != nil {
		return pgerr.New("42P20", "window functions are not allowed in %s", what).WithPosition(at)
	}
	fns := builtin.FuncsNamed(f.Name[len(f.Name)-1])
	all := func(is func(*builtin.Func) bool) bool {
		return len(fns) > 0 && !slices.ContainsFunc(fns, func(fn *builtin.Func) bool { return !is(fn) })
	}
	switch {
	case all(func(fn *builtin.Func) bool { return fn.Kind == 'a' }):
		return pgerr.New("42803", "aggregate functions are not allowed in %s", what).WithPosition(at)
	case all(func(fn *builtin.Func) bool { return fn.RetSet }):
		return pgerr.New(pgerr.FeatureNotSupported, "set-returning functions are not allowed in %s", what).WithPosition(at)
	}
	return nil
}
