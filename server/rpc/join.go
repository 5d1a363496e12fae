package rpc

import (
	"context"
	"errors"
	"fmt"
)

// maxJoin bounds a request to join and its answer, in bytes.
const maxJoin = 4 << 20

// Join asks the node at addr to let this one into its cluster; it needs no identity. The answer is what that
// node's Config.Join returned.
func (n *Network) Join(ctx context.Context, addr string, req []byte) ([]byte, error) {
	resp, err := n.join(ctx, addr, req)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return resp, nil
}

func (n *Network) join(ctx context.Context, addr string, req []byte) ([]byte, error) {
	c, err := n.dial(ctx, addr, 0, classJoin)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := c.writeFrame(&frame{kind: frameRequest, payload: req}); err != nil {
		return nil, err
	}
	var f frame
	if err := c.readFrame(&f, maxJoin); err != nil {
		return nil, err
	}
	switch f.kind {
	case frameAnswer:
		return f.payload, nil
	case frameFailure:
		return nil, errors.New(string(f.payload))
	}
	return nil, errFrame
}

// answerJoin answers the one request of a connection for joining.
func (n *Network) answerJoin(c *conn) {
	var f frame
	if err := c.readFrame(&f, maxJoin); err != nil || f.kind != frameRequest {
		return
	}
	answer := frame{kind: frameFailure, code: CodeHandler, payload: []byte("this node cannot let others join")}
	if n.cfg.Join != nil {
		ctx, cancel := context.WithTimeout(n.ctx, shakeTimeout)
		defer cancel()
		if resp, err := n.cfg.Join(ctx, f.payload); err != nil {
			answer.payload = []byte(err.Error())
		} else {
			answer = frame{kind: frameAnswer, payload: resp}
		}
	}
	if c.writeFrame(&answer) == nil {
		c.closeAfterAnswer()
	}
}
