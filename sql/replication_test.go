package sql

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/replication"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// newReplicationServer is newTestServer with slots, on a clock that only commits move.
func newReplicationServer(t *testing.T, db *kvtest.DB) *Server {
	t.Helper()
	srv := newTestServer(t, db)
	var err error
	srv.cfg.Replication, err = replication.NewService(replication.Config{DB: db, Catalog: srv.cfg.Catalog.(*nodeCatalog).cfg.Manager, Clock: db})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

var (
	positions = regexp.MustCompile(`\b[0-9A-F]+/[0-9A-F]+\b`)
	numbers   = regexp.MustCompile(`\b1[0-9]{15,}\b`)
)

// TestReplication runs testdata/replication: what slots give for what sessions do. A file is one database with sessions a, b,
// ... Positions are printed by their order of appearance.
//
//	sql [session]      statements, one on each line
//	replicate session  commands of the replication protocol
//	stream slot        starts a stream, and shows what it sends, message by message, up to now
//	collect            garbage is collected up to now
func TestReplication(t *testing.T) {
	datadriven.Walk(t, "testdata/replication", func(t *testing.T, path string) {
		db := kvtest.New()
		srv := newReplicationServer(t, db)
		sessions := map[string]*testSession{}
		seen := map[string]int{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			ctx := context.Background()
			name := "a"
			if len(d.CmdArgs) > 0 {
				name = d.CmdArgs[0].Key
			}
			session := func(name string) *testSession {
				s := sessions[name]
				if s == nil {
					s = newTestSession(t, srv)
					s.run("SET timezone = 'UTC'")
					sessions[name] = s
				}
				return s
			}
			var b strings.Builder
			switch d.Cmd {
			case "sql":
				for line := range strings.SplitSeq(d.Input, "\n") {
					b.WriteString(session(name).run(line))
				}
			case "replicate":
				s := session(name)
				for line := range strings.SplitSeq(d.Input, "\n") {
					stream, handled, err := s.ReplicationCommand(ctx, line)
					switch {
					case err != nil:
						s.Abort(ctx)
						s.out.line("%s", errorLine(err))
					case !handled:
						b.WriteString(s.run(line))
					case stream != nil:
						s.out.line("stream")
						stream.Abandon(ctx)
					}
					b.WriteString(s.out.take())
				}
			case "stream":
				s := session("stream")
				stream, _, err := s.ReplicationCommand(ctx, "START_REPLICATION SLOT "+name+" LOGICAL 0/0 "+d.Input)
				if err != nil {
					return errorLine(err) + "\n"
				}
				c := &collector{stream: stream, until: replication.EndLSN(db.Now().Earliest), b: &b}
				if err := s.RunStream("stream", stream, c); err != nil {
					fmt.Fprintf(&b, "%s\n", errorLine(err))
				}
				b.WriteString(s.out.take())
			case "collect":
				db.SetGCThreshold(db.Now().Latest)
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			out := numbers.ReplaceAllString(b.String(), "<snapshot>")
			return positions.ReplaceAllStringFunc(out, func(lsn string) string {
				if seen[lsn] == 0 {
					seen[lsn] = len(seen) + 1
				}
				return fmt.Sprintf("<%d>", seen[lsn])
			})
		})
	})
}

// collector is a consumer that confirms what it gets, and leaves when it has everything.
type collector struct {
	stream *replication.Stream
	until  replication.LSN
	b      *strings.Builder
}

var binaryNumbers = regexp.MustCompile(`[^ -~]`)

// Data implements replication.Client. Timestamps, which pgoutput sends in begin and commit, are left out.
func (c *collector) Data(_ replication.LSN, message []byte) error {
	text := string(message)
	switch {
	case text[0] == 'B' && len(message) == 21, text[0] == 'C' && len(message) == 26:
		text = text[:1]
	}
	if strings.HasPrefix(text, "table") || strings.HasPrefix(text, "BEGIN") || strings.HasPrefix(text, "COMMIT") {
		fmt.Fprintf(c.b, "%s\n", text)
		return nil
	}
	fmt.Fprintf(c.b, "%s\n", binaryNumbers.ReplaceAllStringFunc(text, func(s string) string { return "\\" + hex.EncodeToString([]byte(s)) }))
	return nil
}

// Progress implements replication.Client.
func (c *collector) Progress(lsn replication.LSN) error {
	if lsn >= c.until {
		c.stream.Confirm(replication.Status{Write: lsn, Flush: lsn, Apply: lsn}, false)
		c.stream.Stop(replication.ErrStopped())
	} else {
		c.stream.Confirm(replication.Status{}, true)
	}
	return nil
}

// Flush implements replication.Client.
func (c *collector) Flush() error { return nil }

// TestSlotTakeover: a slot in use is refused to others, in this process and, by its record, anywhere; one whose session is
// gone without a word is given away after a while.
func TestSlotTakeover(t *testing.T) {
	ctx := context.Background()
	db := kvtest.New()
	srv := newReplicationServer(t, db)
	svc := srv.cfg.Replication
	if _, err := svc.CreateSlot(ctx, "s", "test_decoding", 5, 1, false); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Slots.Acquire(ctx, "s", 5, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Slots.Acquire(ctx, "s", 5, 2); pgerr.Code(err) != pgerr.ObjectInUse {
		t.Errorf("a second session: %v", err)
	}
	if err := svc.Slots.Drop(ctx, "s", 2); pgerr.Code(err) != pgerr.ObjectInUse {
		t.Errorf("drop by another session: %v", err)
	}
	db.Advance(time.Minute)
	if _, err := svc.Slots.Acquire(ctx, "s", 5, 2); err != nil {
		t.Errorf("after a minute of silence: %v", err)
	}
	if err := svc.Slots.Advance(ctx, "s", 1, 100); pgerr.Code(err) != pgerr.ObjectInUse {
		t.Errorf("the first session advances: %v", err)
	}
	if _, err := svc.Slots.Acquire(ctx, "s", 6, 2); pgerr.Code(err) != pgerr.ObjectNotInPrerequisiteState {
		t.Errorf("from another database: %v", err)
	}
}

// TestDropWaits: DROP_REPLICATION_SLOT ... WAIT drops a slot once the session that uses it has given it back.
func TestDropWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		srv := newReplicationServer(t, kvtest.New())
		s := newTestSession(t, srv)
		svc := srv.cfg.Replication
		if _, err := svc.CreateSlot(ctx, "s", "test_decoding", 5, 99, false); err != nil {
			t.Fatal(err)
		}
		slot, err := svc.Slots.Acquire(ctx, "s", 5, 99)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.ReplicationCommand(ctx, "DROP_REPLICATION_SLOT s"); pgerr.Code(err) != pgerr.ObjectInUse {
			t.Errorf("without WAIT: %v", err)
		}
		dropped := make(chan error, 1)
		go func() {
			_, _, err := s.ReplicationCommand(ctx, "DROP_REPLICATION_SLOT s WAIT")
			dropped <- err
		}()
		select {
		case err := <-dropped:
			t.Fatalf("while the slot is in use: %v", err)
		case <-time.After(time.Second):
		}
		if err := svc.Slots.Release(ctx, "s", 99, slot.Confirmed, false); err != nil {
			t.Fatal(err)
		}
		if err := <-dropped; err != nil {
			t.Error(err)
		}
		if list, err := svc.Slots.List(ctx); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
	})
}
