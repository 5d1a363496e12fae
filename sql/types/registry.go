package types

import (
	_ "embed"
	"strconv"
	"strings"
)

//go:embed pgtype.tsv
var pgTypeTable string

// Info is the part of a pg_type row that only the catalog and the wire need.
type Info struct {
	ByVal           bool
	Align, Storage  byte
	Collation       OID // 100 default, 950 "C", 0 for types without collation
	In, Out         string
	Recv, Send      string
	ModIn, ModOut   string
	ElemOID, ArrOID OID
}

type registry struct {
	byOID  map[OID]*T
	byName map[string]*T
	infos  map[OID]*Info
	all    []*T
}

var builtins = loadRegistry()

func loadRegistry() *registry {
	r := &registry{byOID: map[OID]*T{}, byName: map[string]*T{}, infos: map[OID]*Info{}}
	for line := range strings.Lines(pgTypeTable) {
		if line[0] == '#' {
			continue
		}
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		num := func(i int) int64 {
			n, err := strconv.ParseInt(f[i], 10, 64)
			if err != nil {
				panic("types: pgtype.tsv: " + line)
			}
			return n
		}
		t := &T{OID: OID(num(0)), Typmod: -1, Name: f[1], Size: int16(num(2)), Class: f[4][0], Category: f[5][0],
			Preferred: f[6] == "t", Delim: f[7][0], Array: OID(num(9))}
		info := &Info{ByVal: f[3] == "t", Align: f[10][0], Storage: f[11][0], Collation: OID(num(12)), In: f[13], Out: f[14],
			Recv: f[15], Send: f[16], ModIn: f[17], ModOut: f[18], ElemOID: OID(num(8)), ArrOID: t.Array}
		t.Kind = kindOf(t.OID, t.Name)
		r.byOID[t.OID], r.byName[t.Name], r.infos[t.OID] = t, t, info
		r.all = append(r.all, t)
	}
	for _, t := range r.all {
		if e := r.infos[t.OID].ElemOID; e != 0 {
			t.Elem, t.Kind = r.byOID[e], KindArray
		}
	}
	for _, rt := range rangeTypes {
		t, multi := r.byOID[rt.Range], r.byOID[rt.Multirange]
		t.Kind, t.Sub, t.Multi = KindRange, r.byOID[rt.Subtype], multi
		multi.Kind, multi.Sub = KindMultirange, t
	}
	return r
}

func kindOf(oid OID, name string) Kind {
	switch name {
	case "bool":
		return KindBool
	case "int2", "int4", "int8", "oid", "xid", "cid", "xid8", "money", "pg_lsn":
		return KindInt
	case "float4", "float8":
		return KindFloat
	case "numeric":
		return KindNumeric
	case "bytea":
		return KindBytes
	case "date":
		return KindDate
	case "time":
		return KindTime
	case "timetz":
		return KindTimeTZ
	case "timestamp":
		return KindTimestamp
	case "timestamptz":
		return KindTimestampTZ
	case "interval":
		return KindInterval
	case "uuid":
		return KindUUID
	case "jsonb":
		return KindJSON
	case "record":
		return KindTuple
	case "anyarray", "anycompatiblearray":
		return KindArray
	case "anyrange", "anycompatiblerange":
		return KindRange
	case "anymultirange", "anycompatiblemultirange":
		return KindMultirange
	}
	if isReg(oid) {
		return KindInt
	}
	return KindString // the text family, and types known only by their text form
}

// isReg reports whether oid is one of the OID alias types (regclass and so on).
func isReg(oid OID) bool {
	switch oid {
	case OIDRegproc, OIDRegprocedure, OIDRegoper, OIDRegoperator, OIDRegclass, OIDRegtype, OIDRegconfig,
		OIDRegdictionary, OIDRegnamespace, OIDRegrole, OIDRegcollation:
		return true
	}
	return false
}

// ByOID returns a built-in type without modifier, nil if there is none.
func ByOID(oid OID) *T { return builtins.byOID[oid] }

// ByInternalName returns a built-in type by its pg_type name ("int4"), nil if there is none.
func ByInternalName(name string) *T { return builtins.byName[name] }

// InfoOf returns the catalog part of a built-in type, nil if oid is not built in.
func InfoOf(oid OID) *Info { return builtins.infos[oid] }

// All returns the built-in types in OID order. The slice must not be changed.
func All() []*T { return builtins.all }
