package repocheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/config"
	"github.com/waymark-analytics/waymark/pkg/rules"
)

// documents are what is written for people, as paths from the root.
func documents(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "services/*/*.md", "scripts/*/*.md", "deploy/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(rel))
		}
	}
	return names
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

func TestEveryConfigurationKeyIsExplained(t *testing.T) {
	const name = "docs/configuration.md"
	text := read(t, name)
	for _, key := range append(config.ScalarKeys(), rules.Keys...) {
		explained := strings.Contains(text, "| `"+key+"` |")
		if group, last, dotted := strings.Cut(key, "."); dotted { // or in the text of its group
			explained = explained || strings.Contains(text, "| `"+group+"` |") && strings.Contains(text, "`"+last+"`")
		} else {
			explained = explained || strings.Contains(text, "| `"+key+".")
		}
		if !explained {
			t.Errorf("%s does not explain %s", name, key)
		}
	}
}

func TestConfigurationExamplesCanBeRead(t *testing.T) {
	const fence = "```"
	for _, name := range documents(t) {
		blocks := strings.Split(read(t, name), fence+"yaml\n")
		for i, block := range blocks[1:] {
			example, _, _ := strings.Cut(block, fence)
			if strings.HasPrefix(example, "# mapping") {
				continue // of an import: the importer's own tests read those
			}
			if _, err := config.Parse([]byte(example), config.Origin{File: name}); err != nil {
				t.Errorf("%s, example %d: %v", name, i+1, err)
			}
		}
	}
}

var kinds = regexp.MustCompile(`^- \[(CHANGE|FEATURE|ENHANCEMENT|BUGFIX)\] [a-z][a-z/ ,-]*: \S`)

func TestChangelogLinesSayKindServiceAndEffect(t *testing.T) {
	text := read(t, "CHANGELOG.md")
	if !strings.Contains(text, "\n## Unreleased\n") {
		t.Error("CHANGELOG.md has no section Unreleased")
	}
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "- ") && !kinds.MatchString(line) {
			t.Errorf("CHANGELOG.md:%d: %q is not of the form - [FEATURE] service: effect", i+1, line)
		}
	}
}
