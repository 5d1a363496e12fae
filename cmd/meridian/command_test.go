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
	bin, err := builtBinary()
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

// process is a running binary.
type process struct {
	cmd   *exec.Cmd
	out   *screen
	ended chan struct{} // closed when it has been reaped
}

// launch runs the binary and returns when it has printed want, or has ended without.
func launch(t *testing.T, ctx context.Context, want string, args ...string) *process {
	t.Helper()
	p := &process{out: &screen{want: want, seen: make(chan struct{})}, ended: make(chan struct{})}
	p.cmd = prepare(t, ctx, p.out, args...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.cmd.Wait()
	}()
	select {
	case <-p.out.seen:
	case <-p.ended:
	}
	return p
}

// runUntil runs the binary until it has printed want, ends it by SIGTERM and returns everything it printed.
func runUntil(t *testing.T, want string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := launch(t, ctx, want, args...)
	p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
	if !strings.Contains(p.out.String(), want) {
		t.Errorf("meridian %s ended without printing %q, but %q", args[0], want, p.out.String())
	}
	return p.out.String()
}

var goTrace = regexp.MustCompile(`(?m)^panic:|goroutine \d+|runtime error|\.go:\d+|0x[0-9a-f]{8,}`)

// noTrace fails if a user is shown the inside of the program.
func noTrace(t *testing.T, what, out string) {
	t.Helper()
	if m := goTrace.FindString(out); m != "" {
		t.Errorf("%s: the screen shows %q:\n%s", what, m, out)
	}
}
