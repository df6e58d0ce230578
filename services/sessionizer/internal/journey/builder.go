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

// add notes a session's rows with a sign.
func (b *builder) add(d derived, sign int32) {
	d.session.Sign = sign
	b.sessions = append(b.sessions, d.session)
	b.note(factSession, d.session.Version^uint64(int64(sign)))
	for _, e := range d.entered {
		e.row.Sign = sign
		b.entrants = append(b.entrants, e)
		b.note(factEntrant, e.row.Version^uint64(int64(sign)))
	}
}

// replace notes the difference between the rows that stood and those that stand.
func (b *builder) replace(was, is []derived) {
	for _, d := range was {
		if !contains(is, d.session.Version) {
			b.add(d, -1)
		}
	}
	for _, d := range is {
		if !contains(was, d.session.Version) {
			b.add(d, 1)
		}
	}
}

// contains says whether a session's row is among them. Its entrants are the same then: an event more or a step less in the
// session would show in the row.
func contains(rows []derived, version uint64) bool {
	for _, d := range rows {
		if d.session.Version == version {
			return true
		}
	}
	return false
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
	b.sessions, b.entrants = b.sessions[:0], b.entrants[:0]
	clear(b.moves)
}
