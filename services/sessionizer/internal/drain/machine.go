package main

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// machine is the product's state machine behind the peers' values.
type machine struct {
	*journey.Partition
	count *counters
	event touchpoint.Event
	flag  [1]string
	money int64
}

// counters are read by main.
type counters struct {
	events   atomic.Int64
	sessions atomic.Int64
	first    atomic.Int64 // unix ns of the first record
}

func (c *counters) read() (events int64, first time.Time) {
	return c.events.Load(), time.Unix(0, c.first.Load())
}

func newMachine(partition int32, rule *rules.Rules, count *counters) *machine {
	return &machine{
		Partition: journey.New(journey.Config{Partition: partition, Rules: func(string) *rules.Rules { return rule }}), count: count,
	}
}

// The fields of a peers' touchpoint, and the types that carry money.
const (
	fieldEvent, fieldProject, fieldUser, fieldType, fieldAt, fieldArrived       = 1, 2, 3, 4, 5, 6
	fieldURL, fieldReferrer, fieldProduct, fieldPrice, fieldCurrency, fieldJSON = 7, 8, 9, 10, 11, 12

	typeTick, typeAdd, typeRemove = 0, 3, 4
)

// steps give each type the step with the same place in the product's vocabulary. Adding and removing are told by a sum of
// their own (see Apply), so that the session's row has the value of its cart.
var steps = [...]string{"tick", "list", "view", "purchase", "purchase", "checkout", "payment", ""}

// flags carry the type to the session's row, which unites them.
var flags = [...]string{"0", "1", "2", "3", "4", "5", "6", "7"}

// stages is how far each type leads: the peers' stage of a session is the furthest.
var stages = [...]int32{0, 1, 2, 3, 0, 4, 5, 6}

// Apply decodes the peers' touchpoint into the product's and applies it.
func (m *machine) Apply(r journey.Record) error {
	if m.count.first.Load() == 0 {
		m.count.first.CompareAndSwap(0, time.Now().UnixNano())
	}
	e := &m.event
	kind, price, err := decode(e, r.Value)
	if err != nil {
		return fmt.Errorf("record %d: %w", r.Offset, err)
	}
	if kind >= uint64(len(steps)) {
		return fmt.Errorf("record %d: type %d", r.Offset, kind)
	}
	e.Name, e.Step, e.Channel = "Page Viewed", steps[kind], "web"
	m.flag[0] = flags[kind]
	e.Flags = m.flag[:]
	e.Price, e.Revenue = nil, nil
	if kind == typeAdd || kind == typeRemove {
		if m.money = price; kind == typeRemove {
			m.money = -price
		}
		e.Revenue = &m.money
	}
	if kind != typeTick {
		m.count.events.Add(1)
	}
	return m.ApplyEvent(r.Offset, r.Time, "u:"+e.UserId, e)
}

func decode(e *touchpoint.Event, b []byte) (kind uint64, price int64, err error) {
	text := func(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
	e.MessageId, e.Project, e.UserId, e.Url, e.Referrer, e.ProductId, e.Currency, e.Properties = "", "", "", "", "", "", "", nil
	for len(b) > 0 {
		field, form, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, 0, protowire.ParseError(n)
		}
		b = b[n:]
		switch form {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return 0, 0, protowire.ParseError(n)
			}
			b = b[n:]
			switch field {
			case fieldType:
				kind = v
			case fieldAt:
				e.OccurredAt = int64(v)
			case fieldArrived:
				e.ReceivedAt = int64(v)
			case fieldPrice:
				price = int64(v)
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return 0, 0, protowire.ParseError(n)
			}
			b = b[n:]
			switch field {
			case fieldEvent:
				e.MessageId = text(v)
			case fieldProject:
				e.Project = text(v)
			case fieldUser:
				e.UserId = text(v)
			case fieldURL:
				e.Url = text(v)
			case fieldReferrer:
				e.Referrer = text(v)
			case fieldProduct:
				e.ProductId = text(v)
			case fieldCurrency:
				e.Currency = text(v)
			case fieldJSON:
				e.Properties = v
			}
		default:
			return 0, 0, errors.New("a field of another form")
		}
	}
	return kind, price, nil
}

// encode makes the peers' sessions of a frame. A session that is taken back would be one too many: the job is such that none is.
func (c *counters) encode(f *facts.Frame) ([][]byte, error) {
	var out [][]byte
	for _, s := range f.Sessions {
		if s.Sign < 0 {
			return nil, fmt.Errorf("session of %s is taken back", s.Person)
		}
		b := protowire.AppendTag(nil, 1, protowire.BytesType)
		b = protowire.AppendString(b, s.Person[len("u:"):])
		stage, cart := int32(0), int64(0)
		for _, flag := range s.Flags {
			if kind, err := strconv.Atoi(flag); err == nil {
				stage = max(stage, stages[kind])
			}
		}
		for _, amount := range s.RevenueAmounts {
			cart += amount
		}
		for i, v := range []int64{s.StartedAt, s.EndedAt, int64(s.Events), int64(stage), cart} {
			if v != 0 {
				b = protowire.AppendVarint(protowire.AppendTag(b, protowire.Number(i+2), protowire.VarintType), uint64(v))
			}
		}
		out = append(out, b)
	}
	c.sessions.Add(int64(len(out)))
	return out, nil
}
