//go:build planted

package plant

import "sync/atomic"

// Built says whether bugs can be planted in this build.
const Built = true

var current atomic.Pointer[Bug]

// On reports whether a bug is there.
func On(b Bug) bool {
	c := current.Load()
	return c != nil && *c == b
}

// Set plants a bug, in place of the one before; the empty one is none.
func Set(b Bug) { current.Store(&b) }
