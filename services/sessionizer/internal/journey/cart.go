package journey

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// cartState is where a cart stands.
type cartState uint8

const (
	cartUnknown cartState = iota
	cartOpen
	cartAtRisk
	cartAbandoned
	cartEmptied // the states from here on are final
	cartPurchased
	cartRecovered
	cartLost
)

var cartStates = [...]string{"", "open", "at_risk", "abandoned", "emptied", "purchased", "recovered", "lost"}

func (s cartState) String() string { return cartStates[s] }

// byTimer is the cause of a change that no event made.
var byTimer = []byte("timer")

// cart is a cart that is not in a final state.
type cart struct {
	id        event.Hash
	named     text // its cart_id, 0 for the person's unnamed cart
	state     cartState
	changes   int
	opened    int64
	returned  int64 // noTime: not
	abandoned int64
	currency  text
	items     []item
}

// item is a line of a cart, or of an event that adds to one or takes from it.
type item struct {
	product  text
	quantity int64 // of an event's line: 0 where it is not given
	price    int64
	priced   bool
	currency text
}

// carts are a person's live carts and the last act that moves their timers.
type carts struct {
	live []cart
	last int64
}

// set makes c a copy of o that shares no memory that either changes.
func (c *carts) set(o *carts) {
	c.last, c.live = o.last, append(c.live[:0], o.live...)
	for i := range c.live {
		c.live[i].items = slices.Clone(c.live[i].items)
	}
}

func (c *carts) find(named text) int {
	return slices.IndexFunc(c.live, func(k cart) bool { return k.named == named })
}

// apply takes one act that is not hidden by a flagged session.
func (c *carts) apply(f *fold, e *kept) {
	c.timers(f, e.at)
	c.last = e.at
	known := c.find(e.cart) >= 0
	for i := range c.live {
		c.touch(f, &c.live[i], e, known)
	}
	c.drop()
	if e.step == f.program.cartAdd && c.find(e.cart) < 0 {
		named := f.t.text(e.cart)
		k := cart{
			id: event.HashOf(f.project, named, strconv.FormatInt(e.at, 10), view(e.id)), named: e.cart, opened: e.at, returned: noTime,
			abandoned: noTime,
		}
		k.change(f.program, e)
		k.become(f, cartOpen, e.at, e.id)
		c.live = append(c.live, k)
	}
}

// touch is what an act does to one live cart. It makes one row at most.
func (c *carts) touch(f *fold, k *cart, e *kept, known bool) {
	changed := false
	if k.state == cartAbandoned && k.returned == noTime {
		k.returned, changed = e.at, true
	}
	mine := k.named == e.cart
	if e.step == f.program.purchase && (mine || e.cart == 0 || k.named == 0 && !known) {
		if k.state == cartAbandoned {
			k.become(f, cartRecovered, e.at, e.id)
		} else {
			k.become(f, cartPurchased, e.at, e.id)
		}
		return
	}
	if mine && f.program.touching(e.step) {
		if k.change(f.program, e) {
			changed = true
		}
		if e.step == f.program.cartRemove && len(k.items) == 0 && k.state != cartAbandoned {
			k.become(f, cartEmptied, e.at, e.id)
			return
		}
		if k.state == cartAtRisk {
			k.state, changed = cartOpen, true
		}
	}
	if changed {
		k.become(f, k.state, e.at, e.id)
	}
}

// timers fires what is due before now.
func (c *carts) timers(f *fold, now int64) {
	p := f.program
	for i := range c.live {
		k := &c.live[i]
		if k.state == cartOpen && c.last+p.gap < now {
			k.become(f, cartAtRisk, c.last+p.gap, byTimer)
		}
		if k.state == cartAtRisk && c.last+p.patience < now {
			k.abandoned = c.last + p.patience
			k.become(f, cartAbandoned, k.abandoned, byTimer)
		}
		if k.state == cartAbandoned && k.abandoned+p.recovery < now {
			k.become(f, cartLost, k.abandoned+p.recovery, byTimer)
		}
	}
	c.drop()
}

// drop forgets the carts that are final.
func (c *carts) drop() {
	c.live = slices.DeleteFunc(c.live, func(k cart) bool { return k.state >= cartEmptied })
}

// due is the earliest time at which a timer waits, forever if none does.
func (c *carts) due(p *program) int64 {
	due := forever
	for i := range c.live {
		switch k := &c.live[i]; k.state {
		case cartOpen:
			due = min(due, c.last+p.gap)
		case cartAtRisk:
			due = min(due, c.last+p.patience)
		case cartAbandoned:
			due = min(due, k.abandoned+p.recovery)
		default: // none of the others is live
		}
	}
	return due
}

// become makes a row: a change of state, of items or of the return.
func (k *cart) become(f *fold, s cartState, at int64, cause []byte) {
	k.state = s
	k.changes++
	if !f.rows {
		return
	}
	row := &facts.Cart{
		Project: f.project, Person: f.person, Cart: slices.Clone(k.id[:]), CartId: f.t.text(k.named), Change: uint32(k.changes), OpenedAt: k.opened,
		State: s.String(), At: at, Cause: string(cause), Currency: f.t.text(k.currency),
	}
	if k.returned != noTime {
		row.ReturnedAt = &[]int64{k.returned}[0]
	}
	if k.abandoned != noTime {
		row.AbandonedAt = &[]int64{k.abandoned}[0]
	}
	for _, i := range k.items {
		line := &facts.CartItem{ProductId: f.t.text(i.product), Quantity: i.quantity, Currency: f.t.text(i.currency)}
		if i.priced {
			line.Price = &[]int64{i.price}[0]
			if i.currency == 0 || i.currency == k.currency {
				row.Value += i.price * i.quantity
			}
		}
		row.Items = append(row.Items, line)
	}
	slices.SortFunc(row.Items, func(a, b *facts.CartItem) int { return cmp.Compare(a.ProductId, b.ProductId) })
	f.addCart(row)
}

// change is what cart_add and cart_remove do to the items. It says whether they are others than before.
func (k *cart) change(p *program, e *kept) bool {
	if e.step != p.cartAdd && e.step != p.cartRemove {
		return false
	}
	before := slices.Clone(k.items)
	for _, line := range e.items {
		at := slices.IndexFunc(k.items, func(i item) bool { return i.product == line.product })
		switch {
		case e.step == p.cartAdd:
			if k.currency == 0 {
				k.currency = line.currency
			}
			if at < 0 {
				at = len(k.items)
				k.items = append(k.items, item{product: line.product})
			}
			i := &k.items[at]
			i.quantity += max(line.quantity, 1)
			if line.priced { // the latest price given counts for the whole line
				i.price, i.priced, i.currency = line.price, true, line.currency
			}
		case at >= 0:
			i := &k.items[at]
			if line.quantity == 0 || line.quantity >= i.quantity {
				k.items = slices.Delete(k.items, at, at+1)
			} else {
				i.quantity -= line.quantity
			}
		}
	}
	return !slices.Equal(before, k.items)
}

func (c *carts) append(b []byte, t *tables) []byte {
	b = binary.AppendVarint(b, c.last)
	b = binary.AppendUvarint(b, uint64(len(c.live)))
	for i := range c.live {
		k := &c.live[i]
		b = append(b, k.id[:]...)
		b = append(b, byte(k.state))
		b = appendText(b, t.text(k.named))
		b = binary.AppendUvarint(b, uint64(k.changes))
		b = binary.AppendVarint(b, k.opened)
		b = binary.AppendVarint(b, k.returned)
		b = binary.AppendVarint(b, k.abandoned)
		b = appendText(b, t.text(k.currency))
		b = binary.AppendUvarint(b, uint64(len(k.items)))
		for _, i := range k.items {
			b = appendText(b, t.text(i.product))
			b = binary.AppendVarint(b, i.quantity)
			b = append(b, boolByte(i.priced))
			b = binary.AppendVarint(b, i.price)
			b = appendText(b, t.text(i.currency))
		}
	}
	return b
}

func (c *carts) read(r *reader, t *tables) {
	*c = carts{last: r.varint(), live: c.live[:0]}
	word := func() text { return t.strings.ID(r.text()) }
	for range r.count() {
		var k cart
		copy(k.id[:], r.take(uint64(len(k.id))))
		k.state = min(cartState(r.byte()), cartLost)
		k.named, k.changes = word(), int(r.uvarint())
		k.opened, k.returned, k.abandoned = r.varint(), r.varint(), r.varint()
		k.currency = word()
		for range r.count() {
			k.items = append(k.items, item{product: word(), quantity: r.varint(), priced: r.byte() == 1, price: r.varint(), currency: word()})
		}
		c.live = append(c.live, k)
	}
}
