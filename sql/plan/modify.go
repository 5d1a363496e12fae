package plan

// OrdExpr is an expression for the column with that ordinal.
type OrdExpr struct {
	Ord int
	E   Expr
}

// NamedExpr is a CHECK constraint.
type NamedExpr struct {
	Name string
	E    Expr
}

// WriteTarget is a table that is written, with everything its constraints and indexes compute, bound to
// the slots of the old and the new row.
type WriteTarget struct {
	Table *Table
	// Old and New are the slots of the row's columns by ordinal. Old is nil for INSERT, New for DELETE.
	Old, New []Slot
	// Generated columns are computed when the rest of the new row is there.
	Generated []OrdExpr
	Checks    []NamedExpr
	// ViewChecks are the conditions of views WITH CHECK OPTION, by the view's name: a new row must satisfy them.
	ViewChecks []NamedExpr
	// Policies are what row-level security asks of a new row.
	Policies []PolicyCheck
	// Indexes has one entry per index of Table.AllIndexes.
	Indexes []IndexExprs
	// Parts is set when Table is partitioned: then the rows are written to its partitions.
	Parts *PartTarget
	// Within are the bounds of the partitioned tables above Table that a new row must lie within.
	Within []BoundCheck
	// Mirror is set while the table's rows are being rewritten: then they are written twice.
	Mirror *Mirror
}

// IndexExprs are the computed parts of an index's entries, for the old and for the new row.
type IndexExprs struct {
	// KeyOld[i], KeyNew[i] are set for key parts that are expressions.
	KeyOld, KeyNew []Expr
	// WhereOld and WhereNew are the predicate of a partial index.
	WhereOld, WhereNew Expr
}

// Insert inserts the rows of its input.
type Insert struct {
	NodeBase
	Input  Node
	Target *WriteTarget
	// Source fills columns of the new row from the input; columns whose slots the input fills itself are
	// not listed. Defaults fill the others.
	Source, Defaults []OrdExpr
	// Where, of COPY FROM, leaves out rows.
	Where     []Expr
	Conflict  *Conflict
	Returning bool
	// Keep are the slots of the input that something above it reads; Stream as in Access.
	Keep   []Slot
	Stream bool
}

// Conflict is ON CONFLICT.
type Conflict struct {
	// Arbiters are the indexes, as positions in AllIndexes, on which a conflict is not an error.
	Arbiters []int
	Name     string // for EXPLAIN
	// Excluded: a conflict by an exclusion constraint is no error either.
	Excluded bool
	Update   bool
	// Set and Where read the existing row from Old and the proposed one from the Insert's New slots.
	Old   []Slot
	Set   []OrdExpr
	Where []Expr
	// XMax, with Update, is for RETURNING: 0 in rows that were inserted, the transaction in rows that were changed.
	XMax Slot
	// FoundPolicies are what row-level security asks of the existing row, Policies of the changed one.
	FoundPolicies, Policies []PolicyCheck
	// OldTarget maintains the indexes of the row that is updated.
	OldTarget *WriteTarget
}

// Update changes the rows of its input. Input fills Target.Old.
type Update struct {
	NodeBase
	Input     Node
	Target    *WriteTarget
	Set       []OrdExpr
	Joined    bool // the input may bring a row more than once
	Returning bool
	Access
}

// Access is how an UPDATE or DELETE finds its rows.
type Access struct {
	// Scan is the target's scan.
	Scan *Scan
	// Keep are the slots of the input that something above it reads.
	Keep []Slot
	// Stream: rows may be written while the input is still being read, because the input reads nothing that
	// the writes could change.
	Stream bool
}

// Delete deletes the rows of its input.
type Delete struct {
	NodeBase
	Input     Node
	Target    *WriteTarget
	Joined    bool
	Returning bool
	Access
}

// Merge is MERGE: its input is the source joined to the target; Matched tells which rows have a target row.
type Merge struct {
	NodeBase
	Input Node
	// Target.Old is the target row's columns, all NULL where the source row has no match. Present is never
	// NULL when there is one.
	Target  *WriteTarget
	Present Expr
	Alias   string // of the target, for EXPLAIN
	Whens   []*MergeWhen
}

// MergeWhen is one WHEN clause.
type MergeWhen struct {
	Matched bool
	Conds   []Expr
	Action  MergeAction
	// FoundPolicies are what row-level security asks of the target row, Policies of the new one.
	FoundPolicies, Policies []PolicyCheck
	Set                     []OrdExpr // MergeUpdate; MergeInsert: the columns given and the defaults of the others
}

// MergeAction is what a WHEN clause does.
type MergeAction uint8

const (
	MergeNothing MergeAction = iota
	MergeInsert
	MergeUpdate
	MergeDelete
)

func (n *Insert) inputs(f func(*Node)) { f(&n.Input) }
func (n *Update) inputs(f func(*Node)) { f(&n.Input) }
func (n *Delete) inputs(f func(*Node)) { f(&n.Input) }
func (n *Merge) inputs(f func(*Node))  { f(&n.Input) }

func (n *Insert) produces(f func(Slot)) {
	n.Target.produces(f)
	if n.Conflict != nil {
		eachSlot(n.Conflict.Old, f)
		if n.Conflict.Update {
			f(n.Conflict.XMax)
		}
		if t := n.Conflict.OldTarget; t != nil && t.Mirror != nil {
			eachSlot(t.Mirror.Target.Old, f)
			eachSlot(t.Mirror.Target.New, f)
		}
	}
}
func (n *Update) produces(f func(Slot)) { n.Target.produces(f) }
func (n *Delete) produces(f func(Slot)) { n.Target.produces(f) }
func (n *Merge) produces(f func(Slot))  { n.Target.produces(f) }

func ordExprs(s []OrdExpr, f func(*Expr)) {
	for i := range s {
		f(&s[i].E)
	}
}

func policyExprs(s []PolicyCheck, f func(*Expr)) {
	for i := range s {
		f(&s[i].E)
	}
}

func (t *WriteTarget) exprs(f func(*Expr)) {
	if t.Parts != nil {
		t.Parts.exprs(f)
	}
	for i := range t.Within {
		kidSlice(t.Within[i].Keys, f)
	}
	ordExprs(t.Generated, f)
	for i := range t.Checks {
		f(&t.Checks[i].E)
	}
	for i := range t.ViewChecks {
		f(&t.ViewChecks[i].E)
	}
	policyExprs(t.Policies, f)
	if m := t.Mirror; m != nil {
		kidSlice(m.Old, f)
		kidSlice(m.New, f)
		m.Target.exprs(f)
	}
	for i := range t.Indexes {
		x := &t.Indexes[i]
		kidSlice(x.KeyOld, f)
		kidSlice(x.KeyNew, f)
		if x.WhereOld != nil {
			f(&x.WhereOld)
		}
		if x.WhereNew != nil {
			f(&x.WhereNew)
		}
	}
}

func (n *Insert) exprs(f func(*Expr)) {
	ordExprs(n.Source, f)
	ordExprs(n.Defaults, f)
	kidSlice(n.Where, f)
	n.Target.exprs(f)
	if c := n.Conflict; c != nil {
		ordExprs(c.Set, f)
		kidSlice(c.Where, f)
		policyExprs(c.FoundPolicies, f)
		policyExprs(c.Policies, f)
		if c.OldTarget != nil {
			c.OldTarget.exprs(f)
		}
	}
}

func (n *Update) exprs(f func(*Expr)) {
	ordExprs(n.Set, f)
	n.Target.exprs(f)
}

func (n *Delete) exprs(f func(*Expr)) {
	n.Target.exprs(f)
}

func (n *Merge) exprs(f func(*Expr)) {
	f(&n.Present)
	n.Target.exprs(f)
	for _, w := range n.Whens {
		kidSlice(w.Conds, f)
		policyExprs(w.FoundPolicies, f)
		policyExprs(w.Policies, f)
		ordExprs(w.Set, f)
	}
}
