package owner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waymark-analytics/waymark/schemas/facts"
)

const (
	readBytes  = 4 << 20                // of one fetch
	readWait   = 100 * time.Millisecond // of the broker, for a transaction to end
	retryWait  = 50 * time.Millisecond
	fetchTries = 20
	fetchAny   = 3 // fetches without records after which a range is taken to be empty
)

// logs reads ranges of partitions by bare fetch requests. A consumer would not do: it says nothing of the offsets that hold no
// record (markers, aborted or compacted ones), and a restore must know that it stands at the end. Safe for concurrent use.
type logs struct {
	cl *kgo.Client

	mu struct {
		sync.Mutex
		leaders map[string]map[int32]int32
		ids     map[string][16]byte
	}
}

func newLogs(cl *kgo.Client) *logs { return &logs{cl: cl} }

// bounds gives the offset of the first record of a partition and that behind the last one, be it committed or not.
func (l *logs) bounds(ctx context.Context, name string, partition int32) (start, end int64, err error) {
	if start, err = l.listOffset(ctx, name, partition, -2); err != nil {
		return 0, 0, err
	}
	end, err = l.listOffset(ctx, name, partition, -1)
	return start, end, err
}

func (l *logs) listOffset(ctx context.Context, name string, partition int32, at int64) (int64, error) {
	for {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, at, -1
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, l.cl)
		if err == nil {
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
				return 0, fmt.Errorf("list offsets of %s/%d: the answer has no such partition", name, partition)
			}
			if err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err == nil {
				return resp.Topics[0].Partitions[0].Offset, nil
			}
		}
		if known, ok := errors.AsType[*kerr.Error](err); !ok || !known.Retriable {
			return 0, fmt.Errorf("list offsets of %s/%d: %w", name, partition, err)
		}
		if err := sleep(ctx, retryWait); err != nil {
			return 0, err
		}
	}
}

// batch is what one fetch brought: records, and the offset behind everything it covered.
type batch struct {
	records []*kgo.Record
	next    int64
}

// read calls fn for every stored record in [from, to) that is committed, control records and aborted ones left out, fetch by
// fetch, and returns when it knows all of that range: it waits for transactions that are open in it.
func (l *logs) read(ctx context.Context, name string, partition int32, from, to int64, fn func([]*kgo.Record) error) error {
	ctx, cancel := context.WithCancel(ctx)
	ahead := make(chan batch, 1)
	var failure error // written before ahead is closed
	go func() {
		defer close(ahead)
		for at, empty := from, 0; at < to; {
			b, stable, err := l.fetch(ctx, name, partition, at)
			if err != nil {
				failure = fmt.Errorf("read %s/%d at %d: %w", name, partition, at, err)
				return
			}
			if b.next == at {
				// Nothing came. Either a transaction is open there, or nothing is left of the range; once could be chance.
				if empty++; stable < to || empty < fetchAny {
					continue
				}
				return
			}
			empty, at = 0, b.next
			select {
			case ahead <- b:
			case <-ctx.Done():
				failure = ctx.Err()
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range ahead { // until the goroutine is gone
		}
	}()
	for b := range ahead {
		records := b.records
		for len(records) > 0 && records[len(records)-1].Offset >= to {
			records = records[:len(records)-1]
		}
		if err := fn(records); err != nil {
			return err
		}
	}
	return failure
}

// readToEnd is read from an offset to the end of the partition, and gives that end. The marker that ends a transaction may be
// written only now: what came meanwhile is read too, until nothing comes.
func (l *logs) readToEnd(ctx context.Context, name string, partition int32, from int64, fn func([]*kgo.Record) error) (int64, error) {
	for {
		end, err := l.listOffset(ctx, name, partition, -1)
		if err != nil || end <= from {
			return from, err
		}
		if err := l.read(ctx, name, partition, from, end, fn); err != nil {
			return from, err
		}
		from = end
	}
}

// fetch reads the records at an offset and the last stable offset.
func (l *logs) fetch(ctx context.Context, name string, partition int32, at int64) (batch, int64, error) {
	for tries := 1; ; tries++ {
		b, stable, err := l.tryFetch(ctx, name, partition, at)
		if err == nil || ctx.Err() != nil {
			return b, stable, errors.Join(err, ctx.Err())
		}
		if known, ok := errors.AsType[*kerr.Error](err); ok && !known.Retriable || tries >= fetchTries {
			return batch{}, 0, err
		}
		l.forget() // the leader may have changed
		if err := sleep(ctx, retryWait); err != nil {
			return batch{}, 0, err
		}
	}
}

func (l *logs) tryFetch(ctx context.Context, name string, partition int32, at int64) (batch, int64, error) {
	leader, id, err := l.leader(ctx, name, partition)
	if err != nil {
		return batch{}, 0, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.SessionEpoch = -1, -1
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(readWait.Milliseconds()), 1, 16*readBytes
	req.IsolationLevel = 1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = name, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, readBytes
	p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStartOffset = -1, -1, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := l.cl.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return batch{}, 0, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return batch{}, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return batch{next: at}, -1, nil // a throttled answer is empty
	}
	got := &resp.Topics[0].Partitions[0]
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic: name, Partition: partition, Offset: at, IsolationLevel: kgo.ReadCommitted(),
	}, got, kgo.DefaultDecompressor(), nil)
	return batch{fetched.Records, next}, got.LastStableOffset, fetched.Err
}

var errNoLeader = errors.New("the partition has no leader")

func (l *logs) leader(ctx context.Context, name string, partition int32) (int32, [16]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if leader, ok := l.mu.leaders[name][partition]; ok {
		return leader, l.mu.ids[name], nil
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = new(name)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return 0, [16]byte{}, err
	}
	if l.mu.leaders == nil {
		l.mu.leaders, l.mu.ids = map[string]map[int32]int32{}, map[string][16]byte{}
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return 0, [16]byte{}, err
		}
		l.mu.leaders[name], l.mu.ids[name] = map[int32]int32{}, t.TopicID
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 {
				l.mu.leaders[name][p.Partition] = p.Leader
			}
		}
	}
	leader, ok := l.mu.leaders[name][partition]
	if !ok {
		return 0, [16]byte{}, errNoLeader
	}
	return leader, l.mu.ids[name], nil
}

func (l *logs) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.mu.leaders)
}

// abortLeftover ends the transaction that a process under the same transactional id may have left open.
func (l *logs) abortLeftover(ctx context.Context, id string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = &id
		req.TransactionTimeoutMillis = int32(timeout.Milliseconds())
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := req.RequestWith(ctx, l.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if known, ok := errors.AsType[*kerr.Error](err); !ok || !known.Retriable {
			return err
		}
		if err := sleep(ctx, retryWait); err != nil {
			return err
		}
	}
}

// lastFrame reads the last committed frame of a partition of facts and the offset behind everything in it.
func (l *logs) lastFrame(ctx context.Context, name string, partition int32) (position, int64, error) {
	start, end, err := l.bounds(ctx, name, partition)
	if err != nil {
		return position{}, 0, err
	}
	for back := int64(8); ; back *= 8 {
		from := max(start, end-back)
		var last *kgo.Record
		end, err := l.readToEnd(ctx, name, partition, from, func(records []*kgo.Record) error {
			if n := len(records); n > 0 {
				last = records[n-1]
			}
			return nil
		})
		if err != nil {
			return position{}, 0, err
		}
		if last != nil {
			var f facts.Frame
			if err := f.UnmarshalVT(last.Value); err != nil {
				return position{}, 0, diverged("record %d of %s/%d is no frame: %w", last.Offset, name, partition, err)
			}
			return position{known: true, offset: f.To, hashed: true, hash: f.Hash, count: f.Count}, end, nil
		}
		if from == start {
			return position{}, end, nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
