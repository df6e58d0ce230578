package loader_test

import (
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

func TestOpenSessionsReachStepsByAnyField(t *testing.T) {
	s := newStage(t, 1)
	s.load(nil)
	step := func(terms ...*facts.FunnelTerm) *facts.FunnelStep { return &facts.FunnelStep{Name: "s", When: terms} }
	term := func(field string, values ...string) *facts.FunnelTerm {
		return &facts.FunnelTerm{Field: field, Values: values}
	}
	for name, steps := range map[string][]*facts.FunnelStep{
		"nested":   {step(term("properties.a.b", `"x"`)), step(term("step", `"cart_add"`))},
		"number":   {step(term("commerce.price", `1999`), term("context.device", `"tv"`, `"phone"`))},
		"type":     {step(term("properties.n", `"5"`))},
		"null":     {step(term("context.country", `null`)), step(term("properties.yes", `true`, `1`))},
		"order":    {step(term("step", `"cart_add"`)), step(term("step", `"view"`))},
		"optional": {step(), {Name: "maybe", Optional: true, When: []*facts.FunnelTerm{term("step", `"no"`)}}, step(term("step", `"cart_add"`))},
	} {
		s.logs[0].frame.Funnels = append(s.logs[0].frame.Funnels, &facts.FunnelDef{Project: "shop", Name: name, Scope: "session", Steps: steps, RuleVersion: "r1"})
	}
	one := event.SessionID("shop", start0, "a")
	first, second := ev("a", "ann", 0, "view"), ev("b", "ann", 1000, "cart_add")
	price := int64(1999)
	first.Price, first.Currency = &price, "EUR"
	first.Properties = []byte(`{"a":{"b":"x"},"n":5,"yes":true}`)
	second.Properties = []byte(`{"yes":true}`)
	s.send(0, first, s.logs[0].session(one))
	s.send(0, second, s.logs[0].session(one))
	s.logs[0].frame.Watermarks = []*facts.Watermark{{Project: "shop", Watermark: start0 - 60_000, At: start0}}
	s.cut(0, start0, 1)
	s.loaded()
	s.same("SELECT arrayJoin(arraySort(mapKeys(furthest))) AS funnel, furthest[funnel] FROM waymark.sessions_open",
		"buy\t2", "nested\t2", "null\t2", "number\t1", "optional\t3", "order\t1", "type\t0")
	s.same("SELECT funnel, entrants, open, mature FROM waymark.funnel_steps WHERE step_no = 1 ORDER BY funnel",
		"buy\t0\t1\t0", "nested\t0\t1\t0", "null\t0\t1\t0", "number\t0\t1\t0", "optional\t0\t1\t0", "order\t0\t1\t0")
}

func TestSessionsAreNumberedBehindTheClosedOnes(t *testing.T) {
	s := newStage(t, 1)
	s.load(nil)
	l := s.logs[0]
	closed, open := event.SessionID("shop", start0, "a"), event.SessionID("shop", start0+7_200_000, "b")
	s.send(0, ev("a", "ann", 0, "view"), l.session(closed))
	l.frame.Sessions = []*facts.Session{session(closed, 1, 11, "u:ann", 0, 0, 1)}
	last := ev("c", "ann", 7_300_000, "purchase")
	last.Flags, last.Path = []string{event.Clamped}, "/done"
	s.send(0, ev("b", "ann", 7_200_000, "cart_add"), l.session(open))
	s.send(0, last, l.session(open))
	l.frame.Watermarks = []*facts.Watermark{{Project: "shop", Watermark: start0 + 7_240_000, At: start0}}
	s.cut(0, start0, 1)
	s.loaded()
	s.same("SELECT number, new, duration, events, steps, entry_page, exit_page, flags, cart_adds, abandoned, orders FROM waymark.sessions_open",
		"2\tfalse\t100000\t2\t['cart_add','purchase']\t/b\t/done\t['clamped']\t1\tfalse\t1")
}
