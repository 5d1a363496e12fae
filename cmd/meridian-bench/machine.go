package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// machine follows who uses the processors while something is being measured, slice by slice.
type machine struct {
	servers func() (time.Duration, error) // the time they have used so far

	mu     sync.Mutex
	slice  time.Duration
	points []usage // at the begin of each slice
}

// usage is processor time used so far.
type usage struct{ servers, all time.Duration }

// watch goes on until ctx ends. The slices are counted from began.
func (m *machine) watch(ctx context.Context, began time.Time, slice time.Duration) {
	m.mu.Lock()
	m.slice = slice
	m.mu.Unlock()
	for i := 0; ; i++ {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(i) * slice))):
		case <-ctx.Done():
			return
		}
		var u usage
		var err error
		if u.servers, err = m.servers(); err == nil {
			u.all, err = proc.MachineCPU()
		}
		if err != nil {
			return // a node is gone, or this is not Linux: then nobody can tell
		}
		m.mu.Lock()
		m.points = append(m.points, u)
		m.mu.Unlock()
	}
}

// in tells of slice i.
func (m *machine) in(i int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i+1 >= len(m.points) {
		return "processors unknown"
	}
	servers, all := m.points[i+1].servers-m.points[i].servers, m.points[i+1].all-m.points[i].all
	return fmt.Sprintf("the servers had %.2f processors, clients and others %.2f", servers.Seconds()/m.slice.Seconds(), (all-servers).Seconds()/m.slice.Seconds())
}
