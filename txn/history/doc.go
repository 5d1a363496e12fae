// Package history records what clients of a database saw and checks it for strict serializability: is there
// one order of all committed transactions that explains every read and agrees with real time?
//
// # Workloads
//
// List-append: a transaction appends unique numbers to lists and reads whole lists. A list that was read
// tells the order of all appends to its key so far, so dependencies between transactions can be read off,
// not guessed (Kingsbury and Alvaro, "Elle", VLDB 2020). Check builds the graph of
//
//	ww  one appended right after the other
//	wr  one read what the other appended last
//	rw  one read a list that the other appended to next
//	rt  one had its answer before the other was begun
//
// and reports every kind of cycle with a shortest example. What one read alone betrays is reported
// first: values of aborted transactions, half of a transaction, values from nowhere, lists that are no
// prefixes of each other, an own write unseen.
//
// Bank: transfers between accounts keep the total. CheckBank checks the total of each full read and, by the
// timestamps the database gave out, replays all transfers and compares every account of every read.
//
// CheckTimestamps holds commit timestamps against real time (I6) and against the dependencies found.
//
// # Use
//
// RunListAppend and RunBank drive kv.DBs and record through a Recorder; a test that talks to a database in
// another way uses a Recorder itself. A transaction whose outcome is not known counts as committed if, and
// only if, someone saw an effect of it.
//
// The package starts goroutines in Run functions only, and these wait for them.
package history
