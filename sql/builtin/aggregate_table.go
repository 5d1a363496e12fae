package builtin

import (
	_ "embed"
	"sync"

	"github.com/meridian-db/meridian/sql/types"
)

//go:embed tables/aggregate.tsv
var aggregateTable string

// AggregateRow is a row of pg_aggregate.
type AggregateRow struct {
	Func                                                              types.OID
	Kind                                                              byte
	Direct                                                            int
	Trans, Final, Combine, Serial, Deserial, MTrans, MInverse, MFinal types.OID
	Extra, MExtra                                                     bool
	Modify, MModify                                                   byte
	SortOp, State, MState                                             types.OID
	Space, MSpace                                                     int
	Init, MInit                                                       *string
}

// Aggregates gives pg_aggregate to the catalog. It must not be changed.
var Aggregates = sync.OnceValue(func() []*AggregateRow {
	var out []*AggregateRow
	for f := range rows(aggregateTable) {
		text := func(s string) *string {
			if s == "-" {
				return nil
			}
			return &s
		}
		out = append(out, &AggregateRow{Func: oid(f[0]), Kind: f[1][0], Direct: int(oid(f[2])), Trans: oid(f[3]), Final: oid(f[4]), Combine: oid(f[5]),
			Serial: oid(f[6]), Deserial: oid(f[7]), MTrans: oid(f[8]), MInverse: oid(f[9]), MFinal: oid(f[10]), Extra: f[11] == "t", MExtra: f[12] == "t",
			Modify: f[13][0], MModify: f[14][0], SortOp: oid(f[15]), State: oid(f[16]), Space: int(oid(f[17])), MState: oid(f[18]), MSpace: int(oid(f[19])),
			Init: text(f[20]), MInit: text(f[21])})
	}
	return out
})

// SameAggregate finds the built-in aggregate that is made of these functions, where they are not functions that can be called:
// what it computes is then computed as it is there. nil: they can be called, or there is no such aggregate.
func SameAggregate(trans, final types.OID) *Func {
	if Callable(trans) && (final == 0 || Callable(final)) {
		return nil
	}
	for _, a := range Aggregates() {
		if a.Trans == trans && a.Final == final {
			return FuncByOID(a.Func)
		}
	}
	return nil
}

// Callable reports whether a function that a user's aggregate names can be called here.
func Callable(id types.OID) bool {
	fn := FuncByOID(id)
	return id >= firstUserOID || fn != nil && Implemented(fn)
}

// firstUserOID is the first oid of objects that are not built in.
const firstUserOID = 16384
