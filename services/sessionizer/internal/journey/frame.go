package journey

import (
	"cmp"
	"maps"
	"slices"

	"github.com/waymark-analytics/waymark/schemas/facts"
)

// partBytes is about how large a part of a frame may become.
const partBytes = 2 << 20

// Cut returns the facts of the records since the last Cut or Discard, as the parts of one frame; nil if there were no records.
// The frames are the caller's.
func (p *Partition) Cut() []*facts.Frame {
	b := &p.facts
	if !b.begun {
		return nil
	}
	b.net()
	verdicts, ids, from, to := b.verdicts, b.ids, b.from, b.to
	c := cutter{head: func() *facts.Frame {
		return &facts.Frame{Partition: uint32(p.config.Partition), From: from, To: to, Clock: p.clock, Version: Version}
	}}
	c.part()
	c.frame.Verdicts, c.frame.SessionIds = verdicts, ids
	c.bytes = len(verdicts)*2 + len(ids)
	for _, pr := range p.projects {
		if pr.reported && pr.seen {
			c.frame.Watermarks = append(c.frame.Watermarks, &facts.Watermark{
				Project: pr.name, Watermark: min(pr.latest-pr.program.slack, pr.arrived), At: pr.arrived,
			})
			pr.reported = false
		}
	}
	for _, s := range b.sessions {
		c.room(200)
		c.frame.Sessions = append(c.frame.Sessions, s)
		c.bytes += s.SizeVT()
	}
	for _, e := range b.entrants {
		c.room(200)
		e.row.Funnel = c.def(e.def)
		c.frame.Entrants = append(c.frame.Entrants, e.row)
		c.bytes += e.row.SizeVT()
	}
	for _, offset := range slices.Sorted(maps.Keys(b.moves)) {
		c.room(100)
		m := b.moves[offset]
		c.frame.Moves = append(c.frame.Moves, m)
		c.bytes += m.SizeVT()
	}
	b.reset()
	c.frame.Last = true
	for _, f := range c.frames {
		f.Hash, f.Count = b.hash, b.count
	}
	return c.frames
}

// Discard forgets the facts since the last Cut; the running hash goes on as if they had been cut.
func (p *Partition) Discard() {
	p.facts.reset()
	for _, pr := range p.projects {
		pr.reported = false
	}
}

// Hash is the running hash of all facts so far and their number. It does not depend on how they were cut into frames.
// REQUIRES: a Cut or Discard since the last Apply.
func (p *Partition) Hash() (hash, count uint64) { return p.facts.hash, p.facts.count }

// cutter fills the parts of a frame.
type cutter struct {
	head   func() *facts.Frame
	frames []*facts.Frame
	frame  *facts.Frame
	bytes  int
	defs   map[*facts.FunnelDef]uint32 // of this part
}

func (c *cutter) part() {
	c.frame = c.head()
	c.frame.Part = uint32(len(c.frames))
	c.frames = append(c.frames, c.frame)
	c.bytes = 0
	c.defs = map[*facts.FunnelDef]uint32{}
}

// room begins another part if this one cannot take n bytes more.
func (c *cutter) room(n int) {
	if c.bytes+n > partBytes {
		c.part()
	}
}

func (c *cutter) def(d *facts.FunnelDef) uint32 {
	n, ok := c.defs[d]
	if !ok {
		n = uint32(len(c.frame.Funnels))
		c.defs[d] = n
		c.frame.Funnels = append(c.frame.Funnels, d)
		c.bytes += d.SizeVT()
	}
	return n
}

// net takes out of the range what it both added and took back: several late events may revise one session.
func (b *builder) net() {
	if !slices.ContainsFunc(b.sessions, func(s *facts.Session) bool { return s.Sign < 0 }) {
		return
	}
	sums := make(map[uint64]int32, len(b.sessions))
	for _, s := range b.sessions {
		sums[s.Version] += s.Sign
	}
	b.sessions = slices.DeleteFunc(b.sessions, func(s *facts.Session) bool { return !wanted(sums, s.Version, s.Sign) })
	clear(sums)
	for _, e := range b.entrants {
		sums[e.row.Version] += e.row.Sign
	}
	b.entrants = slices.DeleteFunc(b.entrants, func(e entrant) bool { return !wanted(sums, e.row.Version, e.row.Sign) })
	slices.SortStableFunc(b.sessions, func(a, b *facts.Session) int { return cmp.Compare(a.Sign, b.Sign) })
	slices.SortStableFunc(b.entrants, func(a, b entrant) int { return cmp.Compare(a.row.Sign, b.row.Sign) })
}

// wanted says whether a row of this sign still makes up the sum, and counts it.
func wanted(sums map[uint64]int32, version uint64, sign int32) bool {
	if sums[version]*sign <= 0 {
		return false
	}
	sums[version] -= sign
	return true
}
