package pgcatalog

import (
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// classRows are pg_class, what hangs on it, and the views over it.
var classRows = map[string]generator{
	"pg_catalog.pg_class":       pgClass,
	"pg_catalog.pg_attribute":   pgAttribute,
	"pg_catalog.pg_attrdef":     pgAttrdef,
	"pg_catalog.pg_index":       pgIndex,
	"pg_catalog.pg_constraint":  pgConstraint,
	"pg_catalog.pg_sequence":    pgSequence,
	"pg_catalog.pg_sequences":   pgSequences,
	"pg_catalog.pg_tables":      pgTables,
	"pg_catalog.pg_indexes":     pgIndexes,
	"pg_catalog.pg_views":       pgViews,
	"pg_catalog.pg_matviews":    pgMatviews,
	"pg_catalog.pg_rewrite":     pgRewrite,
	"pg_catalog.pg_rules":       pgRules,
	"pg_catalog.pg_description": pgDescription,
	"pg_catalog.pg_depend":      pgDepend,
	"pg_catalog.pg_extension":   pgExtension,
	"pg_catalog.pg_stats":       pgStats,
}

// Oids of system relations that other rows refer to by number.
const (
	classType       = 1247
	classProc       = 1255
	classOperator   = 2617
	classClass      = 1259
	classRole       = 1260
	classDatabase   = 1262
	classConstraint = 2606
	classAttrdef    = 2604
	classNamespace  = 2615
	classTablespace = 1213
	classLanguage   = 2612
	classAm         = 2601
	classPolicy     = 3256
	classTrigger    = 2620
	heapAm          = 2
	btreeAm         = 403
	hashAm          = 405
	gistAm          = 783
	ginAm           = 2742
	brinAm          = 3580
	defaultColl     = 100
)

// allTables lists the built-in relations and the user's.
func (g *gen) allTables(f func(t *catalog.Table) error) error {
	for _, t := range g.snap.Virtual().Tables() {
		if err := f(t); err != nil {
			return err
		}
	}
	for _, t := range g.snap.Tables() {
		if err := f(t); err != nil {
			return err
		}
	}
	return nil
}

func pgClass(g *gen) error {
	for _, t := range g.snap.Types() {
		if t.Class != 'c' {
			continue
		}
		if err := g.row("oid", compositeRelation(t), "relname", t.Name, "relnamespace", t.Schema, "reltype", t.ID, "relowner", t.Owner,
			"relkind", "c", "relnatts", len(t.Fields), "relpersistence", "p", "relispopulated", true, "relreplident", "n"); err != nil {
			return err
		}
	}
	return g.allTables(func(t *catalog.Table) error {
		indexes := visibleIndexes(t)
		tuples := -1.0
		if st := g.snap.Stats(t); st != nil {
			tuples = st.Rows
		}
		am := 0
		if t.Kind == catalog.RelTable || t.Kind == catalog.RelMatView {
			am = heapAm
		}
		hasRules := t.Kind == catalog.RelView || t.Kind == catalog.RelMatView || len(t.Rules) > 0
		replIdent := byte('d')
		if t.ReplIdent != 0 {
			replIdent = t.ReplIdent
		}
		if t.Virtual != nil {
			replIdent = 'n'
		}
		rowType := t.RowType
		if t.Kind == catalog.RelSequence {
			rowType = 0 // nobody sees the type of a sequence's row
		}
		if err := g.row("oid", t.ID, "relname", t.Name, "relnamespace", t.Schema, "reltype", rowType, "reloftype", t.OfType, "relowner", t.Owner,
			"relam", am, "relfilenode", t.StorageID(), "reltablespace", t.Tablespace, "relpages", int64(max(0, tuples)/100),
			"reltuples", tuples, "relhasindex", len(indexes) > 0, "relpersistence", persistence(t), "relkind", t.Kind,
			"relnatts", max(lastShown(t), 0), "relchecks", len(t.Checks), "relhasrules", hasRules, "relhastriggers", len(t.FKs)+len(t.Inbound)+len(t.Triggers) > 0,
			"relispopulated", t.Kind != catalog.RelMatView || t.Populated, "relreplident", replIdent,
			"relrowsecurity", t.RowSecurity, "relforcerowsecurity", t.ForceRowSecurity, "relhassubclass", len(t.Heirs) > 0 || t.IsPartitioned() && len(t.Partitioning.Children) > 0, "relispartition", t.PartOf != 0, "relpartbound", g.boundText(t),
			"relfrozenxid", 0, "relacl", g.aclText(t.ACL), "reloptions", t.Options); err != nil {
			return err
		}
		for _, ix := range indexes {
			if err := g.row("oid", ix.OID, "relname", ix.Name, "relnamespace", t.Schema, "relowner", t.Owner, "relam", methodOf(ix),
				"relfilenode", ix.OID, "reltablespace", ix.Tablespace, "relpages", 1, "reltuples", tuples, "relpersistence", persistence(t),
				"relkind", indexKind(t), "relispartition", ix.PartOf != 0, "relhassubclass", t.IsPartitioned(), "relnatts", len(ix.Keys)+len(ix.Include), "relispopulated", true, "relreplident", "n",
				"reloptions", ix.Options); err != nil {
				return err
			}
		}
		return nil
	})
}

// methodOf is the oid of an index's access method.
func methodOf(ix *catalog.Index) int {
	switch ix.Method {
	case "hash":
		return hashAm
	case "gin":
		return ginAm
	case "gist":
		return gistAm
	case "brin":
		return brinAm
	}
	return btreeAm
}

func persistence(t *catalog.Table) string {
	if t.Persistence == 0 {
		return "p"
	}
	return string(rune(t.Persistence))
}

func visibleIndexes(t *catalog.Table) []*catalog.Index {
	var out []*catalog.Index
	for _, ix := range t.AllIndexes() {
		if !ix.Hidden {
			out = append(out, ix)
		}
	}
	return out
}

// attnums renumbers nothing: Column.Num is the attnum. Hidden columns are not shown.
func pgAttribute(g *gen) error {
	attr := func(rel uint32, num int16, name string, typ *types.T, ref catalog.TypeRef, more ...any) error {
		length, storage, align, collation, dims := int16(-1), byte('x'), byte('i'), types.OID(0), 0
		byVal := false
		if typ != nil {
			length = typ.Size
			if typ.Elem != nil && typ.OID != types.OIDInt2Vector && typ.OID != types.OIDOidVector {
				dims = 1
			}
			if info := types.InfoOf(typ.BaseType().OID); info != nil {
				storage, align, byVal, collation = info.Storage, info.Align, info.ByVal, info.Collation
			} else if typ.Class == 'e' {
				storage, align, byVal = 'p', 'i', true
			} else if typ.Class == 'c' {
				align = 'd'
			}
		}
		return g.row(append([]any{"attrelid", rel, "attname", name, "atttypid", ref.OID, "attstattarget", -1, "attlen", length,
			"attnum", num, "attndims", dims, "attcacheoff", -1, "atttypmod", ref.Typmod, "attbyval", byVal, "attalign", align,
			"attstorage", storage, "attcompression", "", "attislocal", true, "attcollation", collation}, more...)...)
	}
	for _, t := range g.snap.Types() {
		for i, f := range t.Fields {
			if err := attr(compositeRelation(t), int16(i+1), f.Name, g.snap.TypeByOID(f.Type.OID), f.Type); err != nil {
				return err
			}
		}
	}
	return g.allTables(func(t *catalog.Table) error {
		for _, c := range t.Columns {
			if c.Hidden && c.Num > lastShown(t) {
				continue
			}
			if c.Dropped || c.Hidden {
				// pg_dump wants every number; a hidden column passes for one that was dropped.
				if err := attr(t.ID, c.Num, "........pg.dropped."+itoa(int64(c.Num))+"........", nil, catalog.TypeRef{Typmod: -1},
					"attisdropped", true); err != nil {
					return err
				}
				continue
			}
			identity, generated := "", ""
			if c.Identity != 0 {
				identity = string(rune(c.Identity))
			}
			if c.Generated != "" {
				generated = "s"
			}
			if err := attr(t.ID, c.Num, c.Name, c.T, c.Type, "attnotnull", c.NotNull, "atthasdef", hasDefault(c), "atthasmissing", len(c.Missing) > 0,
				"attislocal", c.IsLocal(), "attinhcount", c.InhCount(),
				"attidentity", identity, "attgenerated", generated, "attacl", g.aclText(c.ACL), "attcollation", collationOf(c)); err != nil {
				return err
			}
		}
		for _, ix := range visibleIndexes(t) {
			for i, k := range ix.Keys {
				typ, ref := k.T, k.Type
				if c := t.ColumnByNum(k.Column); c != nil {
					typ, ref = c.T, c.Type
				}
				if err := attr(ix.OID, int16(i+1), keyName(t, ix, i), typ, ref); err != nil {
					return err
				}
			}
			for i, num := range ix.Include {
				c := t.ColumnByNum(num)
				if err := attr(ix.OID, int16(len(ix.Keys)+i+1), c.Name, c.T, c.Type); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// collationOf is the collation that a column was declared with, or its type's.
func collationOf(c *catalog.Column) types.OID {
	for _, known := range collations {
		if c.Collation == known.name {
			return types.OID(known.oid)
		}
	}
	if c.T != nil {
		if info := types.InfoOf(c.T.BaseType().OID); info != nil {
			return info.Collation
		}
	}
	return 0
}

// lastShown is the largest attnum of a column that is not hidden.
func lastShown(t *catalog.Table) int16 {
	last := int16(-1)
	for _, c := range t.Columns {
		if !c.Hidden {
			last = max(last, c.Num)
		}
	}
	return last
}

func hasDefault(c *catalog.Column) bool { return c.Default != "" || c.Generated != "" }

// attrdefOID numbers defaults, which the catalog stores with their column.
func attrdefOID(t *catalog.Table, c *catalog.Column) uint32 { return t.ID<<11 | uint32(c.Num) | 1<<31 }

func pgAttrdef(g *gen) error {
	return g.allTables(func(t *catalog.Table) error {
		for _, c := range t.Columns {
			if c.Dropped || c.Hidden || !hasDefault(c) {
				continue
			}
			if err := g.row("oid", attrdefOID(t, c), "adrelid", t.ID, "adnum", c.Num, "adbin", columnDefault(g.env, t, c)); err != nil {
				return err
			}
		}
		return nil
	})
}

func pgIndex(g *gen) error {
	return g.allTables(func(t *catalog.Table) error {
		for _, ix := range visibleIndexes(t) {
			var keys []int16
			var coll, class []uint32
			var options []int16
			var exprs []string
			for _, k := range ix.Keys {
				keys = append(keys, k.Column)
				if k.Column == 0 {
					exprs = append(exprs, ruleText(g.env, k.Expr, tableColumns(t), k.T, false))
				}
				col := uint32(0)
				operators := types.OID(0)
				if typ := keyType(t, k); typ != nil {
					operators = opclass(methodOf(ix), k.OpClass, typ)
					if info := types.InfoOf(typ.OID); info != nil {
						col = uint32(info.Collation)
					}
				}
				coll, class = append(coll, col), append(class, uint32(operators))
				opt := int16(0)
				if k.Desc {
					opt |= 1
				}
				if k.NullsFirst {
					opt |= 2
				}
				options = append(options, opt)
			}
			keys = append(keys, ix.Include...)
			var expr, pred any
			if exprs != nil {
				expr = strings.Join(exprs, ", ")
			}
			if ix.Where != "" {
				pred = ruleText(g.env, ix.Where, tableColumns(t), nil, false)
			}
			if err := g.row("indexrelid", ix.OID, "indrelid", t.ID, "indnatts", len(keys), "indnkeyatts", len(ix.Keys),
				"indisunique", ix.Unique, "indisexclusion", ix.Exclude != nil, "indnullsnotdistinct", ix.NullsNotDistinct, "indisprimary", ix.Primary,
				"indimmediate", !ix.Deferrable, "indisclustered", ix.Clustered, "indisvalid", ix.State == catalog.IndexPublic && !ix.Only,
				"indisready", true, "indislive", true, "indisreplident", ix.ReplIdent, "indkey", keys, "indcollation", coll,
				"indclass", class, "indoption", options, "indexprs", expr, "indpred", pred); err != nil {
				return err
			}
		}
		return nil
	})
}

func keyType(t *catalog.Table, k catalog.IndexKey) *types.T {
	if c := t.ColumnByNum(k.Column); c != nil {
		return c.T
	}
	return k.T
}

func pgConstraint(g *gen) error {
	err := g.allTables(func(t *catalog.Table) error {
		for _, ix := range t.AllIndexes() {
			if ix.Constraint == 0 {
				continue
			}
			kind := "u"
			if ix.Primary {
				kind = "p"
			}
			if ix.Exclude != nil {
				kind = "x"
			}
			if err := g.row("oid", ix.Constraint, "conname", ix.Name, "connamespace", t.Schema, "contype", kind, "condeferrable", ix.Deferrable,
				"condeferred", ix.InitDeferred, "convalidated", true, "conrelid", t.ID, "conindid", ix.OID, "confupdtype", " ",
				"confdeltype", " ", "confmatchtype", " ", "conislocal", ix.PartOf == 0, "coninhcount", count(ix.PartOf != 0), "conparentid", g.constraintOf(ix.PartOf),
				"connoinherit", !t.IsPartitioned(), "conkey", keyColumns(ix), "conexclop", g.exclusionOperators(t, ix)); err != nil {
				return err
			}
		}
		for _, c := range t.Checks {
			if err := g.row("oid", c.OID, "conname", c.Name, "connamespace", t.Schema, "contype", "c", "convalidated", !c.NotValid,
				"conrelid", t.ID, "confupdtype", " ", "confdeltype", " ", "confmatchtype", " ", "conislocal", c.IsLocal(), "coninhcount", c.InhCount(),
				"connoinherit", c.NoInherit, "conkey", c.Columns, "conbin", c.Expr); err != nil {
				return err
			}
		}
		for _, tr := range t.Triggers {
			if tr.Constraint == 0 {
				continue
			}
			if err := g.row("oid", tr.Constraint, "conname", tr.Name, "connamespace", t.Schema, "contype", "t", "condeferrable", tr.Deferrable,
				"condeferred", tr.Deferred, "convalidated", true, "conrelid", t.ID, "confupdtype", " ", "confdeltype", " ", "confmatchtype", " ",
				"conislocal", true, "connoinherit", true); err != nil {
				return err
			}
		}
		for _, fk := range t.FKs {
			match := "s"
			if fk.MatchFull {
				match = "f"
			}
			if err := g.row("oid", fk.OID, "conname", fk.Name, "connamespace", t.Schema, "contype", "f", "condeferrable", fk.Deferrable,
				"condeferred", fk.InitDeferred, "convalidated", !fk.NotValid, "conrelid", t.ID, "conindid", fk.RefIndex,
				"confrelid", fk.RefTable, "confupdtype", fk.OnUpdate, "confdeltype", fk.OnDelete, "confmatchtype", match,
				"conislocal", fk.PartOf == 0, "coninhcount", count(fk.PartOf != 0), "conparentid", fk.PartOf, "connoinherit", !t.IsPartitioned(),
				"conkey", fk.Columns, "confkey", fk.RefColumns, "confdelsetcols", fk.SetColumns); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range g.snap.Types() {
		for _, c := range t.Checks {
			if err := g.row("oid", c.OID, "conname", c.Name, "connamespace", t.Schema, "contype", "c", "convalidated", !c.NotValid,
				"contypid", t.ID, "confupdtype", " ", "confdeltype", " ", "confmatchtype", " ", "conislocal", true, "conbin", c.Expr); err != nil {
				return err
			}
		}
	}
	return nil
}

func keyColumns(ix *catalog.Index) []int16 {
	var out []int16
	for _, k := range ix.Keys {
		out = append(out, k.Column)
	}
	return out
}

func pgSequence(g *gen) error {
	for _, t := range g.snap.Tables() {
		if s := t.Sequence; s != nil {
			if err := g.row("seqrelid", t.ID, "seqtypid", s.Type, "seqstart", s.Start, "seqincrement", s.Increment, "seqmax", s.Max,
				"seqmin", s.Min, "seqcache", s.Cache, "seqcycle", s.Cycle); err != nil {
				return err
			}
		}
	}
	return nil
}

func pgSequences(g *gen) error {
	for _, t := range g.snap.Tables() {
		if s := t.Sequence; s != nil {
			if err := g.row("schemaname", g.snap.SchemaName(t.Schema), "sequencename", t.Name, "sequenceowner", g.snap.RoleName(t.Owner),
				"data_type", s.Type, "start_value", s.Start, "min_value", s.Min, "max_value", s.Max, "increment_by", s.Increment,
				"cycle", s.Cycle, "cache_size", s.Cache); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *gen) tablespaceName(id uint32) any {
	if id == 0 {
		return nil
	}
	if ts, ok := g.snap.ByID(id).(*catalog.Tablespace); ok {
		return ts.Name
	}
	return nil
}

func pgTables(g *gen) error {
	return g.allTables(func(t *catalog.Table) error {
		if t.Kind != catalog.RelTable && t.Kind != catalog.RelPartitioned {
			return nil
		}
		return g.row("schemaname", g.snap.SchemaName(t.Schema), "tablename", t.Name, "tableowner", g.snap.RoleName(t.Owner),
			"tablespace", g.tablespaceName(t.Tablespace), "hasindexes", len(visibleIndexes(t)) > 0, "hasrules", false,
			"hastriggers", len(t.FKs)+len(t.Inbound)+len(t.Triggers) > 0, "rowsecurity", t.RowSecurity)
	})
}

func pgIndexes(g *gen) error {
	return g.allTables(func(t *catalog.Table) error {
		for _, ix := range visibleIndexes(t) {
			if err := g.row("schemaname", g.snap.SchemaName(t.Schema), "tablename", t.Name, "indexname", ix.Name,
				"tablespace", g.tablespaceName(ix.Tablespace), "indexdef", indexDef(g.env, t, ix, true, false)); err != nil {
				return err
			}
		}
		return nil
	})
}

func pgViews(g *gen) error {
	return g.allTables(func(t *catalog.Table) error {
		if t.Kind != catalog.RelView {
			return nil
		}
		return g.row("schemaname", g.snap.SchemaName(t.Schema), "viewname", t.Name, "viewowner", g.snap.RoleName(t.Owner),
			"definition", viewDef(t))
	})
}

func pgMatviews(g *gen) error {
	for _, t := range g.snap.Tables() {
		if t.Kind != catalog.RelMatView {
			continue
		}
		if err := g.row("schemaname", g.snap.SchemaName(t.Schema), "matviewname", t.Name, "matviewowner", g.snap.RoleName(t.Owner),
			"tablespace", g.tablespaceName(t.Tablespace), "hasindexes", len(t.Indexes) > 0, "ispopulated", t.Populated, "definition", viewDef(t)); err != nil {
			return err
		}
	}
	return nil
}

func pgRewrite(g *gen) error {
	for _, t := range g.snap.Tables() {
		if t.Kind == catalog.RelView || t.Kind == catalog.RelMatView {
			if err := g.row("oid", t.ID|1<<31, "rulename", "_RETURN", "ev_class", t.ID, "ev_type", "1", "ev_enabled", "O",
				"is_instead", true, "ev_qual", "<>", "ev_action", t.Query); err != nil {
				return err
			}
		}
		for _, r := range t.Rules {
			qual, enabled := r.Where, "O"
			if qual == "" {
				qual = "<>"
			}
			if r.Disabled {
				enabled = "D"
			}
			if err := g.row("oid", r.OID, "rulename", r.Name, "ev_class", t.ID, "ev_type", ruleEvents[r.Event], "ev_enabled", enabled,
				"is_instead", r.Instead, "ev_qual", qual, "ev_action", strings.Join(r.Actions, "; ")); err != nil {
				return err
			}
		}
	}
	return nil
}

func pgDescription(g *gen) error {
	if err := staticRelation(g); err != nil {
		return err
	}
	add := func(obj uint32, class, sub int, text string) error {
		if text == "" {
			return nil
		}
		return g.row("objoid", obj, "classoid", class, "objsubid", sub, "description", text)
	}
	for _, s := range append(g.snap.Schemas(), catalog.BuiltinSchemas()...) {
		if err := add(s.ID, classNamespace, 0, s.Comment); err != nil {
			return err
		}
	}
	for _, t := range g.snap.Types() {
		if err := add(t.ID, classType, 0, t.Comment); err != nil {
			return err
		}
	}
	for _, f := range g.snap.Functions() {
		if err := add(f.ID, classProc, 0, f.Comment); err != nil {
			return err
		}
	}
	for _, c := range g.snap.Casts() {
		if err := add(c.ID, 2605, 0, c.Comment); err != nil {
			return err
		}
	}
	for _, o := range g.snap.Operators() {
		if err := add(o.ID, classOperator, 0, o.Comment); err != nil {
			return err
		}
	}
	for _, e := range g.snap.Extensions() {
		if err := add(e.OID, classExtension, 0, e.Comment); err != nil {
			return err
		}
	}
	for _, t := range g.snap.Tables() {
		if err := add(t.ID, classClass, 0, t.Comment); err != nil {
			return err
		}
		for _, c := range t.Columns {
			if err := add(t.ID, classClass, int(c.Num), c.Comment); err != nil {
				return err
			}
		}
		for _, ix := range t.AllIndexes() {
			if err := add(ix.OID, classClass, 0, ix.Comment); err != nil {
				return err
			}
			if err := add(ix.Constraint, classConstraint, 0, ix.ConstraintComment); err != nil {
				return err
			}
		}
		for _, tr := range t.Triggers {
			if err := add(tr.OID, classTrigger, 0, tr.Comment); err != nil {
				return err
			}
		}
		for _, p := range t.Policies {
			if err := add(p.OID, classPolicy, 0, p.Comment); err != nil {
				return err
			}
		}
		for _, c := range t.Checks {
			if err := add(c.OID, classConstraint, 0, c.Comment); err != nil {
				return err
			}
		}
		for _, fk := range t.FKs {
			if err := add(fk.OID, classConstraint, 0, fk.Comment); err != nil {
				return err
			}
		}
	}
	return nil
}

// pgDepend shows the dependencies that tools ask for: sequences on their columns, indexes on their
// constraints, views on what they select from.
// pgStats is the view over what ANALYZE stored; pg_statistic, whose form drivers do not read, stays empty.
func pgStats(g *gen) error {
	for _, t := range g.snap.Tables() {
		st := g.snap.Stats(t)
		for _, c := range t.Columns {
			cs := st.Column(c.Num)
			if cs == nil || c.Dropped || c.Hidden {
				continue
			}
			pairs := []any{"schemaname", g.snap.SchemaName(t.Schema), "tablename", t.Name, "attname", c.Name, "inherited", false,
				"null_frac", cs.NullFrac, "avg_width", int64(cs.AvgWidth + 0.5), "n_distinct", cs.NDistinct}
			if len(cs.Common) > 0 {
				pairs = append(pairs, "most_common_vals", textArray(cs.Common), "most_common_freqs", floatArray(cs.CommonFreqs))
			}
			if len(cs.Histogram) > 0 {
				pairs = append(pairs, "histogram_bounds", textArray(cs.Histogram))
			}
			if cs.Correlation != 0 {
				pairs = append(pairs, "correlation", cs.Correlation)
			}
			if err := g.row(pairs...); err != nil {
				return err
			}
		}
	}
	return nil
}

// textArray is an array of values of any type, as anyarray columns show it.
func textArray(vals []string) types.Datum {
	a := &types.Array{Elem: types.Text, Dims: []types.ArrayDim{{Len: int32(len(vals)), Lower: 1}}}
	for _, v := range vals {
		a.Elems = append(a.Elems, types.NewString(v))
	}
	return types.NewArray(a)
}

func floatArray(vals []float64) types.Datum {
	a := &types.Array{Elem: types.Float4, Dims: []types.ArrayDim{{Len: int32(len(vals)), Lower: 1}}}
	for _, v := range vals {
		a.Elems = append(a.Elems, types.NewFloat(v))
	}
	return types.NewArray(a)
}
