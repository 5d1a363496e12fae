package catalog

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/range/placement"
)

// Survival goals of a tablespace.
const (
	SurviveZone   = "zone"
	SurviveRegion = "region"
)

// TablespaceOptions are the options of a tablespace that say where data is kept.
type TablespaceOptions struct {
	Regions  []string // that hold voters; none: all
	Replicas int      // 0: the cluster's replication factor
	Leaders  []string // regions of the leaders, the first choice first
	Follow   bool     // leaders='follow'
	Global   bool
	Survive  string // "", SurviveZone or SurviveRegion
}

// ParseTablespaceOptions reads options in their stored form, name=value. Options of other names are left alone. An
// error says what is wrong with one.
func ParseTablespaceOptions(opts []string) (TablespaceOptions, error) {
	var o TablespaceOptions
	var err error
	for _, opt := range opts {
		name, v, _ := strings.Cut(opt, "=")
		switch name {
		case "regions":
			o.Regions, err = regionList(name, v)
		case "replicas":
			if o.Replicas, err = strconv.Atoi(strings.TrimSpace(v)); err != nil || o.Replicas < 1 || o.Replicas > 15 || o.Replicas%2 == 0 {
				err = fmt.Errorf("invalid value for option \"replicas\": %q; an odd number from 1 to 15 is wanted", v)
			}
		case "leaders":
			if strings.TrimSpace(v) == "follow" {
				o.Follow = true
			} else {
				o.Leaders, err = regionList(name, v)
			}
		case "global":
			switch strings.ToLower(v) {
			case "true", "on", "yes", "1":
				o.Global = true
			case "false", "off", "no", "0":
			default:
				err = fmt.Errorf("invalid value for boolean option \"global\": %s", v)
			}
		case "survive":
			if o.Survive = strings.ToLower(v); o.Survive != SurviveZone && o.Survive != SurviveRegion {
				err = fmt.Errorf("invalid value for option \"survive\": %q; zone or region is wanted", v)
			}
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func regionList(option, v string) ([]string, error) {
	var out []string
	for r := range strings.SplitSeq(v, ",") {
		r = strings.TrimSpace(r)
		switch {
		case r == "":
			return nil, fmt.Errorf("option %q names an empty region", option)
		case slices.Contains(out, r):
			return nil, fmt.Errorf("option %q names region %q twice", option, r)
		}
		out = append(out, r)
	}
	return out, nil
}

// Policy is what the tablespace asks of placement. Options were checked when they were set.
func (t *Tablespace) Policy() placement.Policy {
	o, _ := ParseTablespaceOptions(t.Options)
	return placement.Policy{Name: t.Name, Regions: o.Regions, Replicas: o.Replicas, Leaders: o.Leaders, Follow: o.Follow, Global: o.Global}
}

// TablespaceID returns the tablespace of new objects of the database that name none.
func (d *Database) TablespaceID() uint32 {
	if d == nil || d.Tablespace == 0 {
		return DefaultTablespaceID
	}
	return d.Tablespace
}

// TablespaceByID returns nil when there is no such tablespace.
func (s *state) TablespaceByID(id uint32) *Tablespace {
	t, _ := s.byID[id].(*Tablespace)
	return t
}

// policies are the placement policies of a table's spans. The rows, the primary index, follow the table; another
// index stays with its table unless it has a tablespace of its own.
func (s *state) policies(t *Table) []placement.SpanPolicy {
	if t == nil || !t.IsTable() || t.IsPartitioned() {
		return nil
	}
	var out []placement.SpanPolicy
	add := func(id uint32, start, end []byte) {
		if ts := s.TablespaceByID(id); ts != nil {
			out = append(out, placement.SpanPolicy{Start: start, End: end, Policy: ts.Policy()})
		}
	}
	id := t.Tablespace
	if id == 0 {
		id = s.DatabaseByID(t.DB).TablespaceID()
	}
	span := TableSpan(t.StorageID())
	if id != DefaultTablespaceID {
		add(id, span.Start, span.End)
	}
	for _, ix := range t.Indexes {
		if ix.Tablespace != 0 && ix.Tablespace != id {
			isp := IndexSpan(t.StorageID(), ix.ID)
			add(ix.Tablespace, isp.Start, isp.End)
		}
	}
	if t.Rewriting != nil {
		out = append(out, s.policies(t.Rewriting.Table)...)
	}
	return out
}

// defaultPolicy is the policy of everything that is in no other tablespace than pg_default: one record for all rows, in which
// those of tables elsewhere are nested. There is none while pg_default says nothing about placement.
func (s *state) defaultPolicy() []placement.SpanPolicy {
	ts := s.TablespaceByID(DefaultTablespaceID)
	if ts == nil {
		return nil
	}
	p := ts.Policy()
	if len(p.Regions)+len(p.Leaders)+p.Replicas == 0 && !p.Follow && !p.Global {
		return nil
	}
	return []placement.SpanPolicy{{Start: []byte{0x03}, End: []byte{0xff}, Policy: p}}
}

// placementInputs are the objects besides the table itself that policies depends on.
func (s *state) placementInputs(t *Table) []uint32 {
	ids := []uint32{t.DB}
	if t.Tablespace != 0 {
		ids[0] = t.Tablespace
	}
	for _, ix := range t.AllIndexes() {
		if ix.Tablespace != 0 {
			ids = append(ids, ix.Tablespace)
		}
	}
	if t.Rewriting != nil {
		ids = append(ids, s.placementInputs(t.Rewriting.Table)...)
	}
	return ids
}

// writePlacement makes the policy records agree with the transaction's view, for everything that its changes move.
// version is the catalog's, under an exclusive lock. The records are derived here, at the end, and nowhere else: so no
// statement that gives a table other storage, or an index another place, can forget them.
//
// Records depend on objects that the transaction may not have changed, and those it has changed decide about tables
// of others. Either way a change that came between base and version may not have been seen: the first kind is left to
// checkBetween, by way of t.placedBy, the second kind starts over.
func (t *Txn) writePlacement(ctx context.Context, version uint64) error {
	before, after := t.m.current.Load().state, t.snap.state
	moved := map[uint32]struct{}{} // tablespaces and databases whose placement changes
	tables := map[uint32]struct{}{}
	for id := range t.changed {
		switch d := after.byID[id].(type) {
		case *Tablespace:
			if old := before.TablespaceByID(id); old != nil && (old.Name != d.Name || !slices.Equal(old.Options, d.Options)) {
				moved[id] = struct{}{}
			}
		case *Database:
			if old := before.DatabaseByID(id); old != nil && old.Tablespace != d.Tablespace {
				moved[id] = struct{}{}
			}
		case *Table:
			tables[id] = struct{}{}
		case nil:
			switch before.byID[id].(type) {
			case *Table:
				tables[id] = struct{}{}
			case *Tablespace:
				moved[id] = struct{}{} // dropped: nothing may have come into it
			}
		}
	}
	if len(moved) > 0 {
		if version != t.base {
			return schemaChanged()
		}
		for id, d := range after.byID {
			tab, ok := d.(*Table)
			if !ok {
				continue
			}
			inputs := after.placementInputs(tab)
			if tab.Tablespace == 0 {
				inputs = append(inputs, after.DatabaseByID(tab.DB).TablespaceID())
			}
			for _, in := range inputs {
				if _, ok := moved[in]; ok {
					tables[id] = struct{}{}
				}
			}
		}
	}
	if _, ok := moved[DefaultTablespaceID]; ok {
		if err := t.putPolicies(before.defaultPolicy(), after.defaultPolicy()); err != nil {
			return err
		}
	}
	for id := range tables {
		var old, next []placement.SpanPolicy
		if tab, ok := before.byID[id].(*Table); ok {
			old = before.policies(tab)
		}
		if tab, ok := after.byID[id].(*Table); ok {
			next = after.policies(tab)
			t.placedBy = append(t.placedBy, after.placementInputs(tab)...)
		}
		if err := t.putPolicies(old, next); err != nil {
			return err
		}
	}
	return nil
}

func (t *Txn) putPolicies(old, next []placement.SpanPolicy) error {
	have := make(map[string][]byte, len(old))
	for _, p := range old {
		b, err := p.Encode()
		if err != nil {
			return err
		}
		have[string(placement.Key(p.Start))] = b
	}
	for _, p := range next {
		b, err := p.Encode()
		if err != nil {
			return err
		}
		k := placement.Key(p.Start)
		if had, ok := have[string(k)]; !ok || !bytes.Equal(had, b) {
			if err := t.kv.Put(k, b); err != nil {
				return err
			}
		}
		delete(have, string(k))
	}
	for k := range have {
		if err := t.kv.Delete([]byte(k)); err != nil {
			return err
		}
	}
	return nil
}
