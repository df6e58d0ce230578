package loader_test

import (
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

func ev(id, user string, at int64, step string) *touchpoint.Event {
	return &touchpoint.Event{
		Project: "shop", Source: "site", MessageId: id, Name: step, Step: step, Channel: "web", UserId: user,
		OccurredAt: start0 + at, ReceivedAt: start0 + at + 1000, Path: "/" + id, Device: "phone",
	}
}

func buy() *facts.FunnelDef {
	step := func(name string, optional bool) *facts.FunnelStep {
		return &facts.FunnelStep{Name: name, Optional: optional, When: []*facts.FunnelTerm{{Field: "step", Values: []string{`"` + name + `"`}}}}
	}
	return &facts.FunnelDef{
		Project: "shop", Name: "buy", Scope: "session", RuleVersion: "r1",
		Steps: []*facts.FunnelStep{step("view", false), step("cart_add", false), step("checkout", true), step("purchase", false)},
	}
}

func session(id event.Hash, sign int32, version uint64, person string, from, to int64, events uint32) *facts.Session {
	return &facts.Session{
		Sign: sign, Version: version, Project: "shop", SessionId: id[:], Person: person, Number: 1,
		StartedAt: start0 + from, EndedAt: start0 + to, Events: events, Channel: "web", Device: "phone",
		FurthestFunnels: []string{"buy"}, FurthestSteps: []uint32{2}, Steps: []string{"view", "cart_add"}, StepTimes: []int64{start0 + from, start0 + to},
		RevenueCurrencies: []string{"EUR"}, RevenueAmounts: []int64{1999}, RuleVersion: "r1",
	}
}

func entrant(id event.Hash, sign int32, version uint64, person string, from int64, at ...int64) *facts.Entrant {
	e := &facts.Entrant{
		Sign: sign, Version: version, Person: person, SessionId: id[:], Furthest: uint32(len(at)),
		StartedAt: start0 + from, Channel: "web", Device: "phone",
	}
	for _, t := range at {
		e.At = append(e.At, start0+t)
	}
	return e
}

func TestFramesBecomeRows(t *testing.T) {
	s := newStage(t, 2)
	s.load(nil)
	one, two := event.SessionID("shop", start0, "a"), event.SessionID("shop", start0+5000, "z")
	l := s.logs[0]
	s.tick(0)
	s.send(0, ev("a", "ann", 0, "view"), l.session(one))
	s.send(0, ev("b", "ann", 1000, "cart_add"), l.session(one))
	s.send(0, ev("b", "ann", 1000, "cart_add"), facts.VerdictDuplicate)
	s.send(0, ev("old", "ann", -90_000_000, "view"), facts.VerdictTooLate)
	s.send(0, ev("mail", "ann", 2000, "email_sent"), facts.VerdictPassive)
	s.send(0, ev("gone", "ann", 2000, "view"), facts.VerdictForwarded)
	l.frame.Funnels = []*facts.FunnelDef{buy()}
	l.frame.Sessions = []*facts.Session{session(one, 1, 11, "u:ann", 0, 1000, 2)}
	l.frame.Entrants = []*facts.Entrant{entrant(one, 1, 21, "u:ann", 0, 0, 1000)}
	l.frame.Watermarks = []*facts.Watermark{{Project: "shop", Watermark: start0 - 59_000, At: start0 + 5000}}
	s.cut(0, start0+5000, 1)
	s.send(1, ev("z", "bob", 5000, "view"), s.logs[1].session(two))
	s.logs[1].frame.Watermarks = []*facts.Watermark{{Project: "shop", Watermark: start0 - 55_000, At: start0 + 6000}}
	s.cut(1, start0+6000, 1)
	s.refuse(&deadletter.Letter{Project: "shop", Source: "site", Reason: event.BadJSON, MessageId: "x", AppVersion: "2", ReceivedAt: start0 + 61_000, Body: []byte("{")})
	s.refuse(&deadletter.Letter{Project: "shop", Source: "site", Reason: event.BadJSON, MessageId: "y", AppVersion: "3", ReceivedAt: start0 + 62_000, Body: []byte("{")})
	s.loaded()

	s.same("SELECT message_id, person, session_id, step, toUnixTimestamp64Milli(occurred_at) FROM waymark.events ORDER BY occurred_at, message_id",
		"a\tu:ann\t"+one.String()+"\tview\t1767225600000",
		"b\tu:ann\t"+one.String()+"\tcart_add\t1767225601000",
		"mail\tu:ann\t\temail_sent\t1767225602000",
		"z\tu:bob\t"+two.String()+"\tview\t1767225605000")
	s.same("SELECT message_id FROM waymark.events_too_late", "old")
	s.same("SELECT session_id, person, events, duration, bounce, new, furthest, revenue FROM waymark.sessions",
		one.String()+"\tu:ann\t2\t1000\tfalse\ttrue\t{'buy':2}\t{'EUR':1999}")
	s.same("SELECT session_id, person, number, events, bounce, entry_page, steps, furthest FROM waymark.sessions_open",
		two.String()+"\tu:bob\t1\t1\ttrue\t/z\t['view']\t{'buy':1}")
	s.same("SELECT step_no, step, reached, entrants, optional, open, mature, toString(bucket), channel, device FROM waymark.funnel_steps ORDER BY step_no",
		"1\tview\t1\t1\tfalse\t1\t0.5\t2026-01-01 00:00:00\tweb\tphone",
		"2\tcart_add\t1\t1\tfalse\t1\t0.5\t2026-01-01 00:00:00\tweb\tphone",
		"3\tcheckout\t0\t1\ttrue\t1\t0.5\t2026-01-01 00:00:00\tweb\tphone",
		"4\tpurchase\t0\t1\tfalse\t1\t0.5\t2026-01-01 00:00:00\tweb\tphone")
	s.same("SELECT funnel, person, session_id, furthest, steps FROM waymark.funnel_people", "buy\tu:ann\t"+one.String()+"\t2\t[1,2]")
	s.same("SELECT project, source, minute, reason, events, app_version, last_message_id FROM waymark.refused",
		"shop\tsite\t2026-01-01 00:01:00\tbad_json\t2\t3\ty")
}

func TestCorrectionsCancelRows(t *testing.T) {
	s := newStage(t, 1)
	s.load(nil)
	one := event.SessionID("shop", start0, "a")
	l := s.logs[0]
	s.send(0, ev("a", "ann", 0, "view"), l.session(one))
	l.frame.Funnels = []*facts.FunnelDef{buy()}
	l.frame.Sessions = []*facts.Session{session(one, 1, 11, "u:ann", 0, 0, 1)}
	l.frame.Entrants = []*facts.Entrant{entrant(one, 1, 21, "u:ann", 0, 0)}
	s.cut(0, start0, 1)
	s.loaded()
	s.same("SELECT step_no, reached FROM waymark.funnel_steps ORDER BY step_no", "1\t1", "2\t0", "3\t0", "4\t0")

	s.send(0, ev("b", "ann", 60_000, "purchase"), l.session(one))
	l.frame.Funnels = []*facts.FunnelDef{buy()}
	l.frame.Sessions = []*facts.Session{session(one, -1, 11, "u:ann", 0, 0, 1), session(one, 1, 12, "u:ann", 0, 60_000, 2)}
	l.frame.Entrants = []*facts.Entrant{entrant(one, -1, 21, "u:ann", 0, 0), entrant(one, 1, 22, "u:ann", 0, 0, 30_000, 60_000)}
	s.cut(0, start0+1, 2)
	s.loaded()
	s.same("SELECT events, duration FROM waymark.sessions", "2\t60000")
	s.same("SELECT step_no, reached, entrants FROM waymark.funnel_steps ORDER BY step_no", "1\t1\t1", "2\t1\t1", "3\t0\t1", "4\t1\t1")
	s.same("SELECT furthest FROM waymark.funnel_people", "4")

	// And back to what it was: the first version appears again.
	l.frame.Funnels = []*facts.FunnelDef{buy()}
	s.tick(0)
	l.frame.Sessions = []*facts.Session{session(one, -1, 12, "u:ann", 0, 60_000, 2), session(one, 1, 11, "u:ann", 0, 0, 1)}
	l.frame.Entrants = []*facts.Entrant{entrant(one, -1, 22, "u:ann", 0, 0, 30_000, 60_000)}
	s.cut(0, start0+2, 1)
	s.loaded()
	s.same("SELECT events, duration FROM waymark.sessions", "1\t0")
	s.same("SELECT count() FROM waymark.funnel_steps", "0")
	s.same("SELECT count() FROM waymark.funnel_people", "0")
}

func TestMovedEventsHaveTheirLastPersonAndSession(t *testing.T) {
	s := newStage(t, 1)
	s.load(nil)
	one, two := event.SessionID("shop", start0, "a"), event.SessionID("shop", start0-1, "0")
	e := ev("a", "", 0, "view")
	e.AnonymousId = "dev"
	offset := s.send(0, e, s.logs[0].session(one))
	s.send(0, ev("b", "ann", 60_000, "view"), s.logs[0].session(one))
	s.cut(0, start0, 1)
	s.loaded()
	for version, person := range map[int64]string{7: "u:ann", 5: "u:wrong"} {
		s.tick(0)
		s.logs[0].frame.Moves = []*facts.Move{{
			Offset: offset, Project: "shop", OccurredAt: start0, OldPerson: "a:dev", Person: person, SessionId: two[:], Version: version,
		}}
		s.cut(0, start0, 1)
	}
	s.loaded()
	s.same("SELECT message_id, person, session_id FROM waymark.events ORDER BY message_id",
		"a\tu:ann\t"+two.String(), "b\tu:ann\t"+one.String())
	s.same("SELECT count() FROM waymark.events WHERE person = 'a:dev'", "0")
	s.same("SELECT count() FROM waymark.events WHERE person = 'u:ann'", "2")
}
