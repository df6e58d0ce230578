package owner

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// restored is a partition as its last owner left it.
type restored struct {
	machine   Machine
	committed int64 // the input offset that the state stands at
	factsEnd  int64
	saved     int64 // the input offset of the checkpoint
	savedEnd  int64
	replayed  int64 // records
}

// restoreUntilDone restores a partition, again and again while the broker is in the way. Its error is a divergence.
func (s *session) restoreUntilDone(ctx context.Context, number int32, group position) (restored, error) {
	for pause := s.config.Rebuild; ; pause = min(2*pause, 10*time.Second) {
		r, err := s.restore(ctx, number, group)
		if err == nil || ctx.Err() != nil {
			return r, err
		}
		if isDivergence(err) {
			return restored{}, diverged("restore partition %d: %w", number, err)
		}
		s.log.Warn("restore is tried again", zap.Int32("partition", number), zap.Duration("pause", pause), zap.Error(err))
		if err := sleep(ctx, pause); err != nil {
			return restored{}, err
		}
	}
}

// restore makes the state of a partition: the checkpoint, then the records between it and what is committed, applied
// silently, and the hash of the facts compared. State that does not fit is an error and never left out.
func (s *session) restore(ctx context.Context, number int32, group position) (restored, error) {
	r := restored{machine: s.config.Machine(number)}
	start, _, err := s.logs.bounds(ctx, s.checkpoints, number)
	if err != nil {
		return r, err
	}
	if r.savedEnd, err = s.logs.readToEnd(ctx, s.checkpoints, number, start, func(records []*kgo.Record) error {
		for _, rec := range records {
			if err := r.machine.Restore(rec.Key, rec.Value); err != nil {
				return diverged("read checkpoint record %d: %w", rec.Offset, err)
			}
		}
		return nil
	}); err != nil {
		return r, err
	}
	r.saved = r.machine.Next()

	at, err := s.position(ctx, number, group, &r)
	if err != nil {
		return r, err
	}
	r.committed = at.offset
	if r.saved > at.offset {
		return r, diverged("the checkpoint stands at record %d, but only those below %d are committed", r.saved, at.offset)
	}
	if err := s.replay(ctx, number, &r); err != nil {
		return r, err
	}
	r.machine.Discard()
	if hash, count := r.machine.Hash(); at.known && (hash != at.hash || count != at.count) {
		return r, diverged("the facts of the records below %d have hash %016x over %d, committed was %016x over %d: the program concludes other things from this log than before",
			at.offset, hash, count, at.hash, at.count)
	}
	return r, nil
}

// position is where the partition goes on: the higher of the group's offset and the end of the last committed frame. A broker
// that was killed while it ended a transaction may have done half of it, the frames first.
func (s *session) position(ctx context.Context, number int32, group position, r *restored) (position, error) {
	last, end, err := s.logs.lastFrame(ctx, s.facts, number)
	if err != nil {
		return position{}, err
	}
	r.factsEnd = end
	switch {
	case !group.known && !last.known:
		return position{}, nil
	case last.known && group.known && last.offset < group.offset:
		return position{}, diverged("records below %d are committed, but the last frame of %s reaches only %d: frames are gone",
			group.offset, s.facts, last.offset)
	case last.known && group.known && last.offset == group.offset && group.hashed && (last.hash != group.hash || last.count != group.count):
		return position{}, diverged("the last frame of %s and the committed offset %d have different hashes (%016x and %016x)",
			s.facts, group.offset, last.hash, group.hash)
	case last.known:
		return last, nil
	case !group.hashed && group.offset > 0:
		return position{}, diverged("offset %d was committed without the hash of its facts, and no frame has it: something else than a worker set it", group.offset)
	case !group.hashed:
		return position{}, nil
	default: // idle for so long that its frames were removed
		return group, nil
	}
}

// replay applies the records between the checkpoint and what is committed.
func (s *session) replay(ctx context.Context, number int32, r *restored) error {
	start, end, err := s.logs.bounds(ctx, s.touchpoints, number)
	if err != nil {
		return err
	}
	if start > r.saved {
		return diverged("%s begins at record %d, the state needs those from %d on: %d records were removed before they were read, or before a checkpoint covered them",
			s.touchpoints, start, r.saved, start-r.saved)
	}
	if end < r.committed {
		return diverged("%s ends before record %d, but those below %d are committed: the log is not the one that the facts came from",
			s.touchpoints, end, r.committed)
	}
	if r.saved == r.committed {
		return nil
	}
	if err := s.logs.read(ctx, s.touchpoints, number, r.saved, r.committed, func(records []*kgo.Record) error {
		for _, rec := range records {
			if err := r.machine.Apply(record(rec)); err != nil {
				return diverged("apply: %w", err)
			}
		}
		r.machine.Discard()
		r.replayed += int64(len(records))
		return nil
	}); err != nil {
		return err
	}
	if next := r.machine.Next(); next != r.committed {
		return diverged("%s has no records from %d to %d", s.touchpoints, next, r.committed-1)
	}
	return nil
}
