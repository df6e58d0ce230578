package importer

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/money"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// kind is what a column's value was in the file.
type kind byte

const (
	isText   kind = iota
	isScalar      // a JSON number, true or false
	isTree        // a JSON object or array
	isTime        // a column typed as a time
	isNull
)

// value is one column of one row. Of a text and a scalar the text is as written.
type value struct {
	kind kind
	text string
	at   int64 // of isTime, UTC ms
}

// refusal says why a row is no event.
type refusal struct{ reason, detail string }

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// role is one use that a mapping makes of a column.
type role struct {
	use   use
	field string   // of useField
	among []string // of useWhere
}

type use byte

const (
	useTime use = iota
	useUser
	useAnonymous
	useMessage
	useName
	useField
	useWhere
)

// plan turns rows into events by a mapping. It is one reader's own.
type plan struct {
	m     *Mapping
	roles map[string][]role
	step  func(name string) string
	seen  map[string]bool // columns the mapping names and some row has
	taken map[string]bool // names that fields give to properties

	kept int64 // numbers that were none, and stayed texts among the properties

	// of the row in hand
	event      *touchpoint.Event
	time       value
	fields     []fieldValue
	held       int // conditions of where that hold
	properties []byte
	commerce   []byte
	context    []byte
	campaign   []byte
	refused    *refusal
}

type fieldValue struct {
	field, column string
	value         value
}

func newPlan(m *Mapping, step func(name string) string) *plan {
	p := &plan{m: m, roles: map[string][]role{}, step: step, seen: map[string]bool{}, taken: map[string]bool{}, event: &touchpoint.Event{}}
	add := func(column string, r role) {
		if column != "" {
			p.roles[column] = append(p.roles[column], r)
		}
	}
	add(m.Time, role{use: useTime})
	add(m.UserID, role{use: useUser})
	add(m.AnonymousID, role{use: useAnonymous})
	add(m.MessageID, role{use: useMessage})
	add(m.Name, role{use: useName})
	for field, column := range m.Fields {
		add(column, role{use: useField, field: field})
		if name, ok := strings.CutPrefix(field, "properties."); ok {
			p.taken[name] = true
		}
	}
	for column, among := range m.Where {
		add(column, role{use: useWhere, among: among})
	}
	for _, roles := range p.roles {
		slices.SortFunc(roles, func(a, b role) int { return strings.Compare(a.field, b.field) })
	}
	return p
}

// begin starts a row.
func (p *plan) begin() {
	p.event.Reset()
	p.event.Project, p.event.Source = p.m.Project, "import"
	p.time, p.fields, p.held, p.refused = value{kind: isNull}, p.fields[:0], 0, nil
	p.properties, p.commerce, p.context, p.campaign = nil, nil, nil, nil
}

// column takes one column of the row; roles are those of its name.
func (p *plan) column(name string, roles []role, v value) {
	if len(roles) == 0 {
		p.property(name, v)
		return
	}
	for _, r := range roles {
		switch r.use {
		case useTime:
			p.time = v
		case useUser:
			p.event.UserId = event.ID(p.id(name, v))
		case useAnonymous:
			p.event.AnonymousId = event.ID(p.id(name, v))
		case useMessage:
			p.event.MessageId = p.id(name, v)
		case useName:
			text := p.id(name, v)
			if mapped, ok := p.m.Names[text]; ok {
				text = mapped
			}
			p.event.Name = text
		case useField:
			p.fields = append(p.fields, fieldValue{r.field, name, v})
		case useWhere:
			if v.kind != isTree && slices.Contains(r.among, v.text) {
				p.held++
			}
		}
	}
}

// id is a text that tells rows apart. It is taken as written, so it must be readable as it is.
func (p *plan) id(column string, v value) string {
	if v.kind == isTree || !utf8.ValidString(v.text) {
		if p.refused == nil {
			p.refused = refuse(event.Schema, "column %q holds no text in UTF-8", column)
		}
		return ""
	}
	return v.text
}

func (p *plan) property(name string, v value) {
	if v.kind == isNull || v.kind == isText && v.text == "" {
		return
	}
	for p.taken[name] {
		name += "_"
	}
	p.properties = appendMember(p.properties, name, v)
}

// finish is the event of the row. left says that the mapping's where leaves the row out.
func (p *plan) finish() (e *touchpoint.Event, left bool, refused *refusal) {
	if p.held < len(p.m.Where) {
		return nil, true, nil
	}
	if p.refused != nil {
		return p.event, false, p.refused
	}
	e = p.event
	at, err := p.timeOf(p.time)
	if err != nil {
		return e, false, refuse(event.BadTimestamp, "column %q: %v", p.m.Time, err)
	}
	e.OccurredAt = at
	switch {
	case e.Name == "":
		return e, false, refuse(event.MissingEvent, "column %q is empty", p.m.Name)
	case event.Person(e) == "":
		return e, false, refuse(event.NoIdentity, "neither a user id nor an anonymous id")
	}
	e.Step = p.step(e.Name)
	e.Currency = p.m.Currency
	for _, f := range p.fields { // money needs its currency first
		if f.field == "commerce.currency" && f.value.text != "" {
			e.Currency = clean(f.value.text)
		}
	}
	for _, f := range p.fields {
		if refused := p.field(e, f); refused != nil {
			return e, false, refused
		}
	}
	if e.ReceivedAt != 0 && e.OccurredAt > e.ReceivedAt {
		e.OccurredAt = e.ReceivedAt
		e.Flags = append(e.Flags, event.Clamped)
	}
	e.Properties, e.Commerce = closeObject(p.properties), closeObject(p.commerce)
	if p.campaign != nil {
		p.context = appendRaw(p.context, "campaign", closeObject(p.campaign))
	}
	e.Context = closeObject(p.context)
	return e, false, nil
}

// field sets one field of the event. What should be a number and is none stays a text among the properties.
func (p *plan) field(e *touchpoint.Event, f fieldValue) *refusal {
	v := f.value
	if v.kind == isNull || v.text == "" && v.kind == isText {
		return nil
	}
	if dst := textField(e, f.field); dst != nil {
		*dst = clean(v.text)
		return nil
	}
	number := func(dst **int64, n int64, ok bool) {
		if !ok {
			p.kept++
			p.property(f.column, v)
			return
		}
		*dst = &n
	}
	switch f.field {
	case "commerce.price":
		n, ok := money.Minor(v.text, e.Currency)
		number(&e.Price, n, ok)
	case "commerce.revenue":
		n, ok := money.Minor(v.text, e.Currency)
		number(&e.Revenue, n, ok)
	case "commerce.quantity":
		n, ok := money.Whole(v.text)
		number(&e.Quantity, n, ok)
	case "context.load_time":
		n, ok := money.Whole(v.text)
		number(&e.LoadTime, n, ok)
	case "context.bot":
		e.Bot = slices.Contains([]string{"true", "1", "yes"}, strings.ToLower(v.text))
	case "received_at":
		at, err := p.timeOf(v)
		if err != nil {
			return refuse(event.BadTimestamp, "column %q: %v", f.column, err)
		}
		e.ReceivedAt = at
	default:
		p.other(f.field, v)
	}
	return nil
}

// other keeps a field that has no place of its own.
func (p *plan) other(field string, v value) {
	head, rest, _ := strings.Cut(field, ".")
	switch {
	case strings.HasPrefix(field, "context.campaign."):
		p.campaign = appendMember(p.campaign, strings.TrimPrefix(field, "context.campaign."), v)
	case head == "context":
		p.context = appendMember(p.context, rest, v)
	case head == "commerce":
		p.commerce = appendMember(p.commerce, rest, v)
	default:
		p.properties = appendMember(p.properties, rest, v)
	}
}

// textField is the place of a field that is a text, or nil.
func textField(e *touchpoint.Event, field string) *string {
	switch field {
	case "source":
		return &e.Source
	case "channel":
		return &e.Channel
	case "step":
		return &e.Step
	case "context.url":
		return &e.Url
	case "context.path":
		return &e.Path
	case "context.title":
		return &e.Title
	case "context.referrer":
		return &e.Referrer
	case "context.campaign.name":
		return &e.Campaign
	case "context.campaign.source":
		return &e.CampaignSource
	case "context.campaign.medium":
		return &e.CampaignMedium
	case "context.device":
		return &e.Device
	case "context.os":
		return &e.Os
	case "context.browser":
		return &e.Browser
	case "context.country":
		return &e.Country
	case "context.app_version":
		return &e.AppVersion
	case "commerce.product_id":
		return &e.ProductId
	case "commerce.cart_id":
		return &e.CartId
	case "commerce.order_id":
		return &e.OrderId
	case "commerce.currency":
		return &e.Currency
	case "commerce.coupon":
		return &e.Coupon
	}
	return nil
}

// Times that an event can have: from 1970 to the end of 9999, UTC ms.
const lastTime = 253_402_300_799_999

var errTime = fmt.Errorf("outside the years 1970 to 9999")

func (p *plan) timeOf(v value) (int64, error) {
	var at int64
	text := strings.TrimSpace(v.text)
	switch {
	case v.kind == isTime:
		at = v.at
	case text == "" || v.kind == isTree || v.kind == isNull:
		return 0, fmt.Errorf("no time")
	case p.m.TimeFormat == "unix":
		ms, err := millis(text, 3)
		if err != nil {
			return 0, err
		}
		at = ms
	case p.m.TimeFormat == "unix_ms":
		ms, err := millis(text, 0)
		if err != nil {
			return 0, err
		}
		at = ms
	default:
		layout := p.m.TimeFormat
		if layout == "rfc3339" {
			layout = time.RFC3339
		}
		t, err := time.ParseInLocation(layout, text, p.m.Zone)
		if err != nil && p.m.TimeFormat == "rfc3339" {
			// The usual variants: a space for the T, no zone.
			for _, layout := range []string{"2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
				if t, err = time.ParseInLocation(layout, text, p.m.Zone); err == nil {
					break
				}
			}
		}
		if err != nil {
			return 0, fmt.Errorf("%.64q is no time of the form %s", text, p.m.TimeFormat)
		}
		at = t.UnixMilli()
	}
	if at < 0 || at > lastTime {
		return 0, errTime
	}
	return at, nil
}

// millis reads a number of seconds (places 3) or milliseconds (places 0) since 1970, without floating point.
func millis(text string, places int) (int64, error) {
	at, ok := money.Scaled(text, places)
	if !ok {
		return 0, fmt.Errorf("%.64q is no number of seconds or milliseconds since 1970", text)
	}
	return at, nil
}

// clean makes a text readable that is not UTF-8. No id is made so: two ids must not become one.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// appendMember adds a member to a JSON object under construction; nil is an empty one.
func appendMember(object []byte, name string, v value) []byte {
	object = appendName(object, name)
	if v.kind == isScalar || v.kind == isTree {
		return append(object, v.text...)
	}
	object, _ = jsontext.AppendQuote(object, clean(v.text)) // fails on bad UTF-8 only
	return object
}

func appendRaw(object []byte, name string, raw []byte) []byte {
	return append(appendName(object, name), raw...)
}

func appendName(object []byte, name string) []byte {
	if object == nil {
		object = append(make([]byte, 0, 256), '{')
	} else {
		object = append(object, ',')
	}
	object, _ = jsontext.AppendQuote(object, clean(name))
	return append(object, ':')
}

func closeObject(object []byte) []byte {
	if object == nil {
		return nil
	}
	return append(object, '}')
}
