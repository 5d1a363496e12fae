package ranges

import "strconv"

// NodeID names a node of the cluster for its whole life. Zero is no node. Values stay below 1<<16, so
// that a node can number the ranges it splits off without asking anyone.
type NodeID uint32

// MaxNodeID is the largest node id.
const MaxNodeID NodeID = 1<<16 - 1

// RangeID names a range. A split keeps it for the left half and takes a new one for the right half.
type RangeID uint64

// ReplicaID names one stay of a range on a node; it is the replica's Raft id. A node that loses a
// replica and gets one again has a new ReplicaID, so votes of the former stay mean nothing.
type ReplicaID uint64

func (n NodeID) String() string    { return "n" + strconv.FormatUint(uint64(n), 10) }
func (r RangeID) String() string   { return "r" + strconv.FormatUint(uint64(r), 10) }
func (r ReplicaID) String() string { return strconv.FormatUint(uint64(r), 10) }

// mix gives each range an order of nodes of its own.
func mix(a uint64, n NodeID) uint64 {
	x := (a<<16 | uint64(n)) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}
