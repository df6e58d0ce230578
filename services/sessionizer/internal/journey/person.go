package journey

import (
	"bytes"
	"slices"
	"strings"
	"unsafe"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/state"
)

// person is one person's state, without pointers. Its kept events are records in a block, in their order.
type person struct {
	hash       uint64     // keyhash of project and name
	head       state.Ref  // the name, then the past
	events     state.Ref  // records
	size       uint32     // bytes of records
	count      uint32     // records
	lastRecord uint32     // where the last one begins
	due        int64      // its time in the project's closing wheel, noTime for none
	fold       int64      // its time in the folding wheel, noTime for none
	project    uint16     // number
	open       bool       // a session is not closed
	dirty      bool       // changed since the last checkpoint
	carts      cartWatch  // what of an act its live carts care for
	at         int64      // of the last record
	offset     int64      // of the last record
	act        int64      // time of the last act
	began      int64      // of the last session
	closed     int64      // sessions that end at or before it are closed
	until      int64      // timers due before it have fired; forever after an end marker
	wait       uint64     // the program's triggers that would change something
	session    event.Hash // the last session
}

const noTime = -forever

// cartWatch says which acts a person's carts must see at once.
type cartWatch uint8

const (
	cartsNone  cartWatch = iota
	cartsOpen            // those that touch a cart, and purchases
	cartsAwait           // any: one of them waits for the person to come back
)

const personBytes = int(unsafe.Sizeof(person{}))

// find returns the person's number, or makes the person.
func (p *Partition) find(pr *project, hash uint64, name string) uint32 {
	for ; ; hash++ { // another person with the same hash is passed over, as in a probed table
		i, ok := p.index[hash]
		if !ok {
			i = p.newPerson(pr, hash)
			var nothing past
			nothing.machine.reset(pr.program)
			p.setHead(i, name, &nothing)
			return i
		}
		if at := p.at(i); at.project == pr.number && p.name(at) == name {
			return i
		}
	}
}

const personChunk = 1 << 12

func (p *Partition) newPerson(pr *project, hash uint64) uint32 {
	i := p.persons
	if int(i)/personChunk == len(p.chunks) {
		p.chunks = append(p.chunks, make([]person, personChunk))
	}
	p.persons++
	p.index[hash] = i
	*p.at(i) = person{hash: hash, project: pr.number, due: noTime, fold: noTime, at: noTime, act: noTime, began: noTime, closed: noTime, until: noTime, wait: ^uint64(0)}
	return i
}

func (p *Partition) at(i uint32) *person { return &p.chunks[i/personChunk][i%personChunk] }

// name aliases the person's block: it is good until the past changes.
func (p *Partition) name(at *person) string {
	r := reader{b: p.arena.Bytes(at.head)}
	b := r.take(r.uvarint())
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (p *Partition) past(at *person, h *past) {
	r := reader{b: p.arena.Bytes(at.head)}
	r.take(r.uvarint())
	h.read(&r, p.projects[at.project].program, &p.tables)
}

func (p *Partition) setHead(i uint32, name string, h *past) {
	at := p.at(i)
	b := appendText(p.buf[:0], name)
	b = h.append(b, p.projects[at.project].program, &p.tables)
	at.head = p.arena.Put(at.head, b)
	p.buf = b
}

// load reads a person's events into the fold, with the past.
func (p *Partition) load(f *fold, at *person) {
	pr := p.projects[at.project]
	f.t, f.program, f.project = &p.tables, pr.program, pr.name
	f.person = strings.Clone(p.name(at)) // rows keep it
	p.past(at, &f.past)
	p.unpack(f, at)
}

// unpack reads the kept events. Their ids live in the partition's scratch memory, which the next Apply uses again.
func (p *Partition) unpack(f *fold, at *person) {
	if cap(f.events) < int(at.count) {
		f.events = append(f.events[:cap(f.events)], make([]kept, int(at.count)-cap(f.events)+8)...) // one more is to come
	}
	f.events = f.events[:at.count]
	b := p.arena.Bytes(at.events)
	time, offset := int64(0), int64(0)
	for i := range f.events {
		n := p.tables.readKept(b, &f.events[i], time, offset, &p.scratch)
		b = b[n:]
		time, offset = f.events[i].at, f.events[i].offset
	}
}

// pack writes the events back.
func (p *Partition) pack(i uint32, events []kept) {
	at := p.at(i)
	b := p.buf[:0]
	time, offset := int64(0), int64(0)
	for k := range events {
		at.lastRecord = uint32(len(b))
		b = p.tables.appendKept(b, &events[k], time, offset)
		time, offset = events[k].at, events[k].offset
	}
	p.buf = b
	p.kept += len(events) - int(at.count)
	at.size, at.count, at.at, at.offset = uint32(len(b)), uint32(len(events)), time, offset
	if len(events) == 0 {
		p.arena.Free(at.events)
		at.events, at.at, at.lastRecord = 0, noTime, 0
		return
	}
	at.events = p.arena.Put(at.events, b)
}

// push appends one event behind the others.
func (p *Partition) push(at *person, e *kept) {
	time, offset := at.at, at.offset
	if at.count == 0 {
		time, offset = 0, 0
	}
	p.buf = p.tables.appendKept(p.buf[:0], e, time, offset)
	at.events = p.arena.Grow(at.events, int(at.size), int(at.size)+len(p.buf))
	at.lastRecord = at.size
	copy(p.arena.Bytes(at.events)[at.size:], p.buf)
	at.size += uint32(len(p.buf))
	at.count++
	at.at, at.offset = e.at, e.offset
	p.kept++
}

// last reads the last record.
func (p *Partition) last(at *person, e *kept) {
	b := p.arena.Bytes(at.events)[at.lastRecord:]
	p.tables.readKept(b, e, 0, 0, &p.scratch)
	e.at, e.offset = at.at, at.offset
}

// manyEvents is from when on the message ids of a person are kept in a set beside its records.
const manyEvents = 64

// repeats says whether an event with this message id and anonymous id is among the kept ones. One that is kept by chance, being
// older than it need be, does not count: after a restore it might be gone.
func (p *Partition) repeats(pr *project, i uint32, e *kept) bool {
	at := p.at(i)
	if at.count == 0 {
		return false
	}
	p.buf = p.tables.appendID(p.buf[:0], e.id)
	id := p.buf
	if at.count > manyEvents {
		if !p.manySet(i, at).has(id) {
			return false
		}
	}
	found := false
	for b := p.arena.Bytes(at.events)[:at.size]; len(b) > 0 && !found; {
		n, self := length(b)
		found = bytes.HasPrefix(b[self:self+n], id)
		b = b[self+n:]
	}
	if !found {
		return false
	}
	w, _ := pr.watermark(p.clock)
	p.load(&p.fold, at)
	for j := range p.fold.events {
		if k := &p.fold.events[j]; bytes.Equal(k.id, e.id) && k.anon == e.anon && k.at+pr.keep() >= w {
			return true
		}
	}
	return false
}

// idSet holds hashes of packed message ids; a hit is looked up in the records.
type idSet map[uint64]struct{}

func (s idSet) has(id []byte) bool {
	_, ok := s[hashBytes(id)]
	return ok
}

// manySet returns the person's set, made from its records where there is none yet.
func (p *Partition) manySet(i uint32, at *person) idSet {
	if s, ok := p.many[i]; ok {
		return s
	}
	s := make(idSet, at.count*2)
	for b := p.arena.Bytes(at.events)[:at.size]; len(b) > 0; {
		n, self := length(b)
		r := reader{b: b[self : self+n]}
		r.skipID()
		s[hashBytes(b[self:self+n-len(r.b)])] = struct{}{}
		b = b[self+n:]
	}
	p.many[i] = s
	return s
}

func (r *reader) skipID() {
	switch r.byte() {
	case idUUID:
		r.take(16)
	case idNumber:
		r.uvarint()
		r.byte()
		r.uvarint()
	default:
		r.take(r.uvarint())
	}
}

// insert puts an event where it belongs in the order and returns the place.
func (t *tables) insert(events []kept, e kept) ([]kept, int) {
	at, _ := slices.BinarySearchFunc(events, &e, func(a kept, b *kept) int { return t.compare(&a, b) })
	return slices.Insert(events, at, e), at
}
