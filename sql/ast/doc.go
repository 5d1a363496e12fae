// Package ast is Meridian's own syntax tree of PostgreSQL's statements. It is what sql/parser produces from
// text and what every later step reads; no other package knows the grammar library behind the parser.
//
// The tree stays close to PostgreSQL's raw parse tree, because its rules (what is a function call, what is
// an operator, where a name may be a column or a whole row) are defined in those terms. Three differences
// make it easier to use: every choice is a Go type of its own instead of a kind field where the fields
// differ, statements that only carry options keep them as DefElem lists, and constructs that nothing above
// supports become Unsupported nodes, which the binder answers with SQLSTATE 0A000.
//
// Positions are byte offsets into the whole query string, starting at 0; -1 means unknown. An error about a
// node carries Position = offset+1 (PgPos); package sql turns that into PostgreSQL's count of characters.
//
// Nodes are plain data. A tree returned by the parser is not changed afterwards and may be shared between
// goroutines; parser.Parameterize, which replaces literals, says so and runs before the tree is shared.
// The main types are Stmt, Expr, TableRef and TypeName.
package ast
