package segment

import (
	"bytes"
	"unsafe"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// Kind is the type of a message: what the sender called.
type Kind string

// The kinds. Any is that of a message which says its own.
const (
	Any      Kind = ""
	Track    Kind = "track"
	Identify Kind = "identify"
	Page     Kind = "page"
	Screen   Kind = "screen"
	Alias    Kind = "alias"
	Group    Kind = "group"
)

// Agent is what a user agent tells.
type Agent struct {
	Device, OS, Browser string
	Bot                 bool
}

// Request is what the messages of one body share.
type Request struct {
	Project, Source string
	Channel         string // of the source
	WriteKey        string
	Step            func(name string) string // the project's vocabulary
	ReceivedAt      int64
	SentAt          []byte // the raw value of the body, nil if absent
	Context         []byte // the raw value of the body, nil if absent
	UserAgent       string // of the HTTP request, where that is the device's own; else ""
	Agent           func(userAgent string) Agent
	Staff           func(userAgent, ip string) bool // whom the project counts as bots besides
}

// Parser makes events of messages. It keeps its buffers from one to the next and is not safe for concurrent use.
type Parser struct {
	req    Request
	sentAt int64 // of the body; -1 if absent or unreadable

	s        scanner
	values   [slots][]byte
	base     [slots][]byte // from the context of the body
	baseRest []member      // what is left of it
	props    []member
	traits   []member
	rest     []byte   // leftovers of the context, an object
	restKeys [][]byte // their keys
	object   []byte   // properties made anew
	text     []byte   // texts without their escapes
	products []*touchpoint.Product
	id       string // of the message
	e        touchpoint.Event
}

// member is a member of an object: key and value, with their bytes as sent.
type member struct {
	slot  slot
	key   []byte // unquoted
	raw   []byte // the member: key, colon, value
	value []byte
	taken bool
}

// Begin sets what the following messages share. An error says that the context of the body cannot be read.
func (p *Parser) Begin(req Request) error {
	p.req = req
	p.base = [slots][]byte{}
	p.baseRest = p.baseRest[:0]
	p.sentAt = -1
	p.text = p.text[:0]
	if at, ok := p.time(req.SentAt); ok && at >= 0 {
		p.sentAt = at
	}
	if req.Context == nil {
		return nil
	}
	p.values = [slots][]byte{}
	p.s.reset(req.Context)
	if err := p.context(); err != nil {
		return err
	}
	p.base = p.values
	// Taken apart once more, so that a message's own members can stand in for single ones.
	rest := closeObject(bytes.Clone(p.rest))
	if len(rest) == 0 {
		return nil
	}
	p.s.reset(rest)
	return p.list("context", &p.baseRest, nil)
}

// MessageID is the id of the message last given to Event, as far as it could be read; that of an event without one is made.
func (p *Parser) MessageID() string { return p.id }

// AppVersion is the version of the app that sent the message last given to Event, as far as it could be read.
func (p *Parser) AppVersion() string {
	version, _ := p.scalar(p.values[ctxAppVersion])
	return version
}

// Event makes an event of a message. Its texts and bytes are slices of raw and of the parser's buffers: they hold until the
// next call, and as long as raw does. A fault is why the message is refused.
func (p *Parser) Event(raw []byte, kind Kind) (*touchpoint.Event, *Fault) {
	err := p.read(raw)
	p.id, _ = p.scalar(p.values[msgID])
	if err != nil {
		f, _ := err.(*Fault) //nolint:errorlint // the scanner returns nothing else
		if len(raw) > event.MaxBytes {
			f = tooLarge(raw)
		}
		return nil, f
	}
	if len(raw) > event.MaxBytes {
		return nil, tooLarge(raw)
	}
	e := &p.e
	*e = touchpoint.Event{Project: p.req.Project, Source: p.req.Source, ReceivedAt: p.req.ReceivedAt, Products: e.Products[:0], Flags: e.Flags[:0]}
	if kind == Any {
		said, ok := p.scalar(p.values[msgType])
		if kind = Kind(said); !ok || !known(kind) {
			return nil, fault(event.UnknownType, "type %q is none of track, page, screen, identify, alias, group", clip([]byte(said)))
		}
	}
	for _, step := range [...]func(e *touchpoint.Event, kind Kind) *Fault{p.name, p.identity, p.times} {
		if f := step(e, kind); f != nil {
			return nil, f
		}
	}
	if p.id == "" {
		p.id = event.HashOf(p.req.WriteKey, alias(raw)).String()
	}
	e.MessageId = p.id
	p.surroundings(e, kind)
	p.commerce(e, kind)
	p.leftovers(e, kind)
	return e, nil
}

func tooLarge(raw []byte) *Fault {
	return fault(event.TooLarge, "the event has %d bytes, %d are allowed", len(raw), event.MaxBytes)
}

func known(k Kind) bool {
	switch k {
	case Track, Identify, Page, Screen, Alias, Group:
		return true
	case Any:
	}
	return false
}

// read scans the message and puts what is looked for into its slots.
func (p *Parser) read(raw []byte) error {
	p.values = p.base
	p.props, p.traits, p.rest, p.restKeys, p.text = p.props[:0], p.traits[:0], p.rest[:0], p.restKeys[:0], p.text[:0]
	p.s.reset(raw)
	if p.s.kind() != '{' {
		return fault(event.Schema, "the event is no JSON object")
	}
	err := p.s.object(func(key []byte) error {
		switch string(key) {
		case "context":
			return p.context()
		case "properties":
			return p.list("properties", &p.props, properties)
		case "traits":
			return p.list("traits", &p.traits, properties)
		}
		value, err := p.s.value()
		if err != nil {
			return err
		}
		if f, ok := messageShape[string(key)]; ok && value[0] != 'n' {
			if value[0] == '{' || value[0] == '[' {
				return fault(event.Schema, "%s is no text", key)
			}
			p.values[f.slot] = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.s.end(); err != nil {
		return err
	}
	for _, m := range p.baseRest {
		if !contains(p.restKeys, m.key) {
			p.rest = appendMember(p.rest, m.raw)
		}
	}
	p.rest = closeObject(p.rest)
	return nil
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}

// appendMember appends a member to an object under construction, which is empty before its first.
func appendMember(object, raw []byte) []byte {
	if len(object) == 0 {
		object = append(object, '{')
	} else {
		object = append(object, ',')
	}
	return append(object, raw...)
}

func closeObject(object []byte) []byte {
	if len(object) > 0 {
		object = append(object, '}')
	}
	return object
}

// empty reads a value that stands for no object: null, or the empty list that PHP makes of an empty map. It is false, and
// nothing is read, if an object comes; anything else is a fault.
func (p *Parser) empty(what string) (bool, error) {
	if p.s.kind() == '{' {
		return false, nil
	}
	value, err := p.s.value()
	if err != nil {
		return false, err
	}
	if value[0] == 'n' || value[0] == '[' && len(bytes.TrimSpace(value[1:len(value)-1])) == 0 {
		return true, nil
	}
	return false, fault(event.Schema, "%s is no JSON object", what)
}

// context reads a context: slots and leftovers.
func (p *Parser) context() error {
	p.rest = p.rest[:0]
	if empty, err := p.empty("context"); empty || err != nil {
		return err
	}
	return p.search(contextShape, true)
}

// search reads an object by its shape. The leftovers go behind p.rest, without the closing bracket.
func (p *Parser) search(sh shape, top bool) error {
	start := len(p.rest)
	return p.s.object(func(key []byte) error {
		f, ok := sh[string(key)]
		before := len(p.rest)
		name := p.s.key()
		kind := p.s.kind()
		if ok && f.inner != nil && kind == '{' {
			p.begin(start, name)
			p.rest = append(p.rest, '{')
			inner := len(p.rest)
			if err := p.search(f.inner, false); err != nil {
				return err
			}
			if len(p.rest) == inner {
				p.rest = p.rest[:before] // all of it was taken
				return nil
			}
			p.rest = append(p.rest, '}')
			p.restKey(top, key)
			return nil
		}
		value, err := p.s.value()
		if err != nil {
			return err
		}
		if ok && f.slot != none && (f.any || kind != '{' && kind != '[') {
			if kind != 'n' {
				p.values[f.slot] = value
			}
			if !f.kept {
				return nil
			}
		}
		p.begin(start, name)
		p.rest = append(p.rest, value...)
		p.restKey(top, key)
		return nil
	})
}

// begin writes the name of a leftover, as sent; the object that it belongs to begins at start (at the top with its bracket).
func (p *Parser) begin(start int, name []byte) {
	switch {
	case len(p.rest) > start:
		p.rest = append(p.rest, ',')
	case start == 0:
		p.rest = append(p.rest, '{')
	}
	p.rest = append(p.rest, name...)
	p.rest = append(p.rest, ':')
}

func (p *Parser) restKey(top bool, key []byte) {
	if top {
		p.restKeys = append(p.restKeys, key)
	}
}

// list reads the members of an object into a list.
func (p *Parser) list(what string, into *[]member, names map[string]slot) error {
	if empty, err := p.empty(what); empty || err != nil {
		return err
	}
	return p.s.object(func(key []byte) error {
		from := p.s.keyAt
		value, err := p.s.value()
		if err != nil {
			return err
		}
		*into = append(*into, member{slot: names[string(key)], key: key, raw: p.s.b[from:p.s.i], value: value})
		return nil
	})
}

// scalar is a value as a text: a string's contents, a number or boolean as written, "" for null and what is absent. It is
// false for objects and arrays.
func (p *Parser) scalar(value []byte) (string, bool) {
	if len(value) == 0 {
		return "", true
	}
	switch value[0] {
	case '"':
		inner := value[1 : len(value)-1]
		if bytes.IndexByte(inner, '\\') < 0 {
			return alias(inner), true
		}
		from := len(p.text)
		p.text = unquote(p.text, inner)
		return alias(p.text[from:]), true
	case '{', '[':
		return "", false
	case 'n':
		return "", true
	}
	return alias(value), true
}

// alias is the bytes as a string, without a copy: it holds while nobody writes into them. Bytes of a body and those already
// appended to a parser's text buffer stay as they are until the next message.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// at is what a slot holds, as a text.
func (p *Parser) at(s slot) string {
	text, _ := p.scalar(p.values[s])
	return text
}

func (p *Parser) name(e *touchpoint.Event, kind Kind) *Fault {
	switch kind {
	case Track:
		value := p.values[msgEvent]
		if value != nil && value[0] != '"' {
			return fault(event.Schema, "event is no text")
		}
		if e.Name, _ = p.scalar(value); e.Name == "" {
			return fault(event.MissingEvent, "a track call needs the name of what happened, in event")
		}
	case Page:
		e.Name = "Page Viewed"
	case Screen:
		e.Name = "Screen Viewed"
	case Identify:
		e.Name = "Identified"
	case Alias:
		e.Name = "Aliased"
	case Group:
		e.Name = "Grouped"
	case Any: // Event has made it another
	}
	e.Step = p.req.Step(e.Name)
	return nil
}

func (p *Parser) identity(e *touchpoint.Event, kind Kind) *Fault {
	user, _ := p.scalar(p.values[msgUserID])
	anonymous, _ := p.scalar(p.values[msgAnonymousID])
	if kind == Alias {
		if previous, _ := p.scalar(p.values[msgPreviousID]); event.ID(previous) != "" {
			anonymous = previous
		}
	}
	e.UserId, e.AnonymousId = event.ID(user), event.ID(anonymous)
	if e.UserId == "" && e.AnonymousId == "" {
		return fault(event.NoIdentity, "neither userId nor anonymousId says whose the event is")
	}
	return nil
}

// skewed is the difference between two clocks from which it is corrected, in milliseconds.
const skewed = 1000

func (p *Parser) times(e *touchpoint.Event, _ Kind) *Fault {
	sent := p.values[msgTimestamp]
	if text, _ := p.scalar(sent); text == "" {
		sent = p.values[msgOriginalTimestamp]
	}
	e.OccurredAt = e.ReceivedAt
	if text, _ := p.scalar(sent); text == "" {
		return nil
	}
	at, ok := p.time(sent)
	if !ok || at < 0 {
		return fault(event.BadTimestamp, "timestamp %q is no time from 1970 on", clip(sent))
	}
	sentAt := p.sentAt
	if own, ok := p.time(p.values[msgSentAt]); ok && own >= 0 {
		sentAt = own
	}
	if sentAt >= 0 {
		if skew := e.ReceivedAt - sentAt; skew > skewed || skew < -skewed {
			at += skew
		}
	}
	if at < 0 {
		return fault(event.BadTimestamp, "timestamp %q is before 1970 once corrected by the sender's clock, sentAt", clip(sent))
	}
	if at > e.ReceivedAt {
		at = e.ReceivedAt
		e.Flags = append(e.Flags, event.Clamped)
	}
	e.OccurredAt = at
	return nil
}

// time reads a time; it is false for one that is absent or unreadable.
func (p *Parser) time(value []byte) (int64, bool) {
	if len(value) == 0 || value[0] == 't' || value[0] == 'f' {
		return 0, false
	}
	text, ok := p.scalar(value)
	if !ok {
		return 0, false
	}
	return parseTime(text)
}
