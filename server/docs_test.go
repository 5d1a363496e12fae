package server

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureNames resolves every `pkg.Name` and `pkg.Type.Name` that docs/ARCHITECTURE.md writes in
// code style, and every file path, so that the walk through the code cannot outlive the code.
func TestArchitectureNames(t *testing.T) {
	doc, err := os.ReadFile("../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := declarations(t, "..")
	names := regexp.MustCompile("`([a-z][a-z0-9]*)\\.([A-Z]\\w*)(?:\\.(\\w+))?(?:\\(\\))?`").FindAllStringSubmatch(string(doc), -1)
	if len(names) == 0 {
		t.Fatal("found no names: the pattern is wrong")
	}
	for _, m := range names {
		if !declared[m[1]+"."+m[2]] {
			t.Errorf("`%s.%s` is declared nowhere", m[1], m[2])
		} else if m[3] != "" && !declared[m[1]+"."+m[2]+"."+m[3]] {
			t.Errorf("`%s.%s` has no %s", m[1], m[2], m[3])
		}
	}
	for _, m := range regexp.MustCompile("`([a-z][\\w/]*\\.(?:go|proto))`").FindAllStringSubmatch(string(doc), -1) {
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Errorf("file %s: %v", m[1], err)
		}
	}
}

// declarations maps "pkg.Name" and "pkg.Type.Member" for every package below root.
func declarations(t *testing.T, root string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			declare(out, f.Name.Name, decl)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func declare(out map[string]bool, pkg string, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			out[pkg+"."+d.Name.Name] = true
			return
		}
		typ := d.Recv.List[0].Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		if id, ok := typ.(*ast.Ident); ok {
			out[pkg+"."+id.Name+"."+d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					out[pkg+"."+n.Name] = true
				}
			case *ast.TypeSpec:
				out[pkg+"."+s.Name.Name] = true
				var fields *ast.FieldList
				switch typ := s.Type.(type) {
				case *ast.StructType:
					fields = typ.Fields
				case *ast.InterfaceType:
					fields = typ.Methods
				}
				if fields == nil {
					continue
				}
				for _, field := range fields.List {
					for _, n := range field.Names {
						out[pkg+"."+s.Name.Name+"."+n.Name] = true
					}
				}
			}
		}
	}
}

// TestGuarantees: every test that docs/GUARANTEES.md calls a proof is there.
func TestGuarantees(t *testing.T) {
	doc, err := os.ReadFile("../docs/GUARANTEES.md")
	if err != nil {
		t.Fatal(err)
	}
	proofs := regexp.MustCompile("`([a-z][\\w/-]*) ((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(doc), -1)
	if len(proofs) < 40 {
		t.Fatalf("found %d proofs: the pattern is wrong", len(proofs))
	}
	for _, p := range proofs {
		files, err := filepath.Glob(filepath.Join("..", p[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(b), "func "+p[2]+"(")
		}
		if !found {
			t.Errorf("%s has no %s", p[1], p[2])
		}
	}
}
