// Package raftlog keeps the Raft logs and hard states of all replicas of one node, and a few records of
// the store itself, in one synced Pebble.
//
// It guarantees that what a synced Commit or SyncWait covered survives a crash, and that writes survive
// in order: if a write survives, so do all before it. The state engine has no WAL of its own, so these logs
// are what it is rebuilt from; they are truncated only below what that engine holds durably.
//
// Log is safe for concurrent use; a Batch belongs to one goroutine. The package starts no goroutines.
package raftlog
