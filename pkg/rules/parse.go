package rules

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas"
)

// Keys are the top-level keys of a rules file.
var Keys = []string{
	"version", "identity", "session", "split", "referrer", "slack", "lateness", "patience", "recovery", "vocabulary", "passive",
	"stage_model", "funnels",
}

// Default are the rules of models/commerce.yaml.
func Default() *Rules {
	r, err := Parse()
	if err != nil {
		panic(fmt.Sprintf("commerce.yaml in the binary: %v", err))
	}
	return r
}

// Parse lays the mappings over the default rules, in their order: maps are merged key by key, all else is replaced. Keys that
// are no rules are the caller's to remove. The error joins all problems, each with line, key and what was meant.
func Parse(layers ...*yaml.Node) (*Rules, error) {
	merged, err := Merge(layers...)
	if err != nil {
		return nil, err
	}
	p := &parser{}
	r := p.rules(merged)
	if err := errors.Join(p.problems...); err != nil {
		return nil, err
	}
	return r, nil
}

// Merge is the mapping that Parse reads: the default rules with the layers over them.
func Merge(layers ...*yaml.Node) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(schemas.Commerce, &doc); err != nil {
		return nil, err
	}
	merged := doc.Content[0]
	for _, layer := range layers {
		if layer == nil || layer.Kind == yaml.ScalarNode && layer.Tag == "!!null" {
			continue
		}
		merged = overlay(merged, layer)
	}
	return merged, nil
}

// overlay returns base with over laid over it; neither is changed.
func overlay(base, over *yaml.Node) *yaml.Node {
	if over.Kind == yaml.AliasNode {
		over = over.Alias
	}
	if base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode {
		return over
	}
	out := *base
	out.Content = slices.Clone(base.Content)
	out.Line, out.Column = over.Line, over.Column
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		at := slices.IndexFunc(out.Content, func(n *yaml.Node) bool { return n.Value == key.Value })
		for at >= 0 && at%2 == 1 { // a value that looks like the key
			next := slices.IndexFunc(out.Content[at+1:], func(n *yaml.Node) bool { return n.Value == key.Value })
			if next < 0 {
				at = -1
			} else {
				at += 1 + next
			}
		}
		if at < 0 {
			out.Content = append(out.Content, key, value)
			continue
		}
		out.Content[at] = key
		out.Content[at+1] = overlay(out.Content[at+1], value)
	}
	return &out
}

type parser struct{ problems []error }

func (p *parser) bad(n *yaml.Node, path, format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf("line %d, column %d: %s: %s", n.Line, n.Column, path, fmt.Sprintf(format, args...)))
}

// fields gives each key of a mapping to its reader; a key without one is a problem that names the nearest known key.
func (p *parser) fields(n *yaml.Node, path string, readers map[string]func(n *yaml.Node, path string)) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		p.bad(n, path, "expected a map with the keys %s", strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		read, ok := readers[key.Value]
		switch {
		case !ok:
			p.bad(key, at, "unknown key%s", Nearest(key.Value, slices.Sorted(maps.Keys(readers))))
		case seen[key.Value]:
			p.bad(key, at, "given twice")
		default:
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			read(value, at)
		}
		seen[key.Value] = true
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// list gives each element of a sequence to the reader.
func (p *parser) list(n *yaml.Node, path string, read func(n *yaml.Node, path string)) {
	if n.Kind != yaml.SequenceNode {
		p.bad(n, path, "expected a list")
		return
	}
	for i, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		read(item, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (p *parser) text(dst *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			p.bad(n, path, "expected a text")
			return
		}
		*dst = n.Value
	}
}

func (p *parser) integer(dst *int, least int) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < least {
			p.bad(n, path, "expected a whole number from %d, got %q", least, n.Value)
			return
		}
		*dst = v
	}
}

func (p *parser) boolean(dst *bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if n.Tag != "!!bool" {
			p.bad(n, path, "expected true or false, got %q", n.Value)
			return
		}
		*dst = n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
	}
}

func (p *parser) texts(dst *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		*dst = nil
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			return
		}
		p.list(n, path, func(n *yaml.Node, path string) {
			var s string
			p.text(&s)(n, path)
			*dst = append(*dst, s)
		})
	}
}

var durationForm = regexp.MustCompile(`^(\d{1,9})(ms|s|m|h|d)$`)

// ParseDuration reads "30m": a whole number with ms, s, m, h or d.
func ParseDuration(text string) (time.Duration, error) {
	m := durationForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is no duration: a whole number with ms, s, m, h or d, as in 30m", text)
	}
	n, _ := strconv.ParseInt(m[1], 10, 64)
	unit := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	d := time.Duration(n) * unit
	if d > 20*365*24*time.Hour || d/unit != time.Duration(n) {
		return 0, fmt.Errorf("%q is more than 20 years", text)
	}
	return d, nil
}

func (p *parser) duration(dst *time.Duration) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		d, err := ParseDuration(n.Value)
		if err != nil {
			p.bad(n, path, "%v", err)
			return
		}
		*dst = d
	}
}

type reader = func(n *yaml.Node, path string)

func (p *parser) rules(n *yaml.Node) *Rules {
	r := &Rules{Vocabulary: map[string][]string{}}
	nested := func(readers map[string]reader) reader {
		return func(n *yaml.Node, path string) { p.fields(n, path, readers) }
	}
	p.fields(n, "", map[string]reader{
		"version": p.text(&r.Version),
		"identity": nested(map[string]reader{
			"adopt": p.duration(&r.Identity.Adopt), "max_users": p.integer(&r.Identity.MaxUsers, 1), "max_anonymous": p.integer(&r.Identity.MaxAnonymous, 1),
		}),
		"session": nested(map[string]reader{
			"gap": p.duration(&r.Session.Gap), "max_events": p.integer(&r.Session.MaxEvents, 1), "max_length": p.duration(&r.Session.MaxLength),
		}),
		"split": nested(map[string]reader{
			"campaign": p.boolean(&r.Split.Campaign), "midnight": p.boolean(&r.Split.Midnight), "time_zone": p.text(&r.Split.TimeZone),
		}),
		"referrer":    nested(map[string]reader{"exclude": p.texts(&r.Referrer.Exclude)}),
		"slack":       p.duration(&r.Slack),
		"lateness":    p.duration(&r.Lateness),
		"patience":    p.duration(&r.Patience),
		"recovery":    p.duration(&r.Recovery),
		"vocabulary":  func(n *yaml.Node, path string) { p.vocabulary(n, path, r) },
		"passive":     p.texts(&r.Passive),
		"stage_model": func(n *yaml.Node, path string) { p.stageModel(n, path, &r.StageModel) },
		"funnels": func(n *yaml.Node, path string) {
			r.Funnels = nil
			p.list(n, path, func(n *yaml.Node, path string) { r.Funnels = append(r.Funnels, p.funnel(n, path)) })
			names := map[string]bool{}
			for i, f := range r.Funnels {
				if names[f.Name] {
					p.bad(n.Content[i], path, "two funnels have the name %q", f.Name)
				}
				names[f.Name] = true
			}
		},
	})
	p.finish(n, r)
	return r
}

func (p *parser) finish(n *yaml.Node, r *Rules) {
	zone, err := time.LoadLocation(r.Split.TimeZone)
	if err != nil || r.Split.TimeZone == "" {
		p.bad(n, "split.time_zone", "%q is no time zone: expected a name as in Europe/Berlin", r.Split.TimeZone)
	}
	r.zone = zone
	if r.Identity.Adopt > 30*24*time.Hour {
		p.bad(n, "identity.adopt", "%v is more than 30 days", r.Identity.Adopt)
	}
	if custom := r.customPredicates(); custom > maxCustomPredicates {
		p.bad(n, "funnels, stage_model", "%d conditions look at more than the step, at most %d may", custom, maxCustomPredicates)
	}
	if r.Session.Gap < time.Second {
		p.bad(n, "session.gap", "%v is shorter than a second", r.Session.Gap)
	}
	r.passive = map[string]bool{}
	for _, s := range r.Passive {
		r.passive[s] = true
	}
}

// maxCustomPredicates is how many conditions on other fields than the step there may be: each event carries a bit for each.
const maxCustomPredicates = 64

func (r *Rules) customPredicates() (n int) {
	count := func(p Predicate) {
		if !p.OnStepOnly() {
			n++
		}
	}
	for _, f := range r.Funnels {
		for _, s := range f.Steps {
			count(s.When)
		}
		for _, x := range f.Exclude {
			count(x.When)
		}
	}
	for _, s := range r.StageModel.Rules {
		count(s.When)
	}
	return n
}

func (p *parser) vocabulary(n *yaml.Node, path string, r *Rules) {
	r.steps = map[string]string{}
	if n.Kind != yaml.MappingNode {
		p.bad(n, path, "expected a map: step -> list of event names")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		step := n.Content[i].Value
		var names []string
		p.texts(&names)(n.Content[i+1], join(path, step))
		r.Vocabulary[step] = names
		for _, name := range names {
			r.steps[event.Plain(name)] = step // of two steps that claim a name the later one has it
		}
	}
}

func (p *parser) stageModel(n *yaml.Node, path string, m *StageModel) {
	var rules *yaml.Node
	p.fields(n, path, map[string]reader{
		"name": p.text(&m.Name), "version": p.integer(&m.Version, 0), "lapse": p.duration(&m.Lapse), "stages": p.texts(&m.Stages),
		"rules": func(n *yaml.Node, _ string) { rules = n },
	})
	if len(m.Stages) == 0 {
		p.bad(n, join(path, "stages"), "a stage model needs at least one stage")
	}
	if rules == nil {
		return
	}
	ids := map[string]bool{}
	p.list(rules, join(path, "rules"), func(n *yaml.Node, path string) {
		rule := StageRule{Count: 1}
		p.fields(n, path, map[string]reader{
			"id": p.text(&rule.ID), "to": p.text(&rule.To), "when": p.predicate(&rule.When), "count": p.integer(&rule.Count, 1),
			"within": p.duration(&rule.Within), "after": p.text(&rule.After), "regress": p.boolean(&rule.Regress),
		})
		for key, stage := range map[string]string{"to": rule.To, "after": rule.After} {
			if (key == "to" || stage != "") && !slices.Contains(m.Stages, stage) {
				p.bad(n, join(path, key), "%q is no stage of the model%s", stage, Nearest(stage, m.Stages))
			}
		}
		if rule.ID == "" || ids[rule.ID] {
			p.bad(n, join(path, "id"), "%q: every rule needs an id of its own", rule.ID)
		}
		ids[rule.ID] = true
		m.Rules = append(m.Rules, rule)
	})
}

func (p *parser) predicate(dst *Predicate) reader {
	return func(n *yaml.Node, path string) {
		*dst = Predicate{}
		if n.Kind != yaml.MappingNode {
			p.bad(n, path, "expected a map: field -> value or list of values, as in {step: [view, search]}")
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			field, value := n.Content[i].Value, n.Content[i+1]
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			if !knownField(field) {
				p.bad(n.Content[i], join(path, field), "no event has such a field%s", Nearest(field, topFields))
				continue
			}
			t := Term{Field: field}
			if value.Kind == yaml.ScalarNode {
				t.Values = append(t.Values, p.scalar(value, join(path, field)))
			} else {
				p.list(value, join(path, field), func(n *yaml.Node, path string) { t.Values = append(t.Values, p.scalar(n, path)) })
			}
			*dst = append(*dst, t)
		}
		slices.SortStableFunc(*dst, func(a, b Term) int { return strings.Compare(a.Field, b.Field) })
	}
}

func (p *parser) scalar(n *yaml.Node, path string) event.Value {
	if n.Kind != yaml.ScalarNode {
		p.bad(n, path, "expected a text, a number, true or false")
		return nil
	}
	switch n.Tag {
	case "!!int":
		if v, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return v
		}
	case "!!float":
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return v
		}
	case "!!bool":
		var b bool
		p.boolean(&b)(n, path)
		return b
	case "!!null":
		p.bad(n, path, "a field cannot be compared with null")
		return nil
	}
	return n.Value
}

func (p *parser) funnel(n *yaml.Node, path string) Funnel {
	f := Funnel{Scope: SessionScope, Mode: Ordered}
	var scope, mode string
	var exclude *yaml.Node
	p.fields(n, path, map[string]reader{
		"name": p.text(&f.Name), "scope": p.text(&scope), "mode": p.text(&mode), "window": p.duration(&f.Window), "hold": p.text(&f.Hold),
		"steps": func(n *yaml.Node, path string) {
			p.list(n, path, func(n *yaml.Node, path string) { f.Steps = append(f.Steps, p.funnelStep(n, path)) })
		},
		"exclude": func(n *yaml.Node, _ string) { exclude = n },
	})
	if f.Name == "" {
		p.bad(n, join(path, "name"), "a funnel needs a name")
	}
	switch Scope(scope) {
	case "", SessionScope:
	case PersonScope:
		f.Scope = PersonScope
	default:
		p.bad(n, join(path, "scope"), "%q: expected session or person", scope)
	}
	switch Mode(mode) {
	case "", Ordered:
	case Strict, Any:
		f.Mode = Mode(mode)
	default:
		p.bad(n, join(path, "mode"), "%q: expected ordered, strict or any", mode)
	}
	p.checkFunnel(n, path, &f)
	if exclude != nil {
		p.list(exclude, join(path, "exclude"), func(n *yaml.Node, path string) { f.Exclude = append(f.Exclude, p.exclusion(n, path, &f)) })
	}
	return f
}

func (p *parser) funnelStep(n *yaml.Node, path string) FunnelStep {
	if n.Kind == yaml.ScalarNode {
		var s FunnelStep
		p.text(&s.Name)(n, path)
		s.When = Predicate{{Field: "step", Values: []event.Value{s.Name}}}
		return s
	}
	var s FunnelStep
	given := false
	p.fields(n, path, map[string]reader{
		"name": p.text(&s.Name), "optional": p.boolean(&s.Optional),
		"when": func(n *yaml.Node, path string) { given = true; p.predicate(&s.When)(n, path) },
	})
	if s.Name == "" || !given {
		p.bad(n, path, "a step is a text, or has a name and a when")
	}
	return s
}

func (p *parser) checkFunnel(n *yaml.Node, path string, f *Funnel) {
	if len(f.Steps) < 2 || len(f.Steps) > 20 {
		p.bad(n, join(path, "steps"), "a funnel has 2 to 20 steps, this one has %d", len(f.Steps))
	}
	names := map[string]bool{}
	for i, s := range f.Steps {
		if names[s.Name] {
			p.bad(n, join(path, "steps"), "two steps have the name %q", s.Name)
		}
		names[s.Name] = true
		if s.Optional && i == 0 {
			p.bad(n, join(path, "steps[0]"), "the first step cannot be optional")
		}
		if s.Optional && f.Mode != Ordered {
			p.bad(n, join(path, "steps"), "optional steps need mode ordered")
		}
	}
}

func (p *parser) exclusion(n *yaml.Node, path string, f *Funnel) Exclusion {
	var required []string
	for _, i := range f.Required() {
		required = append(required, f.Steps[i].Name)
	}
	x := Exclusion{To: len(required) - 1}
	if f.Mode != Ordered {
		p.bad(n, path, "exclusions need mode ordered")
	}
	place := func(dst *int) reader {
		return func(n *yaml.Node, path string) {
			at := slices.Index(required, n.Value)
			if at < 0 {
				p.bad(n, path, "%q is no required step of the funnel%s", n.Value, Nearest(n.Value, required))
				return
			}
			*dst = at
		}
	}
	p.fields(n, path, map[string]reader{"when": p.predicate(&x.When), "from": place(&x.From), "to": place(&x.To)})
	return x
}
