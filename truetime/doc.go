// Package truetime is the interval clock that external consistency rests on (Corbett et al., OSDI 2012,
// §3): Clock.Now answers an interval that contains true time, Clock.WaitAfter waits until a timestamp has
// passed for every correct clock in the world.
//
// # What it guarantees
//
// I1: the interval contains true time. The guarantee holds as long as
//   - a majority of the configured sources keep within the bounds that they themselves state, and
//   - the local oscillator (CLOCK_MONOTONIC_RAW, which no daemon slews) runs within Config.DriftPPM.
//
// A clock that can tell that one of these no longer holds says so through Health, and the node fences
// itself: it gives up its leases and refuses transactions until the clock is good again.
//
// # How
//
//	sources        Source.Sample: NTPSource, KernelSource, HostSource, or a test's own
//	   │ (raw time, offset, bound)
//	core           pure and synchronous: ages samples by the drift rate, intersects the samples of one
//	   │           source, takes the majority interval over all sources (majorityInterval), names liars,
//	   │           fences and returns
//	published      one immutable estimate behind an atomic pointer
//	   │
//	SyncClock      Now: one clock read and a multiplication; WaitAfter: a precise alarm
//
// Departure from Marzullo's selection: his algorithm as NTP uses it takes the smallest interval that most
// sources agree on, which one liar inside the overlap can pull away from the truth. We take the hull of all
// points that a majority of the configured sources covers. It contains true time for every possible minority
// of liars, and is as narrow when sources are of similar quality. A source whose interval misses that hull
// has been caught lying, is reported and has no influence.
//
// Elapsed time never comes from wall time, so a step of the wall clock changes nothing. A suspend (or any
// pause that stops CLOCK_MONOTONIC_RAW, seen as a jump of CLOCK_BOOTTIME against it) makes the clock
// unsynchronised until the next poll.
//
// # Goroutines
//
// SyncClock owns one polling goroutine per source and one for the alarm, started by New and ended by Close.
// SimClock and ManualClock own none. Everything exported is safe for concurrent use.
//
// Main types: Timestamp, Interval, Clock; SyncClock for nodes, SimClock for clusters on virtual time
// (testing/synctest), ManualClock for unit tests. The sub-package ntpserver answers SNTP for closed networks.
package truetime
