package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/ddl"
)

// checkTablespace checks a value of default_tablespace. One that was set by ALTER ROLE or ALTER DATABASE and is gone
// since must not keep anyone from logging in.
func checkTablespace(s *Session, v string) (string, error) {
	if v == "" || s.starting {
		return v, nil
	}
	known := true
	if err := s.withCatalog(func(c CatalogTxn) {
		if view, ok := c.(*catalogView); ok {
			known = view.env().Snapshot.TablespaceByName(v) != nil
		}
	}); err != nil {
		return "", err
	}
	if !known {
		return "", invalidValue("default_tablespace", v).WithDetail("Tablespace \"%s\" does not exist.", v)
	}
	return v, nil
}

// localities lists where the cluster's nodes are, for what tablespaces ask for; nil when the node cannot tell.
func (s *Session) localities() func(context.Context) ([]ddl.Locality, error) {
	p := s.CatalogProviders()
	if p.Nodes == nil {
		return nil
	}
	return func(ctx context.Context) ([]ddl.Locality, error) {
		nodes, err := p.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		out := make([]ddl.Locality, len(nodes))
		for i, n := range nodes {
			out[i] = ddl.Locality{Region: n.Region, Zone: n.Zone}
		}
		return out, nil
	}
}
