// Package rowenc encodes rows: keys whose bytes sort as their values do, and values that decode one wanted
// column at a time.
//
// Keys. AppendKey maps a value to bytes so that bytes.Compare orders keys as types.Compare orders values,
// reversed for a descending column, with NULL before or after all values as asked. An encoding is never a
// prefix of another, so columns follow each other without separators and a prefix of the columns is a
// prefix of the key. Equal values have equal bytes; where equal values can look different (numeric without
// a scale, -0.0, intervals) KeyLossy says so and the caller keeps the original in the row's value too.
//
// Values. A row's value is a list of columns in ascending order of their ids, each with the distance from
// the id before, a tag that tells how to skip it, and its data. A column that is absent reads as the
// default given to the decoder: that is how a column added later appears in old rows. Decoding integers,
// floats, strings and bytes allocates nothing; strings and bytes alias the value.
//
// Decoding checks every length and returns ErrCorrupt for bytes that no encoder wrote; it never panics.
// All functions are pure and safe for concurrent use.
package rowenc
