package types

import "github.com/cockroachdb/apd/v3"

// JSONKind is the kind of a JSON value.
type JSONKind uint8

const (
	JSONNull JSONKind = iota
	JSONBool
	JSONNumber
	JSONString
	JSONArray
	JSONObject
)

// JSON is a jsonb value: a parsed tree. Object keys are unique and sorted as jsonb sorts them, shorter
// keys first and keys of one length bytewise. A JSON is immutable and may share parts with others.
type JSON struct {
	Kind JSONKind
	Bool bool
	Num  *apd.Decimal
	Str  string
	Keys []string // of an object, beside Vals
	Vals []*JSON  // elements of an array, or values of an object
}
