package catalog

import "slices"

// Extension is an extension that a database has. Its functions say so themselves (Function.Extension).
type Extension struct {
	OID     uint32 `json:"o"`
	Name    string `json:"n"`
	Version string `json:"v"`
	Schema  uint32 `json:"s"` // of its objects
	Owner   uint32 `json:"own"`
	Comment string `json:"c,omitempty"`
}

// Extensions lists the extensions of the snapshot's database in the order of their creation.
func (s *Snapshot) Extensions() []Extension {
	if s.db == nil {
		return nil
	}
	return s.db.Extensions
}

// ExtensionByName returns an extension of the snapshot's database, nil if it has none of that name.
func (s *Snapshot) ExtensionByName(name string) *Extension {
	if s.db == nil {
		return nil
	}
	return s.db.extension(func(e *Extension) bool { return e.Name == name })
}

// ExtensionByID returns an extension of the snapshot's database, nil if it has none of that oid.
func (s *Snapshot) ExtensionByID(oid uint32) *Extension {
	if s.db == nil {
		return nil
	}
	return s.db.extension(func(e *Extension) bool { return e.OID == oid })
}

func (d *Database) extension(is func(e *Extension) bool) *Extension {
	for i := range d.Extensions {
		if is(&d.Extensions[i]) {
			return &d.Extensions[i]
		}
	}
	return nil
}

// Clone returns a copy that may be changed and given to Txn.Put.
func (d *Database) Clone() *Database {
	c := *d
	c.ACL, c.Settings, c.Extensions = slices.Clone(d.ACL), slices.Clone(d.Settings), slices.Clone(d.Extensions)
	return &c
}
