package sim

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// disk is what is wrong with a node's disk. It belongs to the node, not to what the disk holds.
type disk struct {
	full atomic.Bool
	slow atomic.Int64 // nanoseconds that a sync takes longer
	// stalled is when syncs go on again, by the bubble's time in nanoseconds.
	stalled atomic.Int64
	// opening: the engine syncs under its mutex while it opens. To sleep there would stop time for ever, as whoever waits
	// for a mutex keeps a bubble's time from moving.
	opening atomic.Bool
}

// over returns fs as the node sees it.
func (d *disk) over(fs vfs.FS) vfs.FS { return errorfs.Wrap(fs, d) }

// String implements errorfs.Injector.
func (d *disk) String() string { return "disk" }

// MaybeError implements errorfs.Injector.
func (d *disk) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		if !d.opening.Load() {
			time.Sleep(max(time.Duration(d.slow.Load()), time.Until(time.Unix(0, d.stalled.Load()))))
		}
	case errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate, errorfs.OpMkdirAll:
	default:
		return nil
	}
	if d.full.Load() {
		if op.Kind == errorfs.OpCreate && !d.opening.Load() {
			// The engine tries a flush that has failed again, at once and for ever: the node could wait for its end as long.
			time.Sleep(10 * time.Millisecond)
		}
		return syscall.ENOSPC
	}
	return nil
}
