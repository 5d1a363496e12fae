package catalog

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/meridian-db/meridian/txn/kv"
)

// The catalog's keys. All start with 0x02 'c', the ids in them are big endian.
//
//	v                      version of the catalog, 8 bytes
//	d id(4)                descriptor
//	n space(1) parent(4) name   id(4): the name is taken
//	l version(8)           ids changed by that version, 4 bytes each
//	L node(8)              lease of a node: end(8)
//	g id(4) [index(2)]     storage, or one index of it, to be removed
//	q id(4)                state of a sequence (used by package ddl and the sequence functions)
//	S id(4)                statistics of a table
//	T                      version of the statistics, 8 bytes
//	W id(4)                rows of a table that nodes have told they have written since its statistics, 8 bytes
const (
	keyVersion    = 'v'
	keyDescriptor = 'd'
	keyName       = 'n'
	keyLog        = 'l'
	keyLease      = 'L'
	keyGarbage    = 'g'
	keySequence   = 'q'
	keyStats      = 'S'
	keyStatsVer   = 'T'
	keyStatsSum   = 'W'
)

// nameSpace separates names that do not collide with one another.
type nameSpace byte

const (
	spaceDatabase    nameSpace = 'd'
	spaceRole        nameSpace = 'r'
	spaceTablespace  nameSpace = 'p'
	spaceSchema      nameSpace = 's' // parent: database
	spaceRelation    nameSpace = 'c' // parent: schema; tables, views, sequences, indexes
	spaceType        nameSpace = 't' // parent: schema
	spacePublication nameSpace = 'u' // parent: database
	// 'o', 'k' and 'v' are those of operators, casts and event triggers.
	spaceFunction nameSpace = 'f' // parent: schema; the name goes with the types of the parameters
)

func catKey(class byte, extra int) []byte {
	return append(make([]byte, 0, 3+extra), 0x02, 'c', class)
}

func versionKey() []byte { return catKey(keyVersion, 0) }

func descKey(id uint32) []byte {
	return binary.BigEndian.AppendUint32(catKey(keyDescriptor, 4), id)
}

func nameKeyBytes(k nameKey) []byte {
	b := append(catKey(keyName, 5+len(k.name)), byte(k.space))
	b = binary.BigEndian.AppendUint32(b, k.parent)
	return append(b, k.name...)
}

func logKey(version uint64) []byte {
	return binary.BigEndian.AppendUint64(catKey(keyLog, 8), version)
}

func leaseKey(node uint64) []byte {
	return binary.BigEndian.AppendUint64(catKey(keyLease, 8), node)
}

func garbageKey(id uint32) []byte {
	return binary.BigEndian.AppendUint32(catKey(keyGarbage, 4), id)
}

func statsKey(table uint32) []byte {
	return binary.BigEndian.AppendUint32(catKey(keyStats, 4), table)
}

func statsWritesKey(table uint32) []byte {
	return binary.BigEndian.AppendUint32(catKey(keyStatsSum, 4), table)
}

func statsVersionKey() []byte { return catKey(keyStatsVer, 0) }

// SequenceKey is the key under which a sequence's state is stored.
func SequenceKey(id uint32) []byte {
	return binary.BigEndian.AppendUint32(catKey(keySequence, 4), id)
}

// classSpan is the span of all keys of a class.
func classSpan(class byte) kv.Span {
	return kv.Span{Start: catKey(class, 0), End: catKey(class+1, 0)}
}

// TableSpan is the span of a table's rows and index entries, by its storage id.
func TableSpan(storage uint32) kv.Span {
	start := binary.BigEndian.AppendUint32([]byte{0x03}, storage)
	end := binary.BigEndian.AppendUint32([]byte{0x03}, storage+1)
	return kv.Span{Start: start, End: end}
}

// IndexSpan is the span of one index of a table.
func IndexSpan(storage uint32, index uint16) kv.Span {
	start := binary.BigEndian.AppendUint32([]byte{0x03}, storage)
	start = binary.BigEndian.AppendUint16(start, index)
	end := binary.BigEndian.AppendUint32([]byte{0x03}, storage)
	if index == 0xffff {
		return kv.Span{Start: start, End: TableSpan(storage).End}
	}
	return kv.Span{Start: start, End: binary.BigEndian.AppendUint16(end, index+1)}
}

// nameKey is a name in its name space.
type nameKey struct {
	space  nameSpace
	parent uint32
	name   string
}

// envelope is the stored form of a descriptor.
type envelope struct {
	Kind string          `json:"kind"`
	Desc json.RawMessage `json:"desc"`
}

func encodeDescriptor(d Descriptor) ([]byte, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode descriptor %d: %w", d.DescID(), err)
	}
	return json.Marshal(envelope{Kind: string(rune(d.kind())), Desc: body})
}

func decodeDescriptor(b []byte) (Descriptor, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("decode descriptor: %w", err)
	}
	var d Descriptor
	switch e.Kind {
	case "d":
		d = &Database{}
	case "s":
		d = &Schema{}
	case "r":
		d = &Role{}
	case "p":
		d = &Tablespace{}
	case "t":
		d = &Type{}
	case "c":
		d = &Table{}
	case "f":
		d = &Function{}
	case "o":
		d = &Operator{}
	case "k":
		d = &Cast{}
	case "v":
		d = &EventTrigger{}
	case "u":
		d = &Publication{}
	default:
		return nil, fmt.Errorf("decode descriptor: unknown kind %q", e.Kind)
	}
	if err := json.Unmarshal(e.Desc, d); err != nil {
		return nil, fmt.Errorf("decode descriptor of kind %q: %w", e.Kind, err)
	}
	return d, nil
}
