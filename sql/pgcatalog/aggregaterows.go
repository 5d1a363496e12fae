package pgcatalog

import (
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// pgAggregate lists the built-in aggregates and those of users.
func pgAggregate(g *gen) error {
	text := func(s *string) any {
		if s == nil {
			return nil
		}
		return *s
	}
	row := func(a *builtin.AggregateRow) error {
		return g.row("aggfnoid", a.Func, "aggkind", a.Kind, "aggnumdirectargs", a.Direct, "aggtransfn", a.Trans, "aggfinalfn", a.Final,
			"aggcombinefn", a.Combine, "aggserialfn", a.Serial, "aggdeserialfn", a.Deserial, "aggmtransfn", a.MTrans, "aggminvtransfn", a.MInverse,
			"aggmfinalfn", a.MFinal, "aggfinalextra", a.Extra, "aggmfinalextra", a.MExtra, "aggfinalmodify", a.Modify, "aggmfinalmodify", a.MModify,
			"aggsortop", a.SortOp, "aggtranstype", a.State, "aggtransspace", a.Space, "aggmtranstype", a.MState, "aggmtransspace", a.MSpace,
			"agginitval", text(a.Init), "aggminitval", text(a.MInit))
	}
	for _, a := range builtin.Aggregates() {
		if err := row(a); err != nil {
			return err
		}
	}
	if g.snap == nil {
		return nil
	}
	for _, f := range g.snap.Functions() {
		a := f.Agg
		if a == nil {
			continue
		}
		if err := row(&builtin.AggregateRow{Func: types.OID(f.ID), Kind: a.Kind, Direct: a.Direct, Trans: a.Trans, Final: a.Final, Combine: a.Combine,
			Serial: a.Serial, Deserial: a.Deserial, MTrans: a.MTrans, MInverse: a.MInv, MFinal: a.MFinal, Extra: a.Stage.Extra, MExtra: a.Moving.Extra,
			Modify: a.Stage.Modify, MModify: a.Moving.Modify, SortOp: a.SortOp, State: a.Stage.State.OID, Space: int(a.Stage.Space),
			MState: a.Moving.State.OID, MSpace: int(a.Moving.Space), Init: a.Stage.Init, MInit: a.Moving.Init}); err != nil {
			return err
		}
	}
	return nil
}
