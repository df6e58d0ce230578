package repocheck

import (
	"path"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasOneDoc(t *testing.T) {
	for _, p := range tree(t) {
		var with []string
		production := false
		for _, f := range p.files {
			production = production || !f.test
			if f.tree.Doc != nil && !f.test && !f.generated {
				with = append(with, f.name)
			}
		}
		switch {
		case !production:
		case len(with) == 0:
			t.Errorf("%s: no file has a package comment: what it owns, what it promises, what it does not do", p.dir)
		case len(with) > 1:
			t.Errorf("%s: %d files have a package comment, go doc shows them run together: %v", p.dir, len(with), with)
		case p.name != "main":
			for _, f := range p.files {
				if f.name == with[0] && !strings.HasPrefix(f.tree.Doc.Text(), "Package "+p.name+" ") {
					t.Errorf("%s: the package comment begins with %q, not with Package %s", f.name, strings.SplitN(f.tree.Doc.Text(), "\n", 2)[0], p.name)
				}
			}
		}
	}
}

func TestNoPackageIsAnAttic(t *testing.T) {
	attics := []string{"util", "utils", "common", "models", "model", "types", "helpers", "helper", "base", "misc", "shared", "lib"}
	for _, p := range tree(t) {
		if slices.Contains(attics, p.name) || slices.Contains(attics, path.Base(p.dir)) {
			t.Errorf("%s (package %s): such a name takes in everything: name what it gives", p.dir, p.name)
		}
	}
}

// large are files and packages that may be larger, each with its reason.
var large = map[string]string{
	"services/sessionizer/internal/journey": "the state machine is one package, so that its parts share unexported state",
	"services/waymark":                      "a file a command",
}

func TestFilesAndPackagesCanBeRead(t *testing.T) {
	const lines, files = 600, 15
	for _, p := range tree(t) {
		production := 0
		for _, f := range p.files {
			if f.generated {
				continue
			}
			if !f.test {
				production++
			}
			if f.lines > lines && large[f.name] == "" {
				t.Errorf("%s has %d lines, more than %d: what does not belong together?", f.name, f.lines, lines)
			}
		}
		if production > files && large[p.dir] == "" {
			t.Errorf("%s has %d files, more than %d: what does not belong together?", p.dir, production, files)
		}
	}
}

func TestCommentsAreASCII(t *testing.T) {
	for _, p := range tree(t) {
		for _, f := range p.files {
			if f.generated {
				continue
			}
			for _, group := range f.tree.Comments {
				for _, c := range group.List {
					if i := strings.IndexFunc(c.Text, func(r rune) bool { return r > '~' }); i >= 0 {
						t.Errorf("%s: the comment is not plain ASCII from %q on", f.at(c.Pos()), c.Text[i:min(len(c.Text), i+20)])
					}
				}
			}
		}
	}
}

// TestTestsDoNotSleep lets tests sleep only in files that use synctest, where a sleep takes no time.
func TestTestsDoNotSleep(t *testing.T) {
	for _, p := range tree(t) {
		for _, f := range p.files {
			if !f.test && !forTests(p.dir) || slices.Contains(f.imports(), "testing/synctest") || waits[f.name] != "" {
				continue
			}
			for _, place := range f.uses("time", "Sleep") {
				t.Errorf("%s: wait for the condition with a deadline, or run in a synctest bubble", place)
			}
		}
	}
}

// waits are the files that poll real processes, each with its reason.
var waits = map[string]string{}
