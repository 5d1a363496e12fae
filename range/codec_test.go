package ranges

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-db/meridian/truetime"
)

func randomMsg(rnd *rand.Rand) raftMsg {
	types := []pb.MessageType{pb.MsgApp, pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgTimeoutNow}
	m := &pb.Message{
		Type: types[rnd.IntN(len(types))].Enum(), To: new(rnd.Uint64N(9)), From: new(rnd.Uint64N(9)), Term: new(rnd.Uint64N(1e6)),
		Reject: new(rnd.IntN(2) == 0),
	}
	if rnd.IntN(2) == 0 {
		m.LogTerm, m.Index, m.Commit = new(rnd.Uint64N(300)+1), new(rnd.Uint64N(1e9)+1), new(rnd.Uint64N(300)+1)
	}
	if rnd.IntN(3) == 0 {
		m.RejectHint, m.Context = new(rnd.Uint64N(300)+1), []byte("CampaignTransfer")
	}
	for range rnd.IntN(4) {
		e := &pb.Entry{Type: pb.EntryNormal.Enum(), Term: new(rnd.Uint64N(9)), Index: new(rnd.Uint64N(1e9))}
		if n := rnd.IntN(50); n > 0 {
			e.Data = bytes.Repeat([]byte{byte(n)}, n)
		}
		m.Entries = append(m.Entries, e)
	}
	rm := raftMsg{rng: RangeID(rnd.Uint64N(1e6)), m: m}
	if rnd.IntN(2) == 0 {
		rm.epoch = rnd.Uint64()
	}
	return rm
}

func TestRaftCodec(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := randomMsg(rnd)
		b := appendRaftMsg(nil, want)
		rd := &reader{b: b}
		got, err := readRaftMsg(rd)
		if err != nil || len(rd.b) != 0 {
			t.Fatalf("%v: %v, %d bytes left", want.m, err, len(rd.b))
		}
		if got.rng != want.rng || got.epoch != want.epoch || !proto.Equal(got.m, want.m) {
			t.Fatalf("got %v\nwant %v", got.m, want.m)
		}
		for n := range b { // no prefix is taken for a whole message
			if _, err := readRaftMsg(&reader{b: b[:n]}); err == nil {
				t.Fatalf("%d of %d bytes decode", n, len(b))
			}
		}
	}
}

func TestEntryCodec(t *testing.T) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2}, SpanID: trace.SpanID{3}, TraceFlags: trace.FlagsSampled, Remote: true})
	for _, span := range []trace.SpanContext{{}, sc} {
		h := entryHeader{kind: entryCommand, proposer: 7, id: 1<<40 | 5, closed: 123456789, span: span, payload: []byte("cmd")}
		got, err := decodeEntryHeader(h.encode())
		if err != nil || got.kind != h.kind || got.proposer != 7 || got.id != h.id || got.closed != h.closed ||
			!got.span.Equal(span) || string(got.payload) != "cmd" {
			t.Fatalf("%+v %v", got, err)
		}
	}
	for n := range entryHeaderSize {
		if _, err := decodeEntryHeader(make([]byte, n)); err == nil {
			t.Fatalf("%d bytes decode", n)
		}
	}
}

func TestDescriptorCodec(t *testing.T) {
	d := desc(5, "a", "b", 1, 2, 3)
	d.Replicas[2].Type = VoterOutgoing
	got, err := DecodeDescriptor(d.Encode())
	if err != nil || got.String() != d.String() || got.NextReplica != d.NextReplica {
		t.Fatalf("%v %v", got, err)
	}
	// A field that a later version adds is skipped.
	b := append(d.Encode(), 15<<3|2, 3, 'x', 'y', 'z')
	if got, err = DecodeDescriptor(b); err != nil || got.String() != d.String() {
		t.Fatalf("%v %v", got, err)
	}
	for _, bad := range []*Descriptor{desc(0, "a", "b", 1), desc(1, "b", "a", 1), desc(1, "a", "b", 0)} {
		if _, err := DecodeDescriptor(bad.Encode()); err == nil {
			t.Errorf("%s decodes", bad)
		}
	}
	c, err := decodeSplit(splitCommand{left: desc(1, "a", "m", 1), right: desc(2, "m", "z", 1)}.encode())
	if err != nil || c.left.ID != 1 || c.right.ID != 2 {
		t.Fatalf("%+v %v", c, err)
	}
}

// FuzzDecode feeds every decoder what a hostile node might send; what decodes must encode stably.
func FuzzDecode(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(appendRaftMsg(nil, randomMsg(rnd)))
	}
	f.Add(desc(1, "a", "b", 1, 2, 3).Encode())
	f.Add(appendClosed(nil, closedUpdate{1, 2, 3, 4}))
	f.Add((&entryHeader{kind: 1, payload: []byte("x")}).encode())
	f.Add(splitCommand{left: desc(1, "a", "m", 1), right: desc(2, "m", "z", 1)}.encode())
	f.Add((&snapshotHeader{rng: 1, to: 2, from: 3, term: 4, desc: desc(1, "a", "b", 1)}).encode())
	f.Add(appliedState{index: 5, term: 6, closed: 7, size: 8}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if rm, err := readRaftMsg(&reader{b: b}); err == nil {
			again := appendRaftMsg(nil, rm)
			rm2, err := readRaftMsg(&reader{b: again})
			if err != nil || !bytes.Equal(again, appendRaftMsg(nil, rm2)) {
				t.Fatalf("not stable: %v, %v", rm.m, rm2.m)
			}
		}
		if d, err := DecodeDescriptor(b); err == nil {
			if d2, err := DecodeDescriptor(d.Encode()); err != nil || d2.String() != d.String() {
				t.Fatalf("not stable: %v %v", d, d2)
			}
		}
		_, _ = decodeEntryHeader(b)
		_, _ = decodeSplit(b)
		_, _ = decodeSnapshotHeader(b)
		_, _ = decodeApplied(b)
		rd := reader{b: b}
		_ = readClosed(&rd)
		rd = reader{b: b}
		_ = readLeaseNote(&rd)
	})
}

// A leader that is told nonsense by its peers keeps going.
func TestHostileFrames(t *testing.T) {
	runSim(t, 13, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5e9)
		s := r.Store()
		rnd := rand.New(rand.NewPCG(5, 5))
		for range 500 {
			b := make([]byte, rnd.IntN(40))
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			if len(b) > 0 {
				b[0] = byte(rnd.IntN(7))
			}
			s.HandleRaft(2, b)
			_, _ = s.HandleCall(context.Background(), 2, Method(rnd.IntN(8)), b)
		}
		s.HandleRaft(2, []byte{frameRaft, 1, 1, 2, 3})
		r = c.leader("a", 10e9)
		if c.mustPut(r, "a", "1") == 0 || c.get(c.nodes[r.NodeID()], "a", truetime.MaxTimestamp) != "1" {
			t.Fatal("no longer serving")
		}
	})
}
