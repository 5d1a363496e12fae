// Package kvtest is a kv.DB in memory for the tests of the layers above it. It keeps every version, gives
// each commit a timestamp of its own and locks single keys with wound-wait. It has no phantom protection
// (spans are not locked) and no garbage collection; everything else follows the comments of package kv,
// so that a test that passes here exercises the same calls as production.
//
// One mutex guards the whole database; a Txn may be used from one goroutine at a time, as kv.Txn says.
package kvtest
