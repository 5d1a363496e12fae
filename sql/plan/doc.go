// Package plan turns a statement into something that can be executed.
//
// Prepare binds an ast.Stmt: it resolves names against a Catalog, decides the type of every expression and
// parameter by PostgreSQL's rules and reports every mistake with PostgreSQL's SQLSTATE. What results is a
// tree of Nodes over typed Exprs, which the optimiser rewrites: conditions move towards the scans they
// concern, subqueries become joins, joins are ordered by estimated size, and each Scan gets an index and
// the key ranges that its conditions allow.
//
// Costs rest on the statistics that ANALYZE stores (package catalog). opt_stats.go judges conditions by them,
// opt_order.go finds the cheapest join tree by dynamic programming, opt_physical.go chooses how each join runs.
//
// Rows have no layout. Each column that any node produces owns a Slot in one frame per execution; a node
// fills its slots and leaves the others alone, and an expression reads a column by its slot wherever it
// stands. A correlated subquery thus simply reads what the outer query left in the frame. Nodes that store
// rows (sorts, hash tables) save and restore the slots their parents need, which pruning determines.
//
// A Plan is immutable: it may be cached and executed by many goroutines at once. The package owns no
// goroutines.
package plan
