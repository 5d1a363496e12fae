// Package mvcc is the versioned key-value store under one node's range replicas: ordered keys whose
// values are kept for every timestamp at which they were written, on Pebble.
//
// # What it guarantees
//
// A version (key, timestamp, value) is immutable once written (I2): the engine offers no way to change
// it, only to add versions, and to remove those that no reader at or above the garbage collection
// threshold can see (I3, GC). A read at timestamp t answers with the newest version at or below t, or with
// nothing when that version is a tombstone. Every value carries a CRC-32C over key, timestamp and
// payload, verified on each read: a bad one is an *CorruptError that names the key, never a wrong answer.
//
// The engine writes no WAL. What was committed before a crash may be lost from the end, never from the
// middle: after a restart the engine holds the effects of some prefix of the batches committed to it.
// The raft log is the WAL; Durable reads tell how much of it the engine no longer needs.
//
// # Key space
//
// User keys start with a byte above 0x00 and are what ranges and descriptors bound. Below 0x01 lie keys
// of the store itself, unversioned:
//
//	0x00 'r' rangeID(8, big endian) suffix      range-local, replicated with the range
//	0x00 other                                  store-local
//
// In Pebble each key is followed by 0x00 and, for a version, eight bytes of timestamp and a length byte:
// the format of package cockroachkvs, whose columnar schema, comparer and time-interval block property
// are used as they are. None of this shows above the package.
//
// # Main types
//
// Engine is the store; Snapshot and Batch are the other things one can read from (Reader). Get,
// NewScanner, LatestTimestamp and LatestInSpan read versions; GetLocal and ScanLocal read unversioned
// keys. Provisional versions, which large transactions write before they commit, count for what a reader's View
// says of its Layers. Diffs says what each commit between two timestamps has done. Batch writes. Exporter and Ingester move whole ranges between stores in bounded memory; the
// ingestion is atomic and durable when it returns.
//
// # Goroutines
//
// The package starts none of its own; Pebble's flushes and compactions, which Background holds back while nobody waits
// for them, end in Engine.Close. Engine and Snapshot are safe for concurrent use, every other type belongs to one goroutine at a time.
//
// What it leaves to others: which timestamps may be read (leases, safe time) and written (transactions),
// and when to collect garbage. Paper: Corbett et al., OSDI 2012, §2.1 (versioned tablets).
package mvcc
