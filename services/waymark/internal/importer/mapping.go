package importer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/rules"
)

// Forms of a file.
const (
	CSV     = "csv"
	NDJSON  = "ndjson"
	Parquet = "parquet"
	Events  = "event"
)

// Mapping says which column of a file is which part of an event.
type Mapping struct {
	Project     string
	Time        string // column
	TimeFormat  string // rfc3339, unix, unix_ms, or a Go layout
	Zone        *time.Location
	UserID      string // column
	AnonymousID string
	MessageID   string
	Name        string
	Names       map[string]string   // value of the name's column -> event name
	Fields      map[string]string   // dotted event field -> column
	Currency    string              // of rows without a column for it
	Where       map[string][]string // column -> values; other rows are left out
	Format      string              // csv, ndjson, parquet, or "" for the file's ending
	Delimiter   byte

	text []byte
}

var mappingKeys = []string{
	"project", "time", "time_format", "time_zone", "user_id", "anonymous_id", "message_id", "name", "names", "fields", "currency",
	"where", "format", "delimiter",
}

// ParseMapping reads a mapping file. The error joins all its problems, each with its line.
func ParseMapping(text []byte) (*Mapping, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	m := &Mapping{TimeFormat: "rfc3339", Zone: time.UTC, Delimiter: ',', text: text}
	p := &mappingParser{}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("a mapping is a YAML map with keys as project, time, user_id, name")
	}
	p.mapping(doc.Content[0], m)
	if len(p.problems) == 0 {
		p.complete(doc.Content[0], m)
	}
	if err := errors.Join(p.problems...); err != nil {
		return nil, err
	}
	return m, nil
}

type mappingParser struct{ problems []error }

func (p *mappingParser) bad(n *yaml.Node, key, format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf("line %d: %s: %s", n.Line, key, fmt.Sprintf(format, args...)))
}

// pairs calls f for each key of a map, once.
func (p *mappingParser) pairs(n *yaml.Node, path string, f func(key, value *yaml.Node)) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		p.bad(n, path, "expected a map")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if key.Kind != yaml.ScalarNode {
			p.bad(key, path, "a key is a text")
			continue
		}
		if seen[key.Value] {
			p.bad(key, key.Value, "given twice")
			continue
		}
		seen[key.Value] = true
		f(key, value)
	}
}

// text reads a scalar as it is written: a value 010 or yes is that text, not a number or a bool.
func (p *mappingParser) scalar(n *yaml.Node, key string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.bad(n, key, "expected a text")
		return ""
	}
	return n.Value
}

func (p *mappingParser) mapping(n *yaml.Node, m *Mapping) {
	texts := map[string]*string{
		"project": &m.Project, "time": &m.Time, "time_format": &m.TimeFormat, "user_id": &m.UserID, "anonymous_id": &m.AnonymousID,
		"message_id": &m.MessageID, "name": &m.Name, "currency": &m.Currency, "format": &m.Format,
	}
	p.pairs(n, "mapping", func(key, value *yaml.Node) {
		if dst, ok := texts[key.Value]; ok {
			*dst = p.scalar(value, key.Value)
			return
		}
		switch key.Value {
		case "time_zone":
			zone, err := time.LoadLocation(p.scalar(value, key.Value))
			if err != nil {
				p.bad(value, key.Value, "%q is no time zone: expected a name as in Europe/Berlin", value.Value)
				return
			}
			m.Zone = zone
		case "delimiter":
			d := p.scalar(value, key.Value)
			if d == `\t` {
				d = "\t"
			}
			if len(d) != 1 || strings.ContainsAny(d, "\"\r\n") || d[0] >= utf8.RuneSelf {
				p.bad(value, key.Value, "%q: expected one ASCII character other than a quote or the end of a line", d)
				return
			}
			m.Delimiter = d[0]
		case "names":
			m.Names = map[string]string{}
			p.pairs(value, key.Value, func(k, v *yaml.Node) { m.Names[k.Value] = p.scalar(v, "names."+k.Value) })
		case "fields":
			m.Fields = map[string]string{}
			p.pairs(value, key.Value, func(k, v *yaml.Node) {
				if err := checkField(k.Value); err != nil {
					p.bad(k, "fields."+k.Value, "%v", err)
					return
				}
				m.Fields[k.Value] = p.scalar(v, "fields."+k.Value)
			})
		case "where":
			m.Where = map[string][]string{}
			p.pairs(value, key.Value, func(k, v *yaml.Node) { m.Where[k.Value] = p.list(v, "where."+k.Value) })
		default:
			p.bad(key, key.Value, "unknown key%s", rules.Nearest(key.Value, mappingKeys))
		}
	})
}

func (p *mappingParser) list(n *yaml.Node, key string) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{p.scalar(n, key)}
	}
	if n.Kind != yaml.SequenceNode {
		p.bad(n, key, "expected a value or a list of values")
		return nil
	}
	var values []string
	for _, v := range n.Content {
		values = append(values, p.scalar(v, key))
	}
	return values
}

func (p *mappingParser) complete(n *yaml.Node, m *Mapping) {
	for key, value := range map[string]string{"project": m.Project, "time": m.Time, "name": m.Name} {
		if value == "" {
			p.bad(n, key, "is missing: every mapping names its project and the columns of the time and of the event's name")
		}
	}
	if m.UserID == "" && m.AnonymousID == "" {
		p.bad(n, "user_id", "neither user_id nor anonymous_id names a column: an event without an id belongs to nobody")
	}
	if !slices.Contains([]string{"", CSV, NDJSON, Parquet}, m.Format) {
		p.bad(n, "format", "%q: expected csv, ndjson or parquet", m.Format)
	}
	if m.Currency != "" && len(m.Currency) != 3 {
		p.bad(n, "currency", "%q is no currency: expected a code as EUR", m.Currency)
	}
	if !slices.Contains([]string{"rfc3339", "unix", "unix_ms"}, m.TimeFormat) {
		// A layout without any part of a time gives the same text for every time.
		a, b := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC), time.Date(2012, 11, 10, 19, 18, 17, 16, time.UTC)
		if a.Format(m.TimeFormat) == b.Format(m.TimeFormat) {
			p.bad(n, "time_format", "%q: expected rfc3339, unix, unix_ms, or a Go layout as in 2006-01-02 15:04:05%s",
				m.TimeFormat, rules.Nearest(m.TimeFormat, []string{"rfc3339", "unix", "unix_ms"}))
		}
	}
	slices.SortFunc(p.problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
}

// columns are the columns that the mapping names.
func (m *Mapping) columns() []string {
	set := map[string]bool{}
	for _, c := range []string{m.Time, m.UserID, m.AnonymousID, m.MessageID, m.Name} {
		set[c] = true
	}
	for _, c := range m.Fields {
		set[c] = true
	}
	for c := range m.Where {
		set[c] = true
	}
	delete(set, "")
	return slices.Sorted(maps.Keys(set))
}

// typedFields are the fields of an event that have a place of their own. Others under commerce., context. and properties. are
// kept as JSON.
var typedFields = []string{
	"source", "channel", "step", "received_at",
	"context.url", "context.path", "context.title", "context.referrer", "context.campaign.name", "context.campaign.source",
	"context.campaign.medium", "context.device", "context.os", "context.browser", "context.country", "context.app_version",
	"context.load_time", "context.bot",
	"commerce.product_id", "commerce.cart_id", "commerce.order_id", "commerce.currency", "commerce.coupon", "commerce.price",
	"commerce.quantity", "commerce.revenue",
}

func checkField(path string) error {
	if slices.Contains(typedFields, path) {
		return nil
	}
	head, rest, _ := strings.Cut(path, ".")
	switch head {
	case "context", "commerce", "properties":
		if rest != "" && !strings.HasPrefix(rest, ".") && !strings.HasSuffix(rest, ".") && !strings.Contains(rest, "..") {
			return nil
		}
	case "name", "user_id", "anonymous_id", "message_id", "project":
		return fmt.Errorf("is a key of the mapping itself, beside fields")
	case "occurred_at":
		return fmt.Errorf("is the mapping's key time")
	}
	for _, prefix := range []string{"context.", "commerce.", "context.campaign."} {
		if slices.Contains(typedFields, prefix+path) {
			return fmt.Errorf("no event has such a field; did you mean %q?", prefix+path)
		}
	}
	return fmt.Errorf("no event has such a field%s", rules.Nearest(path, typedFields))
}
