package main

import (
	"fmt"
	"slices"

	"github.com/meridian-db/meridian/truetime/plant"
)

// simBug adds the flag that plants a bug, in builds that can. What it returns is called once flags are parsed.
func simBug(f *flags) func() error {
	var name string
	if plant.Built {
		f.StringVar(&name, "bug", "", "plant a bug for the checks to find")
	}
	return func() error {
		if name != "" && !slices.Contains(plant.Bugs, plant.Bug(name)) {
			return &usageError{fmt.Sprintf("sim: --bug is one of %v", plant.Bugs)}
		}
		plant.Set(plant.Bug(name))
		return nil
	}
}
