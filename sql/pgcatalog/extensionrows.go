package pgcatalog

import (
	"github.com/meridian-db/meridian/sql/extension"
)

func init() {
	generatorMaps = append(generatorMaps, map[string]generator{
		"pg_catalog.pg_available_extensions":         pgAvailableExtensions,
		"pg_catalog.pg_available_extension_versions": pgAvailableExtensionVersions,
	})
}

func pgAvailableExtensions(g *gen) error {
	if err := g.row("name", "plpgsql", "default_version", "1.0", "installed_version", "1.0", "comment", "PL/pgSQL procedural language"); err != nil {
		return err
	}
	for _, e := range extension.All() {
		var installed any
		if x := g.snap.ExtensionByName(e.Name); x != nil {
			installed = x.Version
		}
		if err := g.row("name", e.Name, "default_version", e.Version, "installed_version", installed, "comment", e.Comment); err != nil {
			return err
		}
	}
	return nil
}

func pgAvailableExtensionVersions(g *gen) error {
	if err := g.row("name", "plpgsql", "version", "1.0", "installed", true, "superuser", true, "trusted", true, "relocatable", false,
		"schema", "pg_catalog", "comment", "PL/pgSQL procedural language"); err != nil {
		return err
	}
	for _, e := range extension.All() {
		var requires any
		if e.Requires != nil {
			requires = e.Requires
		}
		if err := g.row("name", e.Name, "version", e.Version, "installed", g.snap.ExtensionByName(e.Name) != nil, "superuser", true,
			"trusted", e.Trusted, "relocatable", true, "requires", requires, "comment", e.Comment); err != nil {
			return err
		}
	}
	return nil
}
