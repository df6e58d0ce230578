package journey

import (
	"encoding/binary"
	"slices"

	"github.com/waymark-analytics/waymark/pkg/rules"
)

// A reach is when a required step was first reached over all chains, and the start of that chain.
type reach struct{ at, start int64 }

// chains is the state of one funnel over the events of a session or a person, taken in order.
type chains struct {
	context  uint32 // numbers of the tuples of the event that first reached the first step
	campaign uint32
	first    []reach // of the required steps, as far as any chain has come
	optional []int64 // time of each step that is optional and was passed, else noTime; nil until there is one
	held     []chain // one for each value held constant; just one without
}

// chain is how far the events of one value have come. What its times are depends on the mode: ordered, the latest start of a
// chain that has reached the step; strict, the start of a chain that reached it with the last event; any, the step's last match.
type chain struct {
	value text
	at    []int64
}

func (c *chains) reset() {
	c.first, c.optional, c.held = c.first[:0], nil, c.held[:0] // the times in held are taken up again by of
}

// take looks at the next event.
func (c *chains) take(f *funnelProgram, e *kept) {
	reached := len(c.first)
	value := text(0)
	if f.hold >= 0 && f.hold < len(e.holds) {
		value = e.holds[f.hold]
	}
	if f.hold < 0 || value != 0 {
		c.of(f, value)
	}
	for i := range c.held {
		h := &c.held[i]
		hit := func(k int) bool { return h.value == value && f.steps[f.required[k]].match(e) }
		switch f.mode {
		case rules.Strict:
			c.strict(f, h, e, hit)
		case rules.Any:
			c.anyOrder(f, h, e, hit)
		default:
			c.ordered(f, h, e, hit)
		}
	}
	if reached == 0 && len(c.first) > 0 {
		c.context, c.campaign = e.context, e.campaign
	}
	if len(f.required) < len(f.steps) {
		c.pass(f, e, reached)
	}
}

// of makes the chain of a value, if there is none.
func (c *chains) of(f *funnelProgram, value text) {
	for i := range c.held {
		if c.held[i].value == value {
			return
		}
	}
	n := len(c.held)
	if n < cap(c.held) {
		c.held = c.held[:n+1]
	} else {
		c.held = append(c.held, chain{})
	}
	h := &c.held[n]
	h.value, h.at = value, h.at[:0]
	for range f.required {
		h.at = append(h.at, noTime)
	}
}

func (c *chains) reach(k int, at, start int64) {
	if k == len(c.first) {
		c.first = append(c.first, reach{at, start})
	}
}

func (c *chains) ordered(f *funnelProgram, h *chain, e *kept, hit func(int) bool) {
	step := false
	for k := len(h.at) - 1; k >= 0; k-- { // from the back: one event is never two steps of a chain
		if !hit(k) {
			continue
		}
		step = true
		start := e.at
		if k > 0 {
			start = h.at[k-1]
		}
		if start != noTime && e.at-start <= f.window {
			h.at[k] = start
			c.reach(k, e.at, start)
		}
	}
	if step {
		return
	}
	for i := range f.exclude {
		if x := &f.exclude[i]; x.when.match(e) {
			for k := x.from; k < x.to; k++ {
				h.at[k] = noTime
			}
		}
	}
}

// strict wants step k+1 at the very next event after step k.
func (c *chains) strict(f *funnelProgram, h *chain, e *kept, hit func(int) bool) {
	for k := len(h.at) - 1; k >= 0; k-- {
		start := e.at
		if k > 0 {
			start = h.at[k-1]
		}
		if start == noTime || e.at-start > f.window || !hit(k) {
			h.at[k] = noTime
			continue
		}
		h.at[k] = start
		c.reach(k, e.at, start)
	}
}

// anyOrder counts how many different steps lie inside the window that ends at the event.
func (c *chains) anyOrder(f *funnelProgram, h *chain, e *kept, hit func(int) bool) {
	n := 0
	for k := range h.at {
		if hit(k) {
			h.at[k] = e.at
		}
		if h.at[k] != noTime && e.at-h.at[k] <= f.window {
			n++
		}
	}
	for len(c.first) < n {
		c.first = append(c.first, reach{at: e.at})
	}
}

// pass notes optional steps: they count after the required step before them was first reached, before the one after them is,
// and inside the window of the chain that reached the one before. reached is how many steps were before this event.
func (c *chains) pass(f *funnelProgram, e *kept, reached int) {
	k := -1
	for i := range f.steps {
		if k+1 < len(f.required) && f.required[k+1] == i {
			k++
			continue
		}
		if k >= reached || len(c.first) > k+1 || !f.steps[i].match(e) || e.at-c.first[k].start > f.window {
			continue
		}
		if c.optional == nil {
			c.optional = make([]int64, len(f.steps))
			for j := range c.optional {
				c.optional[j] = noTime
			}
		}
		if c.optional[i] == noTime {
			c.optional[i] = e.at
		}
	}
}

func (c *chains) append(b []byte, t *tables) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.first)))
	for _, r := range c.first {
		b = binary.AppendVarint(b, r.at)
		b = binary.AppendVarint(b, r.start)
	}
	if len(c.first) > 0 {
		b = t.appendContext(b, c.context)
		b = t.appendCampaign(b, c.campaign)
	}
	b = appendTimes(b, c.optional)
	b = binary.AppendUvarint(b, uint64(len(c.held)))
	for _, h := range c.held {
		b = appendText(b, t.text(h.value))
		b = appendTimes(b, h.at)
	}
	return b
}

func (c *chains) read(r *reader, t *tables) {
	for range r.count() {
		c.first = append(c.first, reach{r.varint(), r.varint()})
	}
	if len(c.first) > 0 {
		c.context, c.campaign = t.readContext(r), t.readCampaign(r)
	}
	c.optional = r.times()
	for range r.count() {
		c.held = append(c.held, chain{t.strings.ID(r.text()), r.times()})
	}
}

// fits says whether every chain is one of a funnel with n required steps.
func (c *chains) fits(n int) bool {
	return !slices.ContainsFunc(c.held, func(h chain) bool { return len(h.at) != n })
}

func appendTimes(b []byte, times []int64) []byte {
	b = binary.AppendUvarint(b, uint64(len(times)))
	for _, at := range times {
		b = binary.AppendVarint(b, at)
	}
	return b
}

func (r *reader) times() []int64 {
	var out []int64
	for range r.count() {
		out = append(out, r.varint())
	}
	return out
}

// set makes c a copy of o that shares no memory that either changes.
func (c *chains) set(o *chains) {
	c.context, c.campaign = o.context, o.campaign
	c.first = append(c.first[:0], o.first...)
	c.optional = slices.Clone(o.optional)
	c.held = c.held[:min(len(o.held), cap(c.held))]
	for len(c.held) < len(o.held) {
		c.held = append(c.held, chain{})
	}
	for i := range o.held {
		c.held[i].value, c.held[i].at = o.held[i].value, append(c.held[i].at[:0], o.held[i].at...)
	}
}
