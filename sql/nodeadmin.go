package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// NodeAdmin acts on nodes of the cluster: what the functions of schema meridian with node in their name do. The answers are
// for people. An unknown node is an undefined_object.
type NodeAdmin interface {
	// DecommissionNode has everything moved off a node, for good. Repeating it tells how far that is.
	DecommissionNode(ctx context.Context, node int64) (string, error)
	// RecommissionNode makes a node a full member again that is being decommissioned.
	RecommissionNode(ctx context.Context, node int64) (string, error)
	// DrainNode has a node hand over what it leads and part with its clients, until it is restarted.
	DrainNode(ctx context.Context, node int64) (string, error)
}

var nodeFunctions = map[string]builtin.EvalFunc{
	"decommission_node": onNode(NodeAdmin.DecommissionNode),
	"recommission_node": onNode(NodeAdmin.RecommissionNode),
	"drain_node":        onNode(NodeAdmin.DrainNode),
}

func onNode(f func(a NodeAdmin, ctx context.Context, node int64) (string, error)) builtin.EvalFunc {
	return onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		if !s.superuser {
			return types.Null, pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to manage nodes")
		}
		if s.srv.cfg.NodeAdmin == nil {
			return types.Null, pgerr.New(pgerr.FeatureNotSupported, "this server has no nodes to manage")
		}
		answer, err := f(s.srv.cfg.NodeAdmin, ctx, args[0].Int())
		if err != nil {
			return types.Null, err
		}
		return types.NewString(answer), nil
	})
}
