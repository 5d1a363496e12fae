// Package parser turns SQL text into sql/ast and back.
//
// It is the only package that imports the grammar library, github.com/sqlc-dev/oliphant, a Go port of
// PostgreSQL's own grammar. What leaves this package is our own tree (lower*.go), so the library stays
// replaceable.
//
// Guarantees:
//
//   - No text, however malformed, deep or large, crashes the process or runs away (I12). A stack overflow
//     cannot be recovered in Go, so the text is checked before the grammar sees it (guard.go): size,
//     UTF-8, nesting, runs of prefix operators and joins. The lowering bounds the depth of every tree, so
//     the recursive walks in binder and planner are bounded too.
//   - Errors are *pgerr.Error with PostgreSQL's message and SQLSTATE. Their Position is a byte offset into
//     the query string plus one, as everywhere below package sql, which converts it to PostgreSQL's count
//     of characters with CharPosition.
//   - Deparse writes a tree as SQL text that parses to an equal tree (deparse*.go). Views, defaults and
//     checks are stored in that form.
//   - Normalizer makes the plan cache's key from a statement without parsing or allocating
//     (normalize.go): literals become typed placeholders. Parameterize turns the literals of a parsed
//     statement into parameters under the same rules, so that one plan serves every text with that key.
//
// All functions are safe for concurrent use; a Normalizer belongs to one goroutine at a time.
package parser
