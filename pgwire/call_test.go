package pgwire

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// CALL takes parameters, whose types are the procedure's, and answers in the format that was asked for.
func TestCallParameters(t *testing.T) {
	ctx := context.Background()
	conn := connectPgx(t, startDatabase(t, Config{}))
	mustExec(t, conn, `create procedure double(inout n int, note text, out twice bigint) language plpgsql as
		$$ begin twice := n * 2; n := n + 1; end $$`)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		for i := range 2 {
			var n int32
			var twice int64
			if err := conn.QueryRow(ctx, "call double($1, $2, null)", mode, 20+i, "x").Scan(&n, &twice); err != nil || n != int32(21+i) || twice != int64(40+2*i) {
				t.Errorf("%v, call %d: %d, %d, %v", mode, i, n, twice, err)
			}
		}
	}
	sd, err := conn.Prepare(ctx, "call", "call double($1, $2, null)")
	if err != nil {
		t.Fatal(err)
	}
	if len(sd.ParamOIDs) != 2 || sd.ParamOIDs[0] != pgtype.Int4OID || sd.ParamOIDs[1] != pgtype.TextOID || len(sd.Fields) != 2 {
		t.Errorf("described as %v, %v", sd.ParamOIDs, sd.Fields)
	}
	r := conn.PgConn().ExecPrepared(ctx, "call", [][]byte{[]byte("1"), nil}, nil, []int16{1}).Read()
	if r.Err != nil || len(r.Rows) != 1 || string(r.Rows[0][0]) != "\x00\x00\x00\x02" {
		t.Errorf("in binary: %q, %v", r.Rows, r.Err)
	}
	if _, err := conn.Exec(ctx, "call double($1, $2, $3, $4)", 1, 2, 3, 4); codeOf(err) != "42883" {
		t.Errorf("too many arguments: %v", err)
	}
	// In a block the statement is repeated with it, in the same format.
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	var n, twice int64
	if err := tx.QueryRow(ctx, "call double($1, $2, null)", 5, "y").Scan(&n, &twice); err != nil || n != 6 || twice != 10 {
		t.Errorf("in a block: %d, %d, %v", n, twice, err)
	}
}

// JDBC gives void parameters in the places of OUT parameters; they are no arguments.
func TestVoidParameters(t *testing.T) {
	ctx := context.Background()
	conn := connectPgx(t, startDatabase(t, Config{}))
	mustExec(t, conn, `create function pair(a int, out b int, out c text) language sql as 'select a + 1, ''x'''`)
	r := conn.PgConn().ExecParams(ctx, "select * from pair($1, $2, $3) as result", [][]byte{[]byte("4"), nil, nil},
		[]uint32{pgtype.Int4OID, 2278, 2278}, nil, nil).Read()
	if r.Err != nil || len(r.Rows) != 1 || string(r.Rows[0][0]) != "5" || string(r.Rows[0][1]) != "x" {
		t.Errorf("%q, %v", r.Rows, r.Err)
	}
}

// A domain's column is described as of the type that the domain is over.
func TestDomainDescription(t *testing.T) {
	ctx := context.Background()
	conn := connectPgx(t, startDatabase(t, Config{}))
	mustExec(t, conn, "create domain price as numeric(8,2) check (value > 0)")
	mustExec(t, conn, "create domain sale as price")
	mustExec(t, conn, "create table sold (p sale)")
	mustExec(t, conn, "insert into sold values (1.5)")
	rows, err := conn.Query(ctx, "select p from sold")
	if err != nil {
		t.Fatal(err)
	}
	if f := rows.FieldDescriptions()[0]; f.DataTypeOID != pgtype.NumericOID || f.TypeModifier != 8<<16+2+4 {
		t.Errorf("described as %d, %d", f.DataTypeOID, f.TypeModifier)
	}
	rows.Close()
}

// JDBC's driver prepares a statement again after this error, which it knows by the routine.
func TestChangedResultType(t *testing.T) {
	ctx := context.Background()
	conn := connectPgx(t, startDatabase(t, Config{}))
	mustExec(t, conn, "create table wider (a int)")
	if _, err := conn.Prepare(ctx, "q", "select * from wider"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "alter table wider add column b int")
	var e *pgconn.PgError
	if _, err := conn.Exec(ctx, "q"); !errors.As(err, &e) || e.Code != "0A000" || e.Routine != "RevalidateCachedQuery" {
		t.Errorf("%v, routine %q", err, e.Routine)
	}
}
