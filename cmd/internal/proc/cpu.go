package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// userHz is the unit of the times in /proc, fixed on Linux for what user space sees.
const userHz = 100

// TreeCPU returns the user and system time used so far by a process, its children that live, and those
// it has waited for. Grandchildren do not count: neither system under test has any.
func TreeCPU(pid int) (time.Duration, error) {
	for {
		root, err := readStat(pid)
		if err != nil {
			return 0, err
		}
		ticks := root.own + root.reaped
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return 0, err
		}
		for _, path := range all {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				continue
			}
			if st, err := readStat(child); err == nil && st.parent == pid { // it may have ended meanwhile
				ticks += st.own
			}
		}
		// A child that was reaped in between, as those of connections that have just ended are, is in neither sum.
		if again, err := readStat(pid); err != nil || again.reaped == root.reaped {
			return time.Duration(ticks) * time.Second / userHz, err
		}
	}
}

// MachineCPU returns the time that everything on this machine has used so far, what its hypervisor took away included.
func MachineCPU() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat: unexpected line %q", line)
	}
	ticks := int64(0)
	for i, text := range f[1:9] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 { // idle, and waiting for disks
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / userHz, nil
}

type procStat struct {
	parent      int
	own, reaped int64 // ticks
}

func readStat(pid int) (procStat, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	// The command name is in parentheses and may hold blanks: count fields after the last one.
	text := string(stat)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 15 {
		return procStat{}, fmt.Errorf("/proc/%d/stat: short line", pid)
	}
	var v [15]int64
	for i := 1; i < 15; i++ {
		if v[i], err = strconv.ParseInt(f[i], 10, 64); err != nil {
			return procStat{}, err
		}
	}
	return procStat{parent: int(v[1]), own: v[11] + v[12], reaped: v[13] + v[14]}, nil
}
