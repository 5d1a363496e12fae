package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	progressAfter = time.Second // a statement that takes less shows none
	progressEvery = 500 * time.Millisecond
	progressWidth = 30
)

// progress shows on one line of a terminal how far something is.
type progress struct {
	w     io.Writer
	wide  int // runes of the line that stands there
	began time.Time
}

// show replaces the line. fraction is from 0 to 1, below 0 where nobody knows the end.
func (p *progress) show(what string, fraction float64, amount string) {
	line := what + " "
	if fraction >= 0 {
		full := int(min(fraction, 1) * progressWidth)
		line += "[" + strings.Repeat("#", full) + strings.Repeat(".", progressWidth-full) + "] " + strconv.Itoa(int(min(fraction, 1)*100)) + " % "
	}
	line += amount + " " + time.Since(p.began).Round(time.Second).String()
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.wide-len(line))))
	p.wide = len(line)
}

// clear takes the line away.
func (p *progress) clear() {
	if p.wide > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.wide))
		p.wide = 0
	}
}

// watch shows the progress of what runs until the function that it returns is called: of a COPY by bytes, of a backup, restore,
// index build or change of a table by the job that has begun since. It does so only for people.
func (sh *shell) watch(text string, copied *atomic.Int64, total int64) (stop func()) {
	if !sh.people {
		return func() {}
	}
	ctx, cancel := context.WithCancel(sh.ctx)
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		p := &progress{w: sh.errOut, began: time.Now()}
		defer p.clear()
		step, end := sh.jobStep(ctx, text, p)
		defer end()
		if copied != nil {
			step = copyStep(copied, total, p)
		}
		timer := time.NewTimer(progressAfter)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			timer.Reset(progressEvery)
			if !step() {
				return
			}
		}
	}()
	return func() {
		cancel()
		done.Wait()
	}
}

// copyStep shows how much of a COPY has passed.
func copyStep(copied *atomic.Int64, total int64, p *progress) func() bool {
	return func() bool {
		n, fraction := copied.Load(), -1.0
		if total > 0 {
			fraction = float64(n) / float64(total)
		}
		p.show("COPY", fraction, fmt.Sprintf("%.1f MB", float64(n)/1e6))
		return true
	}
}

// jobStep shows how far the job is that has begun since, which it asks for over a connection of its own until the end. A step
// returns false when there is nothing to be seen.
func (sh *shell) jobStep(ctx context.Context, text string, p *progress) (step func() bool, end func()) {
	var conn *pgconn.PgConn
	end = func() {
		if conn != nil {
			conn.Close(context.Background())
		}
	}
	step = func() bool {
		if !mayBeJob(text) {
			return false
		}
		if conn == nil {
			cfg := sh.cfg.Copy()
			cfg.OnNotice = nil
			var err error
			if conn, err = pgconn.ConnectConfig(ctx, cfg); err != nil {
				return false // a full node: the statement goes on unseen
			}
		}
		all, err := conn.Exec(ctx, fmt.Sprintf(`SELECT kind, fraction FROM meridian.jobs WHERE state = 'running' AND started >= now() - interval '%d s' ORDER BY started DESC LIMIT 1`,
			int(time.Since(p.began).Seconds())+1)).ReadAll()
		if err != nil {
			return false
		}
		if len(all) == 1 && len(all[0].Rows) == 1 {
			fraction, _ := strconv.ParseFloat(string(all[0].Rows[0][1]), 64)
			p.show(string(all[0].Rows[0][0]), fraction, "")
		}
		return true
	}
	return step, end
}

// mayBeJob reports whether a statement may run as a job, or wait for one.
func mayBeJob(text string) bool {
	lower := strings.ToLower(text)
	for _, s := range []string{"create index", "create unique index", "alter table", "alter index", "meridian.backup", "meridian.restore", "reindex", "refresh"} {
		if strings.Contains(lower, s) {
			return true
		}
	}
	return false
}

// tally counts what is written to it. A TeeReader or MultiWriter shows it what passes elsewhere.
type tally struct{ n *atomic.Int64 }

func (t tally) Write(p []byte) (int, error) {
	t.n.Add(int64(len(p)))
	return len(p), nil
}
