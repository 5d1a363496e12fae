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
	// Class is pg_type's typtype: 'b' base, 'p' pseudo, 'd' domain, 'e' enum, 'c' composite, 'r' range, 'm' multirange.
	Class byte
	// Delim separates the elements of an array of this type, ',' for all but box.
	Delim byte
	// Schema is the schema of a user-defined type, "" for pg_catalog.
	Schema string
	// Sub is the type of a range type's bounds, and the range type of a multirange type. Multi is the multirange type of
	// a range type. Both are nil for other types.
	Sub, Multi *T
	// Def describes a user-defined type, nil for built-in ones.
	Def *Def
	// Fold says that values are compared as if they were in lower case: citext.
	Fold bool
	// Hstore says that values are those of the extension hstore.
	Hstore bool
}

// Def is what a user-defined type has beyond T. It is immutable once its T is in use.
type Def struct {
	Base    *T       // of a domain
	NotNull bool     // of a domain
	Default string   // of a domain, as SQL; "" for none
	Labels  []string // of an enum, in sort order
	// Order is the sort order of each label (pg_enum.enumsortorder), which keys are built from: it must
	// not change when a label is added between others. nil means 1, 2, 3, ...
	Order  []float32
	Fields []Field // of a composite type
}

// Field is one attribute of a composite type.
type Field struct {
	Name string
	Type *T
}

// WithTypmod returns t with a modifier; of an array type the modifier is its elements'.
func (t *T) WithTypmod(typmod int32) *T {
	if t.Typmod == typmod {
		return t
	}
	c := *t
	c.Typmod = typmod
	if c.Elem != nil {
		c.Elem = c.Elem.WithTypmod(typmod)
	}
	return &c
}

// BaseType returns the type under any number of domains, t itself if it is no domain.
func (t *T) BaseType() *T {
	for t.Class == 'd' && t.Def != nil && t.Def.Base != nil {
		t = t.Def.Base
	}
	return t
}

// IsArray reports whether t is a true array type (int2vector and oidvector are not).
func (t *T) IsArray() bool {
	return t.Kind == KindArray && t.Elem != nil && t.OID != OIDInt2Vector && t.OID != OIDOidVector
}

// String returns the type as format_type prints it.
func (t *T) String() string { return FormatType(t) }

// ArrayOf returns the array type over elem, nil if it has none.
func ArrayOf(elem *T) *T {
	if elem.Array == 0 {
		return nil
	}
	if t := ByOID(elem.Array); t != nil {
		return t.WithTypmod(elem.Typmod)
	}
	return &T{OID: elem.Array, Typmod: elem.Typmod, Name: "_" + elem.Name, Kind: KindArray, Size: -1, Elem: elem,
		Category: 'A', Class: 'b', Delim: ',', Schema: elem.Schema}
}
