package builtin

import (
	"testing"

	"github.com/meridian-db/meridian/sql/types"
)

func TestLoad(t *testing.T) {
	implementations()
	c, err := ResolveOperator("+", types.Int4, types.Int8)
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Eval(&Ctx{}, []types.Datum{types.NewInt(1), types.NewInt(2)})
	if err != nil || d.Int() != 3 || c.Ret.OID != types.OIDInt8 {
		t.Fatal(d.Int(), err)
	}
	n := 0
	for _, f := range Funcs() {
		if Implemented(f) {
			n++
		}
	}
	t.Logf("%d of %d functions", n, len(Funcs()))
}
