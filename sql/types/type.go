package types

// OID is PostgreSQL's object id of a type. Built-in types have PostgreSQL's own numbers, because drivers
// know them by heart.
type OID uint32

// T is an SQL type: an OID with its modifier. Ts are immutable; built-in ones without modifier are the
// package's variables (Int4, Text, ...) and may be compared by OID, never by pointer.
type T struct {
	OID OID
	// Typmod is PostgreSQL's atttypmod: -1 for none; for varchar and char length+4; for numeric
	// ((precision<<16)|scale)+4.
	Typmod int32
	Name   string // PostgreSQL's internal name: "int4", "bpchar"
	Kind   Kind
	Size   int16 // typlen: -1 for variable length
	Elem   *T    // element type of an array type
	Array  OID   // OID of the array type over this one, 0 if none
	// Category and Preferred are pg_type's typcategory and typispreferred, which drive overload
	// resolution.
	Category  byte
	Preferred bool
}
