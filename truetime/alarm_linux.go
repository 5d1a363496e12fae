package truetime

import (
	"container/heap"
	"context"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes goroutines with a precision of tens of microseconds. The runtime's own timers fire up to a
// millisecond late when the process is otherwise idle (it sleeps in epoll_wait, which counts in
// milliseconds), which is longer than a whole commit wait; a timerfd is an event like any other to epoll.
type alarm struct {
	f    *os.File
	done chan struct{}
	mu   struct {
		sync.Mutex
		heap   alarmHeap
		armed  int64 // deadline the timerfd is set to, 0 for none
		closed bool
	}
}

type alarmWaiter struct {
	at  int64 // systemClock raw
	pos int   // in the heap, -1 when popped
	c   chan struct{}
}

var alarmWaiters = sync.Pool{New: func() any { return &alarmWaiter{c: make(chan struct{}, 1)} }}

func (a *alarm) open() error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	a.f = os.NewFile(uintptr(fd), "timerfd")
	a.done = make(chan struct{})
	go a.run()
	return nil
}

func (a *alarm) close() {
	a.mu.Lock()
	a.mu.closed = true
	for len(a.mu.heap) > 0 {
		w := heap.Pop(&a.mu.heap).(*alarmWaiter)
		w.c <- struct{}{}
	}
	a.mu.Unlock()
	a.f.Close()
	<-a.done
}

// wait returns nil after at least d, or early once the alarm is closed.
func (a *alarm) wait(ctx context.Context, d time.Duration) error {
	w := alarmWaiters.Get().(*alarmWaiter)
	w.at = systemClock{}.Raw() + int64(d)
	a.mu.Lock()
	if a.mu.closed {
		a.mu.Unlock()
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	heap.Push(&a.mu.heap, w)
	if w.pos == 0 {
		a.armLocked()
	}
	a.mu.Unlock()
	select {
	case <-w.c:
		alarmWaiters.Put(w)
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	if w.pos >= 0 {
		heap.Remove(&a.mu.heap, w.pos)
	} else {
		<-w.c
	}
	a.mu.Unlock()
	alarmWaiters.Put(w)
	return ctx.Err()
}

// armLocked sets the timerfd to the earliest waiter.
func (a *alarm) armLocked() {
	if len(a.mu.heap) == 0 || a.mu.armed == a.mu.heap[0].at {
		return
	}
	a.mu.armed = a.mu.heap[0].at
	d := max(a.mu.armed-systemClock{}.Raw(), 1) // Zero would disarm.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d)}
	// SyscallConn rather than Fd, which would make the file blocking.
	if rc, err := a.f.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { unix.TimerfdSettime(int(fd), 0, &spec, nil) })
	}
}

func (a *alarm) run() {
	defer close(a.done)
	var buf [8]byte
	for {
		if _, err := a.f.Read(buf[:]); err != nil {
			return
		}
		a.mu.Lock()
		a.mu.armed = 0
		now := systemClock{}.Raw()
		for len(a.mu.heap) > 0 && a.mu.heap[0].at <= now {
			w := heap.Pop(&a.mu.heap).(*alarmWaiter)
			w.c <- struct{}{}
		}
		a.armLocked()
		a.mu.Unlock()
	}
}

type alarmHeap []*alarmWaiter

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}
func (h *alarmHeap) Push(x any) {
	w := x.(*alarmWaiter)
	w.pos = len(*h)
	*h = append(*h, w)
}
func (h *alarmHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.pos = -1
	return w
}
