package main

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// screen collects what a process prints and tells when something appears.
type screen struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want string
	seen chan struct{}
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Write(b)
	if s.want != "" && strings.Contains(s.buf.String(), s.want) {
		s.want = ""
		close(s.seen)
	}
	return len(b), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// prepare prepares the real binary.
func prepare(t *testing.T, ctx context.Context, out *screen, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes; left out with -short")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// runToEnd runs the binary and returns what it printed and its exit status.
func runToEnd(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &screen{}
	cmd := prepare(t, ctx, out, args...)
	cmd.Env = append(cmd.Environ(), env...)
	cmd.Run()
	if ctx.Err() != nil {
		t.Errorf("meridian %s does not end; it printed %q", strings.Join(args, " "), out.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// runUntil runs the binary until it has printed want, ends it by SIGTERM and returns everything it printed.
func runUntil(t *testing.T, want string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &screen{want: want, seen: make(chan struct{})}
	cmd := prepare(t, ctx, out, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	select {
	case <-out.seen:
	case <-ended:
		t.Errorf("meridian %s ended without printing %q, but %q", args[0], want, out.String())
		return out.String()
	case <-ctx.Done():
		t.Errorf("meridian %s did not print %q, but %q", args[0], want, out.String())
	}
	cmd.Process.Signal(syscall.SIGTERM)
	<-ended
	return out.String()
}

var goTrace = regexp.MustCompile(`(?m)^panic:|goroutine \d+|runtime error|\.go:\d+|0x[0-9a-f]{8,}`)

// noTrace fails if a user is shown the inside of the program.
func noTrace(t *testing.T, what, out string) {
	t.Helper()
	if m := goTrace.FindString(out); m != "" {
		t.Errorf("%s: the screen shows %q:\n%s", what, m, out)
	}
}
