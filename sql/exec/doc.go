// Package exec executes plans over a transaction of package kv.
//
// Each plan.Node becomes an operator with Open, Next and Close that is pulled for one row at a time. All
// operators of an execution share one frame of datums (see package plan); operators that store rows copy
// the slots they must bring back and account for the memory, so that an execution past Env.MemLimit fails
// with SQLSTATE 53200 and takes nothing else with it.
//
// Statements by full primary key and inserts of single rows take a short path that needs no operators.
//
// Writes keep rows, indexes and constraints consistent: encode.go says how rows and index entries look,
// write.go batches the reads that uniqueness needs, fk.go enforces foreign keys at the end of a statement.
//
// An execution runs on its caller's goroutine. A scan that reads much has a goroutine of its own that fetches the
// next page (pages.go); closing the operator ends it.
package exec
