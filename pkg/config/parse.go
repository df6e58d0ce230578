package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/rules"
)

// SourceKinds are what a source can be: a server, or the channel that its events come through.
var SourceKinds = []string{
	"web", "app", "server", "email", "sms", "chat", "social", "ad", "store", "phone", "service", "review", "mail", "fair", "word_of_mouth", "other",
}

type parser struct {
	file     string
	config   *Config
	problems []error
}

func (p *parser) bad(n *yaml.Node, path, format string, args ...any) {
	p.add("line %d, column %d: %s: %s", n.Line, n.Column, path, fmt.Sprintf(format, args...))
}

func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// document is the mapping at the top of the file; nil for an empty one.
func (p *parser) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		p.add("%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		p.add("line %d: a second document: expected one", more.Line)
	}
	top := follow(doc.Content[0])
	switch {
	case isNull(top):
		return nil
	case top.Kind != yaml.MappingNode:
		p.bad(top, "configuration", "expected a map of keys")
		return nil
	}
	p.repeats(top, "", 0)
	return top
}

// repeats finds keys given twice, which YAML forbids and a merge would hide.
func (p *parser) repeats(n *yaml.Node, path string, depth int) {
	if depth > 50 {
		p.bad(n, path, "nested too deeply")
		return
	}
	seen := map[string]int{}
	for i, child := range n.Content {
		at := path
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				if line, twice := seen[child.Value]; twice && child.Kind == yaml.ScalarNode {
					p.bad(child, join(path, child.Value), "given twice, first in line %d", line)
				}
				seen[child.Value] = child.Line
				continue
			}
			at = join(path, n.Content[i-1].Value)
		}
		p.repeats(child, at, depth+1)
	}
}

// pairs gives each key of a mapping with its value.
func (p *parser) pairs(n *yaml.Node, path, expected string, each func(key, value *yaml.Node)) {
	if n = follow(n); n.Kind != yaml.MappingNode {
		p.bad(n, path, "expected %s", expected)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		each(n.Content[i], follow(n.Content[i+1]))
	}
}

// top reads the file's keys and returns those that are rules, as a layer.
func (p *parser) top(top *yaml.Node) *yaml.Node {
	if top == nil {
		return nil
	}
	groups := map[string]map[string]setting{} // first part of the path -> rest -> setting
	for _, s := range p.config.settings() {
		first, rest, _ := strings.Cut(s.path, ".")
		if groups[first] == nil {
			groups[first] = map[string]setting{}
		}
		groups[first][rest] = s
	}
	known := append(slices.Sorted(maps.Keys(groups)), "projects", "alerts")
	known = append(known, rules.Keys...)
	layer := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: top.Line, Column: top.Column}
	p.pairs(top, "", "a map", func(key, value *yaml.Node) {
		group := groups[key.Value]
		switch {
		case slices.Contains(rules.Keys, key.Value):
			layer.Content = append(layer.Content, key, value)
		case key.Value == "projects":
			p.projects(value)
		case key.Value == "alerts":
			p.alerts(value)
		case group == nil:
			p.bad(key, key.Value, "unknown key%s", rules.Nearest(key.Value, known))
		case isNull(value):
		default:
			if s, single := group[""]; single {
				p.apply(s, value)
				return
			}
			p.group(group, key.Value, value)
		}
	})
	return layer
}

func (p *parser) group(group map[string]setting, path string, n *yaml.Node) {
	keys := slices.Sorted(maps.Keys(group))
	p.pairs(n, path, "a map with the keys "+strings.Join(keys, ", "), func(key, value *yaml.Node) {
		s, ok := group[key.Value]
		if !ok {
			p.bad(key, join(path, key.Value), "unknown key%s", rules.Nearest(key.Value, keys))
			return
		}
		p.apply(s, value)
	})
}

func (p *parser) apply(s setting, n *yaml.Node) {
	if err := s.set(n); err != nil {
		p.bad(n, s.path, "%v", err)
	}
}

func (p *parser) projects(n *yaml.Node) {
	if isNull(n) {
		return
	}
	known := append([]string{"sources", "staff"}, rules.Keys...)
	p.pairs(n, "projects", "a map: project -> its sources and rules", func(key, value *yaml.Node) {
		path := join("projects", key.Value)
		if err := checkName(key.Value); err != nil {
			p.bad(key, path, "%v", err)
			return
		}
		project := Project{Name: key.Value, layer: &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: key.Line, Column: key.Column}}
		if !isNull(value) {
			p.pairs(value, path, "a map with sources and rules", func(key, value *yaml.Node) {
				switch {
				case key.Value == "sources":
					project.Sources = p.sources(value, join(path, "sources"))
				case key.Value == "staff":
					project.Staff = p.staff(value, join(path, "staff"))
				case slices.Contains(rules.Keys, key.Value):
					project.layer.Content = append(project.layer.Content, key, value)
				default:
					p.bad(key, join(path, key.Value), "unknown key%s", rules.Nearest(key.Value, known))
				}
			})
		}
		p.config.Projects = append(p.config.Projects, project)
	})
}

// checkName refuses names that could not be told apart on a page or in a query.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is needed")
	case len(name) > 100:
		return errors.New("a name has at most 100 bytes")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }):
		return errors.New("a name has no control characters")
	}
	return nil
}

func (p *parser) sources(n *yaml.Node, path string) []Source {
	if isNull(n) {
		return nil
	}
	var out []Source
	p.pairs(n, path, "a map: source -> {kind: web, write_key: ...}", func(key, value *yaml.Node) {
		at := join(path, key.Value)
		if err := checkName(key.Value); err != nil {
			p.bad(key, at, "%v", err)
		}
		s := Source{Name: key.Value, Kind: "web"}
		p.group(map[string]setting{
			"kind":      text(join(at, "kind"), &s.Kind, oneOf(SourceKinds...)),
			"write_key": text(join(at, "write_key"), &s.WriteKey, checkKey),
		}, at, value)
		if s.WriteKey == "" {
			p.bad(key, join(at, "write_key"), "missing: the key that its senders write with")
		}
		out = append(out, s)
	})
	return out
}

// checkKey refuses keys that no sender could carry in a Basic user name.
func checkKey(key string) error {
	if key == "" || len(key) > 200 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return errors.New("expected 1 to 200 visible ASCII characters other than a colon")
	}
	return nil
}

func (p *parser) staff(n *yaml.Node, path string) Staff {
	var s Staff
	if isNull(n) {
		return s
	}
	p.group(map[string]setting{
		"agents":   texts(join(path, "agents"), &s.Agents, nil),
		"networks": texts(join(path, "networks"), &s.Networks, network),
		"headers":  texts(join(path, "headers"), &s.Headers, nil),
	}, path, n)
	return s
}

var (
	alertKeys      = []string{"name", "kind", "funnel", "step", "segment_by", "threshold"}
	alertKinds     = []string{"funnel_step", "abandonment", "stage_inflow", "volume", "silence"}
	thresholdKeys  = []string{"below", "drop"}
	thresholdShape = "auto, {below: 0.2}, or {drop: 0.3} against the baseline"
)

// alerts checks the form of the alert rules; what is in them is kept as it is.
func (p *parser) alerts(n *yaml.Node) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		p.bad(n, "alerts", "expected a list of rules, each with the keys %s", strings.Join(alertKeys, ", "))
		return
	}
	p.config.Alerts = n
	names := map[string]bool{}
	for i, item := range n.Content {
		path := fmt.Sprintf("alerts[%d]", i)
		var name, kind string
		p.pairs(item, path, "a map with the keys "+strings.Join(alertKeys, ", "), func(key, value *yaml.Node) {
			at := join(path, key.Value)
			switch key.Value {
			case "name":
				name = value.Value
			case "kind":
				kind = value.Value
				if !slices.Contains(alertKinds, kind) {
					p.bad(value, at, "%q is none of %s", kind, strings.Join(alertKinds, ", "))
				}
			case "funnel", "step", "segment_by":
			case "threshold":
				p.threshold(value, at)
			default:
				p.bad(key, at, "unknown key%s", rules.Nearest(key.Value, alertKeys))
			}
		})
		if name == "" || names[name] {
			p.bad(item, join(path, "name"), "%q: every alert needs a name of its own", name)
		}
		if kind == "" {
			p.bad(item, join(path, "kind"), "missing: one of %s", strings.Join(alertKinds, ", "))
		}
		names[name] = true
	}
}

func (p *parser) threshold(n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode && n.Value == "auto" {
		return
	}
	p.pairs(n, path, thresholdShape, func(key, value *yaml.Node) {
		if !slices.Contains(thresholdKeys, key.Value) {
			p.bad(key, join(path, key.Value), "unknown key%s", rules.Nearest(key.Value, thresholdKeys))
		} else if value.Tag != "!!float" && value.Tag != "!!int" {
			p.bad(value, join(path, key.Value), "expected a number, got %q", value.Value)
		}
	})
}
