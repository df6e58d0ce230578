package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/rules"
)

// Store is the database as a lane uses it.
type Store interface {
	Insert(ctx context.Context, b *chdb.Block, token string) error
	Select(ctx context.Context, into any, sql string, args ...any) error
	Exec(ctx context.Context, sql string, args ...any) error
}

// Config describes one lane.
type Config struct {
	Kafka          kafka.Config
	Lane           int
	Partitions     []int32 // of touchpoints and facts that the lane has
	DeadPartitions []int32 // of deadletter
	Loader         string  // unique to this lane in this process
	Generation     uint32
	FlushEvery     time.Duration
	IdleEvery      time.Duration // between rows of the ledger while nothing but ticks comes
	MaxRows        int           // of a batch; a single frame may have more
	StandbyAfter   time.Duration // without a row of another loader the lane is free
	Window         int           // batches, of all lanes, for which every table remembers tokens
}

// Deps is what a lane is given.
type Deps struct {
	Log     *zap.Logger
	Store   Store
	Metrics *Metrics
	Rules   func(project string) *rules.Rules // may be nil
	// Hook is called at the points where a crash matters; an error ends the lane there as a crash would. For tests.
	Hook func(point string) error
}

// Lane loads the partitions of one lane.
type Lane struct {
	c Config
	d Deps
	w *tables

	cause string // as last written
	short uint64 // the batch of which rows were found missing

	// From here on: since the ledger was read last.
	source  *source
	row     *row // the last one written or found
	next    map[int32]*assembly
	pending []*span       // whole, not yet in a batch
	letters []*kgo.Record // not yet in a batch
	rows    int           // of the pending spans, about
	busy    bool          // there is more than ticks among them
	flushed time.Time
}

// New makes a lane.
func New(c Config, d Deps) *Lane {
	return &Lane{c: c, d: d, w: newTables()}
}

// errStandby says that another loader writes the lane.
var errStandby = errors.New("the lane is written by another loader")

// Run loads until stop is closed, then finishes the batch in hand, or until ctx ends, which leaves the batch to be repeated. It
// returns an error only if the lane cannot go on by waiting.
func (l *Lane) Run(ctx context.Context, stop <-chan struct{}) error {
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := l.load(ctx, stop)
		if l.source != nil {
			l.source.close()
			l.source = nil
		}
		var broken *corrupt
		var crashed *crash
		switch {
		case err == nil, ctx.Err() != nil:
			return nil
		case errors.As(err, &crashed):
			return crashed.error
		case errors.As(err, &broken), chdb.ClassOf(err) == chdb.Configuration, chdb.ClassOf(err) == chdb.Poison:
			err = fmt.Errorf("lane %d: %w", l.c.Lane, err)
			l.note(context.WithoutCancel(ctx), err.Error())
			return err
		case errors.Is(err, errStandby):
			l.d.Log.Info("standing by: another loader writes this lane", zap.Int("lane", l.c.Lane))
			if err := l.standby(ctx, stop); err != nil {
				return nil
			}
			attempt = -1
			continue
		}
		if time.Since(began) > time.Minute {
			attempt = 0
		}
		l.d.Log.Warn("loading interrupted, starting the lane again from its ledger", zap.Int("lane", l.c.Lane), zap.Error(err))
		select {
		case <-ctx.Done():
			return nil
		case <-stop:
			return nil
		case <-time.After(min(5*time.Second, 100*time.Millisecond<<min(attempt, 6))):
		}
	}
}

// standby waits until no row came for a while.
func (l *Lane) standby(ctx context.Context, stop <-chan struct{}) error {
	var seen uint64
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			return errors.New("stopped")
		case <-time.After(l.c.StandbyAfter / 4):
		}
		newest, err := last(ctx, l.d.Store, uint16(l.c.Lane))
		if err != nil {
			since = time.Now() // nobody can write either
			continue
		}
		if newest != nil && newest.Seq != seen {
			seen, since = newest.Seq, time.Now()
		}
		if time.Since(since) >= l.c.StandbyAfter {
			return nil
		}
	}
}

// load reads the ledger, repeats its last batch, and makes new ones.
func (l *Lane) load(ctx context.Context, stop <-chan struct{}) error {
	var err error
	if l.row, err = last(ctx, l.d.Store, uint16(l.c.Lane)); err != nil {
		return err
	}
	p, err := l.begin()
	if err != nil {
		return err
	}
	if l.source, err = openSource(l.c.Kafka, l.d.Log, p); err != nil {
		return err
	}
	if l.row.Seq > 0 {
		spans, letters, err := l.again(ctx)
		if err != nil {
			return fmt.Errorf("repeat batch %d: %w", l.row.Seq, err)
		}
		if err := l.repeat(ctx, spans, letters); err != nil {
			return fmt.Errorf("repeat batch %d: %w", l.row.Seq, err)
		}
		l.d.Log.Info("repeated the last batch", zap.Int("lane", l.c.Lane), zap.Uint64("seq", l.row.Seq))
	}
	l.note(ctx, "")
	for {
		spans, letters, err := l.collect(ctx, stop)
		if err != nil || spans == nil && letters == nil {
			return err
		}
		began := time.Now()
		l.row = l.after(spans, letters)
		if err := l.claim(ctx); err != nil {
			return err
		}
		if err := l.hook("claimed"); err != nil {
			return err
		}
		if err := l.write(ctx, spans, letters, nil); err != nil {
			return fmt.Errorf("batch %d: %w", l.row.Seq, err)
		}
		l.d.Metrics.batch(l.row, time.Since(began))
		l.note(ctx, "")
	}
}

// begin sets the lane up behind its last row, or at the start of everything, and returns where to read from: the last batch
// is read again.
func (l *Lane) begin() (positions, error) {
	p := positions{facts: map[int32]int64{}, points: map[int32]int64{}, dead: map[int32]int64{}}
	l.next, l.pending, l.letters, l.rows, l.busy, l.flushed = map[int32]*assembly{}, nil, nil, 0, false, time.Now()
	if l.row == nil {
		l.row = &row{Lane: uint16(l.c.Lane), Generation: l.c.Generation}
		n := len(l.c.Partitions)
		for _, partition := range l.c.Partitions {
			l.row.Partition = append(l.row.Partition, uint16(partition))
		}
		l.row.FactsNext, l.row.FactsEnd = make([]int64, n), make([]int64, n)
		l.row.TouchpointsNext, l.row.TouchpointsEnd = make([]int64, n), make([]int64, n)
		l.row.Clock, l.row.Hash = make([]time.Time, n), make([]uint64, n)
		for i := range l.row.Clock {
			l.row.Clock[i] = time.UnixMilli(0).UTC()
		}
		n = len(l.c.DeadPartitions)
		for _, partition := range l.c.DeadPartitions {
			l.row.DeadPartition = append(l.row.DeadPartition, uint16(partition))
		}
		l.row.DeadFrom, l.row.DeadNext, l.row.DeadEnd = make([]int64, n), make([]int64, n), make([]int64, n)
	}
	if !same(l.row.Partition, l.c.Partitions) || !same(l.row.DeadPartition, l.c.DeadPartitions) {
		return p, &corrupt{fmt.Errorf("the ledger deals the lane partitions %v of facts and %v of deadletter, the configuration %v and %v: the number of lanes or of partitions has changed",
			l.row.Partition, l.row.DeadPartition, l.c.Partitions, l.c.DeadPartitions)}
	}
	for i, partition := range l.c.Partitions {
		p.facts[partition], p.points[partition] = l.row.FactsNext[i], l.row.TouchpointsNext[i]
	}
	for i, number := range slices.Backward(l.row.FramePartition) { // so that a partition's first frame is last
		partition := int32(number)
		p.facts[partition], p.points[partition] = l.row.FrameOffset[i], l.row.FrameFrom[i]
	}
	for i, partition := range l.c.DeadPartitions {
		p.dead[partition] = l.row.DeadFrom[i]
	}
	for partition, from := range p.points {
		l.next[partition] = &assembly{partition: partition, next: from}
	}
	return p, nil
}

func same(have []uint16, want []int32) bool {
	if len(have) != len(want) {
		return false
	}
	for i := range have {
		if int32(have[i]) != want[i] {
			return false
		}
	}
	return true
}

// take takes one record of facts or deadletter.
func (l *Lane) take(dead bool, r *kgo.Record) error {
	if dead {
		l.letters = append(l.letters, r)
		l.rows++
		l.busy = true
		return nil
	}
	done, err := l.next[r.Partition].add(r.Offset, r.Value)
	if err != nil {
		return &corrupt{err}
	}
	if done != nil {
		l.pending = append(l.pending, done)
		l.rows += done.rows()
		l.busy = l.busy || done.rows() > 0
	}
	return nil
}

// again collects the frames and letters of the last row.
func (l *Lane) again(ctx context.Context) ([]*span, []*kgo.Record, error) {
	for !l.complete() {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		wait, cancel := context.WithTimeout(ctx, time.Second)
		err := l.source.poll(wait, l.take)
		cancel()
		if err != nil {
			return nil, nil, err
		}
	}
	// The row's order, which may not be that in which the partitions answer now.
	var spans []*span
	for i, partition := range l.row.FramePartition {
		k := l.find(int32(partition), l.row.FrameOffset[i])
		s := l.pending[k]
		if s.from != l.row.FrameFrom[i] || s.to != l.row.FrameTo[i] || len(s.parts) != int(l.row.FrameParts[i]) {
			return nil, nil, &corrupt{fmt.Errorf("facts partition %d offset %d: frame [%d, %d) in %d parts, the ledger has [%d, %d) in %d",
				partition, s.offset, s.from, s.to, len(s.parts), l.row.FrameFrom[i], l.row.FrameTo[i], l.row.FrameParts[i])}
		}
		spans = append(spans, s)
		l.pending = append(l.pending[:k], l.pending[k+1:]...)
	}
	var letters, rest []*kgo.Record
	for _, r := range l.letters {
		if r.Offset < l.deadNext(r.Partition) {
			letters = append(letters, r)
		} else {
			rest = append(rest, r)
		}
	}
	l.letters = rest
	l.recount()
	return spans, letters, nil
}

func (l *Lane) find(partition int32, offset int64) int {
	for k, s := range l.pending {
		if s.partition == partition && s.offset == offset {
			return k
		}
	}
	return -1
}

func (l *Lane) deadNext(partition int32) int64 {
	for i, p := range l.row.DeadPartition {
		if int32(p) == partition {
			return l.row.DeadNext[i]
		}
	}
	return 0
}

// complete says whether all of the last row's batch was read.
func (l *Lane) complete() bool {
	for i := range l.row.FramePartition {
		if l.find(int32(l.row.FramePartition[i]), l.row.FrameOffset[i]) < 0 {
			return false
		}
	}
	for i, partition := range l.row.DeadPartition {
		if l.row.DeadNext[i] == l.row.DeadFrom[i] {
			continue
		}
		seen := false
		for _, r := range l.letters {
			seen = seen || r.Partition == int32(partition) && r.Offset >= l.row.DeadNext[i]-1
		}
		if !seen {
			return false
		}
	}
	return true
}

// collect takes the frames and letters of about one interval, nothing if stop was closed.
func (l *Lane) collect(ctx context.Context, stop <-chan struct{}) ([]*span, []*kgo.Record, error) {
	for l.rows < l.c.MaxRows {
		due := l.flushed.Add(l.c.IdleEvery)
		if l.busy {
			due = l.flushed.Add(l.c.FlushEvery)
		}
		some := len(l.pending)+len(l.letters) > 0
		wait := time.Until(due)
		if some && wait <= 0 {
			break
		}
		if !some {
			wait = max(wait, 100*time.Millisecond)
		}
		select {
		case <-stop:
			return nil, nil, nil
		default:
		}
		polling, cancel := context.WithTimeout(ctx, min(wait, 250*time.Millisecond))
		err := l.source.poll(polling, l.take)
		cancel()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, nil, err
		}
	}
	l.flushed = time.Now()
	rows, k := 0, 0
	for k < len(l.pending) && (k == 0 || rows+l.pending[k].rows() <= l.c.MaxRows) {
		rows += l.pending[k].rows()
		k++
	}
	spans := l.pending[:k:k]
	l.pending = l.pending[k:]
	m := min(len(l.letters), l.c.MaxRows)
	letters := l.letters[:m:m]
	l.letters = l.letters[m:]
	l.recount()
	return spans, letters, nil
}

func (l *Lane) recount() {
	l.rows, l.busy = len(l.letters), len(l.letters) > 0
	for _, s := range l.pending {
		l.rows += s.rows()
		l.busy = l.busy || s.rows() > 0
	}
}

// after is the row that follows the last one with these frames and letters.
func (l *Lane) after(spans []*span, letters []*kgo.Record) *row {
	r := &row{
		Lane: l.row.Lane, Seq: l.row.Seq + 1, Generation: l.c.Generation, Loader: l.c.Loader, WrittenAt: time.Now().UTC(),
		Partition: l.row.Partition, DeadPartition: l.row.DeadPartition,
		FactsNext: clone(l.row.FactsNext), TouchpointsNext: clone(l.row.TouchpointsNext),
		FactsEnd: clone(l.row.FactsEnd), TouchpointsEnd: clone(l.row.TouchpointsEnd),
		Clock: clone(l.row.Clock), Hash: clone(l.row.Hash),
		DeadFrom: clone(l.row.DeadNext), DeadNext: clone(l.row.DeadNext), DeadEnd: clone(l.row.DeadEnd),
	}
	index := make(map[int32]int, len(l.c.Partitions))
	for i, partition := range l.c.Partitions {
		index[partition] = i
		r.FactsEnd[i] = max(r.FactsEnd[i], l.source.ends[end{l.source.names.facts, partition}])
		r.TouchpointsEnd[i] = max(r.TouchpointsEnd[i], l.source.ends[end{l.source.names.points, partition}])
	}
	for _, s := range spans {
		r.add(s)
		i := index[s.partition]
		r.FactsNext[i], r.TouchpointsNext[i], r.Hash[i] = s.next, s.to, s.hash
		r.Clock[i] = time.UnixMilli(s.clock).UTC()
	}
	for i, partition := range l.c.DeadPartitions {
		r.DeadEnd[i] = max(r.DeadEnd[i], l.source.ends[end{l.source.names.dead, partition}])
		for _, letter := range letters {
			if letter.Partition == partition {
				r.DeadNext[i] = max(r.DeadNext[i], letter.Offset+1)
			}
		}
	}
	return r
}

func clone[T any](s []T) []T { return append([]T(nil), s...) }

// claim writes the row and makes sure that the lane is ours: of two writers of a number the first one's row is stored, and a
// row behind it is somebody else's. Until that is known the same row is written again.
func (l *Lane) claim(ctx context.Context) error {
	err := l.try(ctx, "batches", func() error { return l.d.Store.Insert(ctx, l.row.block(), l.row.claim()) })
	if err != nil {
		return err
	}
	var rows []writer
	err = l.try(ctx, "batches", func() (err error) {
		rows, err = writers(ctx, l.d.Store, l.row.Lane, l.row.Seq)
		return err
	})
	switch {
	case err != nil:
		return err
	case len(rows) == 0:
		return &corrupt{fmt.Errorf("the ledger has no row %d although the server took one with that token: rows of waymark_store.batches were deleted; bring them back from a backup", l.row.Seq)}
	case len(rows) == 1 && rows[0].Loader == l.c.Loader:
		return nil
	}
	return errStandby
}

// note writes why the lane stands still, or that it does not, when that changes.
func (l *Lane) note(ctx context.Context, cause string) {
	if cause == l.cause {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	b := chdb.NewBlock("causes")
	b.UInt16("lane").Append(uint16(l.c.Lane))
	b.Time("at").Append(time.Now().UnixMilli())
	b.Text("cause").Append(cause)
	if err := l.d.Store.Insert(ctx, b, ""); err != nil {
		l.d.Log.Debug("note the cause", zap.Error(err))
		return
	}
	l.cause = cause
}

// crash is an error of the hook.
type crash struct{ error }

func (l *Lane) hook(point string) error {
	if l.d.Hook == nil {
		return nil
	}
	if err := l.d.Hook(point); err != nil {
		return &crash{err}
	}
	return nil
}
