package ddl_test

import (
	"context"
	"testing"

	"github.com/meridian-db/meridian/sql"
)

// TestValuesFollowTheirColumns changes the type of a column under statements that are known already: what they write is of
// the new type, whether it is a literal, which is read again, or a value that came while the column had the old one.
func TestValuesFollowTheirColumns(t *testing.T) {
	ctx := context.Background()
	srv := newServer(t)
	s, out := open(t, srv)
	w, wout := open(t, srv)
	if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int)", "INSERT INTO w VALUES (1, 1), (2, 2), (3, 3)"); err != nil {
		t.Fatal(err)
	}
	const q = "UPDATE w SET v = '070' WHERE id = 1"
	if _, err := do(t, w, wout, q, q); err != nil {
		t.Fatal(err)
	}
	if err := w.Parse(ctx, "p", "UPDATE w SET v = $1 WHERE id = 2", nil); err != nil {
		t.Fatal(err)
	}
	bind := func() error {
		return w.Bind(ctx, sql.BindArgs{Statement: "p", Params: [][]byte{[]byte("0123")}, ParamFormats: []int16{sql.FormatText}})
	}
	if err := bind(); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, s, out, "ALTER TABLE w ALTER v TYPE text"); err != nil {
		t.Fatal(err)
	}
	if err := bind(); err != nil {
		t.Fatal(err)
	}
	if err := w.Execute(ctx, "", 0, true); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, w, wout, q); err != nil {
		t.Fatal(err)
	}
	got, err := do(t, w, wout, "SELECT id, v FROM w ORDER BY id")
	const want = "1 | 070\n2 | 123\n3 | 3\nSELECT 3\n"
	if got != want || err != nil {
		t.Errorf("rows\n%swant\n%s%v", got, want, err)
	}
}
