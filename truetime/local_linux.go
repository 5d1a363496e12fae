package truetime

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SystemClock returns the machine's own oscillator: CLOCK_MONOTONIC_RAW and CLOCK_BOOTTIME.
func SystemClock() LocalClock { return systemClock{} }

type systemClock struct{}

func (systemClock) Raw() int64  { return clockGettime(unix.CLOCK_MONOTONIC_RAW) }
func (systemClock) Boot() int64 { return clockGettime(unix.CLOCK_BOOTTIME) }

// clockGettime does not tell the scheduler about the system call: it never blocks, and Now is on the path
// of every request.
func clockGettime(id uintptr) int64 {
	var ts syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic("truetime: clock_gettime: " + errno.Error())
	}
	return ts.Nano()
}
