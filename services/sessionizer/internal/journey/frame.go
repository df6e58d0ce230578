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
	for _, t := range b.changes {
		c.room(100)
		c.frame.Transitions = append(c.frame.Transitions, t)
		c.bytes += t.SizeVT()
	}
	for _, k := range b.carts {
		c.room(100)
		c.frame.Carts = append(c.frame.Carts, k)
		c.bytes += k.SizeVT()
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

// net takes out of the range what it both added and took back: several late events may revise one row.
func (b *builder) net() {
	b.sessions = netted(b.sessions, func(s *facts.Session) (uint64, int32) { return s.Version, s.Sign })
	b.entrants = netted(b.entrants, func(e entrant) (uint64, int32) { return e.row.Version, e.row.Sign })
	b.changes = netted(b.changes, func(t *facts.Transition) (uint64, int32) { return t.Version, t.Sign })
	b.carts = netted(b.carts, func(c *facts.Cart) (uint64, int32) { return c.Version, c.Sign })
}

// netted keeps, of the rows of one version, as many as their signs add up to; those that cancel come first.
func netted[T any](rows []T, read func(T) (version uint64, sign int32)) []T {
	if !slices.ContainsFunc(rows, func(r T) bool { _, sign := read(r); return sign < 0 }) {
		return rows
	}
	sums := make(map[uint64]int32, len(rows))
	for _, r := range rows {
		version, sign := read(r)
		sums[version] += sign
	}
	rows = slices.DeleteFunc(rows, func(r T) bool {
		version, sign := read(r)
		if sums[version]*sign <= 0 {
			return true
		}
		sums[version] -= sign
		return false
	})
	slices.SortStableFunc(rows, func(a, b T) int {
		_, x := read(a)
		_, y := read(b)
		return cmp.Compare(x, y)
	})
	return rows
}
