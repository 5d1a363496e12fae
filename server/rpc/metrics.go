package rpc

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls, raftSent, raftDropped, badFrames, turnedAway, panics, relayed prometheus.Counter
}

func (m *metrics) init() {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "meridian", Subsystem: "rpc", Name: name, Help: help})
	}
	m.calls = counter("requests_sent_total", "Requests sent to other nodes.")
	m.raftSent = counter("raft_frames_sent_total", "Raft frames queued for other nodes.")
	m.raftDropped = counter("raft_frames_dropped_total", "Raft frames dropped because the peer was not connected or too slow.")
	m.badFrames = counter("bad_frames_total", "Malformed frames received; each ended its connection.")
	m.turnedAway = counter("connections_turned_away_total", "Connections closed at once because too many others had not said yet who they are.")
	m.relayed = counter("requests_relayed_total", "Requests that went through a third node because their peer could not be reached.")
	m.panics = counter("handler_panics_total", "Requests whose handler panicked.")
}

var (
	descUp  = prometheus.NewDesc("meridian_rpc_peer_connected", "1 while the request connection to the peer is up.", []string{"peer"}, nil)
	descRTT = prometheus.NewDesc("meridian_rpc_peer_rtt_seconds", "Round trip of the last ping.", []string{"peer"}, nil)
)

// Describe implements prometheus.Collector.
func (n *Network) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range n.counters() {
		c.Describe(ch)
	}
	ch <- descUp
	ch <- descRTT
}

// Collect implements prometheus.Collector.
func (n *Network) Collect(ch chan<- prometheus.Metric) {
	for _, c := range n.counters() {
		c.Collect(ch)
	}
	for _, p := range n.Peers() {
		up := 0.0
		if p.Connected {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, up, p.ID.String())
		ch <- prometheus.MustNewConstMetric(descRTT, prometheus.GaugeValue, p.RTT.Seconds(), p.ID.String())
	}
}

func (n *Network) counters() []prometheus.Counter {
	return []prometheus.Counter{n.m.calls, n.m.raftSent, n.m.raftDropped, n.m.badFrames, n.m.turnedAway, n.m.panics, n.m.relayed}
}
