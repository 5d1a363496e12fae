package ddl_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// TestRewriteChecksExclusions: two rows that exclude each other in their new type end a rewrite, of a small table as of a
// large one, which is rewritten while it is in use; and what is in a table afterwards is held against what comes.
func TestRewriteChecksExclusions(t *testing.T) {
	for _, rows := range []int{20, 2100} {
		srv := newServer(t)
		s, out := open(t, srv)
		if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, k int, v numeric, EXCLUDE (k WITH =, v WITH =))",
			fmt.Sprintf("INSERT INTO w SELECT g, g %% 7, g FROM generate_series(1, %d) g", rows),
			fmt.Sprintf("INSERT INTO w VALUES (0, %d %% 7, %[1]d.3)", rows-1)); err != nil {
			t.Fatal(err)
		}
		_, err := do(t, s, out, "ALTER TABLE w ALTER v TYPE int")
		if pgerr.Code(err) != pgerr.ExclusionViolation || !strings.Contains(err.Error(), "could not create exclusion constraint") {
			t.Fatalf("%d rows: %v", rows, err)
		}
		if typ := typeOf(t, s, out, "v"); typ != "numeric" {
			t.Errorf("%d rows: the type is %s", rows, typ)
		}
		if _, err := do(t, s, out, "DELETE FROM w WHERE id = 0", "ALTER TABLE w ALTER v TYPE int"); err != nil {
			t.Errorf("%d rows: %v", rows, err)
		}
		if _, err := do(t, s, out, "INSERT INTO w VALUES (-1, 3, 3)"); pgerr.Code(err) != pgerr.ExclusionViolation {
			t.Errorf("%d rows: %v", rows, err)
		}
		if _, err := do(t, s, out, "INSERT INTO w VALUES (-1, 4, 3)"); err != nil {
			t.Errorf("%d rows: %v", rows, err)
		}
	}
}
