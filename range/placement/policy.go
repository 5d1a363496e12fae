// Package placement decides where the replicas and the leader of each range should be.
//
// Policies say what people asked for; they are kept in system keys, written by the SQL layer in the transaction
// of the statement that declares them. Decisions are pure functions of a snapshot of the cluster.
package placement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Policy says where the data of a span of keys is to be kept. The zero Policy is the cluster's default: as many
// voters as the cluster's replication factor, spread over as many failure domains as there are, led by any.
type Policy struct {
	Name     string   `json:"name,omitempty"`     // the tablespace, for messages
	Regions  []string `json:"regions,omitempty"`  // regions that may hold voters; empty: all
	Replicas int      `json:"replicas,omitempty"` // voters, odd; 0: the cluster's replication factor
	Leaders  []string `json:"leaders,omitempty"`  // regions where the leader should be, the first choice first; empty: where requests come from, else even
	Follow   bool     `json:"follow,omitempty"`   // the leader goes to the region that sends most requests, Leaders being what decides otherwise
	Global   bool     `json:"global,omitempty"`   // time is closed ahead of now, so that every region reads at once
}

// SpanPolicy is a Policy for the keys in [Start, End). Ranges are split where one begins or ends, and are not
// merged across it. Of nested spans the one that begins last wins.
type SpanPolicy struct {
	Start  []byte `json:"start"`
	End    []byte `json:"end"`
	Policy Policy `json:"policy"`
}

// Key returns the system key under which the policy of the span that begins at start is recorded.
func Key(start []byte) []byte { return append([]byte{0x02, 'P'}, start...) }

// KeySpan returns the bounds of all the keys that Key returns.
func KeySpan() (start, end []byte) { return []byte{0x02, 'P'}, []byte{0x02, 'P' + 1} }

// Encode returns the value of the record.
func (p SpanPolicy) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// Decode decodes and checks a record.
func Decode(b []byte) (SpanPolicy, error) {
	var p SpanPolicy
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("placement policy: %w", err)
	}
	return p, p.check()
}

const maxReplicas = 15

func (p SpanPolicy) check() error {
	switch {
	case bytes.Compare(p.Start, p.End) >= 0:
		return errors.New("placement policy: empty span")
	case p.Policy.Replicas < 0 || p.Policy.Replicas > maxReplicas || p.Policy.Replicas != 0 && p.Policy.Replicas%2 == 0:
		return fmt.Errorf("placement policy: %d replicas; an odd number up to %d is wanted", p.Policy.Replicas, maxReplicas)
	}
	return nil
}
