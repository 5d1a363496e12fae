package ranges

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-db/meridian/truetime"
)

// metrics are the store's, in Prometheus' form. They exist whether or not anyone collects them.
type metrics struct {
	fsyncs       prometheus.Counter
	fsyncSeconds prometheus.Histogram
	appended     prometheus.Counter
	applied      prometheus.Counter
	leaders      prometheus.Gauge
	leases       prometheus.Counter
	campaigns    prometheus.Counter
	splits       prometheus.Counter
	splitPause   prometheus.Histogram
	merges       prometheus.Counter
	mergePause   prometheus.Histogram
	snapsSent    prometheus.Counter
	snapsTaken   prometheus.Counter
	snapBytes    prometheus.Counter
	truncations  prometheus.Counter
	badFrames    prometheus.Counter
	metaWrites   prometheus.Counter
	broken       prometheus.Counter
	checks       prometheus.Counter
	checkedBytes prometheus.Counter
	differences  prometheus.Counter
}

func newMetrics(s *Store, reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "meridian_range_" + name, Help: help})
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "meridian_range_" + name, Help: help}, f)
	}
	pause := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "meridian_range_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(500e-6, 2, 16),
		})
	}
	m := &metrics{
		merges:     counter("merges_total", "Merges applied."),
		splitPause: pause("split_pause_seconds", "How long commits to a range were held up by its split, on its leader."),
		mergePause: pause("merge_pause_seconds", "How long commits to a range were held up by a merge, on its leader."),
		fsyncs:     counter("log_fsyncs_total", "Synced writes of the raft log."),
		fsyncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "meridian_range_log_fsync_seconds", Help: "Time from writing a raft log batch to its being durable.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
		}),
		appended:     counter("log_entries_total", "Raft log entries appended."),
		applied:      counter("applies_total", "Batches of committed entries applied."),
		leaders:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "meridian_range_leaders", Help: "Ranges led by this node."}),
		leases:       counter("leases_total", "Leases acquired."),
		campaigns:    counter("campaigns_total", "Elections started by this node."),
		splits:       counter("splits_total", "Splits applied."),
		snapsSent:    counter("snapshots_sent_total", "Snapshots streamed to other nodes."),
		snapsTaken:   counter("snapshots_applied_total", "Snapshots from other nodes installed."),
		snapBytes:    counter("snapshot_bytes_total", "Bytes of snapshots sent."),
		truncations:  counter("log_truncations_total", "Log truncations."),
		badFrames:    counter("bad_frames_total", "Malformed frames from other nodes."),
		broken:       counter("replicas_failed_total", "Replicas taken out of service because they could not apply an entry, or differ from the others."),
		checks:       counter("checks_total", "Comparisons of the replicas of a range led here."),
		checkedBytes: counter("checked_bytes_total", "Bytes read to compare replicas."),
		differences:  counter("differences_total", "Comparisons that found replicas of a range led here to differ."),
		metaWrites:   counter("meta_writes_total", "Descriptors published to the meta range."),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		reg.Register(m.fsyncs), reg.Register(m.fsyncSeconds), reg.Register(m.appended), reg.Register(m.applied),
		reg.Register(m.leaders), reg.Register(m.leases), reg.Register(m.campaigns), reg.Register(m.splits),
		reg.Register(m.splitPause), reg.Register(m.merges), reg.Register(m.mergePause),
		reg.Register(m.snapsSent), reg.Register(m.snapsTaken), reg.Register(m.snapBytes),
		reg.Register(m.truncations), reg.Register(m.badFrames), reg.Register(m.metaWrites), reg.Register(m.broken),
		reg.Register(m.checks), reg.Register(m.checkedBytes), reg.Register(m.differences),
		reg.Register(gauge("replicas", "Replicas on this node.", func() float64 { return float64(len(s.replicaList())) })),
		reg.Register(gauge("quiescent_leaders", "Ranges led by this node that are silent.", func() float64 {
			n := 0
			for _, r := range s.replicaList() {
				if r.leading.Load() && r.quiesced.Load() {
					n++
				}
			}
			return float64(n)
		})),
		reg.Register(gauge("log_cache_bytes", "Raft entries held in memory.", func() float64 { return float64(s.logCache.used.Load()) })),
		reg.Register(gauge("safe_time_lag_seconds", "How far the furthest behind replica's safe time is behind now.", func() float64 {
			now, least := s.cfg.Clock.Now().Earliest, truetime.MaxTimestamp
			for _, r := range s.replicaList() {
				if r.broken.Load() == nil {
					least = min(least, r.SafeTime())
				}
			}
			if least == truetime.MaxTimestamp || least >= now {
				return 0
			}
			return now.Sub(least).Seconds()
		})),
		reg.Register(gauge("follower_safe_time_lag_median_seconds", "How far safe time is behind now at the replicas here that follow a leader: the median, in which each counts as often as it has applied an entry in the last second or two; 0 if none has.", func() float64 {
			return s.followerLag().Seconds()
		})),
	)
}

// followerLag returns how far the safe time of followers is behind now, in the median over what they have lately applied: half
// of it went to replicas that are no older. Replicas that are hardly written to, and told of time less often, count for little.
func (s *Store) followerLag() time.Duration {
	type weighted struct {
		lag    truetime.Timestamp
		weight uint64
	}
	now := s.cfg.Clock.Now().Earliest
	var lags []weighted
	total := uint64(0)
	for _, r := range s.replicaList() {
		if n := r.used.Load(); n > 0 && !r.leading.Load() {
			lags = append(lags, weighted{max(0, now-r.SafeTime()), n})
			total += n
		}
	}
	slices.SortFunc(lags, func(a, b weighted) int { return cmp.Compare(a.lag, b.lag) })
	half := uint64(0)
	for _, x := range lags {
		if half += x.weight; 2*half >= total {
			return time.Duration(x.lag)
		}
	}
	return 0
}

// Fsyncs returns how many synced writes of the raft log this store has made for replicas.
func (s *Store) Fsyncs() uint64 { return s.fsyncCount.Load() }
