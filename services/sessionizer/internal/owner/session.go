package owner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

const (
	group     = "sessionizer"
	idlePoll  = 250 * time.Millisecond // the longest poll
	pollPause = 20 * time.Millisecond  // between polls of few records: each costs a request
	fewRecord = 1000
	lanes     = 2 // partitions that a worker restores at the same time
)

// session is the life of one group client. One goroutine, that of run, has everything but mu; callbacks of the client and
// restores leave what they have in mu.
type session struct {
	*worker
	config   *Config
	ctx      context.Context // ends everything on the network
	cancel   context.CancelFunc
	group    *kgo.GroupTransactSession
	appender *kgo.Client // plain: nothing that goes to touchpoints is in a transaction
	logs     *logs

	touchpoints, facts, checkpoints string // topics

	partitions map[int32]*partition
	applied    int       // records since the last cut
	committed  time.Time // when the last commit began
	commits    int
	waiting    time.Time // since when unsent frames wait for the poll to come back to them
	appending  atomic.Int64
	ticked     time.Time
	observed   time.Time

	restores sync.WaitGroup
	lane     chan struct{} // bounds the restores
	inbox
}

func newSession(ctx context.Context, w *worker) (*session, error) {
	c := &w.owner.config
	s := &session{
		worker: w, config: c, partitions: map[int32]*partition{}, lane: make(chan struct{}, lanes),
		touchpoints: c.Topics.Touchpoints, facts: c.Topics.Facts, checkpoints: c.Topics.Checkpoints,
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.mu.generations = map[int32]uint64{}
	name := fmt.Sprintf("%s%s-%s-%d", c.Kafka.Prefix, group, c.Instance, w.number)
	var err error
	if s.appender, err = kgo.NewClient(append(c.Kafka.Opts("sessionizer-append", s.log), kgo.WithContext(s.ctx), kgo.ProducerLinger(0))...); err != nil {
		return nil, fmt.Errorf("append client: %w", err)
	}
	reader, err := kgo.NewClient(append(c.Kafka.Opts("sessionizer-restore", s.log), kgo.WithContext(s.ctx))...)
	if err != nil {
		s.appender.Close()
		return nil, fmt.Errorf("restore client: %w", err)
	}
	s.logs = newLogs(reader)
	// Before the group is joined: with a transaction left open under this id the committed offsets could not be read.
	if err := s.logs.abortLeftover(s.ctx, name, c.TransactionTimeout); err != nil {
		s.appender.Close()
		reader.Close()
		return nil, fmt.Errorf("abort what an earlier process left: %w", err)
	}
	opts := append(c.Kafka.Opts("sessionizer", s.log),
		kgo.WithContext(s.ctx),
		kgo.TransactionalID(name),
		kgo.TransactionTimeout(c.TransactionTimeout),
		kgo.ProducerLinger(0),
		kgo.ConsumerGroup(c.Kafka.Prefix+group),
		kgo.ConsumeTopics(s.touchpoints),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(c.SessionTimeout),
		// A join waits that long for a member that is gone without the broker's notice; no cycle takes as long.
		kgo.RebalanceTimeout(c.TransactionTimeout),
		kgo.HeartbeatInterval(min(time.Second, c.SessionTimeout/4)),
		kgo.BlockRebalanceOnPoll(),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// A partition that was never committed begins at the start of its log, and nowhere else.
		kgo.ConsumeStartOffset(kgo.NewOffset().At(0)),
		kgo.FetchMaxBytes(32<<20), // nothing in touchpoints is in a transaction
		kgo.WithPools(&pools{}),
		kgo.OnOffsetsFetched(s.onFetched),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onRevoked),
	)
	if c.Static {
		opts = append(opts, kgo.InstanceID(name))
	}
	if s.group, err = kgo.NewGroupTransactSession(opts...); err != nil {
		s.appender.Close()
		reader.Close()
		return nil, fmt.Errorf("group client: %w", err)
	}
	return s, nil
}

// close drops client and state. A transaction left open is aborted by the next session's client, which has its id.
func (s *session) close() {
	for _, p := range s.partitions {
		s.drop(p)
	}
	s.group.AllowRebalance()
	ctx, cancel := context.WithTimeout(s.ctx, s.config.EndTimeout)
	defer cancel()
	_ = s.group.Client().LeaveGroupContext(ctx) // the session timeout does it otherwise
	s.cancel()
	s.group.Close()
	s.restores.Wait()
	s.appender.Close()
	s.logs.cl.Close()
}

// run goes through cycles until stopping is done; nil after an orderly end.
func (s *session) run(stopping context.Context) error {
	wake := context.AfterFunc(stopping, s.wake)
	defer wake()
	for stopping.Err() == nil {
		if err := s.cycle(stopping); err != nil {
			return err
		}
	}
	return s.finish()
}

// cycle polls and applies for a while, commits, and lets the group rebalance.
func (s *session) cycle(stopping context.Context) error {
	for {
		fetches := s.poll(s.pause())
		// From here to AllowRebalance the group cannot take a partition away.
		spent, err := s.settle()
		if err != nil {
			return err
		}
		polled, err := s.take(fetches, spent)
		if err != nil {
			return err
		}
		s.tick()
		if s.applied == 0 && !s.unsent() || s.due() || stopping.Err() != nil {
			break
		}
		if polled < fewRecord {
			s.rest(stopping, min(pollPause, time.Until(s.committed.Add(s.config.CommitEvery))))
		}
	}
	if s.applied > 0 || s.unsent() {
		s.config.failpoint(PointApplied)
		if err := s.commit(); err != nil {
			return err
		}
	}
	joining := s.joining()
	if !joining {
		if err := s.checkpointNext(); err != nil {
			return err
		}
	}
	s.observe()
	s.group.AllowRebalance()
	if joining {
		s.rest(stopping, pollPause)
	}
	return nil
}

// due says whether what is applied should be committed now.
func (s *session) due() bool {
	return s.applied >= s.config.CommitRecords || time.Since(s.committed) >= s.config.CommitEvery
}

// pause is how long the next poll may take.
func (s *session) pause() time.Duration {
	if s.applied > 0 || s.unsent() {
		return max(time.Millisecond, time.Until(s.committed.Add(s.config.CommitEvery)))
	}
	return min(idlePoll, s.config.TickEvery/2)
}

func (s *session) rest(stopping context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stopping.Done():
	}
}

func (s *session) poll(wait time.Duration) kgo.Fetches {
	ctx, cancel := context.WithTimeout(s.ctx, wait)
	defer cancel()
	s.mu.Lock()
	if s.mu.woken {
		cancel()
	}
	s.mu.woken, s.mu.wake = false, cancel
	s.mu.Unlock()
	return s.group.PollRecords(ctx, max(1, s.config.CommitRecords-s.applied))
}

// take applies what was polled. Records that came before the client's position was set back are left: they come again.
func (s *session) take(fetches kgo.Fetches, setBack bool) (records int, err error) {
	fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
		if fetched.Err != nil {
			err = errors.Join(err, s.fetchFault(fetched))
		}
		if setBack || len(fetched.Records) == 0 {
			return
		}
		records += len(fetched.Records)
		if p, ok := s.partitions[fetched.Partition]; ok && p.phase == running {
			applied := p.apply(fetched.Records)
			s.applied += applied
			p.end = fetched.HighWatermark
			s.owner.metrics.fed(p, applied)
			if p.fault != nil {
				s.halt(p, p.fault)
			}
		}
		for _, r := range fetched.Records {
			r.Recycle()
		}
	})
	return records, err
}

func (s *session) fetchFault(fetched kgo.FetchTopicPartition) error {
	err := fetched.Err
	if s.ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return nil // the poll's end
	}
	p, ok := s.partitions[fetched.Partition]
	switch loss, lost := errors.AsType[*kgo.ErrDataLoss](err); {
	case fetched.Topic == s.touchpoints && ok && lost:
		s.halt(p, diverged("partition %d of %s lost records that were read before: %w", fetched.Partition, s.touchpoints, loss))
	case fetched.Topic == s.touchpoints && ok && errors.Is(err, kerr.OffsetOutOfRange):
		start, end, e := s.logs.bounds(s.ctx, s.touchpoints, fetched.Partition)
		if e != nil {
			return e
		}
		s.halt(p, diverged("partition %d of %s has records %d to %d, the next one to read is %d: what lies between is gone",
			fetched.Partition, s.touchpoints, start, end-1, p.next()))
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		return diverged("topic %s was deleted and made anew: its state is of another log: %w", s.touchpoints, err)
	default:
		return groupFault(err)
	}
	return nil
}

// halt stops a partition for good: its state and its log do not belong together. What was applied before is right, and still
// goes out. The other partitions go on.
func (s *session) halt(p *partition, err error) {
	if p.phase == halted {
		return
	}
	p.phase = halted
	s.group.Client().PauseFetchPartitions(map[string][]int32{s.touchpoints: {p.number}})
	s.owner.metrics.halted.Inc()
	s.log.Error("partition stops", zap.Int32("partition", p.number), zap.Error(err))
	s.owner.fail(err)
}

// settle takes over what callbacks and restores left. It reports whether the client's position was set back.
func (s *session) settle() (setBack bool, err error) {
	revoked := false
	for _, e := range s.drain() {
		p := s.partitions[e.partition]
		switch {
		case e.kind == revokedEvent:
			revoked = true // also of a partition that was dropped before: the client remembers the revoke
			if p != nil {
				s.drop(p)
			}
		case e.kind == assignedEvent:
			if p != nil {
				s.drop(p)
			}
			s.adopt(e)
		case e.kind == restoredEvent && p != nil && p.generation == e.generation:
			s.enter(p, e)
		}
	}
	if !revoked {
		return false, nil
	}
	s.config.failpoint(PointHandOver)
	// The client aborts the first transaction after a revoke, though this revoke came between two: it is spent on one that
	// holds nothing.
	if err := s.group.Begin(); err != nil {
		return false, fmt.Errorf("begin empty transaction: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.config.EndTimeout)
	defer cancel()
	if _, err := s.group.End(ctx, kgo.TryAbort); err != nil {
		return false, fmt.Errorf("end empty transaction: %w", err)
	}
	s.setBack()
	return true, nil
}

// adopt begins the life of an assigned partition, whose fetching is paused, with its restore.
func (s *session) adopt(e event) {
	p := &partition{number: e.partition, generation: e.generation, assigned: time.Now()}
	ctx, cancel := context.WithCancel(s.ctx)
	p.cancel = cancel
	s.partitions[p.number] = p
	s.restores.Go(func() {
		select {
		case s.lane <- struct{}{}:
			defer func() { <-s.lane }()
		case <-ctx.Done():
			return
		}
		r, err := s.restoreUntilDone(ctx, p.number, e.group)
		if ctx.Err() != nil {
			return
		}
		s.leave(event{kind: restoredEvent, partition: p.number, generation: p.generation, restored: r, err: err})
	})
}

// enter takes over what a restore gives.
func (s *session) enter(p *partition, e event) {
	p.cancel()
	if e.err != nil {
		s.halt(p, e.err)
		return
	}
	p.begin(e.restored, s.config)
	s.config.failpoint(PointRestored)
	m := s.owner.metrics
	m.restore.WithLabelValues(p.label()).Set(time.Since(p.assigned).Seconds())
	m.replayed.Add(float64(e.restored.replayed))
	s.log.Info("partition is restored", zap.Int32("partition", p.number), zap.Int64("offset", p.committed),
		zap.Int64("replayed", e.restored.replayed), zap.Duration("took", time.Since(p.assigned)))
	// Under the lock that a new assignment pauses under: this one must not undo its pause.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.generations[p.number] == p.generation {
		s.group.Client().ResumeFetchPartitions(map[string][]int32{s.touchpoints: {p.number}})
	}
}

func (s *session) drop(p *partition) {
	p.cancel()
	delete(s.partitions, p.number)
	s.owner.metrics.forget(p.label())
}

// setBack notes that the client reads again from the committed offsets.
func (s *session) setBack() {
	for _, p := range s.partitions {
		p.polled = 0
		if p.phase == halted { // it is not polled again
			p.uncut, p.unsent = 0, nil
		}
	}
}

// unsent says whether frames are cut and not committed.
func (s *session) unsent() bool {
	for _, p := range s.partitions {
		if len(p.unsent) > 0 {
			return true
		}
	}
	return false
}

// tick appends an empty record to every partition that had none for a while, so that its clock goes on. Those that are
// nearly due are taken along: their frames then share commits.
func (s *session) tick() {
	now := time.Now()
	if now.Sub(s.ticked) < s.config.TickEvery/4 {
		return
	}
	late := func(p *partition, d time.Duration) bool { return p.phase == running && now.Sub(p.fed) >= d }
	due := false
	for _, p := range s.partitions {
		due = due || late(p, s.config.TickEvery)
	}
	if !due {
		return
	}
	s.ticked = now
	for _, p := range s.partitions {
		if !late(p, s.config.TickEvery/2) {
			continue
		}
		p.fed = now
		s.appending.Add(1)
		s.appender.Produce(s.ctx, &kgo.Record{Topic: s.touchpoints, Partition: p.number}, func(_ *kgo.Record, err error) {
			s.appending.Add(-1)
			if err != nil {
				s.owner.metrics.ticks.WithLabelValues("failed").Inc() // another one follows
				return
			}
			s.owner.metrics.ticks.WithLabelValues("appended").Inc()
		})
	}
}

// observe sets the gauges of the partitions about once a second.
func (s *session) observe() {
	now := time.Now()
	if now.Sub(s.observed) < time.Second {
		return
	}
	s.observed = now
	for _, p := range s.partitions {
		if p.phase == running {
			s.owner.metrics.observe(p, now)
		}
	}
}

// finish commits what was applied and writes checkpoints. REQUIRES: stopping.
func (s *session) finish() error {
	for began := time.Now(); ; {
		s.wake() // the poll comes back at once; it blocks rebalances again
		fetches := s.poll(time.Millisecond)
		setBack, err := s.settle()
		if err != nil {
			return err
		}
		if _, err := s.take(fetches, setBack); err != nil {
			return err
		}
		if !s.joining() {
			break
		}
		if time.Since(began) > s.config.EndTimeout {
			return nil
		}
		s.group.AllowRebalance()
		if err := sleep(s.ctx, pollPause); err != nil {
			return err
		}
	}
	if s.applied > 0 || s.unsent() {
		if err := s.commit(); err != nil {
			return err
		}
	}
	owned := make([]*partition, 0, len(s.partitions))
	for _, p := range s.partitions {
		owned = append(owned, p)
	}
	slices.SortFunc(owned, func(a, b *partition) int { return int(a.number - b.number) })
	for _, p := range owned {
		if p.ready() && p.machine.Next() > p.saved {
			if err := s.checkpoint(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// records are what a machine takes of the client's records.
func record(r *kgo.Record) journey.Record {
	return journey.Record{Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
}
