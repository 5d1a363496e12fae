// Package builtin holds PostgreSQL's built-in operators, casts, functions, aggregates, window functions and
// set-returning functions, and chooses among overloads as PostgreSQL does.
//
// What exists, with which OIDs, argument and result types, volatility and strictness, comes from the tables
// directory: pg_proc, pg_operator and pg_cast of PostgreSQL 15. Resolution therefore sees the very same
// candidates as PostgreSQL and reports the same ambiguity and the same unknown function. What an entry does
// is written in Go and found by prosrc. An entry without Go code goes to Ctx.Hook, through which the layers
// that own the catalog, sequences and sessions supply functions of theirs; if that declines, the call
// fails with feature_not_supported.
//
//	call, err := builtin.ResolveOperator("+", types.Int4, types.Int8)   // call.Args: what to coerce to
//	cast, err := builtin.ResolveCast(types.Int4, types.Int8, builtin.CastImplicit)
//	v, err := call.Eval(ctx, args)                                        // when no argument is NULL or !call.Strict
//
// All tables are immutable once loaded and safe for concurrent use. The package starts no goroutines. A Ctx
// belongs to one goroutine at a time.
package builtin
