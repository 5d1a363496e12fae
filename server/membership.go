package server

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// joinRequest is what a node says to a member before it is one itself, or when it comes back.
type joinRequest struct {
	// Cluster is empty for a new node, else the cluster its store belongs to.
	Cluster string     `json:"cluster,omitempty"`
	Record  NodeRecord `json:"record"`
}

type joinResponse struct {
	Cluster string          `json:"cluster"`
	ID      ranges.NodeID   `json:"id"`
	Nodes   json.RawMessage `json:"nodes"` // a digest
	// Refused says why the node cannot be a member, for good. Asking again is of no use.
	Refused string `json:"refused,omitempty"`
}

const maxJoinBytes = 64 << 10

// handleJoin answers a joinRequest: it allocates an id for a new store, or welcomes a known one back. Asking again
// for the same store gives the same id, so a node that crashed in between just repeats it.
func (s *Server) handleJoin(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) > maxJoinBytes {
		return nil, errors.New("join request is too long")
	}
	var req joinRequest
	if err := json.Unmarshal(payload, &req); err != nil {
		return nil, fmt.Errorf("join request: %w", err)
	}
	id := s.identity
	if req.Cluster != "" && req.Cluster != id.ClusterID {
		return json.Marshal(joinResponse{Cluster: id.ClusterID})
	}
	check := req.Record
	check.ID = max(check.ID, 1)
	if err := check.check(); err != nil {
		return nil, fmt.Errorf("join request: %w", err)
	}
	if s.registry.member(req.Record.ID) == memberDecommissioned && req.Cluster != "" {
		return json.Marshal(joinResponse{Cluster: id.ClusterID, Refused: errDecommissioned{req.Record.ID}.Error()})
	}
	oldest, newest := req.Record.supports()
	if err := fits(oldest, newest, s.registry.version()); err != nil {
		return json.Marshal(joinResponse{Cluster: id.ClusterID, Refused: err.Error()})
	}
	if s.hostClockOnly {
		return nil, errors.New("this node takes its host's clock for the time, which other hosts do not share; restart it with --time-source")
	}
	if req.Cluster == "" {
		if !s.serving() {
			return nil, errors.New("this node is not ready yet")
		}
		rec, err := allocateNode(ctx, s.core.DB, s.clock, req.Record)
		if err != nil {
			return nil, fmt.Errorf("allocate a node id: %w", err)
		}
		req.Record = rec
	} else if known, ok := s.registry.get(req.Record.ID); ok && known.StoreID != req.Record.StoreID {
		return nil, fmt.Errorf("node %s has another store (%s)", req.Record.ID, known.StoreID)
	}
	s.registry.merge([]NodeRecord{req.Record}, nil)
	return json.Marshal(joinResponse{Cluster: id.ClusterID, ID: req.Record.ID, Nodes: s.registry.encode()})
}

func nodeKey(id ranges.NodeID) []byte {
	return systemKey('n', binary.BigEndian.AppendUint32(nil, uint32(id))...)
}

func nodeSpan() kv.Span { return kv.Span{Start: systemKey('n'), End: systemKey('n' + 1)} }

// allocateNode gives a store its node id and records it, in one transaction.
func allocateNode(ctx context.Context, db kv.DB, clock truetime.Clock, rec NodeRecord) (NodeRecord, error) {
	err := inTxn(ctx, db, "join", func(tx kv.Txn) error {
		// The counter serialises concurrent joins.
		counter := systemKey('i', []byte("node")...)
		v, err := tx.Get(ctx, counter, kv.LockExclusive, kv.WaitBlock)
		if err != nil {
			return err
		}
		next := uint64(1)
		if len(v) == 8 {
			next = binary.BigEndian.Uint64(v) + 1
		}
		known, err := scanNodes(ctx, tx)
		if err != nil {
			return err
		}
		if err := fitsNow(ctx, tx, rec); err != nil {
			return err
		}
		rec.ID = 0
		for _, n := range known {
			next = max(next, uint64(n.ID)+1)
			if n.StoreID == rec.StoreID {
				rec.ID = n.ID
			}
		}
		rec.Version = int64(clock.Now().Latest)
		if rec.ID == 0 {
			if next > uint64(ranges.MaxNodeID) {
				return fmt.Errorf("all %d node ids are used up", ranges.MaxNodeID)
			}
			rec.ID = ranges.NodeID(next)
			if err := tx.Put(counter, binary.BigEndian.AppendUint64(nil, next)); err != nil {
				return err
			}
		}
		return putNode(tx, rec)
	})
	return rec, err
}

// fitsNow checks a node's build against the cluster's version in the database, which cannot move before the transaction
// has ended.
func fitsNow(ctx context.Context, tx kv.Txn, rec NodeRecord) error {
	v, err := readVersion(ctx, tx, kv.LockShared)
	if err != nil {
		return err
	}
	if err := fits(rec.OldestVersion, rec.NewestVersion, v); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}

func putNode(tx kv.Txn, rec NodeRecord) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return tx.Put(nodeKey(rec.ID), b)
}

func scanNodes(ctx context.Context, tx kv.Txn) ([]NodeRecord, error) {
	sc, err := tx.Scan(ctx, nodeSpan(), kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var out []NodeRecord
	for sc.Next(ctx) {
		var n NodeRecord
		if err := json.Unmarshal(sc.Pair().Value, &n); err != nil {
			return nil, fmt.Errorf("node record %x: %w", sc.Pair().Key, err)
		}
		out = append(out, n)
	}
	return out, sc.Err()
}

// announce makes the database's record of this node agree with the node, and learns the others'.
func announce(ctx context.Context, db kv.DB, rec NodeRecord) (all []NodeRecord, members []memberState, err error) {
	err = inTxn(ctx, db, "announce", func(tx kv.Txn) (err error) {
		if all, err = scanNodes(ctx, tx); err != nil {
			return err
		}
		if members, err = scanMembers(ctx, tx); err != nil {
			return err
		}
		for _, m := range members {
			if m.ID == rec.ID && m.State == memberDecommissioned {
				return fmt.Errorf("%w: %w", errRefused, errDecommissioned{rec.ID})
			}
		}
		if err := fitsNow(ctx, tx, rec); err != nil {
			return err
		}
		for _, n := range all {
			if n.ID == rec.ID && n.StoreID != rec.StoreID {
				return fmt.Errorf("%w: node %s is recorded with another store (%s): this store is a copy, or was replaced", errRefused, rec.ID, n.StoreID)
			}
			if n.ID == rec.ID && n.Version >= rec.Version {
				return nil
			}
		}
		return putNode(tx, rec)
	})
	return all, members, err
}

// errRefused reports that a node cannot be a member, whoever it asks.
var errRefused = errors.New("refused by the cluster")

// found makes this store the first of a new cluster.
func found(id Identity) Identity {
	id.ClusterID, id.NodeID, id.Founding = newUUID(), 1, true
	return id
}

// join asks all seeds at once, again and again, until one has let us in.
func (s *Server) join(ctx context.Context, net *rpc.Network, req joinRequest) (joinResponse, error) {
	payload, err := json.Marshal(req)
	if err != nil {
		return joinResponse{}, err
	}
	for attempt := 0; ; attempt++ {
		resp, err := joinOnce(ctx, net, s.cfg.Join, "", payload)
		if err == nil {
			return resp, nil
		}
		if errors.Is(err, errRefused) {
			return joinResponse{}, flagErr("join", err.Error(), "see above")
		}
		if ctx.Err() != nil {
			return joinResponse{}, err
		}
		if attempt == 0 || attempt%50 == 49 {
			s.log.Info("waiting for a node to join through", "join", s.cfg.Join, "err", err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return joinResponse{}, fmt.Errorf("--join: %w", err)
		}
	}
}

var errWrongCluster = errors.New("the node belongs to another cluster")

// joinOnce asks all seeds and returns the first good answer, of cluster want unless that is empty.
func joinOnce(ctx context.Context, net *rpc.Network, seeds []string, want string, payload []byte) (joinResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	type answer struct {
		resp joinResponse
		err  error
	}
	answers := make(chan answer, len(seeds))
	for _, seed := range seeds {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b, err := net.Join(ctx, seed, payload)
			var a answer
			if a.err = err; err == nil {
				a.err = json.Unmarshal(b, &a.resp)
			}
			if a.err == nil && a.resp.Refused != "" {
				a.err = fmt.Errorf("%s: %w: %s", seed, errRefused, a.resp.Refused)
			}
			if want != "" && a.err == nil && a.resp.Cluster != want {
				a.err = fmt.Errorf("%s: %w: it is in cluster %s, this store in cluster %s", seed, errWrongCluster, a.resp.Cluster, want)
			}
			answers <- a
		}()
	}
	var errs []error
	for range seeds {
		a := <-answers
		if a.err == nil {
			return a.resp, nil
		}
		errs = append(errs, a.err)
	}
	return joinResponse{}, errors.Join(errs...)
}

// inTxn runs f in a serializable transaction, again as long as it is aborted in favour of others.
func inTxn(ctx context.Context, db kv.DB, name string, f func(kv.Txn) error) error {
	var age truetime.Timestamp
	for {
		tx, err := db.Begin(ctx, kv.TxnOptions{Name: name, Age: age})
		if err != nil {
			return err
		}
		age = tx.Age()
		if err = f(tx); err == nil {
			_, err = tx.Commit(ctx)
		}
		if err == nil {
			return nil
		}
		tx.Rollback(ctx)
		if !errors.Is(err, kv.ErrRetry) || ctx.Err() != nil {
			return err
		}
	}
}

// readKey reads a key at a strong snapshot.
func readKey(ctx context.Context, db kv.DB, key []byte) error {
	tx, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: true, OneShot: true, Name: "probe"})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	_, err = tx.Get(ctx, key, kv.LockNone, kv.WaitBlock)
	return err
}

// newUUID returns a random (version 4) UUID.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
