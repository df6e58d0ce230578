package owner

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// every is after how many records of a key the counting machine has a fact.
const every = 3

// counting is a simple machine: it counts the records of each key, and every third is a fact. twist makes it conclude
// something else, as a program would that is not a pure function of the log.
type counting struct {
	partition          int32
	twist              uint64
	next, clock, begin int64
	counts             map[string]uint64
	changed            map[string]bool
	hash, facts        uint64
	verdicts           []uint32
	sessions           []*facts.Session
}

func newCounting(partition int32) Machine { return makeCounting(partition, 0) }

func makeCounting(partition int32, twist uint64) *counting {
	return &counting{partition: partition, twist: twist, counts: map[string]uint64{}, changed: map[string]bool{}}
}

func (c *counting) Next() int64  { return c.next }
func (c *counting) Clock() int64 { return c.clock }

func (c *counting) Apply(r journey.Record) error {
	if r.Offset != c.next {
		return fmt.Errorf("record %d came where %d was due", r.Offset, c.next)
	}
	if string(r.Value) == "poison" {
		return fmt.Errorf("record %d cannot be read", r.Offset)
	}
	c.next++
	c.clock = max(c.clock, r.Time)
	if len(r.Key) == 0 {
		c.verdicts = append(c.verdicts, facts.VerdictNone)
		return nil
	}
	n := c.counts[string(r.Key)] + 1
	key := string(r.Key)
	c.counts[key] = n
	c.changed[key] = true
	c.verdicts = append(c.verdicts, facts.VerdictPassive)
	if n%every == 0 {
		c.facts++
		version := xxhash.Sum64(fmt.Appendf(nil, "%s/%d/%x/%d", r.Key, n, r.Value, c.twist))
		c.hash = xxhash.Sum64(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, c.hash), version))
		c.sessions = append(c.sessions, &facts.Session{Sign: 1, Version: version, Person: key, Number: uint32(n), EndedAt: c.clock})
	}
	return nil
}

func (c *counting) Cut() []*facts.Frame {
	if c.next == c.begin {
		return nil
	}
	head := func() *facts.Frame {
		return &facts.Frame{Partition: uint32(c.partition), From: c.begin, To: c.next, Clock: c.clock, Hash: c.hash, Count: c.facts}
	}
	frames := []*facts.Frame{head()}
	frames[0].Verdicts = c.verdicts
	const part = 500 // sessions: frames of several parts must work
	for _, s := range c.sessions {
		last := frames[len(frames)-1]
		if len(last.Sessions) == part {
			last = head()
			last.Part = uint32(len(frames))
			frames = append(frames, last)
		}
		last.Sessions = append(last.Sessions, s)
	}
	frames[len(frames)-1].Last = true
	c.Discard()
	return frames
}

func (c *counting) Discard() { c.begin, c.verdicts, c.sessions = c.next, nil, nil }

func (c *counting) Hash() (hash, count uint64) { return c.hash, c.facts }

func (c *counting) Changed() int { return len(c.changed) * 100 }

func (c *counting) Checkpoint(put func(key, value []byte)) {
	buf := make([]byte, 0, 64)
	for key := range c.changed {
		buf = binary.LittleEndian.AppendUint64(buf[:0], c.counts[key])
		put([]byte(key), buf)
	}
	clear(c.changed)
	for _, v := range []uint64{uint64(c.next), uint64(c.clock), c.hash, c.facts} {
		buf = binary.LittleEndian.AppendUint64(buf, v)
	}
	put([]byte("meta"), buf[len(buf)-32:])
}

func (c *counting) Restore(key, value []byte) error {
	read := func(i int) uint64 { return binary.LittleEndian.Uint64(value[8*i:]) }
	switch {
	case string(key) == "meta" && len(value) == 32:
		c.next, c.clock, c.hash, c.facts = int64(read(0)), int64(read(1)), read(2), read(3)
		c.begin = c.next
	case len(value) == 8:
		c.counts[string(key)] = read(0)
	default:
		return fmt.Errorf("no checkpoint record: %q", slices.Concat(key, value))
	}
	return nil
}

func (c *counting) Stats() journey.Stats { return journey.Stats{Persons: len(c.counts)} }
