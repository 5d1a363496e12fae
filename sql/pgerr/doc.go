// Package pgerr holds the error type that every SQL package returns for a fault a client may cause or see.
// It guarantees nothing but names: the SQLSTATE constants carry PostgreSQL's condition names, and Error has
// one field for each field of the protocol's ErrorResponse, so that an error keeps its detail, hint and
// position on the way from the function that found it to the wire.
//
// The package starts no goroutines and has no state. Mapping errors of the layers below (transactions,
// ranges) to a SQLSTATE is done in package sql, in one place.
package pgerr
