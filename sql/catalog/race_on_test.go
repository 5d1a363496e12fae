//go:build race

package catalog

// raceEnabled: the race detector makes sync.Pool forget at random.
const raceEnabled = true
