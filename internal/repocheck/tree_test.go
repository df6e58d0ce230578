package repocheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/waymark-analytics/waymark"
)

// pkg is one package of the module: its files as they are on disk, for every platform.
type pkg struct {
	dir   string // from the root, with slashes
	name  string
	files []file
}

type file struct {
	name      string // from the root
	tree      *ast.File
	set       *token.FileSet
	lines     int
	test      bool
	generated bool
}

// imports are the paths a file imports, those of the module without its name and "/".
func (f file) imports() []string {
	var out []string
	for _, spec := range f.tree.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		out = append(out, strings.TrimPrefix(p, module+"/"))
	}
	return out
}

// at is the place of a node, as an editor reads it.
func (f file) at(pos token.Pos) string {
	return f.name + ":" + strconv.Itoa(f.set.Position(pos).Line)
}

// uses says where a file reads a name of an imported package, as in time.Now.
func (f file) uses(importPath string, names ...string) []string {
	local := ""
	for _, spec := range f.tree.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == importPath {
			local = path.Base(p)
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	var places []string
	ast.Inspect(f.tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(names, s.Sel.Name) {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
				places = append(places, f.at(s.Pos())+": "+local+"."+s.Sel.Name)
			}
		}
		return true
	})
	return places
}

var readTree = sync.OnceValues(func() ([]*pkg, error) {
	byDir := map[string]*pkg{}
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if at != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"testdata", "node_modules", "bin", "data"}, name)) {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil && at != root {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, at, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		dir := path.Dir(rel)
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
		}
		p := byDir[dir]
		f := file{name: rel, tree: tree, set: set, lines: strings.Count(string(text), "\n"), test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(tree)}
		if !f.test || p.name == "" {
			p.name = strings.TrimSuffix(tree.Name.Name, "_test")
		}
		p.files = append(p.files, f)
		return nil
	})
	var out []*pkg
	for _, p := range byDir {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return out, err
})

// tree is every package of the module.
func tree(t *testing.T) []*pkg {
	t.Helper()
	packages, err := readTree()
	if err != nil {
		t.Fatalf("read the tree: %v", err)
	}
	if len(packages) < 10 {
		t.Fatalf("found %d packages: the tree is not where this test looks for it", len(packages))
	}
	return packages
}

// read is a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
