// Package plant holds the names of bugs that are planted on purpose, one at a time, to see whether the checkers of
// package sim find them. Without the build tag "planted" there are none: On is constant and the compiler drops
// what depends on it.
package plant

// Bug is one of them.
type Bug string

// The bugs. Each takes one mechanism away.
const (
	NoCommitWait  Bug = "commit-wait"   // I7: a commit is answered, its locks released, before its timestamp has passed
	LeaseOverlap  Bug = "lease-overlap" // I4: votes ignore what was promised
	SafeTimeEarly Bug = "safe-time"     // I5: replicas answer above prepared transactions
	LostPrepare   Bug = "lost-prepare"  // a new leader does not lock what is prepared
	EarlyRelease  Bug = "early-release" // shared locks go when the read is done
	StaleRoute    Bug = "stale-route"   // a replica serves keys that a split has taken from it
	GCThreshold   Bug = "gc-threshold"  // I3: garbage is collected above what readers may ask for
	UnsyncedLog   Bug = "unsynced-log"  // I11: the log is acknowledged before it is on disk
	NarrowClock   Bug = "narrow-clock"  // I1: the clock claims a fifth of its uncertainty
	DoubleApply   Bug = "double-apply"  // I8: a commit that is asked for again is done again
	Phantom       Bug = "phantom"       // scans lock the rows they find, not the gaps between them
	BareSnapshot  Bug = "bare-snapshot" // snapshots of ranges leave prepared transactions out
)

// Bugs lists them all.
var Bugs = []Bug{NoCommitWait, LeaseOverlap, SafeTimeEarly, LostPrepare, EarlyRelease, StaleRoute, GCThreshold, UnsyncedLog,
	NarrowClock, DoubleApply, Phantom, BareSnapshot}
