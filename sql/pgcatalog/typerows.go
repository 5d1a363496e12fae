package pgcatalog

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// typeRows are types, functions, operators and casts.
var typeRows = map[string]generator{
	"pg_catalog.pg_type":          pgType,
	"pg_catalog.pg_enum":          pgEnum,
	"pg_catalog.pg_proc":          pgProc,
	"pg_catalog.pg_operator":      pgOperator,
	"pg_catalog.pg_cast":          pgCast,
	"pg_catalog.pg_aggregate":     pgAggregate,
	"pg_catalog.pg_language":      pgLanguage,
	"pg_catalog.pg_collation":     pgCollation,
	"pg_catalog.pg_range":         pgRange,
	"pg_catalog.pg_opclass":       staticRelation,
	"pg_catalog.pg_opfamily":      staticRelation,
	"pg_catalog.pg_amop":          staticRelation,
	"pg_catalog.pg_amproc":        staticRelation,
	"pg_catalog.pg_ts_config":     staticRelation,
	"pg_catalog.pg_ts_config_map": staticRelation,
	"pg_catalog.pg_ts_dict":       staticRelation,
	"pg_catalog.pg_ts_parser":     staticRelation,
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// regprocOf is the oid of the function of that name, 0 if there is none.
func regprocOf(name string) types.OID {
	if fs := builtin.FuncsNamed(name); len(fs) > 0 {
		return fs[0].OID
	}
	return 0
}

func pgType(g *gen) error {
	for _, t := range types.All() {
		info := types.InfoOf(t.OID)
		if err := g.row("oid", t.OID, "typname", t.Name, "typnamespace", catalog.PgCatalogID, "typowner", catalog.BootstrapRoleID,
			"typlen", t.Size, "typbyval", info.ByVal, "typtype", t.Class, "typcategory", t.Category, "typispreferred", t.Preferred,
			"typisdefined", true, "typdelim", t.Delim, "typelem", info.ElemOID, "typarray", t.Array, "typinput", regprocOf(info.In),
			"typoutput", regprocOf(info.Out), "typreceive", regprocOf(info.Recv), "typsend", regprocOf(info.Send),
			"typmodin", regprocOf(info.ModIn), "typmodout", regprocOf(info.ModOut), "typalign", info.Align,
			"typstorage", info.Storage, "typtypmod", -1, "typcollation", info.Collation); err != nil {
			return err
		}
	}
	userArray := func(id, elem uint32, name string, schema, owner uint32, align string) error {
		if align != "d" {
			align = "i"
		}
		return g.row("oid", id, "typname", "_"+name, "typnamespace", schema, "typowner", owner, "typlen", -1, "typtype", "b",
			"typcategory", "A", "typisdefined", true, "typdelim", ",", "typelem", elem, "typinput", regprocOf("array_in"),
			"typoutput", regprocOf("array_out"), "typreceive", regprocOf("array_recv"), "typsend", regprocOf("array_send"),
			"typalign", align, "typstorage", "x", "typtypmod", -1)
	}
	for _, t := range g.snap.Types() {
		length, category, byVal, align, storage, in, out := -1, "C", false, "d", "x", "record_in", "record_out"
		recv, send := "record_recv", "record_send"
		var base, collation types.OID
		typmod := int32(-1)
		switch t.Class {
		case 'b':
			category, align, in, out, recv, send, collation = "S", "i", "textin", "textout", "textrecv", "textsend", defaultColl
			if t.Like == catalog.LikeHstore {
				category, collation = "U", 0
			}
		case 'e':
			length, category, byVal, align, storage, in, out = 4, "E", true, "i", "p", "enum_in", "enum_out"
			recv, send = "enum_recv", "enum_send"
		case 'r':
			category, align, in, out, recv, send = "R", rangeAlign(g.snap.TypeByOID(t.Base.OID)), "range_in", "range_out", "range_recv", "range_send"
		case 'm':
			category, align, in, out, recv, send = "R", "i", "multirange_in", "multirange_out", "multirange_recv", "multirange_send"
			if r := g.snap.UserType(uint32(t.Base.OID)); r != nil {
				align = rangeAlign(g.snap.TypeByOID(r.Base.OID))
			}
		case 'd':
			base, typmod, in, recv = t.Base.OID, t.Base.Typmod, "domain_in", "domain_recv"
			if b := g.snap.TypeByOID(base); b != nil {
				length, category = int(b.Size), string(rune(b.Category))
				if info := types.InfoOf(b.OID); info != nil {
					out, send, collation = info.Out, info.Send, info.Collation
					byVal, align, storage = info.ByVal, string(rune(info.Align)), string(rune(info.Storage))
				}
			}
		}
		rel := uint32(0)
		if t.Class == 'c' {
			rel = compositeRelation(t)
		}
		var def any
		if t.Default != "" {
			def = ruleText(g.env, t.Default, nil, g.snap.TypeByRef(t.Base), false)
		}
		if err := g.row("oid", t.ID, "typname", t.Name, "typnamespace", t.Schema, "typowner", t.Owner, "typlen", length, "typbyval", byVal,
			"typtype", t.Class, "typcategory", category, "typisdefined", true, "typdelim", ",", "typarray", t.Array,
			"typrelid", rel, "typinput", regprocOf(in), "typoutput", regprocOf(out), "typreceive", regprocOf(recv), "typsend", regprocOf(send), "typalign", align, "typstorage", storage,
			"typnotnull", t.NotNull, "typbasetype", base, "typtypmod", typmod, "typdefault", def, "typdefaultbin", def, "typcollation", collation); err != nil {
			return err
		}
		if err := userArray(t.Array, t.ID, t.Name, t.Schema, t.Owner, align); err != nil {
			return err
		}
	}
	for _, t := range g.snap.Tables() {
		if t.RowType == 0 || t.Kind == catalog.RelSequence {
			continue
		}
		if err := g.row("oid", t.RowType, "typname", t.Name, "typnamespace", t.Schema, "typowner", t.Owner, "typlen", -1, "typtype", "c",
			"typcategory", "C", "typisdefined", true, "typdelim", ",", "typrelid", t.ID, "typarray", t.RowArray, "typinput", regprocOf("record_in"),
			"typoutput", regprocOf("record_out"), "typreceive", regprocOf("record_recv"), "typsend", regprocOf("record_send"),
			"typalign", "d", "typstorage", "x", "typtypmod", -1); err != nil {
			return err
		}
		if t.RowArray != 0 {
			if err := userArray(t.RowArray, t.RowType, t.Name, t.Schema, t.Owner, "d"); err != nil {
				return err
			}
		}
	}
	return nil
}

// compositeRelation is the oid of the relation that lists a composite type's attributes. The catalog keeps
// them with the type, whose id is below 2^30.
func compositeRelation(t *catalog.Type) uint32 { return t.ID | 1<<30 }

// compositeOf is the composite type of such a relation, nil if oid is none.
func compositeOf(snap *catalog.Snapshot, oid uint32) *catalog.Type {
	if oid&(1<<30) == 0 {
		return nil
	}
	if t := snap.UserType(oid &^ (1 << 30)); t != nil && t.Class == 'c' {
		return t
	}
	return nil
}

func pgEnum(g *gen) error {
	for _, t := range g.snap.Types() {
		order := t.LabelOrder()
		for i, l := range t.Labels {
			at := float32(i + 1)
			if order != nil {
				at = order[i]
			}
			if err := g.row("oid", l.OID, "enumtypid", t.ID, "enumsortorder", float64(at), "enumlabel", l.Label); err != nil {
				return err
			}
		}
	}
	return nil
}

func pgProc(g *gen) error {
	const langInternal = 12
	for _, f := range builtin.Funcs() {
		var names any
		if f.ArgNames != nil {
			names = f.ArgNames
		}
		var all, modes any
		if f.ArgModes != "" {
			all = f.AllArgs
			modes = strings.Split(f.ArgModes, "")
		}
		schema := uint32(catalog.PgCatalogID)
		switch {
		case f.Schema == catalog.Meridian:
			schema = catalog.MeridianSchemaID
		case strings.HasPrefix(f.Name, "_pg_"):
			schema = catalog.InfoSchemaID
		}
		if err := g.row("oid", f.OID, "proname", f.Name, "pronamespace", schema, "proowner", catalog.BootstrapRoleID,
			"prolang", langInternal, "procost", 1, "provariadic", f.Variadic, "prokind", f.Kind, "proisstrict", f.Strict,
			"proretset", f.RetSet, "provolatile", f.Volatility, "proparallel", "s", "pronargs", len(f.Args),
			"pronargdefaults", len(f.Defaults), "prorettype", f.Ret, "proargtypes", nonNil(f.Args), "proallargtypes", all,
			"proargmodes", modes, "proargnames", names, "prosrc", f.Src); err != nil {
			return err
		}
	}
	return pgUserProc(g)
}

func nonNil(v []types.OID) []types.OID {
	if v == nil {
		return []types.OID{}
	}
	return v
}

func pgCast(g *gen) error {
	for i, c := range builtin.Casts() {
		if err := g.row("oid", 10000+i, "castsource", c.Source, "casttarget", c.Target, "castfunc", c.Func,
			"castcontext", c.Context, "castmethod", c.Method); err != nil {
			return err
		}
	}
	if g.snap == nil {
		return nil
	}
	for _, c := range g.snap.Casts() {
		if err := g.row("oid", c.ID, "castsource", c.Source, "casttarget", c.Target, "castfunc", c.Func,
			"castcontext", c.Context, "castmethod", c.Method); err != nil {
			return err
		}
	}
	return nil
}

func pgLanguage(g *gen) error {
	for i, name := range []string{"internal", "c", "sql"} {
		if err := g.row("oid", 12+i, "lanname", name, "lanowner", catalog.BootstrapRoleID, "lanpltrusted", name == "sql"); err != nil {
			return err
		}
	}
	return g.row("oid", plpgsqlLanguage, "lanname", "plpgsql", "lanowner", catalog.BootstrapRoleID, "lanispl", true, "lanpltrusted", true)
}

// collations are the ones there are; all order by code point.
var collations = []struct {
	oid  int
	name string
	coll any
}{{defaultColl, "default", nil}, {950, "C", "C"}, {951, "POSIX", "POSIX"}, {962, "ucs_basic", "C"}}

func pgCollation(g *gen) error {
	for _, c := range collations {
		provider := "c"
		if c.coll == nil {
			provider = "d"
		}
		if err := g.row("oid", c.oid, "collname", c.name, "collnamespace", catalog.PgCatalogID, "collowner", catalog.BootstrapRoleID,
			"collprovider", provider, "collisdeterministic", true, "collencoding", -1, "collcollate", c.coll, "collctype", c.coll); err != nil {
			return err
		}
	}
	return nil
}

// rangeOpclasses are the btree operator classes of the built-in range types' subtypes.
var rangeOpclasses = map[types.OID]int{types.OIDInt4: 1978, types.OIDNumeric: 3125, types.OIDTimestamp: 3128, types.OIDTimestampTZ: 3127,
	types.OIDDate: 3122, types.OIDInt8: 3124}

func pgRange(g *gen) error {
	for _, t := range types.All() {
		if t.Multi == nil {
			continue
		}
		if err := g.row("rngtypid", t.OID, "rngsubtype", t.Sub.OID, "rngmultitypid", t.Multi.OID, "rngsubopc", rangeOpclasses[t.Sub.OID],
			"rngcanonical", regprocOf(t.Name+"_canonical"), "rngsubdiff", regprocOf(t.Name+"_subdiff")); err != nil {
			return err
		}
	}
	for _, t := range g.snap.Types() {
		if t.Class != 'r' {
			continue
		}
		sub := g.snap.TypeByOID(t.Base.OID)
		collation := types.OID(0)
		if info := types.InfoOf(sub.BaseType().OID); info != nil && info.Collation != 0 {
			collation = cmp.Or(t.Collation, info.Collation)
		}
		if err := g.row("rngtypid", t.ID, "rngsubtype", t.Base.OID, "rngmultitypid", t.Multirange, "rngcollation", collation,
			"rngsubopc", opclass(btreeAm, "", sub), "rngsubdiff", t.SubtypeDiff); err != nil {
			return err
		}
	}
	return nil
}

// rangeAlign is the alignment of ranges over a type.
func rangeAlign(sub *types.T) string {
	if info := types.InfoOf(sub.BaseType().OID); info != nil && info.Align == 'd' {
		return "d"
	}
	return "i"
}
