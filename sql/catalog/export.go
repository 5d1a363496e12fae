package catalog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/txn/kv"
)

// This file is what backup and restore need of the catalog: its keys as data, and descriptors in bulk under other ids.

// DescriptorSpan, SequenceSpan and StatsSpan are the spans of all descriptors, states of sequences and statistics.
func DescriptorSpan() kv.Span { return classSpan(keyDescriptor) }
func SequenceSpan() kv.Span   { return classSpan(keySequence) }
func StatsSpan() kv.Span      { return classSpan(keyStats) }

// DecodeDescriptor decodes a value of DescriptorSpan.
func DecodeDescriptor(b []byte) (Descriptor, error) { return decodeDescriptor(b) }

// KeyID returns the id that a key of one of these spans is of.
func KeyID(key []byte) (uint32, bool) {
	if len(key) != 7 {
		return 0, false
	}
	return binary.BigEndian.Uint32(key[3:]), true
}

// StorageOf returns the storage id that a key of a table's rows or index entries belongs to.
func StorageOf(key []byte) (uint32, bool) {
	if len(key) < 5 || key[0] != 0x03 {
		return 0, false
	}
	return binary.BigEndian.Uint32(key[1:]), true
}

// Rewrite returns a copy of a descriptor in which every id, its own included, is replaced by what id says. In SQL text
// only sequences go by id (see RelationsIn), everything else by name.
func Rewrite(d Descriptor, id func(uint32) uint32) (Descriptor, error) {
	b, err := encodeDescriptor(d)
	if err != nil {
		return nil, err
	}
	c, err := decodeDescriptor(b)
	if err != nil {
		return nil, err
	}
	rewriteIDs(reflect.ValueOf(c).Elem(), id)
	return c, nil
}

// RewriteStats decodes a value of StatsSpan and replaces its ids.
func RewriteStats(b []byte, id func(uint32) uint32) (*TableStats, error) {
	st := &TableStats{}
	if err := json.Unmarshal(b, st); err != nil {
		return nil, fmt.Errorf("decode statistics: %w", err)
	}
	rewriteIDs(reflect.ValueOf(st).Elem(), id)
	return st, nil
}

// rewriteIDs replaces every stored field of 32 bits without a sign: in descriptors those are ids, and nothing else is.
func rewriteIDs(v reflect.Value, id func(uint32) uint32) {
	switch v.Kind() {
	case reflect.Uint32:
		if n := uint32(v.Uint()); n != 0 {
			v.SetUint(uint64(id(n)))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			rewriteIDs(v.Elem(), id)
		}
	case reflect.Slice:
		for i := range v.Len() {
			rewriteIDs(v.Index(i), id)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case !f.IsExported() || f.Tag.Get("json") == "-":
			case f.Type.Kind() == reflect.String && sqlFields[f.Name]:
				v.Field(i).SetString(relationInText.ReplaceAllStringFunc(v.Field(i).String(), func(s string) string {
					old, err := strconv.ParseUint(relationInText.FindStringSubmatch(s)[1], 10, 32)
					if err != nil {
						return s
					}
					return "CAST('" + utoa(id(uint32(old))) + "' AS regclass)"
				}))
			default:
				rewriteIDs(v.Field(i), id)
			}
		}
	}
}

// sqlFields are the fields of descriptors that hold SQL text as the parser prints it.
var sqlFields = map[string]bool{"Default": true, "Generated": true, "Expr": true, "Where": true, "When": true, "Query": true, "Using": true, "Check": true}

// relationInText is how the text of an expression names a relation by its id: a rename does not matter then.
var relationInText = regexp.MustCompile(`CAST\('([0-9]+)' AS regclass\)`)

// RelationsIn returns the ids of the relations that an expression names by id: sequences that it draws from.
func RelationsIn(text string) (ids []uint32) {
	for _, m := range relationInText.FindAllStringSubmatch(text, -1) {
		if id, err := strconv.ParseUint(m[1], 10, 32); err == nil {
			ids = append(ids, uint32(id))
		}
	}
	return ids
}

// PutAll adds many new descriptors, which may refer to one another, in a few round trips. As with Put, a name that is
// taken fails with 42P07 or its kin.
func (t *Txn) PutAll(ctx context.Context, ds []Descriptor) error {
	if err := t.edit(); err != nil {
		return err
	}
	var names []nameKey
	var keys [][]byte
	var owners []uint32
	for _, d := range ds {
		if _, taken := t.snap.byID[d.DescID()]; taken {
			return fmt.Errorf("catalog: descriptor %d is not new", d.DescID())
		}
		for _, k := range namesOf(d) {
			names, keys, owners = append(names, k), append(keys, nameKeyBytes(k)), append(owners, d.DescID())
		}
	}
	for at := 0; at < len(keys); {
		n := min(len(keys)-at, 512)
		values, _, err := t.kv.GetBatch(ctx, keys[at:at+n], kv.LockExclusive, kv.WaitBlock)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(values, func(b []byte) bool { return b != nil }); i >= 0 {
			return duplicateName(names[at+i])
		}
		at += n
	}
	for i, k := range keys {
		if err := t.kv.Put(k, binary.BigEndian.AppendUint32(nil, owners[i])); err != nil {
			return err
		}
	}
	ids := make([]uint32, len(ds))
	for i, d := range ds {
		ids[i] = d.DescID()
		d.setVersion(t.base + 1)
		b, err := encodeDescriptor(d)
		if err != nil {
			return err
		}
		if err := t.kv.Put(descKey(d.DescID()), b); err != nil {
			return err
		}
	}
	st := t.snap.state.clone()
	st.addAll(ds)
	t.view(st, ids...)
	return t.kv.Flush(ctx)
}

// PutSequenceState stores the state of a sequence, a value of SequenceSpan, under another id.
func (t *Txn) PutSequenceState(state uint32, b []byte) error { return t.kv.Put(SequenceKey(state), b) }

// PutStats stores statistics with the transaction; nodes learn of them with their next renewal of the lease.
func (t *Txn) PutStats(ctx context.Context, stats []*TableStats) error {
	if len(stats) == 0 {
		return nil
	}
	old, err := t.kv.Get(ctx, statsVersionKey(), kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return err
	}
	version := uint64(1)
	if len(old) == 8 {
		version = binary.BigEndian.Uint64(old) + 1
	}
	for _, st := range stats {
		b, err := json.Marshal(st)
		if err != nil {
			return fmt.Errorf("encode statistics: %w", err)
		}
		if err := t.kv.Put(statsKey(st.Table), b); err != nil {
			return err
		}
	}
	return t.kv.Put(statsVersionKey(), binary.BigEndian.AppendUint64(nil, version))
}

// DiscardStorage notes, in a transaction of its own kind, that storage which no table refers to is to be removed.
func DiscardStorage(tx kv.Txn, storage uint32) error { return tx.Put(garbageKey(storage), []byte{}) }

// PlacementOf returns the placement policies that tables among ds, none of which is in the catalog yet, will have when all
// of ds are. A restore has them obeyed before it writes rows: data must not pass through where it may not be.
func (s *Snapshot) PlacementOf(ds []Descriptor) []placement.SpanPolicy {
	st := s.state.clone()
	st.addAll(ds)
	var out []placement.SpanPolicy
	for _, d := range ds {
		if t, ok := d.(*Table); ok {
			out = append(out, st.policies(t)...)
		}
	}
	return out
}

// Taken returns the error of adding d when another object has one of its names.
func (s *state) Taken(d Descriptor) error {
	for _, k := range namesOf(d) {
		if id, ok := s.names[k]; ok && id != d.DescID() {
			return duplicateName(k)
		}
	}
	return nil
}

// Descriptors lists all stored descriptors of the cluster, in the order of their ids.
func (s *state) Descriptors() []Descriptor {
	return sortedByID(s.byID, func(Descriptor) bool { return true })
}

// AllTypes lists the user-defined types of all databases.
func (s *state) AllTypes() []*Type { return sortedByID(s.byID, func(*Type) bool { return true }) }

// NewIDs allocates n object ids in a row and returns the first.
func (m *Manager) NewIDs(ctx context.Context, n uint32) (uint32, error) {
	for attempt := 0; ; attempt++ {
		first, err := m.allocBlock(ctx, n)
		if err == nil {
			return first, nil
		}
		if attempt > 20 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) {
			return 0, fmt.Errorf("allocate object ids: %w", err)
		}
	}
}

// NewID allocates an object id.
func (m *Manager) NewID(ctx context.Context) (uint32, error) { return m.allocID(ctx) }

// RefreshStats reads statistics that have been stored by others.
func (m *Manager) RefreshStats(ctx context.Context) error { return m.loadStats(ctx) }
