package intake

import (
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/keyhash"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// recordBytes is about what a record costs beside its key and value: ours and the client's structs.
const recordBytes = 320

// firstArena is the size with which an arena begins.
const firstArena = 32 << 10

// Batch gathers the records of one request. It is not safe for concurrent use. It ends with Commit or Drop.
type Batch struct {
	l     *Log
	arena []byte // keys and values, one behind the other
	marks []mark
	taken int64
}

// mark is where a record stands in the arena.
type mark struct {
	from, value, to int
	partition       int32
	dead            bool
	keyed           bool
}

// Begin begins a batch. REQUIRES: Connect has returned.
func (l *Log) Begin() *Batch {
	b, ok := l.arenas.Get().(*Batch)
	if !ok {
		b = &Batch{}
	}
	b.l = l
	return b
}

// Event adds an event to its person's partition. The event is not kept.
func (b *Batch) Event(e *touchpoint.Event) error {
	return b.event(e, nil)
}

// Encoded adds an event that is encoded already; e is the same, decoded. Neither is kept.
func (b *Batch) Encoded(e *touchpoint.Event, value []byte) error {
	return b.event(e, value)
}

func (b *Batch) event(e *touchpoint.Event, value []byte) error {
	person := event.Person(e)
	size := len(value)
	if value == nil {
		size = e.SizeVT()
	}
	m, err := b.room(len(person), size)
	if err != nil {
		return err
	}
	copy(b.arena[m.from:], person)
	if value != nil {
		copy(b.arena[m.value:], value)
	} else if _, err := e.MarshalToSizedBufferVT(b.arena[m.value:m.to]); err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	m.keyed = true
	m.partition = keyhash.Partition(e.Project, person, b.l.Partitions())
	b.marks = append(b.marks, m)
	return nil
}

// Letter adds what was refused. The letter is not kept.
func (b *Batch) Letter(l *deadletter.Letter) error {
	m, err := b.room(len(l.Project), l.SizeVT())
	if err != nil {
		return err
	}
	copy(b.arena[m.from:], l.Project)
	if _, err := l.MarshalToSizedBufferVT(b.arena[m.value:m.to]); err != nil {
		return fmt.Errorf("encode letter: %w", err)
	}
	m.keyed, m.dead = true, true
	b.marks = append(b.marks, m)
	return nil
}

// End adds an end marker of a project to every partition.
func (b *Batch) End(project string) error {
	c := touchpoint.Control{Kind: &touchpoint.Control_End_{End: &touchpoint.Control_End{Project: project}}}
	for partition := range b.l.Partitions() {
		m, err := b.room(0, c.SizeVT())
		if err != nil {
			return err
		}
		if _, err := c.MarshalToSizedBufferVT(b.arena[m.value:m.to]); err != nil {
			return fmt.Errorf("encode end marker: %w", err)
		}
		m.partition = int32(partition)
		b.marks = append(b.marks, m)
	}
	return nil
}

// room makes room for a record at the end of the arena.
func (b *Batch) room(key, value int) (mark, error) {
	from := len(b.arena)
	need := from + key + value
	size := cap(b.arena)
	if need > size {
		size = max(need, 2*size, firstArena)
	}
	grown := size - cap(b.arena)
	if b.taken == 0 { // what came with the arena is accounted for with the first record
		grown = size
	}
	if !b.take(int64(grown + recordBytes)) {
		return mark{}, ErrFull
	}
	if size > cap(b.arena) {
		b.arena = append(make([]byte, 0, size), b.arena...) // just what was taken, where slices.Grow rounds up
	}
	b.arena = b.arena[:need]
	return mark{from: from, value: from + key, to: need}, nil
}

func (b *Batch) take(n int64) bool {
	if !b.l.budget.Take(n) {
		return false
	}
	b.taken += n
	return true
}

// largestKept is the size of the arenas that are kept for other batches.
const largestKept = 2 << 20

// Drop lets go of a batch that is not committed.
func (b *Batch) Drop() {
	l := b.l
	l.budget.Give(b.taken)
	b.l, b.taken, b.arena, b.marks = nil, 0, b.arena[:0], b.marks[:0]
	if cap(b.arena) <= largestKept {
		l.arenas.Put(b)
	}
}

// Commit writes the batch and waits for its acknowledgements. The batch is not to be used afterwards. ends tells for each
// partition of the touchpoints that it wrote to the offset behind its last record there.
func (b *Batch) Commit() (ends map[int32]int64, err error) {
	if len(b.marks) == 0 {
		b.Drop()
		return nil, nil
	}
	l, began, count := b.l, time.Now(), len(b.marks)
	records := make([]kgo.Record, count)
	var acks struct {
		sync.Mutex
		left int
		err  error
	}
	acks.left = count
	done := make(chan struct{})
	promise := func(_ *kgo.Record, err error) {
		acks.Lock()
		defer acks.Unlock()
		if err != nil && acks.err == nil {
			acks.err = err
		}
		if acks.left--; acks.left == 0 {
			b.Drop() // nobody reads the arena any more
			close(done)
		}
	}
	marks, arena := b.marks, b.arena // b is gone with the last acknowledgement
	for i := range records {
		r, m := &records[i], marks[i]
		r.Topic, r.Partition, r.Value = l.touchpoints, m.partition, arena[m.value:m.to:m.to]
		if m.dead {
			r.Topic = l.deadletter
		}
		if m.keyed {
			r.Key = arena[m.from:m.value:m.value]
		}
	}
	for i := range records {
		l.cl.Produce(l.ctx, &records[i], promise)
	}
	timer := time.NewTimer(l.cfg.AckWithin)
	defer timer.Stop()
	select {
	case <-done:
		err = acks.err
	case <-timer.C:
		err = fmt.Errorf("no answer within %v", l.cfg.AckWithin)
	}
	l.failing.Store(err != nil)
	if err != nil {
		l.metrics.unacked.Inc()
		return nil, fmt.Errorf("%w: %w", ErrUnacked, err)
	}
	l.metrics.acked.Add(float64(count))
	l.metrics.took.Observe(time.Since(began).Seconds())
	ends = make(map[int32]int64, min(count, l.Partitions()))
	for i := range records {
		if r := &records[i]; !marks[i].dead {
			ends[r.Partition] = max(ends[r.Partition], r.Offset+1)
		}
	}
	return ends, nil
}
