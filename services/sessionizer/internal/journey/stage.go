package journey

import (
	"encoding/binary"
	"slices"
)

// standing is where a person stands in the stage model: the state of a fold over its events.
type standing struct {
	journey int   // counted from 1; 0 before the first
	stage   int   // index into the model's stages, -1 for none
	entered int64 // when; meaningless at stage -1 of the first journey
	begun   bool  // a journey is open
	last    int64 // the last act of the open journey
	hits    []hits
}

// hits are the latest matches of a rule that counts, in the open journey, at most as many as it counts.
type hits struct {
	rule string
	at   []int64
}

func newStanding() standing { return standing{stage: -1} }

// apply takes one event that is not hidden by a flagged session.
func (s *standing) apply(p *program, e *kept) {
	if e.passive && (!s.begun || s.last+p.lapse < e.at) {
		return // no journey is open, and a passive event begins none
	}
	s.lapseBy(p, e.at)
	if !s.begun {
		s.journey++
		s.begun = true
		s.hits = s.hits[:0]
	}
	if !e.passive {
		s.last = e.at
	}
	forward, back := -1, -1 // rules: the furthest target, the first in the file of equals; only without one a way back
	for i := range p.stages {
		rule := &p.stages[i]
		if !rule.when.match(e) || !s.complete(rule, e.at) {
			continue
		}
		if rule.to > s.stage && (forward < 0 || rule.to > p.stages[forward].to) {
			forward = i
		}
		if rule.to < s.stage && rule.back && back < 0 {
			back = i
		}
	}
	if forward < 0 {
		forward = back
	}
	if forward >= 0 {
		s.stage, s.entered = p.stages[forward].to, e.at
	}
}

// complete counts a match of the rule and says whether it fires with it. A match counts whatever `after` says.
func (s *standing) complete(rule *stageProgram, at int64) bool {
	first := at
	if rule.count > 1 {
		i := slices.IndexFunc(s.hits, func(h hits) bool { return h.rule == rule.id })
		if i < 0 {
			i = len(s.hits)
			s.hits = append(s.hits, hits{rule: rule.id})
		}
		h := &s.hits[i]
		h.at = append(h.at, at)
		if len(h.at) > rule.count {
			h.at = slices.Delete(h.at, 0, 1)
		}
		if len(h.at) < rule.count {
			return false
		}
		first = h.at[0]
	}
	return at-first <= rule.within && (rule.after < 0 || s.stage >= rule.after)
}

// lapseBy ends the journey if its time has passed by now.
func (s *standing) lapseBy(p *program, now int64) {
	if s.begun && s.last+p.lapse < now {
		s.stage, s.begun = -1, false
		s.hits = s.hits[:0]
	}
}

// name is the stage held at a time not before the last event applied; "" if none is, or the journey has lapsed.
func (s *standing) name(p *program, now int64) string {
	if !s.begun || s.last+p.lapse < now || s.stage < 0 {
		return ""
	}
	return p.rules.StageModel.Stages[s.stage]
}

func (s *standing) append(b []byte, p *program) []byte {
	b = binary.AppendUvarint(b, uint64(s.journey))
	if !s.begun {
		return append(b, 0)
	}
	b = append(b, 1)
	stage := ""
	if s.stage >= 0 {
		stage = p.rules.StageModel.Stages[s.stage]
	}
	b = appendText(b, stage)
	b = binary.AppendVarint(b, s.entered)
	b = binary.AppendVarint(b, s.last)
	b = binary.AppendUvarint(b, uint64(len(s.hits)))
	for _, h := range s.hits {
		b = appendText(b, h.rule)
		b = binary.AppendUvarint(b, uint64(len(h.at)))
		for _, at := range h.at {
			b = binary.AppendVarint(b, at)
		}
	}
	return b
}

func (s *standing) read(r *reader, p *program) {
	*s = newStanding()
	s.journey = int(r.uvarint())
	if r.byte() == 0 {
		return
	}
	s.begun = true
	s.stage = slices.Index(p.rules.StageModel.Stages, r.text()) // a stage that the model no longer has is none
	s.entered, s.last = r.varint(), r.varint()
	for range min(r.uvarint(), uint64(len(r.b))) {
		h := hits{rule: r.text()}
		for range min(r.uvarint(), uint64(len(r.b))) {
			h.at = append(h.at, r.varint())
		}
		s.hits = append(s.hits, h)
	}
}
