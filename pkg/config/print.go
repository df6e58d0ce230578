package config

import (
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/rules"
)

// YAML is the effective configuration, defaults included, in the form of the file; secrets are hidden.
func (c *Config) YAML() ([]byte, error) {
	top := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, s := range c.settings() {
		var value yaml.Node
		if err := value.Encode(s.show()); err != nil {
			return nil, err
		}
		if s.path == "kafka.partitions" && c.Kafka.Partitions == 0 {
			continue
		}
		nest(top, s.path, &value)
	}
	merged, err := rules.Merge(c.merge...)
	if err != nil {
		return nil, err
	}
	top.Content = append(top.Content, merged.Content...)
	if len(c.Projects) > 0 {
		nest(top, "projects", c.projectsNode())
	}
	if c.Alerts != nil {
		nest(top, "alerts", c.Alerts)
	}
	plain(top)
	var out strings.Builder
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(top); err != nil {
		return nil, err
	}
	return []byte(out.String()), enc.Close()
}

func (c *Config) projectsNode() *yaml.Node {
	all := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	put := func(n *yaml.Node, key string, value *yaml.Node) {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
	}
	for _, p := range c.Projects {
		project := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if len(p.Sources) > 0 {
			sources := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			for _, s := range p.Sources {
				source := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
				nest(source, "kind", &yaml.Node{Kind: yaml.ScalarNode, Value: s.Kind})
				nest(source, "write_key", &yaml.Node{Kind: yaml.ScalarNode, Value: s.WriteKey.String()})
				put(sources, s.Name, source)
			}
			nest(project, "sources", sources)
		}
		staff := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, s := range []setting{
			texts("agents", &p.Staff.Agents, nil), texts("networks", &p.Staff.Networks, nil), texts("headers", &p.Staff.Headers, nil),
		} {
			var value yaml.Node
			if err := value.Encode(s.show()); err == nil && len(value.Content) > 0 {
				nest(staff, s.path, &value)
			}
		}
		if len(staff.Content) > 0 {
			nest(project, "staff", staff)
		}
		if p.layer != nil {
			project.Content = append(project.Content, p.layer.Content...)
		}
		put(all, p.Name, project)
	}
	return all
}

// plain drops comments and anchors: what is printed is put together from several places.
func plain(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment, n.Anchor = "", "", "", ""
	for i, child := range n.Content {
		if child.Kind == yaml.AliasNode {
			copied := *child.Alias
			n.Content[i] = &copied
			child = &copied
		}
		plain(child)
	}
}
