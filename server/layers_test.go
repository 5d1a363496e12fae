package server

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/meridian-db/meridian"

// layers lists the top-level packages from the top down: each may import itself and those below.
var layers = []string{"cmd", "server", "pgwire", "sql", "txn", "range", "mvcc", "truetime"}

// values are packages of value types without behaviour that may be imported from anywhere above mvcc.
var values = []string{module + "/sql/pgerr"}

// TestLayers holds the import order of docs/ARCHITECTURE.md.
func TestLayers(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[int]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := layer(pkg.ImportPath)
		if from < 0 {
			t.Errorf("%s is in none of the layers %v", pkg.ImportPath, layers)
			continue
		}
		seen[from] = true
		for _, imp := range pkg.Imports {
			if !strings.HasPrefix(imp, module+"/") || slices.Contains(values, imp) {
				continue
			}
			if to := layer(imp); to < from {
				t.Errorf("%s imports %s, which lies above it", pkg.ImportPath, imp)
			}
		}
	}
	if len(seen) != len(layers) {
		t.Errorf("saw %d of %d layers", len(seen), len(layers))
	}
}

func layer(path string) int {
	top, _, _ := strings.Cut(strings.TrimPrefix(path, module+"/"), "/")
	return slices.Index(layers, top)
}
