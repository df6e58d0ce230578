package shop

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

var names = [...]string{
	Landed: "Page Viewed", Listed: "Product List Viewed", Searched: "Products Searched", Viewed: "Product Viewed",
	Added: "Product Added", Removed: "Product Removed", CartSeen: "Cart Viewed", CheckedOut: "Checkout Started",
	Paid: "Payment Info Entered", Bought: "Order Completed", BoughtOnServer: "Order Completed", Asked: "Support Requested",
}

var steps = [...]string{
	Landed: "", Listed: "list", Searched: "search", Viewed: "view", Added: "cart_add", Removed: "cart_remove", CartSeen: "cart_view",
	CheckedOut: "checkout", Paid: "payment", Bought: "purchase", BoughtOnServer: "purchase", Asked: "support",
}

var paths = [...]string{
	Landed: "/", Listed: "/products", Searched: "/search", Viewed: "/products/", Added: "/products/", Removed: "/cart", CartSeen: "/cart",
	CheckedOut: "/checkout", Paid: "/checkout/payment", Bought: "/checkout/done", BoughtOnServer: "", Asked: "/help",
}

// Event is the i-th event as it is imported.
func (t *Traffic) Event(i int) *touchpoint.Event {
	e := &t.Events[i]
	v := &t.Visits[e.Visit]
	out := &touchpoint.Event{
		Project: t.Config.Project, Source: "web", Channel: "web", MessageId: t.messageID(e), Name: names[e.Action], Step: steps[e.Action],
		OccurredAt: e.At, ReceivedAt: e.Arrives, Path: t.path(e), Referrer: v.Referrer,
		Campaign: v.Campaign, CampaignSource: v.Source, CampaignMedium: v.Medium,
		Device: v.Device, Os: v.OS, Browser: v.Browser, Country: v.Country, AppVersion: v.App, Bot: v.Bot,
	}
	out.AnonymousId, out.UserId = t.ids(e.Person)
	if v.App != "" {
		out.Source, out.Channel = "app", "app"
		if e.Action == Landed {
			out.Name = "Screen Viewed"
		}
	}
	if e.Action == BoughtOnServer {
		out.Source = "server"
	}
	if out.Path != "" && v.App == "" {
		out.Url = shopURL + out.Path
	}
	switch e.Action {
	case Viewed, Added, Removed:
		price := Price(e.Product)
		out.ProductId, out.Price, out.Currency = productID(e.Product), &price, "EUR"
		if e.Quantity > 0 {
			quantity := int64(e.Quantity)
			out.Quantity = &quantity
		}
	case Landed, Listed, Searched, CartSeen, CheckedOut, Paid, Asked:
	case Bought, BoughtOnServer:
		revenue := e.Revenue
		out.OrderId, out.Revenue, out.Currency = t.orderID(e), &revenue, "EUR"
	}
	return out
}

const shopURL = "https://shop.example"

func (t *Traffic) path(e *Event) string {
	if e.Action == Viewed || e.Action == Added {
		return paths[e.Action] + productID(e.Product)
	}
	return paths[e.Action]
}

// messageID keeps the order in which the events were made, so that ties keep it too.
func (t *Traffic) messageID(e *Event) string {
	return fmt.Sprintf("%s%d-%07d-%05d", t.Config.Prefix, t.Config.Seed, e.Person, e.Seq)
}

// ids of a person are the same in all of its events, so that nobody has to guess whose they are. A third is logged in.
func (t *Traffic) ids(person int32) (anonymous, user string) {
	anonymous = fmt.Sprintf("%s%d-visitor-%07d", t.Config.Prefix, t.Config.Seed, person)
	if person%3 == 2 {
		user = fmt.Sprintf("%s%d-customer-%07d", t.Config.Prefix, t.Config.Seed, person)
	}
	return anonymous, user
}

func productID(product int32) string { return "sku-" + strconv.Itoa(1000+int(product)) }

func (t *Traffic) orderID(e *Event) string {
	return fmt.Sprintf("%s%d-order-%07d-%d", t.Config.Prefix, t.Config.Seed, e.Person, e.Order)
}

// message is an event as Segment's senders write it: money in major units.
type message struct {
	Type        string         `json:"type"`
	MessageID   string         `json:"messageId"`
	AnonymousID string         `json:"anonymousId"`
	UserID      string         `json:"userId,omitempty"`
	Event       string         `json:"event,omitempty"`
	Timestamp   string         `json:"timestamp"`
	Properties  map[string]any `json:"properties,omitempty"`
	Context     map[string]any `json:"context"`
}

// Message is the i-th event as a message of the Segment HTTP API.
func (t *Traffic) Message(i int) ([]byte, error) {
	e := t.Event(i)
	m := message{
		Type: "track", MessageID: e.MessageId, AnonymousID: e.AnonymousId, UserID: e.UserId, Event: e.Name,
		Timestamp:  time.UnixMilli(e.OccurredAt).UTC().Format("2006-01-02T15:04:05.000Z"),
		Properties: map[string]any{}, Context: map[string]any{"channel": e.Channel, "userAgent": userAgent(&t.Visits[t.Events[i].Visit])},
	}
	if t.Events[i].Action == Landed {
		m.Type, m.Event = "page", ""
		if e.AppVersion != "" {
			m.Type = "screen"
		}
	}
	if e.Path != "" {
		m.Context["page"] = map[string]any{"path": e.Path, "url": e.Url, "referrer": e.Referrer}
	}
	if e.Campaign != "" {
		m.Context["campaign"] = map[string]any{"name": e.Campaign, "source": e.CampaignSource, "medium": e.CampaignMedium}
	}
	m.Context["device"] = map[string]any{"type": e.Device}
	m.Context["os"] = map[string]any{"name": e.Os}
	m.Context["location"] = map[string]any{"country": e.Country}
	if e.AppVersion != "" {
		m.Context["app"] = map[string]any{"version": e.AppVersion}
	}
	if e.ProductId != "" {
		m.Properties["product_id"] = e.ProductId
	}
	if e.Price != nil {
		m.Properties["price"], m.Properties["currency"] = major(*e.Price), e.Currency
	}
	if e.Quantity != nil {
		m.Properties["quantity"] = *e.Quantity
	}
	if e.Revenue != nil {
		m.Properties["revenue"], m.Properties["currency"], m.Properties["order_id"] = major(*e.Revenue), e.Currency, e.OrderId
	}
	return json.Marshal(&m, json.Deterministic(true)) //nolint:wrapcheck // of our own making
}

// major writes an amount of euros as senders do: a number with two digits.
func major(minor int64) float64 { return float64(minor) / 100 }

func userAgent(v *Visit) string {
	switch {
	case v.Bot:
		return "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
	case v.App != "":
		return "Shop/" + v.App + " (" + v.OS + ")"
	case v.OS == "iOS":
		return "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
	case v.OS == "Android":
		return "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"
	case v.Browser == "Firefox":
		return "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0"
	case v.OS == "macOS":
		return "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15"
	}
	return "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
}
