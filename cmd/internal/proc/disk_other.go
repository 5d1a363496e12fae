//go:build !linux

package proc

import "errors"

var errNoTmpfs = errors.New("proc: Config.SmallDisks is for Linux")

func (n *Node) mount() error { return errNoTmpfs }
func (n *Node) unmount()     {}

// FillDisk and FreeDisk are for Linux.
func (n *Node) FillDisk() error { return errNoTmpfs }
func (n *Node) FreeDisk() error { return errNoTmpfs }
