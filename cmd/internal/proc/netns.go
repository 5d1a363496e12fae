package proc

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// Network gives every node a network namespace with an address of its own, so that the packets between two nodes
// can be dropped in either direction while both go on running. It needs root and ip(8). Time servers and clients
// are on the host, which has the bridge's last address. The bridge is in a namespace of its own as well, where
// the host's packet filter has no say.
type Network struct {
	bridge  string // name of the bridge, of its namespace, and of the host's link to it
	subnet  string // first three bytes
	nodes   int
	blocked map[[2]int]bool
	lossy   map[int]bool // nodes that lose packets
}

// NewNetwork makes the bridge and the namespaces of so many nodes. Close removes them.
func NewNetwork(nodes int) (*Network, error) {
	id := os.Getpid() % 10000
	n := &Network{bridge: fmt.Sprintf("mrd%d", id), subnet: fmt.Sprintf("10.%d.%d", 64+id%64, id/64%250), nodes: nodes, blocked: map[[2]int]bool{}, lossy: map[int]bool{}}
	sw, port := n.bridge, n.bridge+"h"
	steps := []string{
		"netns add " + sw,
		"-n " + sw + " link add " + n.bridge + " type bridge",
		"-n " + sw + " link set " + n.bridge + " up",
		"link add " + n.bridge + " type veth peer name " + port,
		"link set " + port + " netns " + sw,
		"-n " + sw + " link set " + port + " master " + n.bridge + " up",
		"addr add " + n.host() + "/24 dev " + n.bridge,
		"link set " + n.bridge + " up",
	}
	for i := range nodes {
		ns, outer, inner := n.namespace(i), fmt.Sprintf("%sv%d", n.bridge, i), fmt.Sprintf("%si%d", n.bridge, i)
		steps = append(steps,
			"netns add "+ns,
			"-n "+sw+" link add "+outer+" type veth peer name "+inner+" netns "+ns,
			"-n "+sw+" link set "+outer+" master "+n.bridge+" up",
			"-n "+ns+" addr add "+n.addr(i)+"/24 dev "+inner,
			"-n "+ns+" link set "+inner+" up",
			"-n "+ns+" link set lo up")
	}
	for _, s := range steps {
		if err := ip(s); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (n *Network) host() string           { return n.subnet + ".254" }
func (n *Network) addr(i int) string      { return fmt.Sprintf("%s.%d", n.subnet, i+1) }
func (n *Network) namespace(i int) string { return fmt.Sprintf("%sn%d", n.bridge, i) }

// Block drops every packet that node from sends to node to.
func (n *Network) Block(from, to int) error {
	if n.blocked[[2]int{from, to}] {
		return nil
	}
	if err := ip("-n " + n.namespace(from) + " route add blackhole " + n.addr(to) + "/32"); err != nil {
		return err
	}
	n.blocked[[2]int{from, to}] = true
	return nil
}

// Isolate cuts a node off from all others, both ways. Clients and time servers still reach it.
func (n *Network) Isolate(node int) error {
	for i := range n.nodes {
		if i == node {
			continue
		}
		if err := n.Block(i, node); err != nil {
			return err
		}
		if err := n.Block(node, i); err != nil {
			return err
		}
	}
	return nil
}

// Lose drops a share of the packets that a node and the others send each other, at random. It needs iptables(8).
func (n *Network) Lose(node int, share float64) error {
	for i := range n.nodes {
		if i == node {
			continue
		}
		for _, pair := range [][2]int{{node, i}, {i, node}} {
			args := fmt.Sprintf("netns exec %s iptables -A OUTPUT -d %s -m statistic --mode random --probability %.3f -j DROP",
				n.namespace(pair[0]), n.addr(pair[1]), share)
			n.lossy[pair[0]] = true
			if err := ip(args); err != nil {
				return err
			}
		}
	}
	return nil
}

// Heal lets all packets through again.
func (n *Network) Heal() error {
	for node := range n.lossy {
		if err := ip("netns exec " + n.namespace(node) + " iptables -F OUTPUT"); err != nil {
			return err
		}
		delete(n.lossy, node)
	}
	for pair := range n.blocked {
		if err := ip("-n " + n.namespace(pair[0]) + " route del blackhole " + n.addr(pair[1]) + "/32"); err != nil {
			return err
		}
		delete(n.blocked, pair)
	}
	return nil
}

// Close removes the namespaces, and with them all links. The nodes must have ended.
func (n *Network) Close() {
	for i := range n.nodes {
		_ = ip("netns del " + n.namespace(i))
	}
	_ = ip("netns del " + n.bridge)
}

// addresses gives a node its listeners: in a namespace no port can be taken.
func (n *Network) addresses(node *Node) {
	host := n.addr(node.Index)
	node.SQLAddr, node.RPCAddr, node.HTTPAddr = net.JoinHostPort(host, "5432"), net.JoinHostPort(host, "7433"), net.JoinHostPort(host, "8080")
}
