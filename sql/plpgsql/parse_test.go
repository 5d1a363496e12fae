package plpgsql

import (
	"testing"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// textTypes takes every declared type for text.
type textTypes struct{}

func (textTypes) Type(string) (*types.T, error)         { return types.Text, nil }
func (textTypes) ColumnType([]string) (*types.T, error) { return types.Text, nil }
func (textTypes) RowType([]string) (*types.T, error)    { return nil, nil }

var bodies = []string{
	`DECLARE a int := 1; b CONSTANT text NOT NULL DEFAULT 'x;y'; BEGIN a := b || $q$;$q$; IF a > 1 THEN RETURN a; ELSIF a = 2 THEN NULL; ELSE EXIT; END IF; END`,
	`<<l>> BEGIN <<o>> FOR i IN REVERSE 10..1 BY 2 LOOP CONTINUE o WHEN i = 3; EXIT l; END LOOP o; END l;`,
	`DECLARE r record; BEGIN FOR r IN EXECUTE 'q' USING 1, 2 LOOP NULL; END LOOP; SELECT a, b INTO STRICT r.x, r FROM t WHERE c IN (SELECT 1); EXCEPTION WHEN OTHERS OR division_by_zero THEN RAISE; END`,
	`BEGIN CASE $1 WHEN 1, 2 THEN RETURN (CASE WHEN true THEN 1 END); ELSE RAISE NOTICE 'a % b %%', x[1] USING HINT = 'h'; END CASE; /* c /* d */ */ -- e
	END`,
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
