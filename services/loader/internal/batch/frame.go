package batch

import (
	"fmt"

	"github.com/waymark-analytics/waymark/schemas/facts"
)

// span is a whole frame: all parts of the facts about one range of a partition of touchpoints.
type span struct {
	partition int32
	offset    int64 // of its first part in the partition of facts
	next      int64 // behind its last part
	from, to  int64 // of touchpoints
	clock     int64
	hash      uint64
	parts     []part
	count     int // of rows
}

// part is one record of topic facts.
type part struct {
	offset int64
	frame  *facts.Frame
}

// rows is how many rows come of the span: 0 if it has nothing but ticks.
func (s *span) rows() int { return s.count }

// verdict counts of a span, as the ledger has them.
type counts struct {
	none, events, duplicate, tooLate, suppressed, forwarded, sessions, entrants, moves, transitions, carts uint32
}

func (s *span) counts() (c counts) {
	for _, v := range s.parts[0].frame.Verdicts {
		switch v {
		case facts.VerdictNone:
			c.none++
		case facts.VerdictDuplicate:
			c.duplicate++
		case facts.VerdictTooLate:
			c.tooLate++
		case facts.VerdictSuppressed:
			c.suppressed++
		case facts.VerdictForwarded:
			c.forwarded++
		default:
			c.events++
		}
	}
	for _, p := range s.parts {
		c.sessions += uint32(len(p.frame.Sessions))
		c.entrants += uint32(len(p.frame.Entrants))
		c.moves += uint32(len(p.frame.Moves))
		c.transitions += uint32(len(p.frame.Transitions))
		c.carts += uint32(len(p.frame.Carts))
	}
	return c
}

// assembly puts the parts of one partition's frames together and holds them to their order.
type assembly struct {
	partition int32
	next      int64 // of touchpoints: the `from` of the next frame
	open      *span // parts are missing
}

// add takes the next record of the partition. It returns a span when that record completes one. An error means that facts are
// missing, doubled or no frames: nothing behind it may be loaded.
func (a *assembly) add(offset int64, value []byte) (*span, error) {
	f := new(facts.Frame)
	if err := f.UnmarshalVTUnsafe(value); err != nil {
		return nil, fmt.Errorf("facts partition %d offset %d: no frame: %w", a.partition, offset, err)
	}
	switch {
	case int32(f.Partition) != a.partition:
		return nil, fmt.Errorf("facts partition %d offset %d: a frame of partition %d", a.partition, offset, f.Partition)
	case a.open == nil && (f.Part != 0 || f.From != a.next || f.To < f.From):
		return nil, fmt.Errorf("facts partition %d offset %d: frame [%d, %d) part %d, expected part 0 from %d: facts are missing or doubled",
			a.partition, offset, f.From, f.To, f.Part, a.next)
	case a.open != nil && (f.From != a.open.from || f.To != a.open.to || int(f.Part) != len(a.open.parts)):
		return nil, fmt.Errorf("facts partition %d offset %d: frame [%d, %d) part %d, expected part %d of [%d, %d)",
			a.partition, offset, f.From, f.To, f.Part, len(a.open.parts), a.open.from, a.open.to)
	case f.Part == 0 && int64(len(f.Verdicts)) != f.To-f.From:
		return nil, fmt.Errorf("facts partition %d offset %d: frame [%d, %d) has %d verdicts", a.partition, offset, f.From, f.To, len(f.Verdicts))
	case len(f.SessionIds)%facts.SessionIDBytes != 0:
		return nil, fmt.Errorf("facts partition %d offset %d: session ids of %d bytes", a.partition, offset, len(f.SessionIds))
	}
	if a.open == nil {
		a.open = &span{partition: a.partition, offset: offset, from: f.From, to: f.To}
	}
	a.open.parts = append(a.open.parts, part{offset: offset, frame: f})
	for _, v := range f.Verdicts {
		if v == facts.VerdictTooLate || v >= facts.VerdictPassive {
			a.open.count++
		}
	}
	a.open.count += len(f.Sessions) + len(f.Entrants) + len(f.Moves) + len(f.Transitions) + len(f.Carts)
	if !f.Last {
		return nil, nil
	}
	done := a.open
	done.next, done.clock, done.hash = offset+1, f.Clock, f.Hash
	a.open, a.next = nil, done.to
	return done, nil
}
