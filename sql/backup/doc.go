// Package backup takes and restores backups of a cluster, a database or a table.
//
// # What a backup is
//
// A backup is a directory of a store (package store): data files, and MANIFEST.json, which is written last. Without a
// manifest there is no backup. The manifest names every file with its SHA-256, and carries one of itself. A full
// backup holds what a reader at one timestamp sees. An incremental one holds what was written after its parent's
// timestamp and up to its own, deletions included; it names its parent, and a chain of them leads to a full one. With
// revision history it holds every version in between, so that a restore may choose any timestamp of the interval.
//
// The catalog is part of the data: descriptors, states of sequences and statistics are read at the same timestamp as
// rows are, and folded along a chain as rows are. What is restored is found in the descriptors as of the timestamp
// that is restored.
//
// # How it is taken
//
// By reads without locks at the timestamp, so nobody waits (kv.ReadTimestamp, kv.ChangeReader). A protection record
// (package protect) keeps garbage collection below that timestamp and the parent's. The span of each range is a unit of work; a few
// are read at once, by the nearest replicas, and written as files of bounded size. A unit leaves a list of its
// files behind, so that another node that adopts the job goes on after it.
//
// # How it is restored
//
// Every object gets a new id, tables get new storage. The placement policies of that storage are recorded first. Rows are
// written into it by transactions while no descriptor refers to it. At the end one transaction adds all descriptors and notes in the job that it did: until then nothing
// is visible, and a restore that fails or is canceled leaves only storage, which is collected as garbage.
//
// Backups and restores are jobs (package jobs); both are repeatable at any point.
package backup
