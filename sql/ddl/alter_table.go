package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

func (x *executor) alterTable(ctx context.Context, s *ast.AlterTableStmt) error {
	if s.Object == ast.ObjIndex {
		return x.alterIndex(ctx, s)
	}
	if s.Object == ast.ObjType {
		return x.alterComposite(ctx, s)
	}
	if s.Object == ast.ObjForeignTable {
		return pgerr.Unsupported("foreign tables are not supported")
	}
	t, err := x.any(s.Table)
	if err != nil {
		if s.IfExists && (pgerr.Code(err) == pgerr.UndefinedTable || pgerr.Code(err) == pgerr.InvalidSchemaName) {
			x.notice(pgerr.UndefinedTable, "relation %q does not exist, skipping", s.Table.Name)
			return nil
		}
		return err
	}
	if t.Virtual != nil {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	switch {
	case s.Object == ast.ObjView && t.Kind != catalog.RelView:
		return pgerr.New(pgerr.WrongObjectType, "%q is not a view", t.Name)
	case s.Object == ast.ObjSequence && t.Kind != catalog.RelSequence:
		return pgerr.New(pgerr.WrongObjectType, "%q is not a sequence", t.Name)
	case s.Object == ast.ObjMatView && t.Kind != catalog.RelMatView:
		return pgerr.New(pgerr.WrongObjectType, "%q is not a materialized view", t.Name)
	}
	x.only = s.Table.Only
	below := x.snap().Tree(t)
	if !x.only {
		below = append(below, x.snap().AllHeirs(t)...)
	}
	for _, u := range below {
		if err := x.notInUse("ALTER TABLE", u); err != nil {
			return err
		}
	}
	for i := 0; i < len(s.Cmds); {
		cmd := s.Cmds[i]
		// Columns added one after the other are one change: at most one rewrite.
		n := 1
		if cmd.Kind == ast.AddColumn {
			for i+n < len(s.Cmds) && s.Cmds[i+n].Kind == ast.AddColumn {
				n++
			}
		}
		t = x.snap().TableByID(t.ID)
		if err := x.alterCmd(ctx, t, s.Cmds[i:i+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

func (x *executor) alterCmd(ctx context.Context, t *catalog.Table, cmds []*ast.AlterTableCmd) error {
	c := cmds[0]
	switch c.Kind {
	case ast.AlterOwner:
		return x.ownRelation(ctx, t, c.Owner)
	case ast.AlterDefault:
		return x.alterDefault(ctx, t, c)
	case ast.EnableRule, ast.DisableRule:
		return x.enableRule(ctx, t, c)
	}
	if t.Kind == catalog.RelView && (c.Kind == ast.SetRelOptions || c.Kind == ast.ResetRelOptions) {
		return x.setViewOptions(ctx, t, c)
	}
	if !t.IsTable() {
		return cannotAlter(t, c.Kind)
	}
	if err := x.checkInherited(t, c); err != nil {
		return err
	}
	if err := checkTyped(t, c.Kind); err != nil {
		return err
	}
	switch c.Kind {
	case ast.AddOf, ast.DropOf:
		return x.setOfType(ctx, t, c)
	case ast.AddInherit:
		return x.addInherit(ctx, t, c)
	case ast.DropInherit:
		return x.dropInherit(ctx, t, c)
	case ast.AttachPartition:
		return x.attachPartition(ctx, t, c)
	case ast.DetachPartition:
		return x.detachPartition(ctx, t, c)
	case ast.AddColumn:
		return x.addColumns(ctx, t, cmds)
	case ast.DropColumn:
		return x.dropColumn(ctx, t, c)
	case ast.AlterColumnType:
		return x.alterColumnType(ctx, t, c)
	case ast.SetNotNull, ast.DropNotNull:
		return x.alterNotNull(ctx, t, c)
	case ast.AddIdentity, ast.SetIdentity, ast.DropIdentity:
		return x.alterIdentity(ctx, t, c)
	case ast.DropExpression:
		col, err := liveColumn(t, c.Name)
		if err != nil {
			return err
		}
		if col.Generated == "" {
			if c.IfExists {
				x.notice("00000", "column %q of relation %q is not a stored generated column, skipping", c.Name, t.Name)
				return nil
			}
			return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "column %q of relation %q is not a stored generated column", c.Name, t.Name)
		}
		nt := t.Clone()
		nt.Column(c.Name).Generated = ""
		return x.View.Put(ctx, nt)
	case ast.AddConstraint:
		return x.addConstraint(ctx, t, c.Constraint)
	case ast.DropConstraint:
		return x.dropConstraint(ctx, t, c)
	case ast.ValidateConstraint:
		return x.validateConstraint(ctx, t, c.Name)
	case ast.AlterConstraint:
		return x.alterConstraint(ctx, t, c)
	case ast.SetStatistics, ast.SetStorage, ast.SetCompression, ast.SetColumnOptions, ast.ResetColumnOptions:
		if c.Name != "" {
			col, err := liveColumn(t, c.Name)
			if err != nil {
				return err
			}
			if c.Kind == ast.SetStatistics {
				nt := t.Clone()
				nt.Column(col.Name).StatTgt = int32(c.Int)
				return x.View.Put(ctx, nt)
			}
		}
		return nil
	case ast.SetRelOptions, ast.ResetRelOptions:
		nt := t.Clone()
		for _, o := range c.Options {
			nt.Options = slices.DeleteFunc(nt.Options, func(s string) bool { return strings.HasPrefix(s, o.Name+"=") })
		}
		if c.Kind == ast.SetRelOptions {
			nt.Options = append(nt.Options, relOptions(c.Options)...)
		}
		return x.View.Put(ctx, nt)
	case ast.SetLogged, ast.SetUnlogged, ast.DropCluster, ast.DropOids:
		return nil // nothing here works differently for them
	case ast.EnableRowSecurity, ast.DisableRowSecurity, ast.ForceRowSecurity, ast.NoForceRowSecurity:
		return x.rowSecurity(ctx, t, c.Kind)
	case ast.EnableTrigger, ast.DisableTrigger:
		return x.enableTrigger(ctx, t, c)
	case ast.ReplicaIdentity:
		return x.replicaIdentity(ctx, t, c)
	case ast.ClusterOn:
		nt := t.Clone()
		for _, ix := range nt.AllIndexes() {
			ix.Clustered = ix.Name == c.Name
		}
		return x.View.Put(ctx, nt)
	case ast.SetTablespace:
		// Only where the data should be changes; it moves by itself, and is in use meanwhile.
		id, err := x.tablespace(c.Name)
		if err != nil {
			return err
		}
		nt := t.Clone()
		nt.Tablespace = id
		return x.View.Put(ctx, nt)
	case ast.SetAccessMethod:
		if c.Name == "heap" || c.Name == "" {
			return nil
		}
		return pgerr.New(pgerr.UndefinedObject, "access method %q does not exist", c.Name)
	case ast.UnsupportedAlter:
		return pgerr.Unsupported("ALTER TABLE: %s is not supported", c.Str)
	}
	return pgerr.Unsupported("this form of ALTER TABLE is not supported")
}

// liveColumn finds a column, with PostgreSQL's error.
func liveColumn(t *catalog.Table, name string) (*catalog.Column, error) {
	c := t.Column(name)
	if c == nil || c.Hidden {
		if systemColumns[name] {
			return nil, pgerr.Unsupported("cannot alter system column %q", name)
		}
		return nil, pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", name, t.Name)
	}
	return c, nil
}

// addColumns adds columns. A value that is the same for all rows is kept in the catalog (catalog.Column.Missing); rows are
// rewritten when each has its own, and then the constraints of the columns are checked by the rewriting itself.
func (x *executor) addColumns(ctx context.Context, t *catalog.Table, cmds []*ast.AlterTableCmd) error {
	if err := x.addOwnColumns(ctx, t, cmds); err != nil {
		return err
	}
	if len(t.Heirs) > 0 {
		return x.spreadToHeirs(ctx, t, cmds)
	}
	return x.spreadColumns(ctx, t, cmds)
}

func (x *executor) addOwnColumns(ctx context.Context, t *catalog.Table, cmds []*ast.AlterTableCmd) error {
	// A constraint that turns out not to hold takes the column back with it, which a job for the constraint alone would not.
	env := *x.Env
	env.Defer, env.DeferValidation = nil, nil
	x.Env = &env
	b := &tableBuilder{x: x, t: t.Clone(), schema: x.snap().SchemaByID(t.Schema)}
	var added []string
	for _, c := range cmds {
		if col := t.Column(c.Column.Name); col != nil {
			if c.IfExists {
				x.notice(pgerr.DuplicateColumn, "column %q of relation %q already exists, skipping", c.Column.Name, t.Name)
				continue
			}
			return pgerr.New(pgerr.DuplicateColumn, "column %q of relation %q already exists", c.Column.Name, t.Name)
		}
		if err := b.addColumn(ctx, c.Column); err != nil {
			return err
		}
		added = append(added, c.Column.Name)
	}
	if len(added) == 0 {
		return nil
	}
	for _, k := range b.generated {
		if k.Kind == ast.ConstrDefault {
			if err := b.setDefault(ctx, b.t.Column(k.Columns[0]), k.Expr); err != nil {
				return err
			}
		}
	}
	for _, q := range b.sequences {
		if err := x.View.Put(ctx, q); err != nil {
			return err
		}
	}
	newPK := false
	for _, k := range b.constraints {
		if k.Kind == ast.ConstrPrimary {
			if err := b.replacePrimary(ctx, k); err != nil {
				return err
			}
			newPK = true
		}
	}
	exprs := map[int16]ast.Expr{}
	rewrite, notNull := newPK, false
	for _, n := range added {
		c := b.t.Column(n)
		if c.Default != "" {
			e, err := parser.ParseExpr(c.Default)
			if err != nil {
				return err
			}
			exprs[c.Num] = e
			same, null, err := x.setMissing(ctx, b.t, c, e)
			if err != nil {
				return err
			}
			rewrite = rewrite || !same
			notNull = notNull || null && c.NotNull
		} else if c.Identity != 0 {
			rewrite = true // INSERT draws the values
		} else if c.NotNull {
			notNull = true
		}
	}
	if !rewrite && (notNull || hasKind(b.generated, ast.ConstrGenerated)) {
		empty, err := x.isEmpty(ctx, t)
		if err != nil {
			return err
		}
		rewrite = !empty
	}
	if rewrite {
		// The old table is under its name until the rewrite is done; identity columns take their
		// values from the sequence.
		next := b.t.Clone()
		for _, n := range added {
			c := next.Column(n)
			if c.Identity != 0 && c.Default == "" {
				exprs[c.Num] = nextvalExpr(c.Sequence)
			}
		}
		if hasKind(b.generated, ast.ConstrGenerated) {
			// Their expressions are checked against the stored table, which has the columns first.
			if err := x.View.Put(ctx, b.t); err != nil {
				return err
			}
			for _, k := range b.generated {
				if k.Kind == ast.ConstrGenerated {
					if err := x.setGenerated(ctx, next, k); err != nil {
						return err
					}
				}
			}
			b.generated = nil
			if err := x.View.Put(ctx, t.Clone()); err != nil {
				return err
			}
		}
		if !newPK && len(b.constraints) == 0 {
			if later, err := x.rewriteLater(ctx, t, next, nil); err != nil || later {
				return err
			}
		}
		if err := x.rewrite(ctx, t, next, exprs); err != nil {
			return err
		}
		b.t = next
	} else if err := x.View.Put(ctx, b.t); err != nil {
		return err
	}
	rest := b.constraints
	b.constraints = nil
	if hasKind(b.generated, ast.ConstrGenerated) {
		if err := b.addDependent(ctx); err != nil {
			return err
		}
	}
	for _, k := range rest {
		if k.Kind != ast.ConstrPrimary {
			if err := x.addConstraint(ctx, x.snap().TableByID(t.ID), k); err != nil {
				return err
			}
		}
	}
	return nil
}

// setMissing gives a new column the value that the rows of today have in it, if that is one for all. null says that there
// is such a value and it is NULL.
func (x *executor) setMissing(ctx context.Context, t *catalog.Table, c *catalog.Column, e ast.Expr) (same, null bool, err error) {
	// What a domain does not allow is an error only when there are rows.
	if x.Constant == nil || t.IsPartitioned() || c.T.Class == 'd' {
		return t.IsPartitioned(), false, nil
	}
	d, ok, err := x.Constant(ctx, e, c.T)
	if err != nil || !ok {
		return false, false, err
	}
	if d.IsNull() {
		return true, true, nil
	}
	c.Missing = rowenc.AppendColumn(nil, 0, 1, d, c.T)
	return true, false, nil
}

func hasKind(ks []*ast.Constraint, kind ast.ConstraintKind) bool {
	return slices.ContainsFunc(ks, func(k *ast.Constraint) bool { return k.Kind == kind })
}

func (x *executor) isEmpty(ctx context.Context, t *catalog.Table) (bool, error) {
	any, err := x.anyRow(ctx, x.selectOf(t, number(1)))
	return !any, err
}

// replacePrimary makes a key the index that holds the rows, in place of the hidden row id. The caller rewrites.
func (b *tableBuilder) replacePrimary(ctx context.Context, k *ast.Constraint) error {
	if b.t.PrimaryKey() != nil {
		return pgerr.New(pgerr.InvalidTableDefinition, "multiple primary keys for table %q are not allowed", b.t.Name)
	}
	old := b.t.Primary
	if err := b.primaryKey(ctx, k); err != nil {
		return err
	}
	if old != nil && old.Hidden {
		b.t.ColumnByNum(old.Keys[0].Column).Drop()
	}
	return nil
}

func (x *executor) alterColumnType(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	col, err := liveColumn(t, c.Name)
	if err != nil {
		return err
	}
	typ, err := x.resolveType(c.Column.Type, c.Name)
	if err != nil {
		return err
	}
	if col.Identity != 0 && !identityType(typ) {
		return pgerr.New(pgerr.InvalidParameterValue, "identity column type must be smallint, integer, or bigint")
	}
	for _, v := range x.dependents(t.ID) {
		if (v.Kind == catalog.RelView || v.Kind == catalog.RelMatView) && viewMentions(v, col.Name) {
			return pgerr.Unsupported("cannot alter type of a column used by a view or rule").
				WithDetail("rule _RETURN on view %s depends on column %q", v.Name, col.Name)
		}
	}
	for _, p := range t.Policies {
		if x.policyMentions(t, p, col.Name) {
			return pgerr.New(pgerr.FeatureNotSupported, "cannot alter type of a column used in a policy definition").
				WithDetail("policy %s on table %s depends on column %q", p.Name, t.Name, col.Name)
		}
	}
	for _, o := range t.Columns {
		if !o.Dropped && o.Generated != "" && (o == col || mentions(t, o.Generated, col.Num)) {
			return pgerr.New(pgerr.FeatureNotSupported, "cannot alter type of a column used by a generated column").
				WithDetail("Column %q is used by generated column %q.", col.Name, o.Name)
		}
	}
	value := c.Using
	if value == nil {
		if !builtin.CanCoerce(col.T, typ, builtin.CastAssignment) {
			hint := pgerr.New(pgerr.DatatypeMismatch, "column %q cannot be cast automatically to type %s", col.Name, types.TypeName(typ))
			if builtin.CanCoerce(col.T, typ, builtin.CastExplicit) {
				hint = hint.WithHint("You might need to specify \"USING %s::%s\".", parser.QuoteIdent(col.Name), types.FormatType(typ))
			}
			return hint
		}
		value = column(col.Name)
	} else {
		if err := checkExprShape(value, "transform expression", true); err != nil {
			return err
		}
		got, err := x.typeOf(ctx, t, value)
		if err != nil {
			return err
		}
		if got.OID != types.OIDUnknown && !builtin.CanCoerce(got, typ, builtin.CastAssignment) {
			return pgerr.New(pgerr.DatatypeMismatch, "result of USING clause for column %q cannot be cast automatically to type %s", col.Name, types.TypeName(typ)).
				WithHint("You might need to add an explicit cast.")
		}
	}
	next := t.Clone()
	nc := next.Column(c.Name)
	nc.Type, nc.T = typeRef(typ), typ
	if len(c.Column.Collation) > 0 {
		if err := checkCollation(c.Column.Collation, typ); err != nil {
			return err
		}
		nc.Collation = c.Column.Collation[len(c.Column.Collation)-1]
	}
	if col.Default != "" {
		e, err := parser.ParseExpr(col.Default)
		if err != nil {
			return err
		}
		got, err := x.typeOf(ctx, nil, e)
		if err != nil {
			return err
		}
		if got.OID != types.OIDUnknown && !builtin.CanCoerce(got, typ, builtin.CastAssignment) {
			return pgerr.New(pgerr.DatatypeMismatch, "default for column %q cannot be cast automatically to type %s", col.Name, types.TypeName(typ))
		}
	}
	for _, ix := range next.AllIndexes() {
		for i := range ix.Keys {
			if ix.Keys[i].Column == nc.Num {
				if err := checkIndexable(typ); err != nil {
					return err
				}
				ix.Keys[i].T = typ
			}
		}
	}
	down := func() error {
		return x.eachPartition(t, func(p *catalog.Table) error { return x.alterColumnType(ctx, p, c) })
	}
	if c.Using == nil && sameStorage(col.T, typ) {
		if err := x.View.Put(ctx, next); err != nil {
			return err
		}
		return down()
	}
	exprs := map[int16]ast.Expr{nc.Num: value}
	if later, err := x.rewriteLater(ctx, t, next, exprs); err != nil || later {
		return err
	}
	if err := x.rewrite(ctx, t, next, exprs); err != nil {
		return err
	}
	if err := down(); err != nil {
		return err
	}
	// Foreign keys compare the new values.
	stored := x.snap().TableByID(t.ID)
	for _, fk := range stored.FKs {
		if slices.Contains(fk.Columns, nc.Num) {
			if err := x.validateFK(ctx, stored, fk, nil); err != nil {
				return err
			}
		}
	}
	for _, in := range stored.Inbound {
		child := x.snap().TableByID(in.Table)
		for _, fk := range child.FKs {
			if fk.OID == in.Constraint && slices.Contains(fk.RefColumns, nc.Num) {
				if err := x.validateFK(ctx, child, fk, nil); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sameStorage reports whether every value of type a is stored in the same bytes and order as one of type b, so
// that no row need be touched.
func sameStorage(a, b *types.T) bool {
	text := func(t *types.T) bool { return t.OID == types.OIDText || t.OID == types.OIDVarchar }
	switch {
	case text(a) && text(b):
		return b.Typmod < 0 || a.Typmod >= 0 && a.Typmod <= b.Typmod
	case a.OID == types.OIDInt2 && (b.OID == types.OIDInt4 || b.OID == types.OIDInt8), a.OID == types.OIDInt4 && b.OID == types.OIDInt8:
		return true
	case a.OID == b.OID && a.OID == types.OIDNumeric:
		return b.Typmod < 0 || a.Typmod == b.Typmod
	}
	return a.OID == b.OID && a.Typmod == b.Typmod
}

func (x *executor) alterDefault(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	col, err := liveColumn(t, c.Name)
	if err != nil {
		return err
	}
	if col.Identity != 0 {
		e := pgerr.New(pgerr.SyntaxError, "column %q of relation %q is an identity column", col.Name, t.Name)
		if c.Expr == nil {
			e = e.WithHint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.")
		}
		return e
	}
	if col.Generated != "" {
		return pgerr.New(pgerr.SyntaxError, "column %q of relation %q is a generated column", col.Name, t.Name)
	}
	text := ""
	if c.Expr != nil {
		if text, err = x.defaultText(ctx, c.Expr, col.T, col.Name); err != nil {
			return err
		}
	}
	nt := t.Clone()
	nt.Column(c.Name).Default = text
	if err := x.View.Put(ctx, nt); err != nil || x.only {
		return err
	}
	return x.eachPartition(t, func(p *catalog.Table) error { return x.alterDefault(ctx, p, c) })
}

func (x *executor) alterNotNull(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	col, err := liveColumn(t, c.Name)
	if err != nil {
		return err
	}
	set := c.Kind == ast.SetNotNull
	down := func() error {
		return x.eachPartition(t, func(p *catalog.Table) error { return x.alterNotNull(ctx, p, c) })
	}
	if col.NotNull == set {
		return down()
	}
	if set {
		later, err := x.putOff(ctx, t)
		if err != nil {
			return err
		}
		if later {
			return x.notNullLater(ctx, t, col)
		}
		if err := x.validateNotNull(ctx, t, col, nil); err != nil {
			return err
		}
	} else {
		if pk := t.PrimaryKey(); pk != nil && indexMentions(t, pk, col.Num) {
			return pgerr.New(pgerr.InvalidTableDefinition, "column %q is in a primary key", col.Name)
		}
		if col.Identity != 0 {
			return pgerr.New(pgerr.SyntaxError, "column %q of relation %q is an identity column", col.Name, t.Name)
		}
	}
	nt := t.Clone()
	nt.Column(c.Name).NotNull = set
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	return down()
}

func (x *executor) alterIdentity(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	col, err := liveColumn(t, c.Name)
	if err != nil {
		return err
	}
	if c.Kind == ast.AddIdentity {
		if !identityType(col.T) {
			return pgerr.New(pgerr.InvalidParameterValue, "identity column type must be smallint, integer, or bigint")
		}
		if !col.NotNull {
			return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "column %q of relation %q must be declared NOT NULL before identity can be added", col.Name, t.Name)
		}
		if col.Identity != 0 {
			return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "column %q of relation %q is already an identity column", col.Name, t.Name)
		}
		if col.Default != "" {
			return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "column %q of relation %q already has a default value", col.Name, t.Name)
		}
		b := &tableBuilder{x: x, t: t.Clone(), schema: x.snap().SchemaByID(t.Schema)}
		if err := b.identity(ctx, b.t.Column(c.Name), c.Constraint); err != nil {
			return err
		}
		if err := x.View.Put(ctx, b.sequences[0]); err != nil {
			return err
		}
		return x.View.Put(ctx, b.t)
	}
	if col.Identity == 0 {
		if c.Kind == ast.DropIdentity && c.IfExists {
			x.notice("00000", "column %q of relation %q is not an identity column, skipping", col.Name, t.Name)
			return nil
		}
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "column %q of relation %q is not an identity column", col.Name, t.Name)
	}
	nt := t.Clone()
	nc := nt.Column(c.Name)
	if c.Kind == ast.DropIdentity {
		seq := nc.Sequence
		nc.Identity, nc.Sequence = 0, 0
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
		return x.View.Delete(ctx, x.snap().TableByID(seq))
	}
	var seqOpts []*ast.DefElem
	for _, o := range c.Options {
		if o.Name == "generated" {
			nc.Identity = 'd'
			if o.Arg != nil && (o.Arg.Str == "a" || o.Arg.Int == 'a') {
				nc.Identity = 'a'
			}
			continue
		}
		seqOpts = append(seqOpts, o)
	}
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	if len(seqOpts) == 0 {
		return nil
	}
	return x.changeSequence(ctx, x.snap().TableByID(nc.Sequence), seqOpts)
}

func identityType(t *types.T) bool {
	return t.OID == types.OIDInt2 || t.OID == types.OIDInt4 || t.OID == types.OIDInt8
}
