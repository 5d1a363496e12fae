// Package extension holds what CREATE EXTENSION can add to a database: extensions of PostgreSQL whose functions have been
// written anew in Go. A database that has an extension has its functions in the catalog, in the schema that was chosen, as
// functions in language c; the symbol that such a function names is looked up here.
//
// All tables are immutable and safe for concurrent use. The package starts no goroutines.
package extension
