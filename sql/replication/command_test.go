package replication

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

func TestCommands(t *testing.T) {
	datadriven.RunTest(t, "testdata/commands", func(t *testing.T, d *datadriven.TestData) string {
		var b strings.Builder
		for _, line := range strings.Split(d.Input, "\n") {
			c, err := ParseCommand(line)
			if err != nil {
				fmt.Fprintf(&b, "%v\n", err)
				continue
			}
			fmt.Fprintf(&b, "%s", []string{"SQL", "identify", "create", "start", "drop", "read"}[c.Verb])
			if c.Slot != "" {
				fmt.Fprintf(&b, " slot=%s", c.Slot)
			}
			if c.Verb == CreateSlot {
				fmt.Fprintf(&b, " plugin=%s temporary=%v snapshot=%s", c.Plugin, c.Temporary, []string{"export", "use", "nothing"}[c.Snapshot])
			}
			if c.Wait {
				b.WriteString(" wait")
			}
			if c.Verb == StartReplication {
				fmt.Fprintf(&b, " from=%s", c.From)
			}
			for _, o := range c.Options {
				fmt.Fprintf(&b, " %s", o.Name)
				if !o.Alone {
					fmt.Fprintf(&b, "=%q", o.Value)
				}
			}
			b.WriteByte('\n')
		}
		return b.String()
	})
}

// FuzzCommand: any text is a command, SQL or an error.
func FuzzCommand(f *testing.F) {
	f.Add(`START_REPLICATION SLOT "a" LOGICAL 16/B374D848 (proto_version '1', publication_names '"p","q"')`)
	f.Add(`CREATE_REPLICATION_SLOT a TEMPORARY LOGICAL pgoutput (SNAPSHOT 'use', TWO_PHASE false)`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCommand(text)
		if (c == nil) != (err != nil) {
			t.Errorf("%q: %v and %v", text, c, err)
		}
		if c != nil && c.Verb == StartReplication {
			_, _ = pgoutputOptions(c.Options)
			if back, ok := ParseLSN(c.From.String()); !ok || back != c.From {
				t.Errorf("%v read back as %v", c.From, back)
			}
		}
	})
}

// FuzzFeedback: any message of a consumer is understood or refused.
func FuzzFeedback(f *testing.F) {
	f.Add([]byte("r00000000111111112222222233333333\x01"))
	f.Add([]byte("h000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, ok, err := ParseFeedback(b); ok && (err != nil || len(b) != 34) {
			t.Errorf("%x is taken for a status: %v", b, err)
		}
	})
}

// TestLSN: a position holds exactly what was committed below it.
func TestLSN(t *testing.T) {
	if l := EndLSN(41); l != CommitLSN(42) || l.Through() != 41 || LSN(0).Through() != 0 {
		t.Errorf("the end of 41 is %d, through %d", l, l.Through())
	}
	for _, bad := range []string{"", "/", "1/", "/1", "123456789/0", "x/0", "0/x", "-1/0", "1/2/3"} {
		if _, ok := ParseLSN(bad); ok {
			t.Errorf("%q is a position", bad)
		}
	}
}
