package sql

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// discard is the Output of the server's own statements, whose answers nobody reads.
type discard struct{}

func (discard) BeginRows([]Column, []int16, *types.Settings, bool) {}
func (discard) Row([]types.Datum) error                            { return nil }
func (discard) Complete(string)                                    {}
func (discard) CompleteRows(string, int64)                         {}
func (discard) EmptyQuery()                                        {}
func (discard) Suspended()                                         {}
func (discard) Notice(*pgerr.Error)                                {}
func (discard) Parameter(string, string)                           {}
func (discard) Notify(int32, string, string)                       {}
func (discard) BeginCopyOut(int, int16)                            {}
func (discard) CopyData([]byte) error                              { return nil }
func (discard) EndCopyOut()                                        {}
func (discard) Mark() Mark                                         { return Mark{} }
func (discard) Rewind(Mark) bool                                   { return true }
func (discard) BeginDigest(bool)                                   {}
func (discard) EndDigest() uint64                                  { return 0 }
func (discard) Sent(Mark) bool                                     { return false }

// BeginCopyIn implements Output: there is no client to send data.
func (discard) BeginCopyIn(int, int16) (CopySource, error) {
	return nil, pgerr.New(pgerr.ProtocolViolation, "COPY FROM STDIN needs a client")
}
