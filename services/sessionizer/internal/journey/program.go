package journey

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/state"
)

// A program is a project's rules made ready: times in milliseconds, predicates split into the part that looks at the step and
// a bit for the rest, which is decided once, when the event arrives.
type program struct {
	rules *rules.Rules
	texts *state.Strings // the partition's

	byReferrer map[text]bool // whether it is excluded

	gap, maxLength, slack, lateness, lapse int64
	maxEvents                              int
	zone                                   *time.Location
	splitCampaign, splitMidnight           bool
	excluded                               []string // hosts

	patience, recovery int64
	model              string // name and version of the stage model

	// The steps that have a meaning of their own.
	cartAdd, cartRemove, cartView, checkout, payment, purchase text

	custom  []rules.Predicate // what the bits of kept.mask stand for
	hold    []string          // dotted fields that funnels hold constant
	funnels []funnelProgram   // of session scope
	persons []funnelProgram   // of person scope

	triggers []condition     // of the stage rules and of the person funnels' steps, in their order
	byStep   map[text]uint64 // the triggers that an event of this step hits by that alone
	stages   []stageProgram
}

// A condition is a predicate, split.
type condition struct {
	anyStep bool
	steps   []text // one of them; 0 is an event without a step
	bit     int    // of kept.mask that must be set as well, or -1
}

type funnelProgram struct {
	def      *facts.FunnelDef
	name     string
	window   int64 // forever where there is none
	mode     rules.Mode
	steps    []condition // all of them
	required []int       // indices into steps
	exclude  []exclusion
	hold     int // index into program.hold, or -1
}

type exclusion struct {
	when     condition
	from, to int
}

type stageProgram struct {
	id     string
	to     int
	when   condition
	count  int
	within int64 // forever where there is no bound
	after  int   // -1 for any
	back   bool
}

const forever = int64(1) << 62

func ms(d time.Duration) int64 { return d.Milliseconds() }

func compile(project string, r *rules.Rules, texts *state.Strings) *program {
	p := &program{
		rules: r, gap: ms(r.Session.Gap), maxLength: ms(r.Session.MaxLength), slack: ms(r.Slack), lateness: ms(r.Lateness),
		lapse: ms(r.StageModel.Lapse), maxEvents: r.Session.MaxEvents, zone: r.Zone(), splitCampaign: r.Split.Campaign,
		splitMidnight: r.Split.Midnight, excluded: r.Referrer.Exclude, texts: texts,
		cartAdd: texts.ID("cart_add"), cartRemove: texts.ID("cart_remove"), purchase: texts.ID("purchase"),
		cartView: texts.ID("cart_view"), checkout: texts.ID("checkout"), payment: texts.ID("payment"), patience: ms(r.CartPatience()),
		recovery: ms(r.Recovery), byStep: map[text]uint64{}, byReferrer: map[text]bool{}, model: fmt.Sprintf("%s-%d", r.StageModel.Name, r.StageModel.Version),
	}
	for i := range r.Funnels {
		f := &r.Funnels[i]
		if f.Scope == rules.SessionScope {
			p.funnels = append(p.funnels, p.funnel(project, r, f))
		} else {
			p.persons = append(p.persons, p.funnel(project, r, f))
		}
	}
	for _, s := range r.StageModel.Rules {
		rule := stageProgram{
			id: s.ID, to: slices.Index(r.StageModel.Stages, s.To), when: p.condition(s.When), count: s.Count, within: forever,
			after: slices.Index(r.StageModel.Stages, s.After), back: s.Regress,
		}
		if s.Within > 0 {
			rule.within = ms(s.Within)
		}
		p.stages = append(p.stages, rule)
		p.triggers = append(p.triggers, rule.when)
	}
	for i := range p.persons {
		p.triggers = append(p.triggers, p.persons[i].steps...)
	}
	return p
}

// everything is the trigger mask of a program with more triggers than a mask has bits: each event is looked at.
const everything = ^uint64(0)

// triggered is the set of triggers that an event hits.
func (p *program) triggered(e *kept) uint64 {
	if len(p.triggers) > 64 {
		return everything
	}
	hit, ok := p.byStep[e.step]
	if !ok {
		for i := range p.triggers {
			if t := &p.triggers[i]; t.bit < 0 && t.match(e) {
				hit |= 1 << i
			}
		}
		p.byStep[e.step] = hit
	}
	if len(p.custom) > 0 {
		for i := range p.triggers {
			if t := &p.triggers[i]; t.bit >= 0 && t.match(e) {
				hit |= 1 << i
			}
		}
	}
	return hit
}

// waits is the set of triggers at which a machine would make a row.
func (p *program) waits(m *machine) (wait uint64) {
	if len(p.triggers) > 64 {
		return everything
	}
	for i := range p.stages {
		if r := &p.stages[i]; r.to > m.standing.stage || r.back && r.to < m.standing.stage || !m.standing.begun {
			wait |= 1 << i
		}
	}
	at := len(p.stages)
	for i := range p.persons {
		f, c := &p.persons[i], &m.funnels[i]
		reached := len(c.first)
		for j := range f.steps {
			k := slices.Index(f.required, j)
			if k < 0 || k == reached || f.mode == rules.Any && reached < len(f.required) {
				wait |= 1 << (at + j)
			}
		}
		at += len(f.steps)
	}
	return wait
}

func (p *program) funnel(project string, r *rules.Rules, f *rules.Funnel) funnelProgram {
	out := funnelProgram{name: f.Name, window: forever, mode: f.Mode, required: f.Required(), hold: -1}
	if f.Window > 0 {
		out.window = ms(f.Window)
	}
	if f.Hold != "" {
		if out.hold = slices.Index(p.hold, f.Hold); out.hold < 0 {
			out.hold = len(p.hold)
			p.hold = append(p.hold, f.Hold)
		}
	}
	out.def = &facts.FunnelDef{Project: project, Name: f.Name, Scope: string(f.Scope), RuleVersion: r.Version}
	for _, s := range f.Steps {
		out.steps = append(out.steps, p.condition(s.When))
		step := &facts.FunnelStep{Name: s.Name, Optional: s.Optional}
		for _, t := range s.When {
			term := &facts.FunnelTerm{Field: t.Field}
			for _, v := range t.Values {
				term.Values = append(term.Values, event.Text(v))
			}
			step.When = append(step.When, term)
		}
		out.def.Steps = append(out.def.Steps, step)
	}
	for _, x := range f.Exclude {
		out.exclude = append(out.exclude, exclusion{when: p.condition(x.When), from: x.From, to: x.To})
	}
	return out
}

func (p *program) condition(when rules.Predicate) condition {
	c := condition{anyStep: true, bit: -1}
	var rest rules.Predicate
	for _, t := range when {
		if t.Field != "step" {
			rest = append(rest, t)
			continue
		}
		c.anyStep = false
		for _, v := range t.Values {
			if s, ok := v.(string); ok {
				c.steps = append(c.steps, p.texts.ID(s))
			}
		}
	}
	if len(rest) > 0 {
		c.bit = slices.IndexFunc(p.custom, rest.Equal)
		if c.bit < 0 {
			c.bit = len(p.custom)
			p.custom = append(p.custom, rest)
		}
	}
	return c
}

func (c *condition) match(e *kept) bool {
	return (c.anyStep || slices.Contains(c.steps, e.step)) && (c.bit < 0 || e.mask>>c.bit&1 == 1)
}

// touching says whether a step keeps the cart it names alive.
func (p *program) touching(step text) bool {
	switch step {
	case p.cartAdd, p.cartRemove, p.cartView, p.checkout, p.payment:
		return true
	}
	return false
}

// mask decides the custom predicates for an event.
func (p *program) mask(e *touchpoint.Event) (mask uint64) {
	for i, predicate := range p.custom {
		if predicate.Match(e) {
			mask |= 1 << i
		}
	}
	return mask
}

// isExcluded says whether a referrer counts as none: its host is, or is under, one of the excluded ones.
func (p *program) isExcluded(referrer text) bool {
	if referrer == 0 || len(p.excluded) == 0 {
		return false
	}
	is, ok := p.byReferrer[referrer]
	if !ok {
		is = p.excludes(p.texts.Text(referrer))
		p.byReferrer[referrer] = is
	}
	return is
}

func (p *program) excludes(referrer string) bool {
	u, err := url.Parse(referrer)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, x := range p.excluded {
		if host == x || len(host) > len(x) && strings.HasSuffix(host, x) && host[len(host)-len(x)-1] == '.' {
			return true
		}
	}
	return false
}

// day numbers the days of the project's time zone.
func (p *program) day(at int64) int {
	y, m, d := time.UnixMilli(at).In(p.zone).Date()
	return (y*12+int(m))*31 + d
}
