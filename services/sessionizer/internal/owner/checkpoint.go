package owner

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// quiet is by how much a checkpoint waits longer if nothing changed but the offset.
const quiet = 10

// snapshot is a checkpoint on its way: what changed up to an input offset that is committed. It is kept until it is stored,
// because the machine gives each change once.
type snapshot struct {
	next    int64
	bytes   int
	records []struct{ key, value []byte }
	chunk   []byte
}

const chunkBytes = 1 << 20

func (n *snapshot) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	if len(n.chunk)+len(b) > cap(n.chunk) {
		n.chunk = make([]byte, 0, max(chunkBytes, len(b)))
	}
	from := len(n.chunk)
	n.chunk = append(n.chunk, b...)
	return n.chunk[from:len(n.chunk):len(n.chunk)]
}

// checkpointNext writes the checkpoint of the partition that has waited longest for one, if any is due.
func (s *session) checkpointNext() error {
	var next *partition
	for _, p := range s.partitions {
		if p.ready() && s.checkpointDue(p) && (next == nil || p.savedAt.Before(next.savedAt)) {
			next = p
		}
	}
	if next == nil {
		return nil
	}
	return s.checkpoint(next)
}

func (s *session) checkpointDue(p *partition) bool {
	if p.unsaved != nil {
		return true
	}
	changed, age := p.machine.Changed(), time.Since(p.savedAt)
	return changed >= s.config.CheckpointBytes || changed > 0 && age >= s.config.CheckpointEvery ||
		p.machine.Next() > p.saved && age >= quiet*s.config.CheckpointEvery
}

// checkpoint writes what changed since the last one, in a transaction of its own, with the offset that is committed already.
// The fence is the same as for frames: a worker that lost the partition must not write older states over newer ones.
// REQUIRES: nothing of the partition is uncut or unsent.
func (s *session) checkpoint(p *partition) error {
	began := time.Now()
	n := p.unsaved
	if n == nil {
		n = &snapshot{next: p.machine.Next()}
		p.machine.Checkpoint(func(key, value []byte) {
			n.bytes += len(key) + len(value)
			n.records = append(n.records, struct{ key, value []byte }{n.copy(key), n.copy(value)})
		})
		p.unsaved = n
	}
	s.config.failpoint(PointBeforeCheckpoint)
	if err := s.group.Begin(); err != nil {
		return fmt.Errorf("begin checkpoint: %w", err)
	}
	acks, err := s.produce(s.checkpoints, func(put func(*kgo.Record)) {
		for _, r := range n.records {
			put(&kgo.Record{Topic: s.checkpoints, Partition: p.number, Key: r.key, Value: r.value})
		}
	})
	if err != nil {
		return fmt.Errorf("produce checkpoint: %w", err)
	}
	s.config.failpoint(PointSaved)
	at, try := acks[p.number], kgo.TryCommit
	if at.first != p.savedEnd {
		try = kgo.TryAbort
	}
	hash, count := p.machine.Hash()
	committed, err := s.end(try, map[int32]position{p.number: {offset: p.committed, hash: hash, count: count}})
	if err != nil {
		return fmt.Errorf("end checkpoint: %w", err)
	}
	s.config.failpoint(PointAfterCheckpoint)
	m := s.owner.metrics
	if !committed {
		s.setBack()
		m.checkpoints.WithLabelValues("refused").Inc()
		s.log.Warn("checkpoint refused", zap.Int32("partition", p.number), zap.Bool("outrun", try == kgo.TryAbort))
		return s.verifyCheckpoint(p, at)
	}
	p.savedEnd = at.last + 2
	p.unsaved, p.saved, p.savedAt = nil, n.next, time.Now()
	m.checkpoints.WithLabelValues("committed").Inc()
	m.checkpointBytes.Add(float64(n.bytes))
	m.checkpointTime.Observe(time.Since(began).Seconds())
	return nil
}

// verifyCheckpoint looks at what lies behind the last checkpoint known after one was refused. Markers and what was aborted
// only move the end, and the snapshot goes again; so it does if it was stored after all, because that changes nothing. Records
// of another worker say that the partition is its.
func (s *session) verifyCheckpoint(p *partition, own ack) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.config.TransactionTimeout)
	defer cancel()
	if _, _, err := s.group.Client().ProducerID(ctx); err != nil {
		return fmt.Errorf("renew producer: %w", err)
	}
	end, err := s.logs.readToEnd(ctx, s.checkpoints, p.number, p.savedEnd, func(records []*kgo.Record) error {
		for _, r := range records {
			if r.Offset < own.first || r.Offset > own.last {
				return fmt.Errorf("partition %d has a checkpoint that this worker did not write: the partition is another's", p.number)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify checkpoint: %w", err)
	}
	p.savedEnd = end
	return nil
}
