package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/rules"
)

// EnvPrefix begins the names of environment variables that are configuration: the key's path in upper case, _ for a dot.
const EnvPrefix = "WAYMARK_"

// EnvName is the variable of a key: WAYMARK_SESSION_GAP for session.gap.
func EnvName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// notKeys are variables that mean something else.
var notKeys = []string{"WAYMARK_ENGINE", "WAYMARK_ENGINE_REQUIRED", "WAYMARK_KAFKA", "WAYMARK_CLICKHOUSE"}

// ScalarKeys are the paths that the environment and --set can give, sorted.
func ScalarKeys() []string {
	var out []string
	for _, s := range new(Config).settings() {
		out = append(out, s.path)
	}
	out = append(out, ruleScalars...)
	slices.Sort(out)
	return out
}

// environment applies the variables to the settings and returns those that are rules, as a layer.
func (p *parser) environment(env []string) *yaml.Node {
	byName := map[string]string{}
	var short []string // without the prefix, which would make any two look alike
	for _, path := range ScalarKeys() {
		byName[EnvName(path)] = path
		short = append(short, strings.TrimPrefix(EnvName(path), EnvPrefix))
	}
	values := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		path, known := byName[name]
		switch {
		case known:
			values[path] = value
		case strings.HasPrefix(name, EnvPrefix) && !slices.Contains(notKeys, name):
			if hint := rules.Nearest(strings.TrimPrefix(name, EnvPrefix), short); hint != "" {
				p.config.Warnings = append(p.config.Warnings, fmt.Sprintf("environment %s: no such key%s", name, strings.Replace(hint, `"`, `"`+EnvPrefix, 1)))
			}
		}
	}
	return p.values(values, func(path string) string { return "environment " + EnvName(path) })
}

// flags applies path=value pairs to the settings and returns those that are rules, as a layer.
func (p *parser) flags(set []string) *yaml.Node {
	values := map[string]string{}
	for _, kv := range set {
		path, value, ok := strings.Cut(kv, "=")
		switch {
		case !ok:
			p.add("flag --set %s: expected KEY=VALUE, as in session.gap=20m", kv)
		case !slices.Contains(ScalarKeys(), path):
			p.add("flag --set %s: unknown key%s", path, rules.Nearest(path, ScalarKeys()))
		default:
			values[path] = value
		}
	}
	return p.values(values, func(path string) string { return "flag --set " + path })
}

func (p *parser) values(values map[string]string, name func(path string) string) *yaml.Node {
	settings := map[string]setting{}
	for _, s := range p.config.settings() {
		settings[s.path] = s
	}
	layer := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		if s, ok := settings[path]; ok {
			if err := s.set(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: values[path]}); err != nil {
				p.add("%s: %v", name(path), err)
			}
			continue
		}
		one := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		nest(one, path, ruleValue(path, values[path]))
		if _, err := rules.Parse(one); err != nil { // alone, so that the message can name the variable
			_, reason, _ := strings.Cut(err.Error(), path+": ")
			p.add("%s: %s", name(path), reason)
			continue
		}
		nest(layer, path, ruleValue(path, values[path]))
	}
	return layer
}

// ruleValue is the node that a text in the environment stands for.
func ruleValue(path, value string) *yaml.Node {
	if slices.Contains(ruleLists, path) {
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: item})
			}
		}
		return list
	}
	tag := "!!str"
	if value == "true" || value == "false" {
		tag = "!!bool"
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// nest puts a value at a dotted path of a mapping.
func nest(n *yaml.Node, path string, value *yaml.Node) {
	first, rest, deeper := strings.Cut(path, ".")
	if deeper {
		var inner *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == first {
				inner = n.Content[i+1]
			}
		}
		if inner != nil {
			nest(inner, rest, value)
			return
		}
		inner = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		nest(inner, rest, value)
		value = inner
	}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: first}, value)
}
