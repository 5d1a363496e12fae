package exec

import (
	"testing"

	"github.com/meridian-db/meridian/sql/plan"
)

// TestWritesForgets: a session that makes and drops tables all the time does not keep an entry of each.
func TestWritesForgets(t *testing.T) {
	env := &Env{Writes: &Writes{}}
	for id := range uint32(10 * maxKnownTables) {
		env.Writes.Forget()
		outer, inner := newState(&plan.Plan{}, env), newState(&plan.Plan{}, env)
		table := &plan.Table{ID: id}
		o := &modifyOp{s: outer, writes: outer.to(table)}
		if o.hasWriters() {
			t.Fatal("an execution is within itself")
		}
		if inner.to(table); !o.hasWriters() {
			t.Fatal("the execution within is not seen")
		}
		if n := len(env.Writes.tables); n > maxKnownTables+1 {
			t.Fatalf("%d tables are known", n)
		}
	}
}
