package server

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	ranges "github.com/meridian-db/meridian/range"
)

// nodeCollector shows what the node as a whole is like, and what is wrong with the ranges it knows of. All of it is
// computed when it is asked for.
type nodeCollector struct{ s *Server }

var (
	descBuild       = prometheus.NewDesc("meridian_build_info", "1; its labels say what runs.", []string{"version", "region", "zone"}, nil)
	descState       = prometheus.NewDesc("meridian_node_state", "1 for the state the node is in, 0 for the others.", []string{"state"}, nil)
	descFailedNode  = prometheus.NewDesc("meridian_node_failed", "1 once the node cannot go on, as /healthz says.", nil, nil)
	descNodes       = prometheus.NewDesc("meridian_cluster_nodes", "Nodes of the cluster, as this one sees them.", []string{"live"}, nil)
	descCert        = prometheus.NewDesc("meridian_certificate_expiry_timestamp_seconds", "When the certificate in --certs ends.", []string{"file"}, nil)
	descUnderRepl   = prometheus.NewDesc("meridian_range_underreplicated", "Ranges led here with fewer live and up-to-date voters than they should have.", nil, nil)
	descNoQuorum    = prometheus.NewDesc("meridian_range_unavailable", "Ranges with a replica here of whose voters no majority is live, as this node sees it.", nil, nil)
	descNoLeader    = prometheus.NewDesc("meridian_range_leaderless", "Replicas here that know no leader of their range.", nil, nil)
	descFailedRepl  = prometheus.NewDesc("meridian_range_replicas_broken", "Replicas here that are out of service because they could not apply an entry, or differ from the others.", nil, nil)
	descDiskSize    = prometheus.NewDesc("meridian_store_disk_size_bytes", "Size of the file system of the store.", nil, nil)
	descDiskFree    = prometheus.NewDesc("meridian_store_disk_available_bytes", "What is free of it.", nil, nil)
	descStateSize   = prometheus.NewDesc("meridian_store_state_bytes", "Files of the state engine.", nil, nil)
	descSublevels   = prometheus.NewDesc("meridian_store_l0_sublevels", "Read amplification of the newest files: compactions lag when it grows.", nil, nil)
	descDebt        = prometheus.NewDesc("meridian_store_compaction_debt_bytes", "Bytes that compactions have to write before they are done.", nil, nil)
	descCacheHits   = prometheus.NewDesc("meridian_store_cache_hits_total", "Blocks found in the block cache.", nil, nil)
	descCacheMisses = prometheus.NewDesc("meridian_store_cache_misses_total", "Blocks read from disk.", nil, nil)
)

func (c nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBuild, descState, descFailedNode, descNodes, descCert, descUnderRepl, descNoQuorum, descNoLeader,
		descFailedRepl, descDiskSize, descDiskFree, descStateSize, descSublevels, descDebt, descCacheHits, descCacheMisses} {
		ch <- d
	}
}

func (c nodeCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.s
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	one := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge(descBuild, 1, Version, s.cfg.Region, s.cfg.Zone)
	now := nodeState(s.state.Load())
	for st := stateNew; st <= stateStopped; st++ {
		gauge(descState, one(st == now), st.String())
	}
	gauge(descFailedNode, one(s.Failure() != nil))

	live, dead := map[ranges.NodeID]bool{}, 0
	for _, n := range s.registry.Nodes() {
		if live[n.ID] = n.Live; !n.Live {
			dead++
		}
	}
	gauge(descNodes, float64(len(live)-dead), "true")
	gauge(descNodes, float64(dead), "false")
	under, unavailable, leaderless, failed := 0, 0, 0, 0
	for _, st := range s.core.Store.Status() {
		if st.Failed != nil {
			failed++
		}
		if st.Desc == nil {
			continue
		}
		voters, up, behind := 0, 0, 0
		for _, r := range st.Desc.Replicas {
			if r.Type == ranges.Learner {
				continue
			}
			if voters++; live[r.Node] {
				up++
			}
			if live[r.Node] && slices.Contains(st.Behind, r.Node) {
				behind++
			}
		}
		if 2*up <= voters {
			unavailable++
		}
		pol, _ := s.core.Store.PolicyAt(st.Desc.Start)
		if st.IsLeader && up-behind < min(cmp.Or(pol.Replicas, replicationFactor), len(live)) {
			under++
		}
		if st.Leader == 0 && !st.IsLeader {
			leaderless++
		}
	}
	gauge(descUnderRepl, float64(under))
	gauge(descNoQuorum, float64(unavailable))
	gauge(descNoLeader, float64(leaderless))
	gauge(descFailedRepl, float64(failed))

	if u, err := s.cfg.FS.GetDiskUsage(s.cfg.Store); err == nil {
		gauge(descDiskSize, float64(u.TotalBytes))
		gauge(descDiskFree, float64(u.AvailBytes))
	}
	m := s.core.Engine.Metrics()
	gauge(descStateSize, float64(m.DiskSpaceUsage()))
	gauge(descSublevels, float64(m.Levels[0].Sublevels))
	gauge(descDebt, float64(m.Compact.EstimatedDebt))
	counter(descCacheHits, float64(m.BlockCache.Hits))
	counter(descCacheMisses, float64(m.BlockCache.Misses))
	if s.cfg.Certs != "" {
		for _, name := range []string{caCertFile, nodeCertFile} {
			if b, err := os.ReadFile(filepath.Join(s.cfg.Certs, name)); err == nil {
				if block, _ := pem.Decode(b); block != nil {
					if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
						gauge(descCert, float64(cert.NotAfter.Unix()), name)
					}
				}
			}
		}
	}
}
