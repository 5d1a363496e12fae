package ranges

import (
	"errors"
	"fmt"
)

var (
	// ErrLeaseExpired reports that the leader holds no lease that reaches past the timestamp asked for.
	// Nothing was proposed. The lease usually returns within a second, here or on another node.
	ErrLeaseExpired = errors.New("range: lease expired")
	// ErrDropped reports that a proposal was not applied and never will be. It may be proposed again.
	ErrDropped = errors.New("range: proposal dropped")
	// ErrAmbiguous reports that a proposal may or may not be applied, by this or the next leader.
	ErrAmbiguous = errors.New("range: proposal outcome unknown")
	// ErrRangeKeyMismatch reports that keys of a proposal are outside the range, which has been split or
	// replaced meanwhile. Nothing was proposed.
	ErrRangeKeyMismatch = errors.New("range: key outside the range")
	// ErrProposalTooLarge reports a command over Config.MaxProposalBytes.
	ErrProposalTooLarge = errors.New("range: proposal too large")
	// ErrOverloaded reports that too many proposals of the range wait already. Nothing was proposed.
	ErrOverloaded = errors.New("range: too many proposals in flight")
	// ErrRangeNotFound reports that this store holds no such replica.
	ErrRangeNotFound = errors.New("range: no such range on this store")
	// ErrClosed reports that the store or the replica has been closed.
	ErrClosed = errors.New("range: closed")
	// ErrNotReady reports a change that cannot be made now: another change is under way, a replica is
	// still being built, a transfer target lags. It may be asked again.
	ErrNotReady = errors.New("range: not possible now")
)

// NotLeaderError reports that another replica leads the range. Nothing was proposed.
type NotLeaderError struct {
	Range RangeID
	Hint  NodeID // the leader as far as this replica knows, or zero
}

func (e *NotLeaderError) Error() string {
	if e.Hint == 0 {
		return fmt.Sprintf("range: %s: not the leader", e.Range)
	}
	return fmt.Sprintf("range: %s: not the leader, which may be %s", e.Range, e.Hint)
}

// Is makes errors.Is(err, ErrNotLeader) hold.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// ErrNotLeader is what every *NotLeaderError is.
var ErrNotLeader = errors.New("range: not the leader")
