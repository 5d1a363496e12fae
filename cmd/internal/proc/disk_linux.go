package proc

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mount gives the node's store a file system in memory, of which it sees no end.
func (n *Node) mount() error {
	if err := os.MkdirAll(n.Store, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", n.Store, "tmpfs", 0, "size=64g"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", n.Store, err)
	}
	n.mounted = true
	return nil
}

func (n *Node) unmount() {
	if n.mounted {
		_ = unix.Unmount(n.Store, unix.MNT_DETACH)
		n.mounted = false
	}
}

// FillDisk leaves no room on the file system of the node's store: its size becomes what is in use. It needs
// Config.SmallDisks.
func (n *Node) FillDisk() error {
	if !n.mounted {
		return errors.New("proc: the store has no file system of its own")
	}
	var err error
	for range 20 { // what is in use may grow meanwhile
		var st unix.Statfs_t
		if err = unix.Statfs(n.Store, &st); err != nil {
			return err
		}
		used := (st.Blocks - st.Bfree) * uint64(st.Bsize)
		if err = unix.Mount("tmpfs", n.Store, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", used)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("remount %s: %w", n.Store, err)
}

// FreeDisk undoes FillDisk.
func (n *Node) FreeDisk() error {
	if err := unix.Mount("tmpfs", n.Store, "tmpfs", unix.MS_REMOUNT, "size=64g"); err != nil {
		return fmt.Errorf("remount %s: %w", n.Store, err)
	}
	return nil
}
