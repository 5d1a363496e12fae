// Package plpgsql is the procedural language of functions, triggers and DO blocks: PL/pgSQL as PostgreSQL's manual has
// it.
//
// Parse turns a body into a tree. It reads tokens only; expressions and SQL statements stay text that package parser
// has read, in which names of variables are left for the planner to find (plan.Variables). A Machine runs the tree:
// it keeps the variables' values and hands every expression and statement to its Host, the session, with those values
// as parameters. So an expression here means exactly what it means in SQL.
package plpgsql
