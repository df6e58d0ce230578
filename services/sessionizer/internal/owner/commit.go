package owner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// stuck is how long frames wait for the poll to come back to them before the worker is built anew.
const stuck = 20 * time.Second

// commit writes the frames of everything applied, and the input offsets with them, in one transaction.
//
// A refused commit keeps state and frames: the log cannot change, so the same frames go again when the poll is back behind
// them. An error means that nobody knows what became of it: the caller drops the session.
func (s *session) commit() error {
	began := time.Now()
	s.committed = began
	if s.joining() {
		// The end of a transaction would wait for the join, and the join, on other members, for longer than that may take.
		// What is applied stays, and goes out if its partition stays too.
		return nil
	}
	var out []*partition
	for _, p := range s.partitions {
		if p.uncut > 0 {
			if err := s.cut(p); err != nil {
				return err
			}
		}
		if len(p.unsent) > 0 {
			out = append(out, p)
		}
	}
	s.applied = 0
	for _, p := range out {
		if p.polled < p.next() {
			return s.wait(began)
		}
	}
	s.waiting = time.Time{}
	s.awaitAppends()
	s.config.failpoint(PointBeforeBegin)

	if err := s.group.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	acks, err := s.produce(s.facts, func(put func(*kgo.Record)) {
		for _, p := range out {
			for _, f := range p.unsent {
				for _, part := range f.parts {
					put(&kgo.Record{Topic: s.facts, Partition: p.number, Value: part})
				}
			}
		}
	})
	if err != nil {
		return fmt.Errorf("produce frames: %w", err)
	}
	s.config.failpoint(PointProduced)
	// The fence: a frame that lies elsewhere than behind the last one known says that another worker wrote to this partition
	// since. Of two that believe they own it, one is first at this offset, and only that one commits.
	outrun := false
	offsets := make(map[int32]position, len(out))
	for _, p := range out {
		last := p.unsent[len(p.unsent)-1]
		offsets[p.number] = position{offset: last.to, hash: last.hash, count: last.count}
		a, wrote := acks[p.number]
		if !wrote {
			continue // an encoding of its own may have nothing to say
		}
		outrun = outrun || a.first != p.factsEnd
		p.factsEnd = a.last + 2 // behind the marker that ends this transaction
	}
	try := kgo.TryCommit
	if outrun {
		try = kgo.TryAbort
	}
	committed, err := s.end(try, offsets)
	if err != nil {
		return fmt.Errorf("end transaction: %w", err)
	}
	s.config.failpoint(PointEnded)
	m := s.owner.metrics
	if !committed {
		m.commits.WithLabelValues("refused").Inc()
		level := zap.InfoLevel // a member that joins or leaves: part of life
		if outrun {
			level = zap.WarnLevel
		}
		s.log.Log(level, "commit refused", zap.Bool("outrun", outrun), zap.Int("partitions", len(out)))
		s.setBack()
		return s.verify(out)
	}
	for _, p := range out {
		p.sent()
	}
	s.commits++
	m.commits.WithLabelValues("committed").Inc()
	m.commitTime.Observe(time.Since(began).Seconds())
	return nil
}

// wait lets frames wait for the poll, but not for ever.
func (s *session) wait(now time.Time) error {
	if s.waiting.IsZero() {
		s.waiting = now
	}
	if now.Sub(s.waiting) > stuck {
		return errors.New("the records of a refused commit do not come again")
	}
	return nil
}

// cut makes frames of what was applied.
func (s *session) cut(p *partition) error {
	frames := p.machine.Cut()
	p.uncut = 0
	if len(frames) == 0 {
		return nil
	}
	hash, count := p.machine.Hash()
	f := frame{to: p.machine.Next(), hash: hash, count: count}
	for _, part := range frames {
		values, err := s.config.Encode(part)
		if err != nil {
			return fmt.Errorf("encode frame of partition %d: %w", p.number, err)
		}
		f.parts = append(f.parts, values...)
	}
	for _, w := range frames[0].Watermarks {
		if ahead := w.Watermark - w.At; !p.watermarked || ahead > p.watermark {
			p.watermark, p.watermarked = ahead, true
		}
	}
	p.unsent = append(p.unsent, f)
	return nil
}

// sent notes that the unsent frames are committed.
func (p *partition) sent() {
	p.committed = p.unsent[len(p.unsent)-1].to
	clear(p.unsent)
	p.unsent = p.unsent[:0]
}

// ack is where the records of a transaction lie in a partition.
type ack struct{ first, last int64 }

// produce puts records into the open transaction and waits for them. Records of a partition must lie one behind the other.
func (s *session) produce(name string, each func(put func(*kgo.Record))) (map[int32]ack, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.config.TransactionTimeout/2)
	defer cancel()
	var mu sync.Mutex // of acks and failure: promises run on a goroutine of the client's
	acks := map[int32]ack{}
	var failure error
	each(func(r *kgo.Record) {
		s.group.Produce(ctx, r, func(r *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			a, ok := acks[r.Partition]
			switch {
			case err != nil:
				failure = err
			case !ok:
				acks[r.Partition] = ack{r.Offset, r.Offset}
			case r.Offset != a.last+1:
				acks[r.Partition] = ack{-1, r.Offset} // others wrote in between: never where it is expected
			default:
				acks[r.Partition] = ack{a.first, r.Offset}
			}
		})
	})
	if err := s.group.Client().Flush(ctx); err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	if failure != nil {
		return nil, fmt.Errorf("to %s: %w", name, failure)
	}
	return acks, nil
}

// end ends the open transaction with the input offsets given, and no others: the client would commit whatever was polled.
//
// It has a deadline because the client may wait for ever when the group's session was lost while polls block the rebalance:
// its last heartbeat waits for a callback, and the callback for the end of the transaction. There is always an offset in it:
// without, the group's generation is not checked, and the client holds its lock for half a second more.
func (s *session) end(try kgo.TransactionEndTry, offsets map[int32]position) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.config.EndTimeout)
	defer cancel()
	return s.group.End(kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		for _, has := range req.Topics {
			if has.Topic == s.touchpoints {
				t = has
			}
		}
		t.Topic, t.Partitions = s.touchpoints, nil
		for number, at := range offsets {
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = number, at.offset, -1
			with := metadata(at.hash, at.count)
			p.Metadata = &with
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{t}
		return nil
	}), try)
}

// verify asks the log of facts what became of the frames of a transaction that was not committed as far as the client can
// tell: an answer may have been lost. Where nothing was written, and nobody else wrote, they go again.
func (s *session) verify(out []*partition) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.config.TransactionTimeout)
	defer cancel()
	// If the abort was not confirmed either, the client ends the transaction by taking a new epoch.
	if _, _, err := s.group.Client().ProducerID(ctx); err != nil {
		return fmt.Errorf("renew producer: %w", err)
	}
	for _, p := range out {
		last, end, err := s.logs.lastFrame(ctx, s.facts, p.number)
		if err != nil {
			return fmt.Errorf("verify partition %d: %w", p.number, err)
		}
		unsent := p.unsent[len(p.unsent)-1]
		switch {
		case last.known && last.offset == unsent.to && last.hash == unsent.hash && last.count == unsent.count:
			p.sent()
		case last.known && last.offset != p.committed:
			return fmt.Errorf("partition %d has a frame up to %d that this worker, at %d, did not write: the partition is another's",
				p.number, last.offset, p.committed)
		}
		p.factsEnd = end
	}
	return nil
}

// awaitAppends waits for what was appended to touchpoints in this cycle. A tick that is late does no harm.
func (s *session) awaitAppends() {
	if s.appending.Load() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.config.EndTimeout)
	defer cancel()
	if err := s.appender.Flush(ctx); err != nil {
		s.log.Warn("ticks are not acknowledged", zap.Error(err))
	}
}
