package builtin

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/types"
)

//go:embed tables/proc.tsv
var procTable string

// meridianTable has the functions of schema meridian.
//
//go:embed tables/meridian.tsv
var meridianTable string

//go:embed tables/oper.tsv
var operTable string

//go:embed tables/cast.tsv
var castTable string

// castEntry is one pg_cast row.
type castEntry struct {
	Source, Target, Func types.OID
	Context, Method      byte
}

type tables struct {
	funcs      []*Func
	funcByOID  map[types.OID]*Func
	funcByName map[string][]*Func
	opers      []*Operator
	operByOID  map[types.OID]*Operator
	operByName map[string][]*Operator
	casts      map[[2]types.OID]*castEntry
	castList   []*castEntry
}

// catalog is parsed on first use, so that programs which never plan a statement do not pay for it.
var catalog = sync.OnceValue(loadTables)

func loadTables() *tables {
	t := &tables{funcByOID: map[types.OID]*Func{}, funcByName: map[string][]*Func{}, operByOID: map[types.OID]*Operator{},
		operByName: map[string][]*Operator{}, casts: map[[2]types.OID]*castEntry{}}
	proc := func(f []string, schema string) {
		fn := &Func{OID: oid(f[0]), Name: f[1], Kind: f[2][0], Args: oids(f[3]), Ret: oid(f[4]), RetSet: f[5] == "t",
			Variadic: oid(f[6]), Volatility: f[7][0], Strict: f[8] == "t", Src: f[9], AllArgs: oids(f[11]), ArgModes: f[12]}
		if fn.Src == "-" {
			fn.Src = fn.Name
		}
		if f[10] != "" {
			fn.ArgNames = strings.Split(f[10], " ")
		}
		if f[13] != "" {
			fn.Defaults = strings.Split(f[13], " ~ ")
		}
		if f[14] != "" {
			a := strings.Split(f[14], " ")
			fn.Agg = &AggInfo{Kind: a[0][0], NumDirect: int(oid(a[1])), SortOp: oid(a[2])}
		}
		t.funcs = append(t.funcs, fn)
		t.funcByOID[fn.OID] = fn
		key := fn.Name
		if fn.Schema = schema; schema != "" {
			key = schema + "." + fn.Name // found by its full name only
			fn.Src = key
		}
		t.funcByName[key] = append(t.funcByName[key], fn)
	}
	for f := range rows(procTable) {
		proc(f, "")
	}
	for f := range rows(meridianTable) {
		proc(f, "meridian")
	}
	for f := range rows(operTable) {
		op := &Operator{OID: oid(f[0]), Name: f[1], Left: oid(f[2]), Right: oid(f[3]), Ret: oid(f[4]), Commutator: oid(f[5]),
			Negator: oid(f[6]), Proc: oid(f[7]), Merges: f[8] == "t", Hashes: f[9] == "t"}
		switch f[10] {
		case "1":
			op.Cmp = CmpLT
		case "2":
			op.Cmp = CmpLE
		case "3":
			op.Cmp = CmpEQ
		case "4":
			op.Cmp = CmpGE
		case "5":
			op.Cmp = CmpGT
		}
		t.opers = append(t.opers, op)
		t.operByOID[op.OID] = op
		t.operByName[op.Name] = append(t.operByName[op.Name], op)
	}
	for _, op := range t.opers {
		if n := t.operByOID[op.Negator]; op.Name == "<>" && n != nil && n.Cmp == CmpEQ {
			op.Cmp = CmpNE
		}
	}
	for f := range rows(castTable) {
		c := &castEntry{Source: oid(f[0]), Target: oid(f[1]), Func: oid(f[2]), Context: f[3][0], Method: f[4][0]}
		t.casts[[2]types.OID{c.Source, c.Target}] = c
		t.castList = append(t.castList, c)
	}
	return t
}

func rows(table string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(table) {
			if line[0] != '#' && !yield(strings.Split(strings.TrimRight(line, "\n"), "\t")) {
				return
			}
		}
	}
}

func oid(s string) types.OID {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		panic("builtin: bad number in a table: " + s)
	}
	return types.OID(n)
}

func oids(s string) []types.OID {
	if s == "" {
		return nil
	}
	var out []types.OID
	for f := range strings.SplitSeq(s, " ") {
		out = append(out, oid(f))
	}
	return out
}

// Funcs, Operators and Casts give pg_proc, pg_operator and pg_cast to the catalog. They must not be changed.

func Funcs() []*Func         { return catalog().funcs }
func Operators() []*Operator { return catalog().opers }

// CastRow is one pg_cast row.
type CastRow struct {
	Source, Target, Func types.OID
	Context, Method      byte // as in pg_cast
}

func Casts() []CastRow {
	out := make([]CastRow, 0, len(catalog().castList))
	for _, c := range catalog().castList {
		out = append(out, CastRow(*c))
	}
	return out
}

// FuncByOID returns a built-in function, nil if there is none.
func FuncByOID(oid types.OID) *Func { return catalog().funcByOID[oid] }

// OperatorByOID returns a built-in operator, nil if there is none.
func OperatorByOID(oid types.OID) *Operator { return catalog().operByOID[oid] }

// FuncsNamed returns all built-in functions of that name.
func FuncsNamed(name string) []*Func { return catalog().funcByName[name] }

// OperatorsNamed returns all built-in operators of that name.
func OperatorsNamed(name string) []*Operator { return catalog().operByName[name] }
