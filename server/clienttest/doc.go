// Package clienttest holds the clients that people use against a running cluster: a short program for each of
// the drivers and mappers of Python, Java, Ruby, Perl, PHP and Go. Each makes tables by migrations, reads and
// writes rows, commits and rolls back, sends batches, uses COPY where the client has it, and checks that
// errors arrive as what they are. The tests run whichever programs the machine has interpreters and libraries
// for; .ci/run installs them all (Debian's packages).
//
// The programs connect by PGHOST, PGPORT, PGUSER and PGDATABASE, so that each can be run by hand against any
// server, PostgreSQL included, and say "ok" in the end.
package clienttest
