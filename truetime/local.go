package truetime

// LocalClock is the oscillator under the clock: two counters of nanoseconds since some fixed point.
type LocalClock interface {
	// Raw advances with true time within the configured drift while the machine runs, and is never
	// stepped or slewed.
	Raw() int64
	// Boot advances like Raw, and also while the machine is suspended.
	Boot() int64
}
