package ranges

import (
	"cmp"
	"slices"
)

// place returns the nodes that should hold the voters of a range, nil when they do already. It is a pure
// function: voters stay where they are; missing ones go to live nodes in regions, then zones, that have
// fewest of them. The number of voters is odd, so that a cluster of two nodes keeps one copy to vote.
func place(d *Descriptor, nodes []NodeInfo, factor int) []NodeID {
	info := make(map[NodeID]NodeInfo, len(nodes))
	usable := 0
	for _, n := range nodes {
		info[n.ID] = n
	}
	var voters []NodeID
	regions, zones := map[string]int{}, map[string]int{}
	use := func(n NodeInfo) {
		regions[n.Region]++
		zones[n.Region+"\x00"+n.Zone]++
	}
	for _, r := range d.Replicas {
		if r.Type == Voter {
			voters = append(voters, r.Node)
			use(info[r.Node])
		}
	}
	var free []NodeInfo
	for _, n := range nodes {
		if _, ok := d.ReplicaOn(n.ID); ok && slices.Contains(voters, n.ID) {
			continue
		}
		if n.Live && !n.Draining {
			free = append(free, n)
			usable++
		}
	}
	want := min(factor, len(voters)+usable)
	if want%2 == 0 {
		want--
	}
	if len(voters) >= want {
		return nil
	}
	for len(voters) < want {
		best := slices.MinFunc(free, func(a, b NodeInfo) int {
			// A learner that is there already is nearly a voter.
			_, la := d.ReplicaOn(a.ID)
			_, lb := d.ReplicaOn(b.ID)
			return cmp.Or(
				cmp.Compare(regions[a.Region], regions[b.Region]),
				cmp.Compare(zones[a.Region+"\x00"+a.Zone], zones[b.Region+"\x00"+b.Zone]),
				-boolCompare(la, lb),
				// Ranges spread over equal nodes.
				cmp.Compare(mix(uint64(d.ID), a.ID), mix(uint64(d.ID), b.ID)),
				cmp.Compare(a.ID, b.ID),
			)
		})
		voters = append(voters, best.ID)
		use(best)
		free = slices.DeleteFunc(free, func(n NodeInfo) bool { return n.ID == best.ID })
	}
	return voters
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func mix(a uint64, n NodeID) uint64 {
	x := (a<<16 | uint64(n)) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}
