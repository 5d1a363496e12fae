package replication

import (
	"encoding/binary"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/truetime"
)

// The messages inside of CopyData.

// AppendXLogData appends the head of a message with data of the output plugin, which follows.
func AppendXLogData(b []byte, lsn LSN, now truetime.Timestamp) []byte {
	b = binary.BigEndian.AppendUint64(append(b, 'w'), uint64(lsn))
	b = binary.BigEndian.AppendUint64(b, uint64(lsn))
	return binary.BigEndian.AppendUint64(b, uint64(pgMicros(now)))
}

// AppendKeepalive appends a keepalive: everything that end holds has been sent.
func AppendKeepalive(b []byte, end LSN, now truetime.Timestamp) []byte {
	b = binary.BigEndian.AppendUint64(append(b, 'k'), uint64(end))
	b = binary.BigEndian.AppendUint64(b, uint64(pgMicros(now)))
	return append(b, 0)
}

// ParseFeedback parses what a consumer sends. ok is false for a message that says nothing about its progress.
func ParseFeedback(b []byte) (st Status, reply, ok bool, err error) {
	bad := pgerr.New(pgerr.ProtocolViolation, "malformed message of a replication client")
	if len(b) == 0 {
		return st, false, false, bad
	}
	switch b[0] {
	case 'r':
		if len(b) != 34 {
			return st, false, false, bad
		}
		at := func(i int) LSN { return LSN(binary.BigEndian.Uint64(b[i:])) }
		return Status{at(1), at(9), at(17)}, b[33] != 0, true, nil
	case 'h': // of a physical standby
		return st, false, false, nil
	}
	return st, false, false, pgerr.New(pgerr.ProtocolViolation, "unexpected message type \"%c\"", b[0])
}
