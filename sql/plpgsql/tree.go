package plpgsql

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// Function is a parsed body.
type Function struct {
	Name string
	// Signature names the function in the contexts of errors.
	Signature string
	// Vars are all variables, of every block; a variable's number is its place here and its parameter in queries.
	Vars []*Var
	Body *Block
	// Params are the numbers of the function's parameters, Outs those that make up its result.
	Params, Outs []int
	Found        int
	// Old, New and TG are set for trigger functions.
	Old, New int
	TG       map[string]int
	conflict plan.NameConflict
}

// Var is a variable.
type Var struct {
	Name string
	// Type is nil for a record, whose shape is that of its value.
	Type     *types.T
	Record   bool // a record or row: its fields are assigned one by one
	Constant bool
	NotNull  bool
	Default  *Query
	line     int          // of its declaration
	cursor   *boundCursor // of a bound cursor variable
}

// scope is where names are looked up: those of a block and, outwards, of the blocks around it.
type scope struct {
	up    *scope
	label string
	names map[string]int
}

func (s *scope) find(name string) (int, bool) {
	for ; s != nil; s = s.up {
		if i, ok := s.names[name]; ok {
			return i, true
		}
	}
	return 0, false
}

func (s *scope) labelled(label string) *scope {
	for ; s != nil; s = s.up {
		if s.label == label {
			return s
		}
	}
	return nil
}

// Query is an expression or statement in SQL.
type Query struct {
	Text string
	Node ast.Stmt // SELECT expr for an expression
	Expr bool
	// Source is the text that errors show: of an expression that is assigned the whole assignment. Shift is what a position
	// in Node's text is more than one in Source.
	Source string
	Assign bool
	Shift  int
	fn     *Function
	in     *scope
}

// Variable implements plan.Variables: x, block.x or function.x.
func (q *Query) Variable(names []string) (param, used int, ok bool) {
	if len(names) > 1 {
		if s := q.in.labelled(names[0]); s != nil {
			if i, ok := s.names[names[1]]; ok {
				return i, 2, true
			}
		}
	}
	i, ok := q.in.find(names[0])
	return i, 1, ok
}

// Conflict implements plan.Variables.
func (q *Query) Conflict() plan.NameConflict { return q.fn.conflict }

// Function returns the function that the query is in.
func (q *Query) Function() *Function { return q.fn }

// Target is what is assigned to: a variable, fields of it, an element of an array.
type Target struct {
	Var    int
	Fields []string
	Index  []subscript // of an array, after the fields
}

// stmt is a statement.
type stmt interface{}

// step is a statement of a list with the line that it begins in, counted from 1.
type step struct {
	stmt
	line int
}

// Block is DECLARE ... BEGIN ... EXCEPTION ... END.
type Block struct {
	Label    string
	line     int   // of its BEGIN
	Vars     []int // declared here, in order
	Body     []step
	Handlers []handler
	Except   bool
	// SQLState and SQLErrm are the variables of the handlers.
	SQLState, SQLErrm int
}

type handler struct {
	codes  []string // SQLSTATEs; a class ends with 000
	others bool
	body   []step
}

type (
	assign struct {
		to   Target
		from *Query
	}
	ifStmt struct {
		conds []*Query
		then  [][]step // one more than conds when there is an ELSE
	}
	caseStmt struct {
		arg   *Query
		argV  int // variable that holds the argument
		whens []caseWhen
		other []step
		has   bool // ELSE
	}
	caseWhen struct {
		conds []*Query
		body  []step
	}
	loop struct {
		label string
		while *Query // nil: LOOP
		body  []step
	}
	forInt struct {
		label    string
		v        int
		from, to *Query
		by       *Query
		reverse  bool
		body     []step
	}
	forQuery struct {
		label string
		into  []Target
		query *Query // or dyn with using
		dyn   *Query
		using []*Query
		body  []step
	}
	foreach struct {
		label string
		to    Target
		slice int
		in    *Query
		body  []step
	}
	exit struct {
		label string
		next  bool // CONTINUE
		when  *Query
	}
	returnStmt  struct{ value *Query }
	returnNext  struct{ value *Query }
	returnQuery struct {
		query *Query
		dyn   *Query
		using []*Query
	}
	sqlStmt struct {
		query   *Query
		into    []Target
		strict  bool
		perform bool
	}
	execute struct {
		text   *Query
		using  []*Query
		into   []Target
		strict bool
	}
	raise struct {
		level   string // "" re-raises
		format  string
		hasFmt  bool
		args    []*Query
		code    string // SQLSTATE or condition name
		options []raiseOption
	}
	raiseOption struct {
		name  string
		value *Query
	}
	diagnostics struct {
		stacked bool
		items   []diagItem
	}
	diagItem struct {
		to   Target
		what string
	}
	assert struct{ cond, message *Query }
	null   struct{}
)
