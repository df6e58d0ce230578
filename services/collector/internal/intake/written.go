package intake

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// Identity is what makes two events one.
type Identity struct{ Project, MessageID, UserID, AnonymousID string }

// IdentityOf is an event's identity. It does not alias the event.
func IdentityOf(e *touchpoint.Event) Identity {
	return Identity{strings.Clone(e.Project), strings.Clone(e.MessageId), strings.Clone(e.UserId), strings.Clone(e.AnonymousId)}
}

// searchWithin is how long Written reads.
const searchWithin = 20 * time.Second

// Ends returns for each partition of touchpoints the offset that the next record gets.
func (l *Log) Ends(ctx context.Context) (map[int32]int64, error) {
	listed, err := kadm.NewClient(l.cl).ListEndOffsets(ctx, l.touchpoints)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: list the ends of %s: %w", ErrUnacked, l.touchpoints, err)
	}
	ends := make(map[int32]int64, l.Partitions())
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

// Written reads the log from the offsets given up to its end, and returns of the events sought those that are there, with
// the partition and offset of each. It is how a request whose outcome nobody knows is finished without writing anything twice.
func (l *Log) Written(ctx context.Context, since map[int32]int64, sought map[Identity]bool) (map[Identity]Place, error) {
	ctx, cancel := context.WithTimeout(ctx, searchWithin)
	defer cancel()
	ends, err := l.Ends(ctx)
	if err != nil {
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	left := 0
	for partition, offset := range since {
		if end, ok := ends[partition]; ok && offset < end {
			from[partition] = kgo.NewOffset().At(offset)
			left++
		}
	}
	found := map[Identity]Place{}
	if left == 0 {
		return found, nil
	}
	cl, err := kgo.NewClient(append(l.cfg.Kafka.Opts("collector", l.log),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.touchpoints: from}))...)
	if err != nil {
		return nil, fmt.Errorf("make Kafka client: %w", err)
	}
	defer cl.Close()
	var e touchpoint.Event
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("%w: read %s again: %w", ErrUnacked, l.touchpoints, err)
		}
		fetches.EachError(func(_ string, _ int32, fault error) { err = fault })
		if err != nil {
			return nil, fmt.Errorf("%w: read %s again: %w", ErrUnacked, l.touchpoints, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end := ends[r.Partition]; r.Offset >= end {
				return
			} else if r.Offset == end-1 {
				left--
			}
			e.Reset()
			if len(r.Key) == 0 || e.UnmarshalVTUnsafe(r.Value) != nil {
				return
			}
			if id := (Identity{e.Project, e.MessageId, e.UserId, e.AnonymousId}); sought[id] {
				found[IdentityOf(&e)] = Place{r.Partition, r.Offset}
			}
		})
	}
	return found, nil
}

// Place is where a record is in the log.
type Place struct {
	Partition int32
	Offset    int64
}
