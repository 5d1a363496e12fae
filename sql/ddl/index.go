package ddl

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/inverted"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// indexMethods are the access methods of which an index can be made. An ordered index stands for hash and brin.
var indexMethods = map[string]bool{"btree": true, "hash": true, "brin": true, "gin": true}

func (x *executor) createIndex(ctx context.Context, s *ast.CreateIndexStmt) error {
	t, err := x.any(s.Table)
	if err != nil {
		return err
	}
	if !t.IsTable() {
		return pgerr.New(pgerr.WrongObjectType, "cannot create index on relation %q", t.Name).
			WithDetail("This operation is not supported for %ss.", kindWord(t))
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	if err := x.notInUse("CREATE INDEX", t); err != nil {
		return err
	}
	if t.IsPartitioned() && s.Concurrently {
		return pgerr.New(pgerr.FeatureNotSupported, "cannot create index on partitioned table %q concurrently", t.Name)
	}
	if !indexMethods[s.AccessMethod] {
		switch s.AccessMethod {
		case "gist", "spgist":
			return pgerr.Unsupported("access method %q is not supported", s.AccessMethod)
		}
		return pgerr.New(pgerr.UndefinedObject, "access method %q does not exist", s.AccessMethod)
	}
	if s.AccessMethod != "btree" {
		if err := checkMethod(s); err != nil {
			return err
		}
	}
	if len(s.Elems) > maxKeyColumns {
		return pgerr.New(pgerr.TooManyColumns, "cannot use more than %d columns in an index", maxKeyColumns)
	}
	schema := x.snap().SchemaByID(t.Schema)
	nt := t.Clone()
	b := &tableBuilder{x: x, t: nt, schema: schema}
	ix := &catalog.Index{ID: b.nextIndex(), Unique: s.Unique, NullsNotDistinct: s.NullsNotDistinct, Options: relOptions(s.Options)}
	if s.AccessMethod != "btree" {
		ix.Method = s.AccessMethod
	}
	if ix.Tablespace, err = x.tablespaceFor(s.Tablespace, t.Persistence == 't', t.IsPartitioned()); err != nil {
		return err
	}
	var words []string
	for _, e := range s.Elems {
		k, word, err := x.indexKey(ctx, t, e, s.AccessMethod)
		if err != nil {
			return err
		}
		ix.Keys = append(ix.Keys, k)
		for i, base := 1, word; slices.Contains(words, word); i++ {
			word = base + strconv.Itoa(i)
		}
		words = append(words, word)
	}
	for _, e := range s.Include {
		c := t.Column(e.Name)
		switch {
		case e.Expr != nil:
			return pgerr.Unsupported("expressions are not supported in included columns")
		case c == nil:
			return pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", e.Name)
		}
		ix.Include = append(ix.Include, c.Num)
		words = append(words, e.Name)
	}
	if s.Where != nil {
		if err := checkExprShape(s.Where, "index predicate", true); err != nil {
			return err
		}
		if err := x.wantBool(ctx, t, s.Where, "WHERE"); err != nil {
			return err
		}
		if err := x.wantImmutable(ctx, t, s.Where, "functions in index predicate must be marked IMMUTABLE"); err != nil {
			return err
		}
		ix.Where = parser.DeparseExpr(normalize(s.Where))
	}
	if ix.Name = s.Name; ix.Name == "" {
		ix.Name = chooseName(t.Name, strings.Join(words, "_"), "idx", func(n string) bool { return x.relationTaken(schema, n) })
	} else if x.relationTaken(schema, s.Name) {
		if s.IfNotExists {
			x.notice(pgerr.DuplicateTable, "relation %q already exists, skipping", s.Name)
			return nil
		}
		return pgerr.New(pgerr.DuplicateTable, "relation %q already exists", s.Name)
	}
	if ix.OID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	if !t.IsPartitioned() {
		return x.addIndex(ctx, nt, ix)
	}
	if s.Unique {
		if err := checkPartitionKey(t, "UNIQUE", ix.Keys); err != nil {
			return err
		}
	}
	// An index made ON ONLY the table becomes valid when every partition has one attached.
	parts := x.snap().Partitions(t)
	ix.Only = s.Table.Only && len(parts) > 0
	if err := x.addIndex(ctx, nt, ix); err != nil || s.Table.Only {
		return err
	}
	for _, p := range parts {
		if err := x.attachIndex(ctx, nt, p, ix); err != nil {
			return err
		}
	}
	return nil
}

// indexKey checks one key of a new index. The word is what it adds to a made-up name.
func (x *executor) indexKey(ctx context.Context, t *catalog.Table, e *ast.IndexElem, method string) (catalog.IndexKey, string, error) {
	k := catalog.IndexKey{Desc: e.Dir == ast.SortDesc}
	k.NullsFirst = k.Desc
	if e.Nulls != ast.NullsDefault {
		k.NullsFirst = e.Nulls == ast.NullsFirst
	}
	if len(e.OpClass) > 0 {
		k.OpClass = e.OpClass[len(e.OpClass)-1]
		if !strings.HasSuffix(k.OpClass, "_ops") {
			return k, "", pgerr.New(pgerr.UndefinedObject, "operator class %q does not exist for access method %q", k.OpClass, method)
		}
	}
	word := e.Name
	if e.Expr == nil {
		c := t.Column(e.Name)
		if c == nil {
			return k, "", pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", e.Name)
		}
		k.Column, k.T = c.Num, c.T
	} else {
		if err := checkExprShape(e.Expr, "index expression", true); err != nil {
			return k, "", err
		}
		typ, err := x.typeOf(ctx, t, e.Expr)
		if err != nil {
			return k, "", err
		}
		if err := x.wantImmutable(ctx, t, e.Expr, "functions in index expression must be marked IMMUTABLE"); err != nil {
			return k, "", err
		}
		k.T, k.Type = typ, typeRef(typ)
		if c, ok := e.Expr.(*ast.ColumnRef); ok && len(c.Fields) > 0 && !c.Star {
			if col := t.Column(c.Fields[len(c.Fields)-1]); col != nil {
				k.Column, k.T, k.Type = col.Num, col.T, catalog.TypeRef{}
				word = col.Name
			}
		}
		if k.Column == 0 {
			k.Expr = parser.DeparseExpr(normalize(e.Expr))
			word = plan.NameOf(e.Expr, "expr")
		}
	}
	if len(e.Collation) > 0 {
		if err := checkCollation(e.Collation, k.T); err != nil {
			return k, "", err
		}
		k.Collation = e.Collation[len(e.Collation)-1]
	}
	if method == "gin" {
		if x.OlderNodes {
			return k, word, errOlderNodes("GIN indexes")
		}
		return k, word, x.checkInverted(&k)
	}
	return k, word, checkIndexable(k.T)
}

// checkMethod refuses what other access methods than btree cannot do.
func checkMethod(s *ast.CreateIndexStmt) error {
	refuse := func(format string) error { return pgerr.Unsupported(format, s.AccessMethod) }
	switch {
	case s.Unique:
		return refuse("access method %q does not support unique indexes")
	case len(s.Include) > 0:
		return refuse("access method %q does not support included columns")
	case len(s.Elems) > 1 && s.AccessMethod == "hash":
		return refuse("access method %q does not support multicolumn indexes")
	}
	for _, e := range s.Elems {
		if e.Dir == ast.SortDesc || e.Dir == ast.SortAsc {
			return refuse("access method %q does not support ASC/DESC options")
		}
		if e.Nulls != ast.NullsDefault {
			return refuse("access method %q does not support NULLS FIRST/LAST options")
		}
	}
	return nil
}

// checkInverted checks the operator class of a key of an inverted index. The default one is not kept.
func (x *executor) checkInverted(k *catalog.IndexKey) error {
	class := inverted.Default(k.T)
	if k.OpClass != "" {
		named := inverted.Named(k.OpClass)
		switch {
		case named == inverted.None || named == inverted.Trigrams && x.snap().ExtensionByName("pg_trgm") == nil:
			return pgerr.New(pgerr.UndefinedObject, "operator class %q does not exist for access method \"gin\"", k.OpClass)
		case !named.Takes(k.T):
			return pgerr.New(pgerr.DatatypeMismatch, "operator class %q does not accept data type %s", k.OpClass, types.TypeName(k.T))
		case named == class:
			k.OpClass = ""
		}
		return nil
	}
	if class == inverted.None {
		return pgerr.New(pgerr.UndefinedObject, "data type %s has no default operator class for access method \"gin\"", types.TypeName(k.T)).
			WithHint("You must specify an operator class for the index or define a default operator class for the data type.")
	}
	return nil
}

// addIndex stores a table with a new index and fills the index. While it is being filled the index is only
// written, so the statement that fills it does not use it.
func (x *executor) addIndex(ctx context.Context, t *catalog.Table, ix *catalog.Index) error {
	if x.BuildIndex == nil {
		return pgerr.Unsupported("indexes cannot be built here")
	}
	if t.IsPartitioned() {
		t.Indexes = append(t.Indexes, ix)
		return x.View.Put(ctx, t)
	}
	ix.State = catalog.IndexWriteOnly
	if x.Defer != nil && ix.Exclude == nil {
		many, err := x.ManyRows(ctx, t)
		if err != nil {
			return err
		}
		if many {
			t.Indexes = append(t.Indexes, ix)
			if err := x.View.Put(ctx, t); err != nil {
				return err
			}
			return x.Defer(ctx, t, ix)
		}
	}
	t.Indexes = append(t.Indexes, ix)
	if err := x.View.Put(ctx, t); err != nil {
		return err
	}
	if err := x.BuildIndex(ctx, t.ID, ix.OID); err != nil {
		return err
	}
	t = t.Clone()
	t.Indexes[len(t.Indexes)-1].State = catalog.IndexPublic
	return x.View.Put(ctx, t)
}

// dropIndex removes an index that no constraint needs.
func (x *executor) dropIndex(ctx context.Context, rel catalog.Relation, behavior ast.DropBehavior) error {
	t, ix := rel.Table, rel.Index
	if err := x.own(&catalog.Header{Name: ix.Name, Owner: t.Owner}, "index"); err != nil {
		return err
	}
	if ix.Constraint != 0 {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop index %s because constraint %s on table %s requires it", ix.Name, ix.Name, t.Name).
			WithHint("You can drop constraint %s on table %s instead.", ix.Name, t.Name)
	}
	if ix.PartOf != 0 {
		_, up := x.snap().IndexByOID(ix.PartOf)
		if up != nil {
			return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop index %s because index %s requires it", ix.Name, up.Name).
				WithHint("You can drop index %s instead.", up.Name)
		}
	}
	if err := x.dropFKsOn(ctx, t, ix, behavior); err != nil {
		return err
	}
	return x.removeIndex(ctx, x.snap().TableByID(t.ID), ix.OID)
}

// removeIndex takes a secondary index off a table and its entries out of storage.
func (x *executor) removeIndex(ctx context.Context, t *catalog.Table, oid uint32) error {
	for _, p := range x.snap().Partitions(t) {
		for _, ix := range p.AllIndexes() {
			if ix.PartOf != oid {
				continue
			}
			if err := x.removeKey(ctx, p, ix); err != nil {
				return err
			}
		}
	}
	nt := t.Clone()
	if nt.IsPartitioned() && nt.Primary != nil && nt.Primary.OID == oid {
		nt.Primary = nil
	}
	for i, ix := range nt.Indexes {
		if ix.OID == oid {
			nt.Indexes = append(nt.Indexes[:i], nt.Indexes[i+1:]...)
			if err := x.View.DiscardIndex(t.StorageID(), ix.ID); err != nil {
				return err
			}
			break
		}
	}
	return x.View.Put(ctx, nt)
}

// dropFKsOn drops the foreign keys that rely on an index, or refuses.
func (x *executor) dropFKsOn(ctx context.Context, t *catalog.Table, ix *catalog.Index, behavior ast.DropBehavior) error {
	if err := x.mayDropFKsOn(t, ix, behavior); err != nil {
		return err
	}
	return x.removeFKsOn(ctx, t, ix)
}

// mayDropFKsOn refuses to drop the foreign keys that rely on an index, or tells which they are.
func (x *executor) mayDropFKsOn(t *catalog.Table, ix *catalog.Index, behavior ast.DropBehavior) error {
	return x.eachFKOn(t, ix, func(child *catalog.Table, fk *catalog.ForeignKey) error {
		if behavior != ast.Cascade {
			what := "index " + ix.Name
			if ix.Constraint != 0 {
				what = "constraint " + ix.Name + " on table " + t.Name
			}
			return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop %s because other objects depend on it", what).
				WithDetail("constraint %s on table %s depends on index %s", fk.Name, child.Name, ix.Name).
				WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
		}
		x.notice("00000", "drop cascades to constraint %s on table %s", fk.Name, child.Name)
		return nil
	})
}

// removeFKsOn drops the foreign keys that rely on an index.
func (x *executor) removeFKsOn(ctx context.Context, t *catalog.Table, ix *catalog.Index) error {
	return x.eachFKOn(t, ix, func(child *catalog.Table, fk *catalog.ForeignKey) error { return x.removeFK(ctx, child, fk.OID) })
}

func (x *executor) eachFKOn(t *catalog.Table, ix *catalog.Index, f func(child *catalog.Table, fk *catalog.ForeignKey) error) error {
	for _, in := range t.Inbound {
		child := x.snap().TableByID(in.Table)
		for _, fk := range child.FKs {
			if fk.OID != in.Constraint || fk.RefIndex != ix.OID {
				continue
			}
			if err := f(child, fk); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeFK takes a foreign key off both its tables.
func (x *executor) removeFK(ctx context.Context, child *catalog.Table, oid uint32) error {
	nt := x.snap().TableByID(child.ID).Clone()
	ref := uint32(0)
	for i, fk := range nt.FKs {
		if fk.OID == oid {
			ref = fk.RefTable
			nt.FKs = append(nt.FKs[:i], nt.FKs[i+1:]...)
			break
		}
	}
	dropInbound := func(t *catalog.Table) {
		for i, in := range t.Inbound {
			if in.Constraint == oid {
				t.Inbound = append(t.Inbound[:i], t.Inbound[i+1:]...)
				return
			}
		}
	}
	if ref == nt.ID {
		dropInbound(nt)
		return x.View.Put(ctx, nt)
	}
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, p := range x.snap().Partitions(nt) {
		for _, fk := range p.FKs {
			if fk.PartOf == oid {
				if err := x.removeFK(ctx, p, fk.OID); err != nil {
					return err
				}
			}
		}
	}
	if parent := x.snap().TableByID(ref); parent != nil {
		parent = parent.Clone()
		dropInbound(parent)
		return x.View.Put(ctx, parent)
	}
	return nil
}
