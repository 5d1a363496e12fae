package server

import (
	"bufio"
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// gcPercent lets the heap grow to three times what lives before it is collected: half the collector's work of Go's 100.
// Scans allocate much that dies soon, beside a live heap that is mostly caches.
const gcPercent = 200

// TuneMemory sets the garbage collector of a process that is a node, unless GOGC and GOMEMLIMIT say otherwise: it is lazy
// while there is memory, and eager when three quarters of what the process may have are in use. getenv reads the environment.
func TuneMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if getenv("GOMEMLIMIT") == "" {
		if limit := memoryLimit(os.ReadFile); limit > 0 {
			debug.SetMemoryLimit(limit / 4 * 3)
		}
	}
}

// statementMemory is what all statements of a node may hold together: a quarter of what the process may have, but that
// of two large statements at least.
func statementMemory(limit int64) int64 {
	if limit <= 0 {
		return 1 << 30
	}
	return max(limit/4, 512<<20)
}

// memoryLimit returns the bytes that the process may have: those of its container, else of the machine; 0 if unknown.
func memoryLimit(read func(string) ([]byte, error)) int64 {
	limit := int64(0)
	if b, err := read("/proc/meminfo"); err == nil {
		for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
			if f := strings.Fields(sc.Text()); len(f) == 3 && f[0] == "MemTotal:" {
				if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					limit = kib << 10
				}
			}
		}
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if b, err := read(path); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && (limit == 0 || n < limit) {
				limit = n
			}
		}
	}
	return limit
}
