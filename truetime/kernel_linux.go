package truetime

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// KernelSource takes the kernel's wall clock with the error bound that a daemon (chrony with rtcsync, ptp4l)
// maintains in it through adjtimex.
func KernelSource() (Source, error) { return kernelSource{}, nil }

type kernelSource struct{}

func (kernelSource) Name() string { return "kernel" }

func (kernelSource) Sample(_ context.Context, local LocalClock) (Sample, error) {
	var tx unix.Timex
	before := local.Raw()
	_, err := unix.Adjtimex(&tx)
	after := local.Raw()
	if err != nil {
		return Sample{}, err
	}
	frac := tx.Time.Usec * 1000
	if tx.Status&unix.STA_NANO != 0 {
		frac = tx.Time.Usec
	}
	return kernelSample(tx.Time.Sec*1e9+frac, tx.Maxerror, tx.Status&unix.STA_UNSYNC != 0, before, after)
}

func kernelSample(wall, maxErrorMicros int64, unsynced bool, before, after int64) (Sample, error) {
	switch {
	case unsynced:
		return Sample{}, errors.New("the kernel clock is not synchronised (STA_UNSYNC); run chrony with rtcsync, or use an ntp:// source")
	case maxErrorMicros <= 0:
		// systemd-timesyncd zeroes the field at every adjustment: a bound of nothing is no bound.
		return Sample{}, errors.New("the kernel states a maximum error of zero, which is no bound (systemd-timesyncd does this); run chrony, or use an ntp:// source")
	case maxErrorMicros >= 16_000_000:
		return Sample{}, errors.New("the kernel's maximum error is 16 s: nobody disciplines it")
	}
	mid := before + (after-before)/2
	// The kernel adds growth once a second; 200 µs cover the second that may be missing.
	bound := time.Duration(maxErrorMicros)*time.Microsecond + 200*time.Microsecond + time.Duration(after-before)/2 + time.Microsecond
	return Sample{Raw: mid, Offset: wall - mid, Bound: bound}, nil
}
