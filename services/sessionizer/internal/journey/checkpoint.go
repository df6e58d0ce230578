package journey

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/keyhash"
)

// checkpointFormat is the version of the records of a checkpoint.
const checkpointFormat = 1

// metaKey is the key of the record that closes a checkpoint. A person's key is the project, a zero byte and the name.
const metaKey = "meta"

// Changed is about how many bytes of state changed since the last Checkpoint.
func (p *Partition) Changed() int { return p.grown }

// Checkpoint gives put the records of what changed since the last Checkpoint, the closing one last; the value is nil where
// there is no longer a state for the key. put must not keep the buffers. REQUIRES: a Cut or Discard since the last Apply.
func (p *Partition) Checkpoint(put func(key, value []byte)) {
	var key, value []byte
	for _, i := range p.changed {
		at := p.at(i)
		at.dirty = false
		key = append(append(key[:0], p.projects[at.project].name...), 0)
		key = append(key, p.name(at)...)
		value = p.appendPerson(value[:0], at)
		put(key, value)
	}
	p.changed = p.changed[:0]
	p.grown = 0
	put([]byte(metaKey), p.appendMeta(value[:0]))
}

func (p *Partition) appendMeta(b []byte) []byte {
	b = append(b, checkpointFormat)
	b = binary.AppendUvarint(b, Version)
	b = binary.AppendUvarint(b, uint64(p.next))
	b = binary.AppendVarint(b, p.clock)
	b = binary.LittleEndian.AppendUint64(b, p.facts.hash)
	b = binary.AppendUvarint(b, p.facts.count)
	b = binary.AppendUvarint(b, uint64(len(p.projects)))
	for _, pr := range p.projects {
		b = appendText(b, pr.name)
		b = append(b, boolByte(pr.seen))
		b = binary.AppendVarint(b, pr.latest)
		b = binary.AppendVarint(b, pr.arrived)
		b = binary.AppendVarint(b, pr.reached)
	}
	return b
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Restore takes one record of a checkpoint; of records with one key the last one counts. REQUIRES: no Apply yet.
func (p *Partition) Restore(key, value []byte) error {
	if string(key) == metaKey {
		return p.restoreMeta(value)
	}
	name, person, ok := bytes.Cut(key, []byte{0})
	if !ok || len(person) == 0 {
		return fmt.Errorf("partition %d: restore %q: %w", p.config.Partition, key, errCheckpoint)
	}
	if value == nil {
		return nil // nothing is ever taken out of a checkpoint yet
	}
	pr := p.project(string(name))
	i := p.find(pr, keyhash.Of(pr.name, string(person)), string(person))
	if err := p.restorePerson(pr, i, string(person), value); err != nil {
		return fmt.Errorf("partition %d: restore a person of %s: %w", p.config.Partition, pr.name, err)
	}
	return nil
}

func (p *Partition) restoreMeta(value []byte) error {
	r := reader{b: value}
	if format := r.byte(); format != checkpointFormat {
		return fmt.Errorf("partition %d: restore: the checkpoint has format %d, this program reads %d", p.config.Partition, format, checkpointFormat)
	}
	if version := r.uvarint(); version != Version {
		return fmt.Errorf("partition %d: restore: the checkpoint is of state machine %d, this program has %d", p.config.Partition, version, Version)
	}
	p.next, p.clock = int64(r.uvarint()), r.varint()
	p.facts.hash, p.facts.count = r.fixed64(), r.uvarint()
	for range r.count() {
		pr := p.project(r.text())
		pr.seen = r.byte() == 1
		pr.latest, pr.arrived, pr.reached = r.varint(), r.varint(), r.varint()
		p.reschedule(pr)
	}
	if r.bad {
		return fmt.Errorf("partition %d: restore: %w", p.config.Partition, errCheckpoint)
	}
	return nil
}

// appendPerson appends a person's state in a form that stands alone: numbered texts are written out, each once.
func (p *Partition) appendPerson(b []byte, at *person) []byte {
	f := &p.fold
	p.scratch = p.scratch[:0]
	p.load(f, at)
	b = append(b, checkpointFormat)
	b = binary.AppendVarint(b, at.closed)
	b = binary.AppendVarint(b, at.until)
	b = binary.AppendVarint(b, at.act)
	b = append(b, at.session[:]...)
	b = f.past.append(b, f.program, &p.tables)
	b = binary.AppendUvarint(b, uint64(len(f.events)))
	texts := map[string]uint64{}
	put := func(s string) {
		n, ok := texts[s]
		if !ok { // a new text stands behind the number it gets
			n = uint64(len(texts))
			texts[s] = n
			b = binary.AppendUvarint(b, n)
			b = appendText(b, s)
			return
		}
		b = binary.AppendUvarint(b, n)
	}
	time, offset := int64(0), int64(0)
	for i := range f.events {
		e := &f.events[i]
		b = appendText(b, string(e.id))
		b = binary.AppendVarint(b, e.at-time)
		b = binary.AppendVarint(b, e.offset-offset)
		time, offset = e.at, e.offset
		set := e.bits()
		b = binary.AppendUvarint(b, set)
		if set&bitMask != 0 {
			b = binary.AppendUvarint(b, e.mask)
		}
		if set&bitOrder != 0 {
			b = binary.LittleEndian.AppendUint64(b, e.order)
		}
		if set&bitPaid != 0 {
			b = binary.AppendVarint(b, e.revenue)
			put(p.tables.text(e.currency))
		}
		for _, id := range []text{e.anon, e.step, e.path, e.referrer, e.flags} {
			put(p.tables.text(id))
		}
		if set&bitContext != 0 {
			c := p.tables.contexts.value(e.context)
			for _, s := range []string{c.channel, c.device, c.browser, c.country, c.appVersion} {
				put(s)
			}
		}
		if set&bitCampaign != 0 {
			c := p.tables.campaigns.value(e.campaign)
			for _, s := range []string{c.name, c.source, c.medium} {
				put(s)
			}
		}
		b = binary.AppendUvarint(b, uint64(len(e.holds)))
		for _, h := range e.holds {
			put(p.tables.text(h))
		}
		put(p.tables.text(e.cart))
		b = binary.AppendUvarint(b, uint64(len(e.items)))
		for _, i := range e.items {
			put(p.tables.text(i.product))
			b = binary.AppendUvarint(b, uint64(i.quantity))
			b = append(b, boolByte(i.priced))
			b = binary.AppendUvarint(b, uint64(i.price))
			put(p.tables.text(i.currency))
		}
	}
	return b
}

func (p *Partition) restorePerson(pr *project, i uint32, name string, value []byte) error {
	r := reader{b: value}
	if format := r.byte(); format != checkpointFormat {
		return fmt.Errorf("the record has format %d, this program reads %d", format, checkpointFormat)
	}
	at, f := p.at(i), &p.fold
	closed, until, act := r.varint(), r.varint(), r.varint()
	id := r.take(uint64(len(event.Hash{})))
	f.past.read(&r, pr.program, &p.tables)
	f.events = f.events[:0]
	var texts []text
	take := func() text {
		n := r.uvarint()
		if n == uint64(len(texts)) {
			texts = append(texts, p.tables.strings.ID(r.text()))
		}
		if n >= uint64(len(texts)) {
			r.bad = true
			return 0
		}
		return texts[n]
	}
	word := func() string { return p.tables.text(take()) }
	time, offset := int64(0), int64(0)
	for range r.count() {
		var e kept
		e.id = slices.Clone(r.take(r.uvarint()))
		time, offset = time+r.varint(), offset+r.varint()
		e.at, e.offset = time, offset
		set := r.uvarint()
		e.pageView, e.passive, e.bot, e.excluded = set&bitPageView != 0, set&bitPassive != 0, set&bitBot != 0, set&bitExcluded != 0
		if set&bitMask != 0 {
			e.mask = r.uvarint()
		}
		if set&bitOrder != 0 {
			e.order = r.fixed64()
		}
		if set&bitPaid != 0 {
			e.paid, e.revenue = true, r.varint()
			e.currency = take()
		}
		e.anon, e.step, e.path, e.referrer, e.flags = take(), take(), take(), take(), take()
		if set&bitContext != 0 {
			e.context = p.tables.context(contextTuple{word(), word(), word(), word(), word()})
		}
		if set&bitCampaign != 0 {
			e.campaign = p.tables.campaign(campaignTuple{word(), word(), word()})
		}
		for range r.count() {
			e.holds = append(e.holds, take())
		}
		e.cart = take()
		for range r.count() {
			e.items = append(e.items, item{
				product: take(), quantity: int64(r.uvarint()), priced: r.byte() == 1, price: int64(r.uvarint()), currency: take(),
			})
		}
		f.events = append(f.events, e)
	}
	if r.bad || id == nil {
		return errCheckpoint
	}
	p.setHead(i, name, &f.past)
	p.pack(i, f.events)
	was := at.open
	at.closed, at.until, at.act, at.session, at.open = closed, until, act, event.Hash(id), was
	f.t, f.program, f.project, f.person, f.rows = &p.tables, pr.program, pr.name, name, false
	f.run(until)
	p.resume(pr, i)
	return nil
}
