package replication

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/feed"
	"github.com/meridian-db/meridian/txn/kv"
)

// Config configures a Service. A zero field takes the default named in its comment.
type Config struct {
	DB      kv.DB            // Required; a kv.DiffReader.
	Catalog *catalog.Manager // Required.
	Clock   Clock            // Required.
	// Retention bounds for how long a slot keeps history that is not confirmed. Default 24h.
	Retention time.Duration
	// BudgetBytes bounds the changes that one reader holds. Default feed.Config's.
	BudgetBytes int64
}

// Service is a node's part of replication. It is safe for concurrent use.
type Service struct {
	cfg   Config
	Slots *Slots
	feed  *feed.Reader
	diffs kv.DiffReader

	mu      sync.Mutex
	streams map[*Stream]struct{}
}

// NewService returns a Service.
func NewService(cfg Config) (*Service, error) {
	diffs, ok := cfg.DB.(kv.DiffReader)
	if !ok || cfg.Catalog == nil || cfg.Clock == nil {
		return nil, errors.New("replication: Config.DB (a kv.DiffReader), Catalog and Clock are required")
	}
	cfg.Retention = cmp.Or(cfg.Retention, 24*time.Hour)
	f, err := feed.New(feed.Config{DB: diffs, BudgetBytes: cfg.BudgetBytes})
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, feed: f, diffs: diffs, streams: map[*Stream]struct{}{},
		Slots: &Slots{db: cfg.DB, clock: cfg.Clock, retention: cfg.Retention}}, nil
}

// Option is an option of an output plugin.
type Option struct {
	Name, Value string
	Alone       bool // there was no value
}

func (o *Option) boolean() (on, ok bool) {
	switch strings.ToLower(o.Value) {
	case "true", "t", "on", "1", "yes":
		return true, true
	case "false", "f", "off", "0", "no":
		return false, true
	case "":
		return true, o.Alone
	}
	return false, false
}

// ReadArgs say what a session reads of a slot.
type ReadArgs struct {
	Slot     string
	Database uint32
	Session  int32
	Options  []Option
	Settings *types.Settings // of the text forms of values
	Binary   bool            // the reader takes messages that are not text
}

// Plugins lists the output plugins.
var Plugins = []string{"pgoutput", "test_decoding"}

// CheckPlugin refuses a plugin that there is not.
func CheckPlugin(name string) error {
	if !slices.Contains(Plugins, name) {
		return pgerr.New(pgerr.UndefinedFile, "could not access file %q: No such file or directory", name).
			WithHint("The output plugins are %s.", strings.Join(Plugins, " and "))
	}
	return nil
}

func (svc *Service) newReader(slot Slot, a ReadArgs) (reader, error) {
	r := reader{svc: svc, database: slot.Database, at: slot.Confirmed}
	switch slot.Plugin {
	case "pgoutput":
		if !a.Binary {
			return r, pgerr.New(pgerr.FeatureNotSupported, "logical decoding output plugin %q produces binary output, but the function expects textual data", slot.Plugin)
		}
		names, err := pgoutputOptions(a.Options)
		if err != nil {
			return r, err
		}
		r.publications, r.enc = names, &pgoutput{settings: a.Settings}
	case "test_decoding":
		p, err := newTestDecoding(a.Settings, a.Options)
		if err != nil {
			return r, err
		}
		r.enc = p
	default:
		return r, CheckPlugin(slot.Plugin)
	}
	return r, nil
}

// pgoutputOptions returns the publications that the options name.
func pgoutputOptions(options []Option) (publications []string, err error) {
	version := false
	for i := range options {
		o := &options[i]
		on, isBool := o.boolean()
		switch o.Name {
		case "proto_version":
			// 2 and 3 are allowed to send transactions that have not committed, which never happens here.
			if version = o.Value == "1" || o.Value == "2" || o.Value == "3"; !version {
				return nil, pgerr.Unsupported("proto_version=%s is not supported: use 1 to 3", o.Value)
			}
		case "publication_names":
			if publications, err = splitNames(o.Value); err != nil {
				return nil, err
			}
		case "binary", "streaming": // leave to send text, and nothing before its commit
			if !isBool {
				return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid value for option %q: %q", o.Name, o.Value)
			}
		case "messages", "two_phase":
			if !isBool || on && o.Name == "two_phase" {
				return nil, pgerr.Unsupported("option %s=%s of pgoutput is not supported", o.Name, o.Value)
			}
		default:
			return nil, pgerr.New(pgerr.InvalidParameterValue, "unrecognized pgoutput option: %s", o.Name)
		}
	}
	switch {
	case !version:
		return nil, pgerr.New(pgerr.InvalidParameterValue, "proto_version option missing")
	case len(publications) == 0:
		return nil, pgerr.New(pgerr.InvalidParameterValue, "publication_names option missing")
	}
	return publications, nil
}

// splitNames reads a list of identifiers, quoted or not.
func splitNames(s string) ([]string, error) {
	bad := pgerr.New(pgerr.InvalidName, "invalid publication_names syntax")
	var out []string
	for {
		s = strings.TrimLeft(s, " \t\n")
		var name string
		if strings.HasPrefix(s, `"`) {
			s = s[1:]
			for {
				i := strings.IndexByte(s, '"')
				if i < 0 {
					return nil, bad
				}
				name += s[:i]
				if s = s[i+1:]; !strings.HasPrefix(s, `"`) {
					break
				}
				name, s = name+`"`, s[1:]
			}
		} else {
			i := strings.IndexAny(s, ", \t\n")
			if i < 0 {
				i = len(s)
			}
			name, s = strings.ToLower(s[:i]), s[i:]
		}
		if name == "" {
			return nil, bad
		}
		out = append(out, name)
		if s = strings.TrimLeft(s, " \t\n"); s == "" {
			return out, nil
		}
		if s[0] != ',' {
			return nil, bad
		}
		s = s[1:]
	}
}

// Start takes a slot for a session and returns its stream from a position on, or from where it has been confirmed if
// that is further.
func (svc *Service) Start(ctx context.Context, a ReadArgs, from LSN, who Sender) (*Stream, error) {
	a.Binary = true
	slot, err := svc.Slots.Acquire(ctx, a.Slot, a.Database, a.Session)
	if err != nil {
		return nil, err
	}
	r, err := svc.newReader(slot, a)
	if err == nil {
		r.at = max(r.at, from.Through())
		// A publication that is missing is found out now, not in the stream.
		if now := svc.cfg.Clock.Now().Earliest; r.at > now.Add(time.Hour) {
			err = pgerr.New(pgerr.InvalidParameterValue, "requested starting point %s lies in the future", from)
		} else if r.at <= now {
			err = r.load(ctx, r.at)
		}
	}
	if err != nil {
		lost := errors.Is(err, kv.ErrReadTooOld)
		if lost {
			err = errLost(a.Slot)
		}
		_ = svc.Slots.Release(context.WithoutCancel(ctx), a.Slot, a.Session, slot.Confirmed, lost)
		return nil, err
	}
	s := &Stream{svc: svc, slot: slot, session: a.Session, r: r, from: EndLSN(r.at), app: who, confirmed: slot.Confirmed,
		sent: EndLSN(r.at), wake: make(chan struct{}, 1)}
	return s, nil
}

// Abandon gives the slot of a stream back that is not run.
func (s *Stream) Abandon(ctx context.Context) {
	_ = s.svc.Slots.Release(ctx, s.slot.Name, s.session, s.confirmed, false)
}

// Now is the position of everything that may have been committed so far.
func (svc *Service) Now() LSN { return EndLSN(svc.cfg.Clock.Now().Latest) }

// CreateSlot makes a slot of a database and returns the timestamp up to which the stream leaves out what was committed: a
// snapshot at it, and the stream, have everything once.
func (svc *Service) CreateSlot(ctx context.Context, name, plugin string, database uint32, session int32, temporary bool) (truetime.Timestamp, error) {
	if err := CheckPlugin(plugin); err != nil {
		return 0, err
	}
	ts := svc.cfg.Clock.Now().Latest
	s := Slot{Name: name, Plugin: plugin, Database: database, Confirmed: ts, Temporary: temporary}
	if temporary {
		s.Session = session
	}
	return ts, svc.Slots.Create(ctx, s)
}

// Sender is a session that streams.
type Sender struct {
	PID         int32
	Role        uint32
	User        string
	Application string
	Addr        string
	Port        int
	Started     time.Time
	Slot        string
	Sent        LSN
	Status      Status
	// Lag is by how much what is confirmed lies behind the clock.
	Lag time.Duration
}

func (svc *Service) enlist(s *Stream) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	svc.streams[s] = struct{}{}
}

func (svc *Service) delist(s *Stream) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	delete(svc.streams, s)
}

// Senders lists the sessions of this node that stream, by PID.
func (svc *Service) Senders() []Sender {
	svc.mu.Lock()
	var out []Sender
	for s := range svc.streams {
		info := s.app
		s.mu.Lock()
		info.PID, info.Slot, info.Sent, info.Status = s.session, s.slot.Name, s.sent, s.status
		info.Lag = svc.cfg.Clock.Now().Latest.Sub(s.confirmed)
		s.mu.Unlock()
		out = append(out, info)
	}
	svc.mu.Unlock()
	slices.SortFunc(out, func(a, b Sender) int { return cmp.Compare(a.PID, b.PID) })
	return out
}

var lagDesc = prometheus.NewDesc("meridian_replication_lag_seconds",
	"By how much what the consumer of a replication slot has confirmed lies behind the clock, where the slot is being streamed.", []string{"slot"}, nil)

// Describe and Collect implement prometheus.Collector.
func (svc *Service) Describe(ch chan<- *prometheus.Desc) { ch <- lagDesc }

// Collect implements prometheus.Collector.
func (svc *Service) Collect(ch chan<- prometheus.Metric) {
	for _, s := range svc.Senders() {
		ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, s.Lag.Seconds(), s.Slot)
	}
}

// ActivePID returns the session that uses a slot, 0 for none.
func (svc *Service) ActivePID(s *Slot) int32 { return s.Active(svc.cfg.Clock.Now().Earliest) }

// State says whether a slot still has its history, in the words of pg_replication_slots.wal_status.
func (svc *Service) State(s *Slot) string {
	switch age := svc.cfg.Clock.Now().Latest.Sub(s.Confirmed); {
	case s.Lost:
		return "lost"
	case age > svc.cfg.Retention:
		return "unreserved"
	case age > usualHistory:
		return "extended"
	}
	return "reserved"
}

// usualHistory is for how long history is kept without slots, by default.
const usualHistory = time.Hour
