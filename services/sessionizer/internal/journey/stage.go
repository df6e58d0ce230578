package journey

import (
	"encoding/binary"
	"slices"

	"github.com/waymark-analytics/waymark/schemas/facts"
)

// lapsed is the stage and the rule of a transition that ends a journey.
const lapsed = "lapsed"

// standing is where a person stands in the stage model: the state of a fold over its events. Its message ids alias the memory
// that the events were read into.
type standing struct {
	journey int   // counted from 1; 0 before the first
	seq     int   // transitions so far
	stage   int   // index into the model's stages, -1 for none
	entered int64 // when; noTime where no stage was entered in this journey
	begun   bool  // a journey is open
	last    int64 // time and message id of the last act of the open journey
	lastID  []byte
	hits    []hits
}

// hits are the latest matches of a rule that counts, in the open journey, at most as many as it counts.
type hits struct {
	rule    string
	matches []match
}

type match struct {
	at int64
	id []byte
}

// apply takes one event that is not hidden by a flagged session.
func (s *standing) apply(f *fold, e *kept) {
	p := f.program
	if e.passive && (!s.begun || s.last+p.lapse < e.at) {
		return // no journey is open, and a passive event begins none
	}
	s.lapseBy(f, e.at)
	if !s.begun {
		s.journey++
		s.begun = true
		s.hits = s.hits[:0]
	}
	if !e.passive {
		s.last, s.lastID = e.at, e.id
	}
	forward, back := -1, -1 // rules: the furthest target, the first in the file of equals; only without one a way back
	var forwardFor, backFor []match
	many, hit := len(p.triggers) > 64, p.triggered(e)
	for i := range p.stages {
		rule := &p.stages[i]
		if many && !rule.when.match(e) || !many && hit>>i&1 == 0 {
			continue
		}
		found, ok := s.complete(rule, e)
		if !ok {
			continue
		}
		if rule.to > s.stage && (forward < 0 || rule.to > p.stages[forward].to) {
			forward, forwardFor = i, found
		}
		if rule.to < s.stage && rule.back && back < 0 {
			back, backFor = i, found
		}
	}
	if forward < 0 {
		forward, forwardFor = back, backFor
	}
	if forward >= 0 {
		s.move(f, &p.stages[forward], e, forwardFor)
	}
}

// complete counts a match of the rule and returns the evidence if it fires with it. A match counts whatever `after` says.
// The evidence of a rule that takes one match is nil: it is the event.
func (s *standing) complete(rule *stageProgram, e *kept) ([]match, bool) {
	first := e.at
	var found []match
	if rule.count > 1 {
		i := slices.IndexFunc(s.hits, func(h hits) bool { return h.rule == rule.id })
		if i < 0 {
			i = len(s.hits)
			s.hits = append(s.hits, hits{rule: rule.id})
		}
		h := &s.hits[i]
		h.matches = append(h.matches, match{e.at, e.id})
		if len(h.matches) > rule.count {
			h.matches = slices.Delete(h.matches, 0, 1)
		}
		if len(h.matches) < rule.count {
			return nil, false
		}
		found, first = h.matches, h.matches[0].at
	}
	return found, e.at-first <= rule.within && (rule.after < 0 || s.stage >= rule.after)
}

func (s *standing) move(f *fold, rule *stageProgram, e *kept, found []match) {
	s.seq++
	if f.rows {
		t := s.transition(f, f.program.rules.StageModel.Stages[rule.to], rule.id, e.at)
		if rule.to > s.stage {
			t.Skipped = f.program.rules.StageModel.Stages[s.stage+1 : rule.to]
		}
		if found == nil {
			t.Evidence = []string{string(e.id)}
		}
		for _, m := range found {
			t.Evidence = append(t.Evidence, string(m.id))
		}
		f.addTransition(t)
	}
	s.stage, s.entered = rule.to, e.at
}

func (s *standing) transition(f *fold, to, rule string, at int64) *facts.Transition {
	t := &facts.Transition{
		Project: f.project, Person: f.person, Journey: uint32(s.journey), Seq: uint32(s.seq), FromStage: s.held(f.program), ToStage: to, At: at,
		Rule: rule, RuleVersion: f.program.model,
	}
	if s.entered != noTime {
		t.Dwell = at - s.entered
	}
	return t
}

// lapseBy ends the journey if its time has passed by now.
func (s *standing) lapseBy(f *fold, now int64) {
	if !s.begun || s.last+f.program.lapse >= now {
		return
	}
	s.seq++
	if f.rows {
		t := s.transition(f, lapsed, lapsed, s.last+f.program.lapse)
		t.Evidence = []string{string(s.lastID)}
		f.addTransition(t)
	}
	s.stage, s.entered, s.begun = -1, noTime, false
	s.hits = s.hits[:0]
}

// held is the name of the stage, "" for none.
func (s *standing) held(p *program) string {
	if s.stage < 0 {
		return ""
	}
	return p.rules.StageModel.Stages[s.stage]
}

// at is the stage held at a time not before the last event applied; "" if none is, or the journey has lapsed.
func (s *standing) at(p *program, now int64) string {
	if !s.begun || s.last+p.lapse < now {
		return ""
	}
	return s.held(p)
}

// set makes s a copy of o that shares no memory that either changes.
func (s *standing) set(o *standing) {
	hits := s.hits[:0]
	for _, h := range o.hits {
		h.matches = slices.Clone(h.matches)
		hits = append(hits, h)
	}
	*s = *o
	s.hits = hits
}

func (s *standing) append(b []byte, p *program) []byte {
	b = binary.AppendUvarint(b, uint64(s.journey))
	b = binary.AppendUvarint(b, uint64(s.seq))
	if !s.begun {
		return append(b, 0)
	}
	b = append(b, 1)
	b = appendText(b, s.held(p))
	b = binary.AppendVarint(b, s.entered)
	b = binary.AppendVarint(b, s.last)
	b = appendBytes(b, s.lastID)
	b = binary.AppendUvarint(b, uint64(len(s.hits)))
	for _, h := range s.hits {
		b = appendText(b, h.rule)
		b = binary.AppendUvarint(b, uint64(len(h.matches)))
		for _, m := range h.matches {
			b = binary.AppendVarint(b, m.at)
			b = appendBytes(b, m.id)
		}
	}
	return b
}

func (s *standing) read(r *reader, p *program) {
	*s = standing{stage: -1, entered: noTime, hits: s.hits[:0]}
	s.journey, s.seq = int(r.uvarint()), int(r.uvarint())
	if r.byte() == 0 {
		return
	}
	s.begun = true
	s.stage = slices.Index(p.rules.StageModel.Stages, r.text()) // a stage that the model no longer has is none
	s.entered, s.last, s.lastID = r.varint(), r.varint(), r.bytes()
	for range r.count() {
		h := hits{rule: r.text()}
		for range r.count() {
			h.matches = append(h.matches, match{r.varint(), r.bytes()})
		}
		s.hits = append(s.hits, h)
	}
}
