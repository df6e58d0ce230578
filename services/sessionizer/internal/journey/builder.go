package journey

import (
	"math/bits"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// A builder gathers the facts of a range of records.
type builder struct {
	from, to int64 // records
	begun    bool

	verdicts []uint32
	ids      []byte // session ids
	idNumber map[event.Hash]uint32

	sessions []*facts.Session
	entrants []entrant
	changes  []*facts.Transition
	carts    []*facts.Cart
	moves    map[int64]*facts.Move // by offset: of several in a range the last one counts

	hash, count uint64 // running, up to and with record to-1
	sum         uint64 // of the facts of the record at hand; a sum, since their order is chance
}

// record begins the facts of a record.
func (b *builder) record(offset int64) {
	if !b.begun {
		b.begun, b.from = true, offset
	} else {
		b.seal()
	}
	b.to = offset + 1
}

// seal takes what the last record led to into the running hash.
func (b *builder) seal() {
	b.hash = mix(b.hash^b.sum) + uint64(b.to)
	b.sum = 0
}

func mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	return hi ^ lo
}

func (b *builder) note(kind, value uint64) {
	b.sum += mix(value + kind*0xa0761d6478bd642f)
	b.count++
}

const (
	factVerdict = iota + 1
	factSession
	factEntrant
	factMove
	factTransition
	factCart
)

// verdict notes what became of the record. Each record has one.
func (b *builder) verdict(v uint32) {
	b.verdicts = append(b.verdicts, v)
	b.note(factVerdict, uint64(v))
}

// session is the verdict of an event of a session.
func (b *builder) session(id event.Hash) {
	b.verdicts = append(b.verdicts, facts.VerdictSession+b.number(id))
	b.note(factVerdict, low(id))
}

func low(id event.Hash) (v uint64) {
	for _, c := range id[:8] {
		v = v<<8 | uint64(c)
	}
	return v
}

func (b *builder) number(id event.Hash) uint32 {
	n, ok := b.idNumber[id]
	if !ok {
		if b.idNumber == nil {
			b.idNumber = map[event.Hash]uint32{}
		}
		n = uint32(len(b.ids) / facts.SessionIDBytes)
		b.idNumber[id] = n
		b.ids = append(b.ids, id[:]...)
	}
	return n
}

// rowSet are rows of one person.
type rowSet struct {
	sessions    []*facts.Session
	entrants    []entrant
	transitions []*facts.Transition
	carts       []*facts.Cart
}

func (s *rowSet) reset() {
	s.sessions, s.entrants, s.transitions, s.carts = s.sessions[:0], s.entrants[:0], nil, nil
}

func (b *builder) addSession(s *facts.Session, sign int32) {
	s.Sign = sign
	b.sessions = append(b.sessions, s)
	b.row(factSession, s.Version, sign)
}

func (b *builder) addEntrant(e entrant, sign int32) {
	e.row.Sign = sign
	b.entrants = append(b.entrants, e)
	b.row(factEntrant, e.row.Version, sign)
}

func (b *builder) addTransition(t *facts.Transition, sign int32) {
	t.Sign = sign
	b.changes = append(b.changes, t)
	b.row(factTransition, t.Version, sign)
}

func (b *builder) addCart(c *facts.Cart, sign int32) {
	c.Sign = sign
	b.carts = append(b.carts, c)
	b.row(factCart, c.Version, sign)
}

func (b *builder) row(kind, version uint64, sign int32) { b.note(kind, version^uint64(int64(sign))) }

// replace notes the difference between the rows that stood and those that stand.
func (b *builder) replace(was, is *rowSet) {
	difference(was.sessions, is.sessions, func(s *facts.Session) uint64 { return s.Version }, b.addSession)
	difference(was.entrants, is.entrants, func(e entrant) uint64 { return e.row.Version }, b.addEntrant)
	difference(was.transitions, is.transitions, func(t *facts.Transition) uint64 { return t.Version }, b.addTransition)
	difference(was.carts, is.carts, func(c *facts.Cart) uint64 { return c.Version }, b.addCart)
}

// difference takes back what only stood and adds what only stands. Rows of one version are the same row.
func difference[T any](was, is []T, version func(T) uint64, add func(T, int32)) {
	if len(was) == 0 {
		for _, r := range is {
			add(r, 1)
		}
		return
	}
	kept := make(map[uint64]bool, len(was))
	for _, r := range was {
		kept[version(r)] = false
	}
	for _, r := range is {
		if _, stood := kept[version(r)]; stood {
			kept[version(r)] = true
		}
	}
	for _, r := range was {
		if !kept[version(r)] {
			add(r, -1)
		}
	}
	for _, r := range is {
		if !kept[version(r)] {
			add(r, 1)
		}
	}
}

// move assigns an event anew: in its verdict if that is still in hand, else by a row.
func (b *builder) move(m *facts.Move, id event.Hash) {
	b.note(factMove, uint64(m.Offset)^low(id))
	if m.Offset >= b.from {
		b.verdicts[m.Offset-b.from] = facts.VerdictSession + b.number(id)
		return
	}
	if b.moves == nil {
		b.moves = map[int64]*facts.Move{}
	}
	b.moves[m.Offset] = m
}

// reset forgets the range; the running hash goes on.
func (b *builder) reset() {
	if b.begun {
		b.seal()
	}
	b.begun = false
	b.verdicts, b.ids = nil, nil // the frames own them
	clear(b.idNumber)
	b.sessions, b.entrants, b.changes, b.carts = b.sessions[:0], b.entrants[:0], b.changes[:0], b.carts[:0]
	clear(b.moves)
}
