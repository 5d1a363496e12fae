package server

import (
	"encoding/binary"
	"sync"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/sql/pgcatalog"
)

// What tables and indexes take is what the leaders of their ranges hold: one replica of each range is counted. The
// bytes are those of versions, older ones that garbage collection has not reached included.

const (
	// storagePrefix is the length of what a key of a table's index begins with: 03 table(4) index(2).
	storagePrefix = 7
	// exactSize is up to which size a range that holds several indexes is read to be divided among them.
	exactSize = 4 << 20
)

// sizeCache keeps the parts of ranges until the ranges change.
type sizeCache struct {
	mu    sync.Mutex
	parts map[ranges.RangeID]sizedRange
}

type sizedRange struct {
	generation, applied uint64
	sizes               []pgcatalog.StorageSize
}

// storageSizes are the sizes of tables and indexes in the ranges that this node leads.
func (s *Server) storageSizes() []pgcatalog.StorageSize {
	s.sizes.mu.Lock()
	defer s.sizes.mu.Unlock()
	old := s.sizes.parts
	s.sizes.parts = map[ranges.RangeID]sizedRange{}
	sum := map[[2]uint32]int64{}
	var out []pgcatalog.StorageSize
	for _, st := range s.core.Store.Status() {
		if st.Desc == nil || !st.IsLeader || len(st.Desc.End) == 0 || st.Desc.End[0] < 0x03 || st.Desc.Start[0] < 0x03 {
			continue
		}
		part, ok := old[st.Desc.ID]
		if !ok || part.generation != st.Desc.Generation || part.applied != st.Applied {
			part = sizedRange{st.Desc.Generation, st.Applied, s.divide(&st)}
		}
		s.sizes.parts[st.Desc.ID] = part
		for _, p := range part.sizes {
			sum[[2]uint32{p.Storage, uint32(p.Index)}] += p.Bytes
		}
	}
	for k, n := range sum {
		out = append(out, pgcatalog.StorageSize{Storage: k[0], Index: uint16(k[1]), Bytes: n})
	}
	return out
}

// divide tells whose the bytes of a range are.
func (s *Server) divide(st *ranges.RangeStatus) []pgcatalog.StorageSize {
	span := mvcc.Span{Start: st.Desc.Start, End: st.Desc.End}
	exact := st.SizeBytes <= exactSize
	parts, err := s.core.Engine.PrefixSizes(span, storagePrefix, exact)
	if err != nil {
		s.log.Warn("the size of a range is not known", "range", st.Desc.ID, "err", err)
		return nil
	}
	var total int64
	for _, p := range parts {
		total += p.Bytes
	}
	var out []pgcatalog.StorageSize
	for _, p := range parts {
		if len(p.Prefix) != storagePrefix {
			continue
		}
		n := p.Bytes
		if !exact {
			// Estimates know only what has been flushed: they say how to divide what the range says it holds.
			if total == 0 {
				n = st.SizeBytes / int64(len(parts))
			} else {
				n = int64(float64(st.SizeBytes) * float64(n) / float64(total))
			}
		}
		out = append(out, pgcatalog.StorageSize{Storage: binary.BigEndian.Uint32(p.Prefix[1:]), Index: binary.BigEndian.Uint16(p.Prefix[5:]), Bytes: n})
	}
	return out
}
