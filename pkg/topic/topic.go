// Package topic knows the topics of an installation: their names, layout and settings. It is pure; package kafka makes them.
package topic

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/schemas"
)

// Names of the topics, less the installation's prefix.
const (
	Touchpoints = "touchpoints"
	Facts       = "facts"
	Checkpoints = "checkpoints"
	Deadletter  = "deadletter"
)

// DefaultPartitions is the number of partitions where none is chosen. It is fixed when the topics are made.
const DefaultPartitions = 64

// Next is the offset of the next record to be read or written: one past the last.
type Next int64

// Layout is one topic.
type Layout struct {
	Name       string
	Partitions int
	Config     map[string]string
}

// Layouts returns the topics for n partitions, sorted by name, each name behind the prefix.
func Layouts(prefix string, n int) []Layout {
	var file map[string]struct {
		Partitions string         `yaml:"partitions"`
		Config     map[string]any `yaml:"config"`
	}
	if err := yaml.Unmarshal(schemas.Topics, &file); err != nil {
		panic(fmt.Sprintf("topics.yaml in the binary: %v", err))
	}
	var layouts []Layout
	for _, name := range slices.Sorted(maps.Keys(file)) {
		l := Layout{Name: prefix + name, Partitions: n, Config: map[string]string{}}
		if file[name].Partitions != "n" {
			count, err := strconv.Atoi(file[name].Partitions)
			if err != nil {
				panic(fmt.Sprintf("topics.yaml in the binary: partitions of %s: %v", name, err))
			}
			l.Partitions = count
		}
		for key, value := range file[name].Config {
			l.Config[key] = fmt.Sprint(value)
		}
		layouts = append(layouts, l)
	}
	return layouts
}
