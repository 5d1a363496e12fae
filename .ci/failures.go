//go:build ignore

// Command failures prints the output of the failed tests from `go test -json` on standard input.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	type event struct{ Action, Package, Test, Output string }
	out := map[string][]string{}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			out[key] = append(out[key], e.Output)
		case "fail":
			fmt.Printf("--- %s\n", key)
			lines := out[key]
			for _, l := range lines[max(0, len(lines)-40):] {
				fmt.Print(l)
			}
		}
	}
}
