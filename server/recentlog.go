package server

import (
	"context"
	"log/slog"
	"sync"
)

// recentLogBytes bounds what a node remembers of its log.
const recentLogBytes = 1 << 20

// recentLog keeps the newest lines of a node's log, of the level info and above, whatever the log itself shows: for
// `meridian debug zip`, which must not depend on where a machine keeps its logs. Safe for concurrent use.
type recentLog struct {
	mu    sync.Mutex
	lines [][]byte // oldest first
	size  int      // of all lines, at most recentLogBytes
}

// Write takes one line.
func (l *recentLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, append([]byte(nil), line...))
	l.size += len(line)
	drop := 0
	for l.size > recentLogBytes && drop < len(l.lines)-1 {
		l.size -= len(l.lines[drop])
		l.lines[drop] = nil
		drop++
	}
	l.lines = l.lines[drop:]
	return len(line), nil
}

// text returns the lines.
func (l *recentLog) text() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]byte, 0, l.size)
	for _, line := range l.lines {
		out = append(out, line...)
	}
	return out
}

// tee returns a handler that logs to h and keeps a copy.
func (l *recentLog) tee(h slog.Handler) slog.Handler {
	return teeHandler{h, slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: messageOnly})}
}

// messageOnly logs an error's message, without the stack that some libraries' errors print.
func messageOnly(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok && a.Value.Kind() == slog.KindAny {
		a.Value = slog.StringValue(err.Error())
	}
	return a
}

type teeHandler struct{ out, copy slog.Handler }

func (h teeHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.out.Enabled(ctx, level) || h.copy.Enabled(ctx, level)
}

func (h teeHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.copy.Enabled(ctx, r.Level) {
		h.copy.Handle(ctx, r.Clone()) // memory takes everything
	}
	if h.out.Enabled(ctx, r.Level) {
		return h.out.Handle(ctx, r)
	}
	return nil
}

func (h teeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return teeHandler{h.out.WithAttrs(attrs), h.copy.WithAttrs(attrs)}
}

func (h teeHandler) WithGroup(name string) slog.Handler {
	return teeHandler{h.out.WithGroup(name), h.copy.WithGroup(name)}
}
