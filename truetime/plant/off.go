//go:build !planted

package plant

// Built says whether bugs can be planted in this build.
const Built = false

// On reports whether a bug is there.
func On(Bug) bool { return false }

// Set plants a bug; in this build it cannot.
func Set(Bug) {}
