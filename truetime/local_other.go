//go:build !linux

package truetime

import "time"

var processStart = time.Now()

// SystemClock returns the runtime's monotonic clock. Outside Linux there is no portable unslewed counter
// and no suspend detection; such builds are for development.
func SystemClock() LocalClock { return systemClock{} }

type systemClock struct{}

func (systemClock) Raw() int64  { return int64(time.Since(processStart)) }
func (systemClock) Boot() int64 { return int64(time.Since(processStart)) }
