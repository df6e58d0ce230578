package batch

import (
	"context"
	"encoding/hex"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// transitionBlock is the columns of `transitions`.
type transitionBlock struct {
	*chdb.Block
	project, person              *chdb.Text
	at                           chdb.Time
	seq, journey                 *chdb.UInt32
	sign                         *chdb.Int8
	version                      *chdb.UInt64
	from, to, rule, rulesVersion *chdb.Low
	evidence, skipped            *chdb.TextList
	dwell, offset                *chdb.Int64
	partition                    *chdb.UInt16
}

func newTransitionBlock() *transitionBlock {
	b := &transitionBlock{Block: chdb.NewBlock("transitions")}
	b.project, b.person, b.at, b.seq = b.Text("project"), b.Text("person"), b.Time("at"), b.UInt32("seq")
	b.sign, b.version, b.journey = b.Int8("sign"), b.UInt64("version"), b.UInt32("journey")
	b.from, b.to, b.rule, b.rulesVersion = b.Low("from_stage"), b.Low("to_stage"), b.Low("rule"), b.Low("rule_version")
	b.evidence, b.dwell, b.skipped = b.TextLists("evidence"), b.Int64("dwell"), b.LowLists("skipped")
	b.partition, b.offset = b.UInt16("_partition"), b.Int64("_offset")
	return b
}

func (b *transitionBlock) append(t *facts.Transition, partition int32, offset int64) {
	b.project.Append(t.Project)
	b.person.Append(t.Person)
	b.at.Append(t.At)
	b.seq.Append(t.Seq)
	b.sign.Append(int8(t.Sign))
	b.version.Append(t.Version)
	b.journey.Append(t.Journey)
	b.from.Append(t.FromStage)
	b.to.Append(t.ToStage)
	b.rule.Append(t.Rule)
	b.rulesVersion.Append(t.RuleVersion)
	b.evidence.Append(t.Evidence)
	b.dwell.Append(t.Dwell)
	b.skipped.Append(t.Skipped)
	b.partition.Append(uint16(partition))
	b.offset.Append(offset)
}

// cartBlock is the columns of `carts`.
type cartBlock struct {
	*chdb.Block
	project, person, cart, cartID, cause *chdb.Text
	openedAt, at, returnedAt, abandoned  chdb.Time
	change                               *chdb.UInt32
	sign                                 *chdb.Int8
	version                              *chdb.UInt64
	state, currency                      *chdb.Low
	value, offset                        *chdb.Int64
	products, currencies                 *chdb.TextList
	quantities, prices                   *chdb.List[int64]
	partition                            *chdb.UInt16
	hex                                  []byte
	texts                                [2][]string
	numbers                              [2][]int64
}

func newCartBlock() *cartBlock {
	b := &cartBlock{Block: chdb.NewBlock("carts")}
	b.project, b.person, b.openedAt, b.cart = b.Text("project"), b.Text("person"), b.Time("opened_at"), b.Text("cart")
	b.change, b.sign, b.version, b.cartID = b.UInt32("change"), b.Int8("sign"), b.UInt64("version"), b.Text("cart_id")
	b.state, b.at, b.cause, b.currency, b.value = b.Low("state"), b.Time("at"), b.Text("cause"), b.Low("currency"), b.Int64("value")
	b.returnedAt, b.abandoned = b.Time("returned_at"), b.Time("abandoned_at")
	b.products, b.quantities = b.TextLists("item_products"), b.Int64Lists("item_quantities")
	b.prices, b.currencies = b.Int64Lists("item_prices"), b.LowLists("item_currencies")
	b.partition, b.offset = b.UInt16("_partition"), b.Int64("_offset")
	return b
}

func (b *cartBlock) append(c *facts.Cart, partition int32, offset int64) {
	b.project.Append(c.Project)
	b.person.Append(c.Person)
	b.openedAt.Append(c.OpenedAt)
	b.hex = hex.AppendEncode(b.hex[:0], c.Cart)
	b.cart.AppendBytes(b.hex)
	b.change.Append(c.Change)
	b.sign.Append(int8(c.Sign))
	b.version.Append(c.Version)
	b.cartID.Append(c.CartId)
	b.state.Append(c.State)
	b.at.Append(c.At)
	b.cause.Append(c.Cause)
	b.currency.Append(c.Currency)
	b.value.Append(c.Value)
	b.returnedAt.Append(c.GetReturnedAt())
	b.abandoned.Append(c.GetAbandonedAt())
	for i := range b.texts {
		b.texts[i], b.numbers[i] = b.texts[i][:0], b.numbers[i][:0]
	}
	for _, i := range c.Items {
		price := int64(-1)
		if i.Price != nil {
			price = *i.Price
		}
		b.texts[0], b.texts[1] = append(b.texts[0], i.ProductId), append(b.texts[1], i.Currency)
		b.numbers[0], b.numbers[1] = append(b.numbers[0], i.Quantity), append(b.numbers[1], price)
	}
	b.products.Append(b.texts[0])
	b.quantities.Append(b.numbers[0])
	b.prices.Append(b.numbers[1])
	b.currencies.Append(b.texts[1])
	b.partition.Append(uint16(partition))
	b.offset.Append(offset)
}

// journeys adds the rows of stages and carts.
func (w *writing) journeys(ctx context.Context, s *span, p part) error {
	t := w.l.w
	for _, row := range p.frame.Transitions {
		if !w.have.transition(row) {
			continue
		}
		t.transitions.append(row, s.partition, p.offset)
		if err := w.cut(ctx, t.transitions.Block, 0); err != nil {
			return err
		}
	}
	for _, row := range p.frame.Carts {
		if !w.have.cart(row) {
			continue
		}
		t.carts.append(row, s.partition, p.offset)
		if err := w.cut(ctx, t.carts.Block, 0); err != nil {
			return err
		}
	}
	return nil
}
