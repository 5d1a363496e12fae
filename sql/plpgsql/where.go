package plpgsql

import "strconv"

// Where tells which statement of the function runs, in PostgreSQL's words. After an error it is the statement that failed.
func (m *Machine) Where() string {
	s := "PL/pgSQL function " + m.Fn.Signature
	if m.at != nil {
		s += " line " + strconv.Itoa(m.at.line)
	}
	switch {
	case m.during != "":
		s += " " + m.during
	case m.at != nil:
		s += " at " + kindOf(m.at.stmt)
	}
	return s
}

// Fetching reports whether the statement that runs is a loop over the rows of a query.
func (m *Machine) Fetching() bool {
	if m.at == nil {
		return false
	}
	_, ok := m.at.stmt.(*forQuery)
	return ok
}

// kindOf names a kind of statement.
func kindOf(s stmt) string {
	switch s := s.(type) {
	case *Block:
		return "statement block"
	case *assign:
		return "assignment"
	case *ifStmt:
		return "IF"
	case *caseStmt:
		return "CASE"
	case *loop:
		if s.while != nil {
			return "WHILE"
		}
		return "LOOP"
	case *forInt:
		return "FOR with integer loop variable"
	case *forQuery:
		if s.dyn != nil {
			return "FOR over EXECUTE statement"
		}
		return "FOR over SELECT rows"
	case *forCursor:
		return "FOR over cursor"
	case *foreach:
		return "FOREACH over array"
	case *exit:
		if s.next {
			return "CONTINUE"
		}
		return "EXIT"
	case *returnStmt:
		return "RETURN"
	case *returnNext:
		return "RETURN NEXT"
	case *returnQuery:
		return "RETURN QUERY"
	case *raise:
		return "RAISE"
	case *assert:
		return "ASSERT"
	case *execute:
		return "EXECUTE"
	case *diagnostics:
		if s.stacked {
			return "GET STACKED DIAGNOSTICS"
		}
		return "GET DIAGNOSTICS"
	case *openStmt:
		return "OPEN"
	case *fetchStmt:
		if s.move {
			return "MOVE"
		}
		return "FETCH"
	case *closeStmt:
		return "CLOSE"
	case *transactionStmt:
		if s.rollback {
			return "ROLLBACK"
		}
		return "COMMIT"
	case *sqlStmt:
		switch {
		case s.perform:
			return "PERFORM"
		case s.query.Node.Tag() == "CALL":
			return "CALL"
		}
		return "SQL statement"
	case *null:
		return "NULL"
	}
	return "statement"
}
