package journey

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/bits"
	"strings"
	"unsafe"

	"github.com/waymark-analytics/waymark/services/sessionizer/internal/state"
)

// kept is what the state machine remembers of an applied event for as long as a late one may make it think again. A text is a
// number of the partition's string table; id may alias scratch memory and lives as long as that.
type kept struct {
	at       int64
	offset   int64
	id       []byte // message id
	anon     text   // anonymous id of an event that has a user id as well
	step     text
	pageView bool
	passive  bool
	bot      bool
	excluded bool // the referrer counts as none
	paid     bool // revenue is given
	path     text
	referrer text   // none where it counts as none
	context  uint32 // number of a contextTuple
	campaign uint32 // number of a campaignTuple
	flags    text   // joined by \n
	mask     uint64 // custom predicates that hold
	holds    []text // values of the fields that funnels hold constant
	order    uint64 // hash of the order id of a purchase, or 0
	revenue  int64
	currency text
	cart     text   // cart_id of a purchase or of a step that touches carts
	items    []item // of cart_add and cart_remove
}

// text is the number of a text in the partition's string table; 0 is the empty one.
type text = uint32

// contextTuple is what most events of a person share.
type contextTuple struct{ channel, device, browser, country, appVersion string }

type campaignTuple struct{ name, source, medium string }

// compare orders the events of one person. They have one user id or none, so it does not take part.
func (t *tables) compare(a, b *kept) int {
	if c := cmp.Compare(a.at, b.at); c != 0 {
		return c
	}
	if c := bytes.Compare(a.id, b.id); c != 0 || a.anon == b.anon {
		return c
	}
	return strings.Compare(t.text(a.anon), t.text(b.anon))
}

// tables are the numbered values of a partition.
type tables struct {
	strings   state.Strings
	contexts  tuples[contextTuple]
	campaigns tuples[campaignTuple]
	chains    chains // memory used again
	buf       []byte // the same
}

func (t *tables) text(id text) string { return t.strings.Text(id) }

// context numbers a tuple whose texts may alias a buffer.
func (t *tables) context(c contextTuple) uint32 {
	if id, ok := t.contexts.find(c); ok {
		return id
	}
	return t.contexts.add(contextTuple{t.own(c.channel), t.own(c.device), t.own(c.browser), t.own(c.country), t.own(c.appVersion)})
}

func (t *tables) campaign(c campaignTuple) uint32 {
	if id, ok := t.campaigns.find(c); ok {
		return id
	}
	return t.campaigns.add(campaignTuple{t.own(c.name), t.own(c.source), t.own(c.medium)})
}

func (t *tables) appendContext(b []byte, id uint32) []byte {
	c := t.contexts.value(id)
	for _, s := range []string{c.channel, c.device, c.browser, c.country, c.appVersion} {
		b = appendText(b, s)
	}
	return b
}

func (t *tables) readContext(r *reader) uint32 {
	return t.context(contextTuple{r.text(), r.text(), r.text(), r.text(), r.text()})
}

func (t *tables) appendCampaign(b []byte, id uint32) []byte {
	c := t.campaigns.value(id)
	for _, s := range []string{c.name, c.source, c.medium} {
		b = appendText(b, s)
	}
	return b
}

func (t *tables) readCampaign(r *reader) uint32 {
	return t.campaign(campaignTuple{r.text(), r.text(), r.text()})
}

// own is the text as the table keeps it.
func (t *tables) own(s string) string { return t.text(t.strings.ID(s)) }

// tuples numbers values; the number 0 is the zero value.
type tuples[T comparable] struct {
	ids    map[T]uint32
	values []T
}

func (t *tuples[T]) find(v T) (uint32, bool) {
	var zero T
	if v == zero {
		return 0, true
	}
	id, ok := t.ids[v]
	return id, ok
}

// add numbers a value that has no number yet.
func (t *tuples[T]) add(v T) uint32 {
	if t.ids == nil {
		var zero T
		t.ids = map[T]uint32{}
		t.values = []T{zero}
	}
	id := uint32(len(t.values))
	t.ids[v] = id
	t.values = append(t.values, v)
	return id
}

func (t *tuples[T]) value(id uint32) (v T) {
	if id == 0 {
		return v
	}
	return t.values[id]
}

// A record of a kept event is, behind its length as a byte or three: the message id, a set of bits that says which of the
// other fields follow, the fields. Time and offset are differences to the record before.
const (
	bitPageView = 1 << iota
	bitPassive
	bitBot
	bitExcluded
	bitAnon
	bitStep
	bitPath
	bitReferrer
	bitContext
	bitCampaign
	bitFlags
	bitMask
	bitOrder
	bitPaid
	bitHolds
	bitCart
	bitItems
)

// Forms of a message id.
const (
	idRaw    = 0 // length, bytes
	idUUID   = 1 // 16 bytes; lower-case hex with hyphens
	idNumber = 2 // number of the prefix, digits, value: IMPORT-000123
)

// appendID appends the packed form of a message id: the same id has always the same form.
func (t *tables) appendID(b, id []byte) []byte {
	if raw, ok := parseUUID(id); ok {
		return append(append(b, idUUID), raw[:]...)
	}
	digits := len(id)
	for digits > 0 && len(id)-digits < 18 && '0' <= id[digits-1] && id[digits-1] <= '9' {
		digits--
	}
	// A prefix is worth a number only if many ids share it; a dash before the digits is the sign of it.
	if n := len(id) - digits; n >= 4 && digits > 0 && digits <= 64 && id[digits-1] == '-' {
		value := uint64(0)
		for _, c := range id[digits:] {
			value = value*10 + uint64(c-'0')
		}
		b = append(b, idNumber)
		b = binary.AppendUvarint(b, uint64(t.strings.ID(string(id[:digits]))))
		b = append(b, byte(n))
		return binary.AppendUvarint(b, value)
	}
	b = append(b, idRaw)
	b = binary.AppendUvarint(b, uint64(len(id)))
	return append(b, id...)
}

func parseUUID(id []byte) (raw [16]byte, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return raw, false
	}
	at := 0
	for i := range 36 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		var nibble byte
		switch c := id[i]; {
		case '0' <= c && c <= '9':
			nibble = c - '0'
		case 'a' <= c && c <= 'f':
			nibble = c - 'a' + 10
		default:
			return raw, false
		}
		raw[at/2] = raw[at/2]<<4 | nibble
		at++
	}
	return raw, true
}

// reader reads packed fields. It is used on our own memory and on checkpoints; past the end it reads zeros and remembers that.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) fixed64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads how many things follow; never more than there are bytes.
func (r *reader) count() uint64 { return min(r.uvarint(), uint64(len(r.b))) }

func (r *reader) text() string { return string(r.bytes()) }

// bytes alias what is read.
func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

// view is the text of bytes that do not change while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func appendBytes(b, text []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// id reads a packed message id and returns its text, which is appended to scratch: the block it came from may be written anew.
func (r *reader) id(t *tables, scratch *[]byte) []byte {
	at := len(*scratch)
	switch r.byte() {
	case idUUID:
		raw := r.take(16)
		if raw == nil {
			return nil
		}
		var u [36]byte
		hex.Encode(u[0:8], raw[0:4])
		hex.Encode(u[9:13], raw[4:6])
		hex.Encode(u[14:18], raw[6:8])
		hex.Encode(u[19:23], raw[8:10])
		hex.Encode(u[24:36], raw[10:16])
		u[8], u[13], u[18], u[23] = '-', '-', '-', '-'
		*scratch = append(*scratch, u[:]...)
	case idNumber:
		*scratch = append(*scratch, t.strings.Text(uint32(r.uvarint()))...)
		digits, value := int(r.byte()), r.uvarint()
		var d [20]byte
		for i := range digits {
			d[digits-1-i] = '0' + byte(value%10)
			value /= 10
		}
		*scratch = append(*scratch, d[:digits]...)
	default:
		*scratch = append(*scratch, r.take(r.uvarint())...)
	}
	return (*scratch)[at:len(*scratch):len(*scratch)]
}

func (e *kept) bits() (set uint64) {
	flag := func(on bool, bit uint64) {
		if on {
			set |= bit
		}
	}
	flag(e.pageView, bitPageView)
	flag(e.passive, bitPassive)
	flag(e.bot, bitBot)
	flag(e.excluded, bitExcluded)
	flag(e.anon != 0, bitAnon)
	flag(e.step != 0, bitStep)
	flag(e.path != 0, bitPath)
	flag(e.referrer != 0, bitReferrer)
	flag(e.context != 0, bitContext)
	flag(e.campaign != 0, bitCampaign)
	flag(e.flags != 0, bitFlags)
	flag(e.mask != 0, bitMask)
	flag(e.order != 0, bitOrder)
	flag(e.paid, bitPaid)
	flag(len(e.holds) > 0, bitHolds)
	flag(e.cart != 0, bitCart)
	flag(len(e.items) > 0, bitItems)
	return set
}

// appendKept appends the record of an event that follows one of that time and offset.
func (t *tables) appendKept(b []byte, e *kept, at, offset int64) []byte {
	start := len(b)
	b = append(b, 0, 0, 0) // room for the longest length
	b = t.appendID(b, e.id)
	b = binary.AppendUvarint(b, e.bits())
	b = binary.AppendVarint(b, e.at-at)
	b = binary.AppendVarint(b, e.offset-offset)
	if e.anon != 0 {
		b = binary.AppendUvarint(b, uint64(e.anon))
	}
	if e.step != 0 {
		b = binary.AppendUvarint(b, uint64(e.step))
	}
	if e.path != 0 {
		b = binary.AppendUvarint(b, uint64(e.path))
	}
	if e.referrer != 0 {
		b = binary.AppendUvarint(b, uint64(e.referrer))
	}
	if e.context != 0 {
		b = binary.AppendUvarint(b, uint64(e.context))
	}
	if e.campaign != 0 {
		b = binary.AppendUvarint(b, uint64(e.campaign))
	}
	if e.flags != 0 {
		b = binary.AppendUvarint(b, uint64(e.flags))
	}
	if e.mask != 0 {
		b = binary.AppendUvarint(b, e.mask)
	}
	if e.order != 0 {
		b = binary.LittleEndian.AppendUint64(b, e.order)
	}
	if e.paid {
		b = binary.AppendVarint(b, e.revenue)
		b = binary.AppendUvarint(b, uint64(e.currency))
	}
	if len(e.holds) > 0 {
		b = binary.AppendUvarint(b, uint64(len(e.holds)))
		for _, v := range e.holds {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	if e.cart != 0 {
		b = binary.AppendUvarint(b, uint64(e.cart))
	}
	if len(e.items) > 0 {
		b = binary.AppendUvarint(b, uint64(len(e.items)))
		for _, i := range e.items {
			b = binary.AppendUvarint(b, uint64(i.product))
			b = binary.AppendUvarint(b, uint64(i.quantity)<<1|uint64(boolByte(i.priced)))
			if i.priced {
				b = binary.AppendUvarint(b, uint64(i.price))
			}
			b = binary.AppendUvarint(b, uint64(i.currency))
		}
	}
	return putLength(b, start)
}

// putLength writes the length of what follows the three bytes at start, and closes the gap where one byte does.
func putLength(b []byte, start int) []byte {
	n := len(b) - start - 3
	if n < 0x80 {
		b[start] = byte(n)
		copy(b[start+1:], b[start+3:])
		return b[:len(b)-2]
	}
	b[start], b[start+1], b[start+2] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)
	return b
}

// length reads what putLength wrote: the length of the record behind it and of itself.
func length(b []byte) (record, self int) {
	if b[0] < 0x80 {
		return int(b[0]), 1
	}
	return int(b[0]&0x7f) | int(b[1]&0x7f)<<7 | int(b[2])<<14, 3
}

// readKept reads one record; at and offset are those of the record before.
func (t *tables) readKept(b []byte, e *kept, at, offset int64, scratch *[]byte) (size int) {
	n, self := length(b)
	r := reader{b: b[self : self+n]}
	*e = kept{holds: e.holds[:0], items: e.items[:0]}
	e.id = r.id(t, scratch)
	set := r.uvarint()
	e.at = at + r.varint()
	e.offset = offset + r.varint()
	e.pageView, e.passive = set&bitPageView != 0, set&bitPassive != 0
	e.bot, e.excluded = set&bitBot != 0, set&bitExcluded != 0
	for rest := set &^ (bitPageView | bitPassive | bitBot | bitExcluded); rest != 0; rest &= rest - 1 {
		switch uint64(1) << bits.TrailingZeros64(rest) {
		case bitAnon:
			e.anon = text(r.uvarint())
		case bitStep:
			e.step = text(r.uvarint())
		case bitPath:
			e.path = text(r.uvarint())
		case bitReferrer:
			e.referrer = text(r.uvarint())
		case bitContext:
			e.context = uint32(r.uvarint())
		case bitCampaign:
			e.campaign = uint32(r.uvarint())
		case bitFlags:
			e.flags = text(r.uvarint())
		case bitMask:
			e.mask = r.uvarint()
		case bitOrder:
			e.order = r.fixed64()
		case bitPaid:
			e.paid, e.revenue = true, r.varint()
			e.currency = text(r.uvarint())
		case bitHolds:
			for range r.uvarint() {
				e.holds = append(e.holds, text(r.uvarint()))
			}
		case bitCart:
			e.cart = text(r.uvarint())
		case bitItems:
			for range r.uvarint() {
				i := item{product: text(r.uvarint())}
				n := r.uvarint()
				if i.quantity, i.priced = int64(n>>1), n&1 == 1; i.priced {
					i.price = int64(r.uvarint())
				}
				i.currency = text(r.uvarint())
				e.items = append(e.items, i)
			}
		}
	}
	return self + n
}

var errCheckpoint = errors.New("a checkpoint record is cut off or of another format")
