package catalog

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/meridian-db/meridian/txn/kv"
)

// bootstrap creates the catalog in an empty store: the superuser postgres, the databases postgres,
// template1 and template0, and their public schemas.
func (m *Manager) bootstrap(ctx context.Context) error {
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "catalog bootstrap"})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	b, err := tx.Get(ctx, versionKey(), kv.LockExclusive, kv.WaitBlock)
	if err != nil || b != nil {
		return err
	}
	for _, d := range bootstrapDescriptors() {
		d.setVersion(1)
		b, err := encodeDescriptor(d)
		if err != nil {
			return err
		}
		if err := tx.Put(descKey(d.DescID()), b); err != nil {
			return err
		}
		for _, k := range namesOf(d) {
			if err := tx.Put(nameKeyBytes(k), binary.BigEndian.AppendUint32(nil, d.DescID())); err != nil {
				return err
			}
		}
	}
	if err := tx.Put(versionKey(), binary.BigEndian.AppendUint64(nil, 1)); err != nil {
		return err
	}
	if _, err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("create the catalog: %w", err)
	}
	return nil
}

func bootstrapDescriptors() []Descriptor {
	header := func(id uint32, name, comment string) Header {
		return Header{ID: id, Name: name, Owner: BootstrapRoleID, Comment: comment}
	}
	role := &Role{Header: header(BootstrapRoleID, "postgres", ""), Super: true, CreateDB: true, CreateRole: true,
		Inherit: true, Login: true, Replication: true, BypassRLS: true, ConnLimit: -1}
	role.Owner = 0
	out := []Descriptor{
		role,
		&Tablespace{Header: header(DefaultTablespaceID, "pg_default", "")},
		&Tablespace{Header: header(GlobalTablespaceID, "pg_global", "")},
		&Database{Header: header(TemplateDatabaseID, "template1", "default template for new databases"), AllowConn: true, IsTemplate: true, ConnLimit: -1},
		&Database{Header: header(Template0DatabaseID, "template0", "unmodifiable empty database"), IsTemplate: true, ConnLimit: -1},
		&Database{Header: header(PostgresDatabaseID, "postgres", "default administrative connection database"), AllowConn: true, ConnLimit: -1},
	}
	for i, db := range []uint32{PostgresDatabaseID, TemplateDatabaseID, Template0DatabaseID} {
		out = append(out, PublicSchema(PublicSchemaID+uint32(i), db, BootstrapRoleID))
	}
	return out
}

// PublicSchema makes the public schema of a new database. As in PostgreSQL 15, everyone may use it and only
// its owner, pg_database_owner in spirit, may create in it.
func PublicSchema(id, db, owner uint32) *Schema {
	return &Schema{
		Header: Header{ID: id, Name: "public", Owner: owner, Comment: "standard public schema",
			ACL: []ACL{{Role: owner, Privs: "UC", Grantor: owner}, {Role: 0, Privs: "U", Grantor: owner}}},
		DB: db,
	}
}
