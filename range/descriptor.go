package ranges

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meridian-db/meridian/truetime"
)

// ReplicaType is the part a replica plays in its Raft group.
type ReplicaType uint8

const (
	// Voter counts in quorums.
	Voter ReplicaType = iota
	// Learner receives the log but has no vote; every new replica starts so.
	Learner
	// VoterIncoming votes in the new half of a joint configuration only.
	VoterIncoming
	// VoterOutgoing votes in the old half of a joint configuration only, and goes away with it.
	VoterOutgoing
)

func (t ReplicaType) String() string {
	switch t {
	case Voter:
		return "voter"
	case Learner:
		return "learner"
	case VoterIncoming:
		return "incoming"
	case VoterOutgoing:
		return "outgoing"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// ReplicaDesc places one replica.
type ReplicaDesc struct {
	Node    NodeID
	Replica ReplicaID
	Type    ReplicaType
}

// Descriptor says which keys a range holds and where its replicas are. A Descriptor is immutable: changes
// make a new one with a higher Generation. The replicas' own copies are the truth; those in the meta
// range route requests and may lag.
type Descriptor struct {
	ID          RangeID
	Start, End  []byte // [Start, End), never empty
	Replicas    []ReplicaDesc
	NextReplica ReplicaID // larger than every ReplicaID ever used in this range
	// Generation grows with every split, merge and replica change. Of two descriptors that hold the same key the one
	// with the larger generation is the newer one, whatever their ids.
	Generation uint64
	// Stays is until when the range is not to be merged with its left neighbour, because somebody has asked for the split.
	Stays  truetime.Timestamp
	Frozen *Freeze // nil unless the range waits to be merged into its left neighbour
}

// Freeze marks a range that serves nothing until it is known whether its left neighbour has absorbed it (merge.go).
type Freeze struct {
	Left           RangeID
	LeftGeneration uint64 // of the left neighbour: the merge applies to this descriptor of it or not at all
}

// Contains reports whether key lies in the range.
func (d *Descriptor) Contains(key []byte) bool {
	return bytes.Compare(key, d.Start) >= 0 && bytes.Compare(key, d.End) < 0
}

// ContainsSpan reports whether [start, end) lies in the range; an empty end stands for start alone.
func (d *Descriptor) ContainsSpan(start, end []byte) bool {
	if !d.Contains(start) {
		return false
	}
	return len(end) == 0 || bytes.Compare(end, d.End) <= 0
}

// Overlaps reports whether [start, end) and the range share a key.
func (d *Descriptor) Overlaps(start, end []byte) bool {
	return bytes.Compare(start, d.End) < 0 && bytes.Compare(d.Start, end) < 0
}

// ReplicaOn returns the replica on a node.
func (d *Descriptor) ReplicaOn(n NodeID) (ReplicaDesc, bool) {
	for _, r := range d.Replicas {
		if r.Node == n {
			return r, true
		}
	}
	return ReplicaDesc{}, false
}

// ByID returns the replica with an id.
func (d *Descriptor) ByID(id ReplicaID) (ReplicaDesc, bool) {
	for _, r := range d.Replicas {
		if r.Replica == id {
			return r, true
		}
	}
	return ReplicaDesc{}, false
}

// Joint reports whether the range is between two configurations.
func (d *Descriptor) Joint() bool {
	return slices.ContainsFunc(d.Replicas, func(r ReplicaDesc) bool {
		return r.Type == VoterIncoming || r.Type == VoterOutgoing
	})
}

// clone returns a copy whose Replicas may be changed.
func (d *Descriptor) clone() *Descriptor {
	c := *d
	c.Replicas = slices.Clone(d.Replicas)
	return &c
}

func (d *Descriptor) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s[%x,%x) gen=%d", d.ID, d.Start, d.End, d.Generation)
	if f := d.Frozen; f != nil {
		fmt.Fprintf(&b, " frozen for %s gen=%d", f.Left, f.LeftGeneration)
	}
	for _, r := range d.Replicas {
		fmt.Fprintf(&b, " %s/%s", r.Node, r.Replica)
		if r.Type != Voter {
			fmt.Fprintf(&b, ":%s", r.Type)
		}
	}
	return b.String()
}

// Descriptors are encoded as a protobuf message (fields below), by hand because they are decoded on
// every cold route. Unknown fields are skipped, so a later version may add some.
const (
	fieldDescID         = 1 // varint
	fieldDescStart      = 2 // bytes
	fieldDescEnd        = 3 // bytes
	fieldDescReplica    = 4 // message {1: node, 2: replica, 3: type}, repeated
	fieldDescNext       = 5 // varint
	fieldDescGeneration = 6 // varint
	fieldDescStays      = 8 // varint
	fieldDescFrozen     = 7 // message {1: left range, 2: its generation}
)

// maxReplicas bounds what a decoder accepts.
const maxReplicas = 64

// AppendTo appends the encoded descriptor.
func (d *Descriptor) AppendTo(b []byte) []byte {
	b = protowire.AppendTag(b, fieldDescID, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(d.ID))
	b = protowire.AppendTag(b, fieldDescStart, protowire.BytesType)
	b = protowire.AppendBytes(b, d.Start)
	b = protowire.AppendTag(b, fieldDescEnd, protowire.BytesType)
	b = protowire.AppendBytes(b, d.End)
	var m []byte
	for _, r := range d.Replicas {
		m = m[:0]
		m = protowire.AppendTag(m, 1, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(r.Node))
		m = protowire.AppendTag(m, 2, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(r.Replica))
		m = protowire.AppendTag(m, 3, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(r.Type))
		b = protowire.AppendTag(b, fieldDescReplica, protowire.BytesType)
		b = protowire.AppendBytes(b, m)
	}
	b = protowire.AppendTag(b, fieldDescNext, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(d.NextReplica))
	b = protowire.AppendTag(b, fieldDescGeneration, protowire.VarintType)
	b = protowire.AppendVarint(b, d.Generation)
	if d.Stays != 0 {
		b = protowire.AppendTag(b, fieldDescStays, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(d.Stays))
	}
	if f := d.Frozen; f != nil {
		m = protowire.AppendVarint(protowire.AppendTag(m[:0], 1, protowire.VarintType), uint64(f.Left))
		m = protowire.AppendVarint(protowire.AppendTag(m, 2, protowire.VarintType), f.LeftGeneration)
		b = protowire.AppendTag(b, fieldDescFrozen, protowire.BytesType)
		b = protowire.AppendBytes(b, m)
	}
	return b
}

// Encode returns the encoded descriptor: the value of its meta record.
func (d *Descriptor) Encode() []byte { return d.AppendTo(nil) }

var errDescriptor = errors.New("range: malformed descriptor")

// DecodeDescriptor decodes and checks what Encode made. The result does not alias b.
func DecodeDescriptor(b []byte) (*Descriptor, error) {
	d := &Descriptor{}
	err := protoFields(b, func(num protowire.Number, v uint64, raw []byte) error {
		switch num {
		case fieldDescID:
			d.ID = RangeID(v)
		case fieldDescStart:
			d.Start = bytes.Clone(raw)
		case fieldDescEnd:
			d.End = bytes.Clone(raw)
		case fieldDescReplica:
			if len(d.Replicas) == maxReplicas {
				return errDescriptor
			}
			var r ReplicaDesc
			if err := protoFields(raw, func(num protowire.Number, v uint64, _ []byte) error {
				switch num {
				case 1:
					r.Node = NodeID(v)
				case 2:
					r.Replica = ReplicaID(v)
				case 3:
					r.Type = ReplicaType(v)
				}
				return nil
			}); err != nil {
				return err
			}
			if r.Node == 0 || r.Node > MaxNodeID || r.Replica == 0 || r.Type > VoterOutgoing {
				return errDescriptor
			}
			d.Replicas = append(d.Replicas, r)
		case fieldDescNext:
			d.NextReplica = ReplicaID(v)
		case fieldDescGeneration:
			d.Generation = v
		case fieldDescStays:
			d.Stays = truetime.Timestamp(v)
		case fieldDescFrozen:
			d.Frozen = &Freeze{}
			return protoFields(raw, func(num protowire.Number, v uint64, _ []byte) error {
				switch num {
				case 1:
					d.Frozen.Left = RangeID(v)
				case 2:
					d.Frozen.LeftGeneration = v
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if d.ID == 0 || bytes.Compare(d.Start, d.End) >= 0 {
		return nil, errDescriptor
	}
	return d, nil
}

// protoFields calls f for each field of a protobuf message: v for varints, raw for bytes.
func protoFields(b []byte, f func(num protowire.Number, v uint64, raw []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errDescriptor
		}
		b = b[n:]
		var v uint64
		var raw []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			raw, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errDescriptor
		}
		b = b[n:]
		if err := f(num, v, raw); err != nil {
			return err
		}
	}
	return nil
}
