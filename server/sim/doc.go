// Package sim runs whole clusters in one process on virtual time: real stores, real Raft, real transactions, over
// a network, disks and clocks that misbehave as a seed says. Inside a testing/synctest bubble time moves only when
// every goroutine waits, so an hour of cluster life takes seconds and a sleep costs nothing.
//
//   - The network (Network) loses, doubles, delays and reorders messages, cuts links one way and holds messages back.
//   - A crash (Node.Crash) forgets everything that was not synced, and part of what was written since.
//   - A node that has lost its store is replaced by an empty one (Cluster.Replace).
//   - Clocks drift inside their bounds; a test may make one lie, and must then find an anomaly.
//
// Histories are recorded with true begin and end times and commit timestamps and held against
// the order of timestamps (Check). After the faults all replicas of a range must be equal, byte for byte.
package sim
