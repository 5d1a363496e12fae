package pgwire

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// TestPanicWithinMessage: the encoder of a row panics, and what follows is the statement's error.
func TestPanicWithinMessage(t *testing.T) {
	var sent bytes.Buffer
	o := output{w: &sent}
	o.Complete("SELECT 1")
	func() {
		defer func() { _ = recover() }()
		o.begin('D')
		o.int16(7)
		panic("a value that cannot be printed")
	}()
	o.sendError(pgerr.New(pgerr.InternalError, "internal error"))
	o.readyForQuery('I')
	if err := o.flush(); err != nil {
		t.Fatal(err)
	}
	client := pgproto3.NewFrontend(pgproto3.NewChunkReader(&sent), nil)
	for _, want := range []pgproto3.BackendMessage{&pgproto3.CommandComplete{}, &pgproto3.ErrorResponse{}, &pgproto3.ReadyForQuery{}} {
		got, err := client.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if gotType, wantType := fmt.Sprintf("%T", got), fmt.Sprintf("%T", want); gotType != wantType {
			t.Fatalf("got %s, want %s", gotType, wantType)
		}
	}
	if sent.Len() > 0 {
		t.Errorf("%d bytes are left", sent.Len())
	}
}
