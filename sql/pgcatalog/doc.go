// Package pgcatalog is the system catalog as users see it: the relations of pg_catalog, information_schema and
// meridian, generated from a catalog.Snapshot when they are read, and the functions that look into the
// catalog (pg_get_indexdef, pg_table_is_visible and their kin).
//
// Every relation that PostgreSQL 15 has is there with PostgreSQL's columns (relations.txt), so that a query of a
// driver, an ORM or psql plans; those for which Meridian has nothing to show are empty. Nothing here is stored
// and nothing has state: a relation's rows are a function of the snapshot and of the Providers.
package pgcatalog
