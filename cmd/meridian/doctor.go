package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/meridian-db/meridian/server"
)

// runDoctor takes the flags of start and says what start would meet.
func runDoctor(ctx context.Context, args []string, e env) error {
	f := newFlags("doctor", "--store DIR [flags of start]", e)
	cfg := nodeFlags(f)
	f.String("log-level", "info", "as start's; has no effect here")
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	bad := 0
	server.Diagnose(ctx, *cfg, func(d server.Finding) {
		if d.Level == server.Bad {
			bad++
		}
		fmt.Fprintf(e.stdout, "%-5s %-14s %s", d.Level, d.Area, d.Text)
		if d.Fix != "" {
			fmt.Fprintf(e.stdout, "; %s", d.Fix)
		}
		fmt.Fprintln(e.stdout)
	})
	switch bad {
	case 0:
		return nil
	case 1:
		return errors.New("1 problem")
	}
	return fmt.Errorf("%d problems", bad)
}
