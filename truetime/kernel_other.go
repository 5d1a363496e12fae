//go:build !linux

package truetime

import "errors"

// KernelSource needs adjtimex.
func KernelSource() (Source, error) {
	return nil, errors.New("time source kernel: only Linux reports the kernel clock's error bound; use ntp://host:port")
}
