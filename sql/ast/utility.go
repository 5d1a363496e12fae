package ast

// TxnKind is the kind of a TransactionStmt.
type TxnKind uint8

const (
	TxnBegin TxnKind = iota
	TxnStart         // START TRANSACTION
	TxnCommit
	TxnRollback
	TxnSavepoint
	TxnRelease
	TxnRollbackTo
	TxnPrepare
	TxnCommitPrepared
	TxnRollbackPrepared
)

// TransactionStmt is BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin.
type TransactionStmt struct {
	Kind      TxnKind
	Modes     TxnModes // TxnBegin, TxnStart
	Savepoint string
	GID       string // PREPARE TRANSACTION
	Chain     bool   // AND CHAIN
	Pos
}

// TxnModes are the modes of BEGIN and SET TRANSACTION. A nil or empty field was not written.
type TxnModes struct {
	Isolation  string // "serializable", "repeatable read", "read committed", "read uncommitted"
	ReadOnly   *bool
	Deferrable *bool
}

// SetKind is the kind of a SetStmt.
type SetKind uint8

const (
	SetValue                  SetKind = iota // SET name = args
	SetToDefault                             // SET name TO DEFAULT
	SetFromCurrent                           // SET name FROM CURRENT (functions)
	ResetVar                                 // RESET name
	ResetAll                                 // RESET ALL
	SetTransaction                           // SET TRANSACTION modes: Modes
	SetSessionCharacteristics                // SET SESSION CHARACTERISTICS AS TRANSACTION modes: Modes
	SetSnapshot                              // SET TRANSACTION SNAPSHOT 'x': Args[0]
)

// SetStmt is SET and RESET. Names are as the grammar makes them: SET TIME ZONE sets "timezone", SET NAMES
// sets "client_encoding", SET SCHEMA sets "search_path", SET ROLE "role", SET SESSION AUTHORIZATION
// "session_authorization".
type SetStmt struct {
	Kind  SetKind
	Name  string
	Args  []Expr // Const, or TypeCast of a Const to interval (SET TIME ZONE INTERVAL ..)
	Local bool
	Modes TxnModes
	Pos
}

// ShowStmt is SHOW name; name is "all" for SHOW ALL.
type ShowStmt struct{ Name string }

// DiscardKind is the kind of a DiscardStmt.
type DiscardKind uint8

const (
	DiscardAll DiscardKind = iota
	DiscardPlans
	DiscardSequences
	DiscardTemp
)

// DiscardStmt is DISCARD.
type DiscardStmt struct{ Kind DiscardKind }

// AlterSystemStmt is ALTER SYSTEM SET.
type AlterSystemStmt struct{ Set *SetStmt }

// ConstraintsSetStmt is SET CONSTRAINTS. Names nil: ALL.
type ConstraintsSetStmt struct {
	Names    []*RangeVar
	Deferred bool
}

// PrepareStmt is PREPARE.
type PrepareStmt struct {
	Name  string
	Types []*TypeName
	Query Stmt
}

// ExecuteStmt is EXECUTE.
type ExecuteStmt struct {
	Name string
	Args []Expr
}

// DeallocateStmt is DEALLOCATE. Name empty: ALL.
type DeallocateStmt struct{ Name string }

// DeclareCursorStmt is DECLARE CURSOR.
type DeclareCursorStmt struct {
	Name        string
	Binary      bool
	Scroll      bool
	NoScroll    bool
	Hold        bool
	Insensitive bool
	Asensitive  bool
	Query       Stmt
}

// FetchDir is the direction of a FetchStmt.
type FetchDir uint8

const (
	FetchForward FetchDir = iota
	FetchBackward
	FetchAbsolute
	FetchRelative
)

// FetchAll is the Count of FETCH ALL.
const FetchAll = int64(^uint64(0) >> 1)

// FetchStmt is FETCH and MOVE. FIRST is absolute 1, LAST absolute -1, NEXT forward 1, PRIOR backward 1.
type FetchStmt struct {
	Dir    FetchDir
	Count  int64
	Cursor string
	Move   bool
}

// CloseStmt is CLOSE. Cursor empty: ALL.
type CloseStmt struct{ Cursor string }

// ExplainStmt is EXPLAIN. Options keep their names: analyze, verbose, costs, buffers, timing, format...
type ExplainStmt struct {
	Query   Stmt
	Options []*DefElem
}

// ListenStmt is LISTEN.
type ListenStmt struct{ Channel string }

// UnlistenStmt is UNLISTEN. Channel empty: *.
type UnlistenStmt struct{ Channel string }

// NotifyStmt is NOTIFY.
type NotifyStmt struct{ Channel, Payload string }

// LockStmt is LOCK TABLE. Mode is PostgreSQL's lock mode: 1 AccessShare .. 8 AccessExclusive.
type LockStmt struct {
	Tables []*RangeVar
	Mode   int
	NoWait bool
}

// VacuumStmt is VACUUM, or ANALYZE when Analyze.
type VacuumStmt struct {
	Analyze bool
	Options []*DefElem
	Tables  []VacuumTable
}

// VacuumTable is one table of VACUUM or ANALYZE.
type VacuumTable struct {
	Table   *RangeVar
	Columns []string
}

// CallStmt is CALL.
type CallStmt struct{ Func *FuncCall }

// DoStmt is DO. Options: as, language.
type DoStmt struct{ Options []*DefElem }

// ReindexStmt is REINDEX. Kind is "INDEX", "TABLE", "SCHEMA", "SYSTEM" or "DATABASE".
type ReindexStmt struct {
	Kind     string
	Relation *RangeVar
	Name     string
	Options  []*DefElem
}

// ClusterStmt is CLUSTER.
type ClusterStmt struct {
	Table   *RangeVar
	Index   string
	Options []*DefElem
}

// CheckpointStmt is CHECKPOINT.
type CheckpointStmt struct{}

// LoadStmt is LOAD.
type LoadStmt struct{ File string }

func (*TransactionStmt) stmt()    {}
func (*SetStmt) stmt()            {}
func (*ShowStmt) stmt()           {}
func (*DiscardStmt) stmt()        {}
func (*AlterSystemStmt) stmt()    {}
func (*ConstraintsSetStmt) stmt() {}
func (*PrepareStmt) stmt()        {}
func (*ExecuteStmt) stmt()        {}
func (*DeallocateStmt) stmt()     {}
func (*DeclareCursorStmt) stmt()  {}
func (*FetchStmt) stmt()          {}
func (*CloseStmt) stmt()          {}
func (*ExplainStmt) stmt()        {}
func (*ListenStmt) stmt()         {}
func (*UnlistenStmt) stmt()       {}
func (*NotifyStmt) stmt()         {}
func (*LockStmt) stmt()           {}
func (*VacuumStmt) stmt()         {}
func (*CallStmt) stmt()           {}
func (*DoStmt) stmt()             {}
func (*ReindexStmt) stmt()        {}
func (*ClusterStmt) stmt()        {}
func (*CheckpointStmt) stmt()     {}
func (*LoadStmt) stmt()           {}

func (s *TransactionStmt) Tag() string {
	switch s.Kind {
	case TxnBegin:
		return "BEGIN"
	case TxnStart:
		return "START TRANSACTION"
	case TxnCommit:
		return "COMMIT"
	case TxnSavepoint:
		return "SAVEPOINT"
	case TxnRelease:
		return "RELEASE"
	case TxnPrepare:
		return "PREPARE TRANSACTION"
	case TxnCommitPrepared:
		return "COMMIT PREPARED"
	case TxnRollbackPrepared:
		return "ROLLBACK PREPARED"
	}
	return "ROLLBACK"
}
func (s *SetStmt) Tag() string {
	if s.Kind == ResetVar || s.Kind == ResetAll {
		return "RESET"
	}
	return "SET"
}
func (*ShowStmt) Tag() string { return "SHOW" }
func (s *DiscardStmt) Tag() string {
	return [...]string{"DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP"}[s.Kind]
}
func (*AlterSystemStmt) Tag() string    { return "ALTER SYSTEM" }
func (*ConstraintsSetStmt) Tag() string { return "SET CONSTRAINTS" }
func (*PrepareStmt) Tag() string        { return "PREPARE" }
func (*ExecuteStmt) Tag() string        { return "EXECUTE" }
func (s *DeallocateStmt) Tag() string {
	if s.Name == "" {
		return "DEALLOCATE ALL"
	}
	return "DEALLOCATE"
}
func (*DeclareCursorStmt) Tag() string { return "DECLARE CURSOR" }
func (s *FetchStmt) Tag() string {
	if s.Move {
		return "MOVE"
	}
	return "FETCH"
}
func (s *CloseStmt) Tag() string {
	if s.Cursor == "" {
		return "CLOSE CURSOR ALL"
	}
	return "CLOSE CURSOR"
}
func (*ExplainStmt) Tag() string  { return "EXPLAIN" }
func (*ListenStmt) Tag() string   { return "LISTEN" }
func (*UnlistenStmt) Tag() string { return "UNLISTEN" }
func (*NotifyStmt) Tag() string   { return "NOTIFY" }
func (*LockStmt) Tag() string     { return "LOCK TABLE" }
func (s *VacuumStmt) Tag() string {
	if s.Analyze {
		return "ANALYZE"
	}
	return "VACUUM"
}
func (*CallStmt) Tag() string       { return "CALL" }
func (*DoStmt) Tag() string         { return "DO" }
func (*ReindexStmt) Tag() string    { return "REINDEX" }
func (*ClusterStmt) Tag() string    { return "CLUSTER" }
func (*CheckpointStmt) Tag() string { return "CHECKPOINT" }
func (*LoadStmt) Tag() string       { return "LOAD" }
