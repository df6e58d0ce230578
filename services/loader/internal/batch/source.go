package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/topic"
)

// source reads a lane's partitions from given positions: frames and dead letters as they come, touchpoints up to where frames
// call for them. It belongs to no group and commits nothing.
type source struct {
	facts, points *kgo.Client
	names         struct{ facts, points, dead string }
	ends          map[end]int64
	queues        map[int32]*queue // touchpoints read ahead
}

type end struct {
	topic     string
	partition int32
}

// queue is what was read of a partition of touchpoints and not taken yet.
type queue struct {
	records []*kgo.Record
	bytes   int
	paused  bool
}

// aheadBytes is how much of a partition is read ahead of its frames.
const aheadBytes = 8 << 20

// positions is where to read on.
type positions struct {
	facts, points, dead map[int32]int64
}

func openSource(c kafka.Config, log *zap.Logger, p positions) (*source, error) {
	s := &source{ends: map[end]int64{}, queues: map[int32]*queue{}}
	s.names.facts, s.names.points, s.names.dead = c.Topic(topic.Facts), c.Topic(topic.Touchpoints), c.Topic(topic.Deadletter)
	at := func(m map[int32]int64) map[int32]kgo.Offset {
		out := make(map[int32]kgo.Offset, len(m))
		for partition, offset := range m {
			out[partition] = kgo.NewOffset().At(offset)
		}
		return out
	}
	for partition := range p.points {
		s.queues[partition] = &queue{}
	}
	consume := map[string]map[int32]kgo.Offset{s.names.facts: at(p.facts)}
	if len(p.dead) > 0 {
		consume[s.names.dead] = at(p.dead)
	}
	common := []kgo.Opt{
		kgo.FetchMaxPartitionBytes(2 << 20),
		kgo.FetchMaxWait(250 * time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MaxConcurrentFetches(1),
	}
	var err error
	s.facts, err = kgo.NewClient(append(c.Opts("loader", log), append(common, kgo.ConsumePartitions(consume))...)...)
	if err != nil {
		return nil, fmt.Errorf("open kafka client: %w", err)
	}
	s.points, err = kgo.NewClient(append(c.Opts("loader", log), append(common,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.names.points: at(p.points)}),
		kgo.FetchMinBytes(256<<10))...)...)
	if err != nil {
		s.facts.Close()
		return nil, fmt.Errorf("open kafka client: %w", err)
	}
	return s, nil
}

func (s *source) close() {
	s.facts.CloseAllowingRebalance()
	s.points.CloseAllowingRebalance()
}

// poll hands every record of facts and deadletter that is there to take; it waits for some until the context ends.
func (s *source) poll(ctx context.Context, take func(dead bool, r *kgo.Record) error) error {
	fetches := s.facts.PollRecords(ctx, 2000)
	if err := s.check(fetches); err != nil {
		return err
	}
	var failed error
	fetches.EachRecord(func(r *kgo.Record) {
		if failed == nil {
			failed = take(r.Topic == s.names.dead, r)
		}
	})
	return failed
}

// records hands the records of a partition from one offset up to another, once each and in order, waiting until they are there.
func (s *source) records(ctx context.Context, partition int32, from, to int64, take func(*kgo.Record) error) error {
	q := s.queues[partition]
	for from < to {
		for len(q.records) == 0 {
			if q.paused {
				q.paused = false
				s.points.ResumeFetchPartitions(map[string][]int32{s.names.points: {partition}})
			}
			if err := s.readAhead(ctx); err != nil {
				return err
			}
		}
		r := q.records[0]
		if r.Offset != from {
			return &corrupt{fmt.Errorf("touchpoints partition %d: read offset %d, expected %d", partition, r.Offset, from)}
		}
		q.records[0] = nil
		q.records, q.bytes = q.records[1:], q.bytes-len(r.Value)
		if err := take(r); err != nil {
			return err
		}
		from++
	}
	if q.paused && q.bytes < aheadBytes/2 {
		q.paused = false
		s.points.ResumeFetchPartitions(map[string][]int32{s.names.points: {partition}})
	}
	return nil
}

func (s *source) readAhead(ctx context.Context) error {
	fetches := s.points.PollRecords(ctx, 20000)
	if err := s.check(fetches); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	fetches.EachRecord(func(r *kgo.Record) {
		q := s.queues[r.Partition]
		q.records, q.bytes = append(q.records, r), q.bytes+len(r.Value)
		if q.bytes > aheadBytes && !q.paused {
			q.paused = true
			s.points.PauseFetchPartitions(map[string][]int32{s.names.points: {r.Partition}})
		}
	})
	return nil
}

// check notes the ends of the partitions and returns what reading cannot go on after.
func (s *source) check(fetches kgo.Fetches) error {
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.HighWatermark > 0 {
			s.ends[end{p.Topic, p.Partition}] = p.HighWatermark
		}
	})
	for _, e := range fetches.Errors() {
		switch {
		case errors.Is(e.Err, context.DeadlineExceeded), errors.Is(e.Err, context.Canceled), errors.Is(e.Err, kgo.ErrClientClosed):
		case errors.Is(e.Err, kerr.OffsetOutOfRange):
			return &corrupt{fmt.Errorf("topic %s partition %d: the position that the ledger calls for is gone from the topic: what lay there was deleted before it was loaded: %w",
				e.Topic, e.Partition, e.Err)}
		default:
			return fmt.Errorf("read topic %s partition %d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	return nil
}

// corrupt is an error after which nothing may be loaded until somebody has looked.
type corrupt struct{ error }

func (c *corrupt) Unwrap() error { return c.error }
