// Package ddl executes the statements that change the catalog.
//
// Execute is the only entry point. A statement changes descriptors through the transaction's catalog.Txn, so it
// is seen by the transaction's later statements and by nobody else until the commit, and is undone with the
// transaction. Work on rows (rewriting a table, checking existing rows against a new constraint, CREATE TABLE
// AS) is done by running SQL inside the same transaction, through the hooks in Env; only index backfill has a
// hook of its own.
//
// A change that gives a table new storage (TRUNCATE, a type change, a primary key on a table that had none)
// writes the rows under a new storage id and leaves the old ones to be removed after the commit: readers at
// older timestamps still find them.
//
// Errors are *pgerr.Error with PostgreSQL's SQLSTATEs and messages. What is not supported fails with 0A000 and
// changes nothing. The package has no goroutines; an Env is used by one at a time.
package ddl
