package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sentFrames are the payloads of a message's frames.
func sentFrames(t *testing.T, m *message) (out []string) {
	t.Helper()
	for rest := m.out.ReadOnlyData(); len(rest) > 0; {
		body, more, err := nextFrame(rest)
		if err != nil {
			t.Fatal(err)
		}
		out, rest = append(out, string(body[1:])), more
	}
	return out
}

func raftFrame(s string) *frame { return &frame{kind: frameRaft, payload: []byte(s)} }

// TestOutbox: a frame is sent by whoever brings it while nothing else is under way; what comes meanwhile shares a message,
// in order, and its producers do not wait, however long gRPC keeps what it has.
func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var mu sync.Mutex
		var sent [][]string
		var held []*message
		var block chan struct{}
		o := newOutbox(nil, func(m *message) error {
			mu.Lock()
			sent, held = append(sent, sentFrames(t, m)), append(held, m)
			b := block
			mu.Unlock()
			if b != nil {
				<-b
			}
			return nil
		})
		ended := make(chan error, 1)
		go func() { ended <- o.run(ctx) }()
		synctest.Wait()
		free := func() {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range held {
				m.out.Free()
			}
			held = nil
		}
		put := func(s string) {
			t.Helper()
			if err := o.put(raftFrame(s)); err != nil {
				t.Fatal(err)
			}
		}
		put("a")
		if len(sent) != 1 {
			t.Fatal("an idle outbox has not sent at once")
		}
		// gRPC still holds a: the writer, which may block, takes over.
		mu.Lock()
		block = make(chan struct{})
		mu.Unlock()
		put("b")
		synctest.Wait()
		put("c")
		put("d")
		synctest.Wait()
		mu.Lock()
		close(block)
		block = nil
		mu.Unlock()
		synctest.Wait()
		free()
		put("e")
		want := [][]string{{"a"}, {"b"}, {"c", "d"}, {"e"}}
		if !slices.EqualFunc(sent, want, slices.Equal) {
			t.Errorf("sent %q, want %q", sent, want)
		}
		free()
		cancel()
		<-ended
		o.close()
		if err := o.put(raftFrame("f")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("put after close: %v", err)
		}
	})
}

// TestOutboxFails: when a producer cannot send, the writer ends with its error, and close waits for producers.
func TestOutboxFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		entered, leave := make(chan struct{}), make(chan struct{})
		o := newOutbox(nil, func(m *message) error {
			close(entered)
			<-leave
			return broken
		})
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
			t.Error("close did not wait for a producer that sends")
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
