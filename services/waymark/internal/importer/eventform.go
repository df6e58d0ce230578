package importer

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// readEvents reads normalised events, one JSON object a line. step gives the step of an event that says nothing of it.
func readEvents(r io.Reader, step func(project, name string) (string, error), emit emit) error {
	e := &touchpoint.Event{}
	var failed error
	err := readLines(r, func(line []byte) row {
		e.Reset()
		given, refused := DecodeEvent(line, e)
		if refused == nil && !given {
			if e.Step, failed = step(e.Project, e.Name); failed != nil {
				return row{}
			}
		}
		return row{event: e, refused: refused}
	}, func(r row) error {
		if failed != nil {
			return failed
		}
		return emit(r)
	})
	return err
}

// Refusal is why a line is no event: one of the reasons of package event, and what is wrong with it.
type Refusal = refusal

// DecodeEvent reads a normalised event. stepGiven says that it has a step, be it an empty one. Of a refused event as much is
// set as could be read.
func DecodeEvent(line []byte, e *touchpoint.Event) (stepGiven bool, refused *Refusal) {
	d := eventDecoder{e: e}
	err := members(line, func(name string, raw jsontext.Value) error {
		d.top(name, raw)
		return nil
	})
	switch {
	case err != nil:
		return d.step, refuse(event.BadJSON, "%v", err)
	case d.refused != nil:
		return d.step, d.refused
	case e.Project == "":
		return d.step, refuse(event.Schema, "project is missing")
	case e.MessageId == "":
		return d.step, refuse(event.Schema, "message_id is missing")
	case !d.timed:
		return d.step, refuse(event.BadTimestamp, "occurred_at is missing")
	case event.Person(e) == "":
		return d.step, refuse(event.NoIdentity, "neither a user_id nor an anonymous_id")
	}
	e.Commerce, e.Context = closeObject(d.commerce), closeObject(d.context)
	if e.ReceivedAt != 0 && e.OccurredAt > e.ReceivedAt {
		e.OccurredAt = e.ReceivedAt
		if !slices.Contains(e.Flags, event.Clamped) {
			e.Flags = append(e.Flags, event.Clamped)
		}
	}
	return d.step, nil
}

type eventDecoder struct {
	e                 *touchpoint.Event
	step, timed       bool
	commerce, context []byte
	refused           *refusal
}

func (d *eventDecoder) bad(reason, format string, args ...any) {
	if d.refused == nil {
		d.refused = refuse(reason, format, args...)
	}
}

func (d *eventDecoder) top(name string, raw jsontext.Value) {
	e := d.e
	switch name {
	case "project":
		e.Project = d.text(name, raw)
	case "source":
		e.Source = d.text(name, raw)
	case "message_id":
		e.MessageId = d.text(name, raw)
	case "name":
		e.Name = d.text(name, raw)
	case "step":
		e.Step = d.text(name, raw)
		d.step = raw.Kind() == '"'
	case "channel":
		e.Channel = d.text(name, raw)
	case "anonymous_id":
		e.AnonymousId = event.ID(d.text(name, raw))
	case "user_id":
		e.UserId = event.ID(d.text(name, raw))
	case "occurred_at":
		e.OccurredAt = d.time(name, raw)
		d.timed = true
	case "received_at":
		if raw.Kind() != 'n' {
			e.ReceivedAt = d.time(name, raw)
		}
	case "flags":
		if raw.Kind() != 'n' && json.Unmarshal(raw, &e.Flags) != nil {
			d.bad(event.Schema, "flags is no list of texts")
		}
	case "properties":
		if d.object(name, raw) && string(raw) != "{}" {
			e.Properties = slices.Clone(raw)
		}
	case "commerce":
		if d.object(name, raw) {
			d.each(name, raw, d.commerceField)
		}
	case "context":
		if d.object(name, raw) {
			d.each(name, raw, d.contextField)
		}
	}
}

func (d *eventDecoder) each(name string, raw jsontext.Value, f func(name string, raw jsontext.Value)) {
	err := members(raw, func(name string, raw jsontext.Value) error {
		f(name, raw)
		return nil
	})
	if err != nil {
		d.bad(event.BadJSON, "%s: %v", name, err)
	}
}

func (d *eventDecoder) object(name string, raw jsontext.Value) bool {
	if raw.Kind() != '{' && raw.Kind() != 'n' {
		d.bad(event.Schema, "%s is no object", name)
	}
	return raw.Kind() == '{'
}

func (d *eventDecoder) text(name string, raw jsontext.Value) string {
	switch raw.Kind() {
	case '"':
		return jsonValue(raw).text
	case 'n':
	default:
		d.bad(event.Schema, "%s is no text", name)
	}
	return ""
}

func (d *eventDecoder) time(name string, raw jsontext.Value) int64 {
	at, ok := event.Scalar(raw).(int64)
	if !ok || at < 0 || at > lastTime {
		d.bad(event.BadTimestamp, "%s: %.64s is no number of milliseconds from 1970 to the end of 9999", name, raw)
	}
	return at
}

// commerceField takes a member of commerce. One of another type than it should have is kept as it is, and counts as absent.
func (d *eventDecoder) commerceField(name string, raw jsontext.Value) {
	e := d.e
	switch name {
	case "price", "quantity", "revenue":
		if n, ok := event.Scalar(raw).(int64); ok {
			*map[string]**int64{"price": &e.Price, "quantity": &e.Quantity, "revenue": &e.Revenue}[name] = &n
			return
		}
	case "products":
		if products, whole := decodeProducts(raw); products != nil {
			if e.Products = products; whole {
				return
			}
		}
	default:
		if dst := textField(e, "commerce."+name); dst != nil && setText(dst, raw) {
			return
		}
	}
	if raw.Kind() != 'n' {
		d.commerce = appendRaw(d.commerce, name, raw)
	}
}

// setText sets a text from a text or a number; ids of products and carts are sent as either.
func setText(dst *string, raw jsontext.Value) bool {
	if raw.Kind() != '"' && raw.Kind() != '0' {
		return false
	}
	*dst = jsonValue(raw).text
	return true
}

// decodeProducts reads the lines of an event; nil if it is no list of objects. whole says that nothing was left out.
func decodeProducts(raw jsontext.Value) (products []*touchpoint.Product, whole bool) {
	var list []jsontext.Value
	if raw.Kind() != '[' || json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return nil, false
	}
	whole = true
	for _, item := range list {
		if item.Kind() != '{' {
			return nil, false
		}
		p := &touchpoint.Product{}
		err := members(item, func(name string, raw jsontext.Value) error {
			taken := false
			switch name {
			case "product_id":
				taken = setText(&p.ProductId, raw)
			case "currency":
				taken = raw.Kind() == '"' && setText(&p.Currency, raw)
			case "price":
				p.Price, taken = integer(raw)
			case "quantity":
				p.Quantity, taken = integer(raw)
			}
			whole = whole && (taken || raw.Kind() == 'n')
			return nil
		})
		if err != nil {
			return nil, false
		}
		products = append(products, p)
	}
	return products, whole
}

func integer(raw jsontext.Value) (*int64, bool) {
	n, ok := event.Scalar(raw).(int64)
	if !ok {
		return nil, false
	}
	return &n, true
}

func (d *eventDecoder) contextField(name string, raw jsontext.Value) {
	e := d.e
	switch name {
	case "bot":
		if raw.Kind() == 't' || raw.Kind() == 'f' {
			e.Bot = raw.Kind() == 't'
			return
		}
	case "load_time":
		if n, ok := integer(raw); ok {
			e.LoadTime = n
			return
		}
	case "campaign":
		if raw.Kind() == '{' {
			var others []byte
			d.each("context.campaign", raw, func(name string, raw jsontext.Value) {
				dst := textField(e, "context.campaign."+name)
				if dst != nil && raw.Kind() == '"' {
					*dst = jsonValue(raw).text
				} else if raw.Kind() != 'n' {
					others = appendRaw(others, name, raw)
				}
			})
			if others != nil {
				d.context = appendRaw(d.context, "campaign", closeObject(others))
			}
			return
		}
	default:
		if dst := textField(e, "context."+name); dst != nil && raw.Kind() == '"' && !strings.HasPrefix(name, "campaign.") {
			*dst = jsonValue(raw).text
			return
		}
	}
	if raw.Kind() != 'n' {
		d.context = appendRaw(d.context, name, raw)
	}
}

// AppendEvent writes an event in the form that DecodeEvent reads, without an end of line. Its step is written, be it empty.
func AppendEvent(out []byte, e *touchpoint.Event) []byte {
	w := eventWriter{out: append(out, '{')}
	w.text("project", e.Project, true)
	w.text("source", e.Source, false)
	w.text("message_id", e.MessageId, true)
	w.number("occurred_at", &e.OccurredAt)
	if e.ReceivedAt != 0 {
		w.number("received_at", &e.ReceivedAt)
	}
	w.text("name", e.Name, true)
	w.text("step", e.Step, true)
	w.text("channel", e.Channel, false)
	w.text("anonymous_id", e.AnonymousId, false)
	w.text("user_id", e.UserId, false)
	w.commerce(e)
	w.context(e)
	if len(e.Properties) > 0 {
		w.raw("properties", e.Properties)
	}
	if len(e.Flags) > 0 {
		flags, _ := json.Marshal(e.Flags)
		w.raw("flags", flags)
	}
	return append(w.out, '}')
}

type eventWriter struct{ out []byte }

func (w *eventWriter) key(name string) {
	if last := w.out[len(w.out)-1]; last != '{' && last != '[' {
		w.out = append(w.out, ',')
	}
	w.out, _ = jsontext.AppendQuote(w.out, name)
	w.out = append(w.out, ':')
}

func (w *eventWriter) text(name, value string, always bool) {
	if value == "" && !always {
		return
	}
	w.key(name)
	w.out, _ = jsontext.AppendQuote(w.out, clean(value))
}

func (w *eventWriter) number(name string, n *int64) {
	if n != nil {
		w.key(name)
		w.out = strconv.AppendInt(w.out, *n, 10)
	}
}

func (w *eventWriter) raw(name string, value []byte) {
	w.key(name)
	w.out = append(w.out, value...)
}

// open begins an object that close takes back if it stays empty.
func (w *eventWriter) open(name string) int {
	before := len(w.out)
	w.key(name)
	w.out = append(w.out, '{')
	return before
}

func (w *eventWriter) close(before int) {
	if w.out[len(w.out)-1] == '{' {
		w.out = w.out[:before]
		return
	}
	w.out = append(w.out, '}')
}

// others copies the members of an object, but the one named.
func (w *eventWriter) others(object []byte, but string) {
	_ = members(object, func(name string, raw jsontext.Value) error {
		if name != but {
			w.raw(name, raw)
		}
		return nil
	})
}

func (w *eventWriter) commerce(e *touchpoint.Event) {
	before := w.open("commerce")
	w.text("product_id", e.ProductId, false)
	w.number("price", e.Price)
	w.number("quantity", e.Quantity)
	w.text("currency", e.Currency, false)
	w.text("cart_id", e.CartId, false)
	w.text("order_id", e.OrderId, false)
	w.number("revenue", e.Revenue)
	w.text("coupon", e.Coupon, false)
	if len(e.Products) > 0 && !hasMember(e.Commerce, "products") {
		w.key("products")
		w.out = append(w.out, '[')
		for i, p := range e.Products {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			w.out = append(w.out, '{')
			w.text("product_id", p.ProductId, false)
			w.number("price", p.Price)
			w.number("quantity", p.Quantity)
			w.text("currency", p.Currency, false)
			w.out = append(w.out, '}')
		}
		w.out = append(w.out, ']')
	}
	w.others(e.Commerce, "")
	w.close(before)
}

func (w *eventWriter) context(e *touchpoint.Event) {
	before := w.open("context")
	w.text("url", e.Url, false)
	w.text("path", e.Path, false)
	w.text("title", e.Title, false)
	w.text("referrer", e.Referrer, false)
	campaign := w.open("campaign")
	w.text("name", e.Campaign, false)
	w.text("source", e.CampaignSource, false)
	w.text("medium", e.CampaignMedium, false)
	_ = members(e.Context, func(name string, raw jsontext.Value) error {
		if name == "campaign" && raw.Kind() == '{' {
			w.others(raw, "")
		}
		return nil
	})
	w.close(campaign)
	w.text("device", e.Device, false)
	w.text("os", e.Os, false)
	w.text("browser", e.Browser, false)
	w.text("country", e.Country, false)
	w.text("app_version", e.AppVersion, false)
	w.number("load_time", e.LoadTime)
	if e.Bot {
		w.raw("bot", []byte("true"))
	}
	_ = members(e.Context, func(name string, raw jsontext.Value) error {
		if name != "campaign" || raw.Kind() != '{' {
			w.raw(name, raw)
		}
		return nil
	})
	w.close(before)
}

func hasMember(object []byte, name string) (has bool) {
	_ = members(object, func(n string, _ jsontext.Value) error {
		has = has || n == name
		return nil
	})
	return has
}

// DecodeProducts reads the lines of an event from a JSON list; nil if it is none.
func DecodeProducts(list []byte) []*touchpoint.Product {
	products, _ := decodeProducts(list)
	return products
}
