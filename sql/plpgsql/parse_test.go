package plpgsql

import (
	"testing"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// textTypes takes every declared type but refcursor for text.
type textTypes struct{}

func (textTypes) Type(name string) (*types.T, error) {
	if name == "refcursor" {
		return types.ByOID(types.OIDRefcursor), nil
	}
	return types.Text, nil
}
func (textTypes) ColumnType([]string) (*types.T, error) { return types.Text, nil }
func (textTypes) RowType([]string) (*types.T, error)    { return nil, nil }

var bodies = []string{
	`DECLARE a int := 1; b CONSTANT text NOT NULL DEFAULT 'x;y'; BEGIN a := b || $q$;$q$; IF a > 1 THEN RETURN a; ELSIF a = 2 THEN NULL; ELSE EXIT; END IF; END`,
	`<<l>> BEGIN <<o>> FOR i IN REVERSE 10..1 BY 2 LOOP CONTINUE o WHEN i = 3; EXIT l; END LOOP o; END l;`,
	`DECLARE r record; BEGIN FOR r IN EXECUTE 'q' USING 1, 2 LOOP NULL; END LOOP; SELECT a, b INTO STRICT r.x, r FROM t WHERE c IN (SELECT 1); EXCEPTION WHEN OTHERS OR division_by_zero THEN RAISE; END`,
	`BEGIN CASE $1 WHEN 1, 2 THEN RETURN (CASE WHEN true THEN 1 END); ELSE RAISE NOTICE 'a % b %%', x[1] USING HINT = 'h'; END CASE; /* c /* d */ */ -- e
	END`,
	`DECLARE c SCROLL CURSOR (a int, b text) FOR SELECT a; u refcursor; BEGIN OPEN u FOR EXECUTE 'q' USING 1; FETCH RELATIVE -1 FROM c INTO x[1]; MOVE BACKWARD ALL IN u; FOR q IN c(b := 'x', a := 2) LOOP COMMIT AND CHAIN; END LOOP; x[2:3] := x[:1]; x[1][:] := NULL; CLOSE u; ROLLBACK; END`,
}

// TestBodies: what must parse, and what is named in the error of what must not.
func TestBodies(t *testing.T) {
	sig := Signature{Name: "f", Params: []Param{{Name: "x", Type: types.ArrayOf(types.Int4), Mode: 'i'}}}
	for i, b := range bodies {
		_, err := Parse(b, sig, textTypes{})
		if i == 0 { // EXIT outside of a loop
			if pgerr.Code(err) != pgerr.SyntaxError {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestCursorMistakes: what is wrong with a cursor is said when the body is read.
func TestCursorMistakes(t *testing.T) {
	for _, c := range [][3]string{
		{"DECLARE c CURSOR (a int) FOR SELECT a; BEGIN OPEN c; END", "42601", `cursor "c" has arguments`},
		{"DECLARE c CURSOR (a int) FOR SELECT a; BEGIN OPEN c(1, 2); END", "42601", `too many arguments for cursor "c"`},
		{"DECLARE c CURSOR (a int) FOR SELECT a; BEGIN OPEN c(b := 2); END", "42601", `cursor "c" has no argument named "b"`},
		{"DECLARE c CURSOR (a int, b int) FOR SELECT a; BEGIN OPEN c(b := 2); END", "42601", `not enough arguments for cursor "c"`},
		{"DECLARE c CURSOR (a int) FOR SELECT a; BEGIN OPEN c(a := 2, a := 3); END", "42601", `value for parameter "a" of cursor "c" specified more than once`},
		{"DECLARE c CURSOR FOR SELECT 1; BEGIN OPEN c(1); END", "42601", `cursor "c" has no arguments`},
		{"DECLARE c int; BEGIN OPEN c FOR SELECT 1; END", "42804", `variable "c" must be of type cursor or refcursor`},
		{"DECLARE c refcursor; r record; BEGIN FOR r IN c LOOP NULL; END LOOP; END", "42601", "cursor FOR loop must use a bound cursor variable"},
		{"DECLARE c CURSOR FOR SELECT 1; x int; BEGIN FETCH 2 FROM c INTO x; END", "0A000", "FETCH statement cannot return multiple rows"},
		{"DECLARE c CURSOR FOR SELECT 1; BEGIN FETCH c; END", "42601", `syntax error at or near ";"`},
		{"BEGIN MOVE nosuch; END", "42601", `"nosuch" is not a known variable`},
	} {
		_, err := Parse(c[0], Signature{Name: "f"}, textTypes{})
		if pgerr.Code(err) != c[1] || err.Error() != c[2]+" (SQLSTATE "+c[1]+")" {
			t.Errorf("%s: %s %v", c[0], pgerr.Code(err), err)
		}
	}
}

// FuzzParse: no body makes the parser panic, and every error has a SQLSTATE.
func FuzzParse(f *testing.F) {
	for _, b := range bodies {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 2000 {
			return
		}
		if _, err := Parse(src, Signature{Name: "f", Trigger: true}, textTypes{}); err != nil && pgerr.Code(err) == "" {
			t.Errorf("no SQLSTATE: %v", err)
		}
	})
}
