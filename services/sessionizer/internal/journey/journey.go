package journey

import (
	"cmp"
	"container/heap"
	"fmt"
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/keyhash"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/state"
)

// Version is the number of what Apply concludes: it changes when the same log would give other facts.
const Version = 1

// Record is a record of `touchpoints`. Its buffers are the caller's again after Apply.
type Record struct {
	Offset     int64
	Time       int64 // the broker's append time, UTC ms
	Key, Value []byte
}

// Config is what a partition is made of.
type Config struct {
	Partition int32
	Rules     func(project string) *rules.Rules // called once for each project met
}

// Partition is the state of one partition and the facts it has concluded since the last Cut. Not safe for concurrent use.
type Partition struct {
	config Config
	next   int64
	clock  int64

	byName   map[string]*project
	projects []*project  // by number
	waking   projectHeap // all of them

	index   map[uint64]uint32 // hash -> person
	chunks  [][]person
	persons uint32
	arena   state.Arena
	tables  tables
	many    map[uint32]idSet
	open    int // persons whose last session is open
	kept    int // events

	changed []uint32 // persons that are dirty
	grown   int      // bytes of them, about

	facts builder

	// Memory used again from record to record.
	event        touchpoint.Event
	control      touchpoint.Control
	buf, scratch []byte
	before, fold fold
	old, now     rowSet
	entered      []entrant
}

// New makes the partition that has seen nothing.
func New(c Config) *Partition {
	return &Partition{config: c, byName: map[string]*project{}, index: map[uint64]uint32{}, many: map[uint32]idSet{}}
}

// Next is the offset of the record that Apply expects.
func (p *Partition) Next() int64 { return p.next }

// Clock is the latest append time of any record: UTC ms.
func (p *Partition) Clock() int64 { return p.clock }

// Apply takes the next record of the log. An error means that the log is not the one that this state came from, or that a
// record cannot be read: the partition must stop. The state is then what it was.
func (p *Partition) Apply(r Record) error {
	if r.Offset != p.next {
		return fmt.Errorf("partition %d: record %d came where %d was due", p.config.Partition, r.Offset, p.next)
	}
	if len(r.Key) > 0 {
		p.event.Reset()
		if err := p.event.UnmarshalVTUnsafe(r.Value); err != nil {
			return fmt.Errorf("partition %d: record %d: read event: %w", p.config.Partition, r.Offset, err)
		}
	} else {
		p.control.Reset()
		if err := p.control.UnmarshalVT(r.Value); err != nil {
			return fmt.Errorf("partition %d: record %d: read control: %w", p.config.Partition, r.Offset, err)
		}
	}
	if len(r.Key) > 0 {
		p.apply(r.Offset, r.Time, unsafe.String(unsafe.SliceData(r.Key), len(r.Key)), &p.event)
		return nil
	}
	p.begin(r.Offset, r.Time)
	p.facts.verdict(facts.VerdictNone)
	if end := p.control.GetEnd(); end != nil {
		p.end(end.Project)
	}
	p.fire()
	return nil
}

// ApplyEvent is Apply for an event that is decoded already; person is the key that its record would have.
func (p *Partition) ApplyEvent(offset, at int64, person string, e *touchpoint.Event) error {
	if offset != p.next {
		return fmt.Errorf("partition %d: record %d came where %d was due", p.config.Partition, offset, p.next)
	}
	p.apply(offset, at, person, e)
	return nil
}

func (p *Partition) begin(offset, at int64) {
	p.next++
	p.clock = max(p.clock, at)
	p.scratch = p.scratch[:0]
	p.facts.record(offset)
}

func (p *Partition) apply(offset, at int64, person string, e *touchpoint.Event) {
	p.begin(offset, at)
	p.applyEvent(offset, person, e)
	p.fire()
}

func (p *Partition) project(name string) *project {
	if pr, ok := p.byName[name]; ok {
		return pr
	}
	name = strings.Clone(name) // the caller's buffer is its own again
	pr := &project{name: name, number: uint16(len(p.projects)), program: compile(name, p.config.Rules(name), &p.tables.strings), wake: forever}
	p.byName[name] = pr
	p.projects = append(p.projects, pr)
	heap.Push(&p.waking, pr)
	return pr
}

func (p *Partition) applyEvent(offset int64, name string, e *touchpoint.Event) {
	pr := p.project(e.Project)
	defer p.reschedule(pr)
	pr.arrive(p.clock)
	if w, ok := pr.watermark(p.clock); ok && e.OccurredAt < w-pr.program.lateness {
		p.facts.verdict(facts.VerdictTooLate)
		return
	}
	i := p.find(pr, keyhash.Of(pr.name, name), name)
	k := p.keep(pr, offset, e)
	if p.repeats(pr, i, &k) {
		p.facts.verdict(facts.VerdictDuplicate)
		return
	}
	pr.latest = max(pr.latest, e.OccurredAt)
	if !pr.seen {
		pr.seen, pr.latest = true, e.OccurredAt
	}
	p.touch(i)
	if s, ok := p.many[i]; ok {
		p.buf = p.tables.appendID(p.buf[:0], k.id)
		s[hashBytes(p.buf)] = struct{}{}
	}
	if !p.extend(pr, i, &k) {
		p.revise(pr, i, k)
	}
}

// keep makes what is remembered of an event. Its id aliases the event's buffer.
func (p *Partition) keep(pr *project, offset int64, e *touchpoint.Event) kept {
	t := &p.tables
	k := kept{
		at: e.OccurredAt, offset: offset, id: unsafe.Slice(unsafe.StringData(e.MessageId), len(e.MessageId)), step: t.strings.ID(e.Step),
		passive: pr.program.rules.IsPassive(e.Step), bot: e.Bot, pageView: e.Name == "Page Viewed" || e.Name == "Screen Viewed",
		path: t.strings.ID(e.Path), context: t.context(contextTuple{e.Channel, e.Device, e.Browser, e.Country, e.AppVersion}),
		campaign: t.campaign(campaignTuple{e.Campaign, e.CampaignSource, e.CampaignMedium}), mask: pr.program.mask(e),
	}
	if len(e.Flags) > 0 {
		k.flags = t.strings.ID(strings.Join(e.Flags, "\n"))
	}
	if e.UserId != "" {
		k.anon = t.strings.ID(e.AnonymousId)
	}
	k.referrer = t.strings.ID(e.Referrer)
	if k.excluded = pr.program.isExcluded(k.referrer); k.excluded {
		k.referrer = 0
	}
	for _, field := range pr.program.hold {
		value := event.Text(event.Field(e, field)) // JSON, so that values of two types stay apart
		if value == `""` {
			value = ""
		}
		k.holds = append(k.holds, t.strings.ID(value))
	}
	p.keepCart(pr, &k, e)
	if k.step == pr.program.purchase {
		if e.OrderId != "" {
			k.order = max(xxhash.Sum64String(e.OrderId), 1) // 0 is none
		}
		if e.Revenue != nil {
			k.paid, k.revenue, k.currency = true, *e.Revenue, t.strings.ID(e.Currency)
		}
	}
	return k
}

// keepCart keeps what carts go by: whole quantities from 1, prices from 0.
func (p *Partition) keepCart(pr *project, k *kept, e *touchpoint.Event) {
	t := &p.tables
	if k.step == pr.program.purchase || pr.program.touching(k.step) {
		k.cart = t.strings.ID(e.CartId)
	}
	if k.step != pr.program.cartAdd && k.step != pr.program.cartRemove {
		return
	}
	line := func(product string, quantity, price *int64, currency string) {
		i := item{product: t.strings.ID(product), currency: t.strings.ID(currency)}
		if quantity != nil && *quantity >= 1 {
			i.quantity = *quantity
		}
		if price != nil && *price >= 0 {
			i.price, i.priced = *price, true
		}
		k.items = append(k.items, i)
	}
	if len(e.Products) == 0 {
		line(e.ProductId, e.Quantity, e.Price, e.Currency)
	}
	for _, l := range e.Products {
		line(l.ProductId, l.Quantity, l.Price, cmp.Or(l.Currency, e.Currency))
	}
}

// extend takes the usual way: the event is the person's latest, and nothing that was concluded changes by it. It returns false
// if that is not so, or not certain.
func (p *Partition) extend(pr *project, i uint32, k *kept) bool {
	at := p.at(i)
	if at.until == forever || k.at < at.until || at.count > 0 && k.at < at.at {
		return false
	}
	if at.count > 0 && k.at == at.at {
		var last kept
		if p.last(at, &last); p.tables.compare(&last, k) > 0 {
			return false
		}
	}
	same := !k.passive && at.act != noTime && k.at-at.act <= pr.program.gap
	if same && pr.program.splitMidnight {
		same = pr.program.day(k.at) == pr.program.day(at.act)
	}
	if same && (at.act <= at.closed || pr.program.splitCampaign && k.campaign != 0) {
		return false
	}
	if !p.quiet(pr, at, k, same) && !p.advance(pr, i, k) {
		return false
	}
	p.push(at, k)
	p.scheduleFold(pr, i, k.at)
	if k.passive {
		p.facts.verdict(facts.VerdictPassive)
		return true
	}
	if !same {
		at.session, at.began = event.SessionID(pr.name, k.at, view(k.id)), k.at
	}
	p.countOpen(at.open, true)
	at.open, at.act = true, k.at
	p.facts.session(at.session)
	p.schedule(pr, i, k.at+pr.program.gap)
	return true
}

// quiet says that the person's latest event makes no row: no timer is due before it, its session is not flagged by it, no stage
// rule, funnel step or cart waits for such an event.
func (p *Partition) quiet(pr *project, at *person, k *kept, same bool) bool {
	if pr.program.triggered(k)&at.wait != 0 {
		return false
	}
	if k.passive {
		return true
	}
	if at.due != noTime && k.at > at.due || k.bot || int(at.count) >= pr.program.maxEvents || same && k.at-at.began > pr.program.maxLength {
		return false
	}
	switch at.carts {
	case cartsAwait:
		return false
	case cartsOpen:
		return k.step != pr.program.purchase && !pr.program.touching(k.step)
	default:
		return k.step != pr.program.cartAdd
	}
}

// advance makes the rows that the person's latest event leads to. It returns false, having done nothing, if the event flags its
// session, by which rows of before are no longer so.
func (p *Partition) advance(pr *project, i uint32, k *kept) bool {
	at, f := p.at(i), &p.fold
	p.load(f, at)
	f.events = append(f.events, *k)
	f.rows = false
	f.begin()
	last := len(f.events) - 1
	if n := f.of[last]; n >= 0 {
		without := f.sessions[n]
		without.last--
		if without.last >= without.first {
			without.endedAt = f.acts[without.last].at
			f.flag(&without)
		}
		if f.sessions[n].flagged() != (without.last >= without.first && without.flagged()) {
			return false
		}
	}
	for j := range last {
		f.walk(j)
	}
	f.machine.timers(f, at.until)
	p.old.reset()
	p.old.entrants = f.personEntrants(p.old.entrants)
	f.rows = true
	f.walk(last)
	w, _ := pr.watermark(p.clock)
	f.machine.timers(f, w)
	p.now.reset()
	p.now.entrants = f.personEntrants(p.now.entrants)
	p.now.transitions, p.now.carts = f.transitions, f.carts
	p.facts.replace(&p.old, &p.now)
	at.until = max(at.until, w)
	p.watch(pr, i)
	return true
}

// watch notes what p.fold, as it stands, waits for.
func (p *Partition) watch(pr *project, i uint32) {
	at, m := p.at(i), &p.fold.machine
	at.wait = pr.program.waits(m)
	at.carts = cartsNone
	for j := range m.carts.live {
		at.carts = max(at.carts, cartsOpen)
		if k := &m.carts.live[j]; k.state == cartAtRisk || k.state == cartAbandoned && k.returned == noTime {
			at.carts = cartsAwait
		}
	}
	p.schedule(pr, i, m.due(pr.program))
}

// revise takes an event that changes what was concluded: what stood is worked out again and taken back, what stands now is
// put in its place.
func (p *Partition) revise(pr *project, i uint32, k kept) {
	at := p.at(i)
	p.load(&p.before, at)
	p.load(&p.fold, at)
	var place int
	p.fold.events, place = p.tables.insert(p.fold.events, k)
	p.settle(pr, i, place)
}

// settle replaces the person's events by those of p.fold, which has one more, at place, than p.before; the facts are the
// difference.
func (p *Partition) settle(pr *project, i uint32, place int) {
	at := p.at(i)
	before, now := &p.before, &p.fold
	offset := now.events[place].offset
	p.pack(i, now.events) // before the fold takes steps away
	w, _ := pr.watermark(p.clock)
	before.rows, now.rows = true, true
	before.run(at.until)
	now.run(w)
	closed := at.closed
	for _, s := range now.sessions {
		if pr.closes(s.endedAt, w) {
			closed = max(closed, s.endedAt)
		}
	}
	before.standing(at.closed, &p.old)
	now.standing(closed, &p.now)
	p.facts.replace(&p.old, &p.now)

	if of := now.of[place]; of < 0 {
		p.facts.verdict(facts.VerdictPassive)
	} else {
		p.facts.session(now.sessions[of].id)
	}
	for j := range before.events { // those that belong to another session now
		n := j
		if j >= place {
			n++
		}
		if before.of[j] < 0 {
			continue
		}
		if was, is := before.sessions[before.of[j]].id, now.sessions[now.of[n]].id; was != is {
			e := &now.events[n]
			p.facts.move(&facts.Move{
				Offset: e.offset, Project: pr.name, OccurredAt: e.at, OldPerson: now.person, Person: now.person, SessionId: is[:],
				Version: offset,
			}, is)
		}
	}
	at.closed, at.until = closed, w
	p.resume(pr, i)
}

// standing gathers the rows that stand when the sessions that end at or before closed are closed. REQUIRES: run, with rows.
func (f *fold) standing(closed int64, out *rowSet) {
	out.reset()
	out.transitions, out.carts = f.transitions, f.carts
	for i := range f.sessions {
		if s := &f.sessions[i]; s.endedAt <= closed {
			row := f.row(s)
			out.sessions = append(out.sessions, row)
			out.entrants = f.entrants(out.entrants, s, row)
		}
	}
	out.entrants = f.personEntrants(out.entrants)
}

// resume sets what the usual way goes by from p.fold, which has run.
func (p *Partition) resume(pr *project, i uint32) {
	at, f := p.at(i), &p.fold
	was := at.open
	at.open = false
	if n := len(f.sessions); n > 0 {
		last := &f.sessions[n-1]
		at.session, at.act, at.began = last.id, last.endedAt, last.startedAt
	}
	for _, s := range f.sessions {
		if s.endedAt > at.closed {
			at.open = true
			p.schedule(pr, i, s.endedAt+pr.program.gap)
			break
		}
	}
	p.countOpen(was, at.open)
	if len(f.events) > 0 {
		p.scheduleFold(pr, i, f.events[0].at)
	}
	p.watch(pr, i)
}

func (p *Partition) countOpen(was, is bool) {
	if was && !is {
		p.open--
	}
	if !was && is {
		p.open++
	}
}

func (p *Partition) touch(i uint32) {
	at := p.at(i)
	if !at.dirty {
		at.dirty = true
		p.changed = append(p.changed, i)
		p.grown += 64 + int(at.size)
	}
	p.grown += 48
}

// Stats are sizes for gauges.
type Stats struct {
	Persons      int
	OpenSessions int // persons with an open session
	KeptEvents   int
	StateBytes   int // of persons, events and texts, about
}

// Stats counts what the partition holds.
func (p *Partition) Stats() Stats {
	return Stats{
		Persons: int(p.persons), OpenSessions: p.open, KeptEvents: p.kept,
		StateBytes: p.arena.Used() + p.tables.strings.Bytes() + len(p.chunks)*personChunk*personBytes + len(p.index)*20,
	}
}

func hashBytes(b []byte) uint64 { return xxhash.Sum64(b) }
