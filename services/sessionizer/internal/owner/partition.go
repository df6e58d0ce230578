package owner

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type phase int

const (
	restoring phase = iota
	running
	halted // for good: see session.halt
)

// partition is one partition of the log in a session's hands.
type partition struct {
	number     int32
	generation uint64
	phase      phase
	cancel     context.CancelFunc // of its restore
	machine    Machine            // nil while restoring
	fault      error              // of the record that the machine stands before

	committed int64 // the input offset that the last committed frame reaches
	factsEnd  int64 // the offset that the next frame gets if nobody else writes
	savedEnd  int64 // the same of the checkpoints
	saved     int64 // the input offset that the last checkpoint stands for
	savedAt   time.Time
	uncut     int     // records applied since the last cut
	unsent    []frame // cut, not committed
	unsaved   *snapshot
	polled    int64 // where the client's position was last seen; 0 after it was set back

	assigned    time.Time
	first       bool      // a record was applied
	caughtUp    bool      // the end of the log was reached
	fed         time.Time // when the last record came or a tick was sent
	end         int64     // of the log
	watermark   int64     // the latest of its projects', less the clock: both go on alike
	watermarked bool
}

// frame is the facts of a range of the log, as it goes out, in parts.
type frame struct {
	to          int64
	hash, count uint64
	parts       [][]byte
}

// position is how far a partition is, by the group's offset or by a frame.
type position struct {
	known       bool
	offset      int64
	hashed      bool
	hash, count uint64
}

func (p *partition) begin(r restored, c *Config) {
	p.phase, p.machine = running, r.machine
	p.committed, p.factsEnd, p.saved, p.savedEnd = r.committed, r.factsEnd, r.saved, r.savedEnd
	p.fed = time.Now()
	// Partitions restored together do not write their checkpoints together.
	p.savedAt = p.fed.Add(-c.CheckpointEvery * time.Duration(p.number%16) / 16)
}

func (p *partition) next() int64 {
	if p.machine == nil {
		return p.committed
	}
	return p.machine.Next()
}

func (p *partition) label() string { return strconv.Itoa(int(p.number)) }

// ready says whether all that was applied is committed.
func (p *partition) ready() bool {
	return p.phase == running && p.uncut == 0 && len(p.unsent) == 0
}

// apply takes records, less those that it had before the client's position was set back, and counts them.
func (p *partition) apply(records []*kgo.Record) (applied int) {
	next := p.machine.Next()
	for _, r := range records {
		if r.Offset < next {
			continue
		}
		if err := p.machine.Apply(record(r)); err != nil {
			p.fault = diverged("apply: %w", err)
			break
		}
		next++
		applied++
	}
	p.uncut += applied
	p.polled = records[len(records)-1].Offset + 1
	p.fed = time.Now()
	return applied
}

// metadata goes with a committed offset: the running hash and count of the facts up to it.
func metadata(hash, count uint64) string { return fmt.Sprintf("1 %016x %d", hash, count) }

func parseMetadata(s string) (hash, count uint64, ok bool) {
	fields := strings.Fields(s)
	if len(fields) != 3 || fields[0] != "1" {
		return 0, 0, false
	}
	hash, err := strconv.ParseUint(fields[1], 16, 64)
	if err != nil {
		return 0, 0, false
	}
	count, err = strconv.ParseUint(fields[2], 10, 64)
	return hash, count, err == nil
}
