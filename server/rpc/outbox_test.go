package rpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeWire remembers what is written. What is tried it keeps while full is set.
type fakeWire struct {
	mu    sync.Mutex
	full  bool
	kept  []byte
	sent  [][]string // the payloads of each write
	tried int        // how often a producer has written
	do    func() error
}

func (w *fakeWire) take(b []byte) error {
	c := &conn{r: bufio.NewReader(bytes.NewReader(b))}
	var payloads []string
	for {
		var f frame
		if err := c.readFrame(&f, maxFrame); err != nil {
			break
		}
		payloads = append(payloads, string(f.payload))
	}
	w.mu.Lock()
	w.sent = append(w.sent, payloads)
	w.mu.Unlock()
	if w.do != nil {
		return w.do()
	}
	return nil
}

func (w *fakeWire) try(b []byte) error {
	w.mu.Lock()
	full := w.full
	w.tried++
	if full {
		w.kept = bytes.Clone(b)
	}
	w.mu.Unlock()
	if full {
		return nil
	}
	return w.take(b)
}

func (w *fakeWire) write(b []byte) error {
	w.mu.Lock()
	kept := w.kept
	w.kept = nil
	w.mu.Unlock()
	if len(kept) > 0 {
		if err := w.take(kept); err != nil {
			return err
		}
	}
	if len(b) == 0 {
		return nil
	}
	return w.take(b)
}

func (w *fakeWire) behind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.kept) > 0
}

func (w *fakeWire) eager() bool { return true }

func raftFrame(s string) *frame { return &frame{kind: frameRaft, payload: []byte(s)} }

// TestOutbox: a frame is written by whoever brings it, if none came just before and nothing else is under way. When the peer
// does not take all of it, the writer does the rest; what comes meanwhile shares a write, in order, and its producers do not
// wait.
func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w := &fakeWire{}
		o := newOutbox(nil, w)
		ended := make(chan error, 1)
		go func() { ended <- o.run(ctx) }()
		synctest.Wait()
		put := func(s string, gap time.Duration) {
			t.Helper()
			time.Sleep(gap)
			if err := o.put(raftFrame(s)); err != nil {
				t.Fatal(err)
			}
		}
		put("a", crowdGap)
		if len(w.sent) != 1 {
			t.Fatal("an idle outbox has not written at once")
		}
		w.full = true
		block := make(chan struct{})
		w.do = func() error { <-block; return nil }
		put("b", crowdGap)
		put("c", 0)
		synctest.Wait() // The writer waits for the peer to take b.
		put("d", 0)
		put("e", 0)
		synctest.Wait()
		w.full = false
		close(block)
		synctest.Wait()
		put("f", crowdGap)
		put("g", 0)
		synctest.Wait()
		put("h", 0)
		synctest.Wait()
		if w.tried != 3 { // a, b and f
			t.Error("one of a crowd was written by its producer")
		}
		put("i", crowdGap)
		want := [][]string{{"a"}, {"b"}, {"c"}, {"d", "e"}, {"f"}, {"g"}, {"h"}, {"i"}}
		if !slices.EqualFunc(w.sent, want, slices.Equal) {
			t.Errorf("sent %q, want %q", w.sent, want)
		}
		cancel()
		<-ended
		o.close()
		if err := o.put(raftFrame("j")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("put after close: %v", err)
		}
	})
}

// TestOutboxFails: when a producer cannot write, the writer ends with its error, and close waits for producers.
func TestOutboxFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		entered, leave := make(chan struct{}), make(chan struct{})
		o := newOutbox(nil, &fakeWire{do: func() error {
			close(entered)
			<-leave
			return broken
		}})
		ended := make(chan error, 1)
		go func() { ended <- o.run(context.Background()) }()
		synctest.Wait()
		go o.put(raftFrame("a"))
		<-entered
		closed := make(chan struct{})
		go func() { o.close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("close did not wait for a producer that writes")
		default:
		}
		close(leave)
		<-closed
		if err := <-ended; err != broken {
			t.Errorf("the writer ended with %v", err)
		}
	})
}

// TestPulse: everyone is called at every beat until he leaves, and a connection is silent when a beat brings nothing new,
// the first excepted.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); p.run(time.Second, stop) }()
		var h hearing
		var silence []int
		others := 0
		leave := p.join(func() { silence = append(silence, h.silentFor()) })
		defer p.join(func() { others++ })()
		time.Sleep(3*time.Second + time.Millisecond)
		h.note()
		time.Sleep(2 * time.Second)
		leave()
		time.Sleep(2 * time.Second)
		close(stop)
		<-done
		if want := []int{0, 1, 2, 0, 1}; !slices.Equal(silence, want) || others != 7 {
			t.Errorf("silent for %v, want %v; the other one was called %d times, want 7", silence, want, others)
		}
	})
}

// TestProbes: a connection that rests is pinged at every third beat, one in use or without an answer at each, and given up
// at the third beat after the one that had nothing to hear from it first.
func TestProbes(t *testing.T) {
	for _, tc := range []struct {
		what     string
		restless bool
		heard    string // before each beat: x a message, . none
		sent     string // before each beat: x a message, . none
		want     string // p a ping, . nothing, L given up
	}{
		{what: "rests", heard: "...x..x..", sent: ".........", want: "..p..p..p"},
		{what: "for requests", restless: true, heard: "xxxxxx", sent: "......", want: "pppppp"},
		{what: "sends", heard: "..x.x.x", sent: ".x.x.x.", want: ".p.p.p."},
		{what: "sends, no answer", heard: "........", sent: ".x......", want: ".pppL"},
		{what: "rests, no answer", heard: "........", sent: "........", want: "..pppL"},
		{what: "a late answer", heard: ".....x..x", sent: ".........", want: "..ppp..p."},
		{what: "for requests, cut off", restless: true, heard: "xx.......", sent: "........", want: "ppppL"},
	} {
		p := probes{restless: tc.restless}
		sent := uint64(1) // the ping of the beginning
		p.sent = sent
		got := ""
		for i := range tc.heard {
			if tc.heard[i] == 'x' {
				p.note()
			}
			if tc.sent[i] == 'x' {
				sent++
			}
			ping, lost := p.beat(sent)
			switch {
			case lost:
				got += "L"
			case ping:
				sent++
				got += "p"
			default:
				got += "."
			}
			if lost {
				break
			}
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, got, tc.want)
		}
	}
}
