package batch

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// Bits of column `given`: which of the numbers were sent.
const (
	givenPrice    = 1
	givenQuantity = 2
	givenRevenue  = 4
	givenLoadTime = 8
)

// eventBlock is the columns of `events` and of `events_too_late`.
type eventBlock struct {
	*chdb.Block
	project, person, messageID, sessionID               *chdb.Text
	anonymousID, userID, url, path, title, referrer     *chdb.Text
	productID, cartID, orderID                          *chdb.Text
	products, properties, commerce, context             *chdb.Text
	source, name, step, channel                         *chdb.Low
	campaign, campaignSource, campaignMedium            *chdb.Low
	device, os, browser, country, app, currency, coupon *chdb.Low
	occurredAt, receivedAt                              chdb.Time
	flags                                               *chdb.TextList
	loadTime, price, quantity, revenue, offset          *chdb.Int64
	given                                               *chdb.UInt8
	bot                                                 *chdb.Bool
	partition                                           *chdb.UInt16
	room                                                []byte
}

func newEventBlock(table string) *eventBlock {
	b := &eventBlock{Block: chdb.NewBlock(table)}
	b.project, b.person, b.occurredAt = b.Text("project"), b.Text("person"), b.Time("occurred_at")
	b.messageID, b.sessionID = b.Text("message_id"), b.Text("session_id")
	b.source, b.name, b.step, b.channel = b.Low("source"), b.Low("name"), b.Low("step"), b.Low("channel")
	b.anonymousID, b.userID, b.receivedAt = b.Text("anonymous_id"), b.Text("user_id"), b.Time("received_at")
	b.flags = b.LowLists("flags")
	b.url, b.path, b.title, b.referrer = b.Text("url"), b.Text("path"), b.Text("title"), b.Text("referrer")
	b.campaign, b.campaignSource, b.campaignMedium = b.Low("campaign"), b.Low("campaign_source"), b.Low("campaign_medium")
	b.device, b.os, b.browser, b.country, b.app = b.Low("device"), b.Low("os"), b.Low("browser"), b.Low("country"), b.Low("app_version")
	b.loadTime, b.bot = b.Int64("load_time"), b.Bool("bot")
	b.productID, b.cartID, b.orderID = b.Text("product_id"), b.Text("cart_id"), b.Text("order_id")
	b.currency, b.coupon = b.Low("currency"), b.Low("coupon")
	b.price, b.quantity, b.revenue, b.given = b.Int64("price"), b.Int64("quantity"), b.Int64("revenue"), b.UInt8("given")
	b.products, b.properties, b.commerce, b.context = b.Text("products"), b.Text("properties"), b.Text("commerce"), b.Text("context")
	b.partition, b.offset = b.UInt16("_partition"), b.Int64("_offset")
	return b
}

// append adds an event; session is its id in hex or empty. The columns copy the long texts; the short ones are kept until
// the block is reset.
func (b *eventBlock) append(e *touchpoint.Event, session []byte, partition int32, offset int64) {
	b.project.Append(e.Project)
	if e.UserId != "" {
		b.room = append(append(b.room[:0], "u:"...), e.UserId...)
	} else {
		b.room = append(append(b.room[:0], "a:"...), e.AnonymousId...)
	}
	b.person.AppendBytes(b.room)
	b.occurredAt.Append(e.OccurredAt)
	b.messageID.Append(e.MessageId)
	b.sessionID.AppendBytes(session)
	b.source.Append(e.Source)
	b.name.Append(e.Name)
	b.step.Append(e.Step)
	b.channel.Append(e.Channel)
	b.anonymousID.Append(e.AnonymousId)
	b.userID.Append(e.UserId)
	b.receivedAt.Append(e.ReceivedAt)
	b.flags.Append(e.Flags)
	b.url.Append(e.Url)
	b.path.Append(e.Path)
	b.title.Append(e.Title)
	b.referrer.Append(e.Referrer)
	b.campaign.Append(e.Campaign)
	b.campaignSource.Append(e.CampaignSource)
	b.campaignMedium.Append(e.CampaignMedium)
	b.device.Append(e.Device)
	b.os.Append(e.Os)
	b.browser.Append(e.Browser)
	b.country.Append(e.Country)
	b.app.Append(e.AppVersion)
	b.bot.Append(e.Bot)
	b.productID.Append(e.ProductId)
	b.cartID.Append(e.CartId)
	b.orderID.Append(e.OrderId)
	b.currency.Append(e.Currency)
	b.coupon.Append(e.Coupon)
	var given uint8
	number := func(column *chdb.Int64, n *int64, bit uint8) {
		if n == nil {
			column.Append(0)
			return
		}
		column.Append(*n)
		given |= bit
	}
	number(b.price, e.Price, givenPrice)
	number(b.quantity, e.Quantity, givenQuantity)
	number(b.revenue, e.Revenue, givenRevenue)
	number(b.loadTime, e.LoadTime, givenLoadTime)
	b.given.Append(given)
	b.room = appendProducts(b.room[:0], e.Products)
	b.products.AppendBytes(b.room)
	b.properties.AppendBytes(e.Properties)
	b.commerce.AppendBytes(e.Commerce)
	b.context.AppendBytes(e.Context)
	b.partition.Append(uint16(partition))
	b.offset.Append(offset)
}

// appendProducts adds the lines of an event as a JSON list; nothing if there are none.
func appendProducts(out []byte, products []*touchpoint.Product) []byte {
	if len(products) == 0 {
		return out
	}
	out = append(out, '[')
	for i, p := range products {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"product_id":`...)
		out, _ = jsontext.AppendQuote(out, p.ProductId) // invalid UTF-8 becomes the replacement character
		if p.Price != nil {
			out = strconv.AppendInt(append(out, `,"price":`...), *p.Price, 10)
		}
		if p.Quantity != nil {
			out = strconv.AppendInt(append(out, `,"quantity":`...), *p.Quantity, 10)
		}
		if p.Currency != "" {
			out, _ = jsontext.AppendQuote(append(out, `,"currency":`...), p.Currency)
		}
		out = append(out, '}')
	}
	return append(out, ']')
}
