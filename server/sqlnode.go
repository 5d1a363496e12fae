package server

import "context"

type sqlNode struct{}

func (s *Server) startSQL(ctx context.Context) error { return nil }
func (n *sqlNode) shutdown(ctx context.Context)      {}
func (s *Server) handleCancel(payload []byte) error  { return errUnknownOp }
