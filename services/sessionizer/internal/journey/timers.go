package journey

import "slices"

// schedule looks at the person when the watermark has passed due; forever is never.
func (p *Partition) schedule(pr *project, i uint32, due int64) {
	if at := p.at(i); due != forever && (at.due == noTime || due < at.due) {
		at.due = due
		pr.closing.add(due, i)
	}
}

// scheduleFold looks again at a person's events when the oldest of them may be past. It looks rather late than often.
func (p *Partition) scheduleFold(pr *project, i uint32, oldest int64) {
	if at := p.at(i); at.fold == noTime {
		at.fold = oldest + pr.keep() + foldingPause
		pr.folding.add(at.fold, i)
	}
}

// fire runs every timer that the watermarks have passed.
func (p *Partition) fire() {
	for len(p.waking) > 0 && p.waking[0].wake <= p.clock {
		pr := p.waking[0]
		w, _ := pr.watermark(p.clock)
		p.fireProject(pr, w)
		p.reschedule(pr)
		if pr.wake <= p.clock {
			return // it stands at the time of a timer, which it has not passed
		}
	}
}

// fireProject runs the project's timers. Their order is chance: nothing may depend on it.
func (p *Partition) fireProject(pr *project, w int64) {
	for {
		e, ok := pr.closing.take(w)
		if !ok {
			break
		}
		if p.at(e.person).due == e.due {
			p.at(e.person).due = noTime
			p.pass(pr, e.person, w)
		}
	}
	for {
		e, ok := pr.folding.take(w)
		if !ok {
			break
		}
		if p.at(e.person).fold == e.due {
			p.at(e.person).fold = noTime
			p.forget(pr, e.person, w)
		}
	}
}

// derive works out what the person's events mean, as it was concluded, in p.fold.
func (p *Partition) derive(at *person) {
	p.scratch = p.scratch[:0]
	p.load(&p.fold, at)
	p.fold.rows = false
	p.fold.run(at.until)
}

// pass lets the watermark w pass the person: sessions close, timers fire. After an end marker w is forever.
func (p *Partition) pass(pr *project, i uint32, w int64) {
	at, f := p.at(i), &p.fold
	p.derive(at)
	f.rows = true
	f.machine.timers(f, w)
	for _, t := range f.transitions {
		p.facts.addTransition(t, 1)
	}
	for _, c := range f.carts {
		p.facts.addCart(c, 1)
	}
	closed := at.closed
	p.entered = p.entered[:0]
	for j := range f.sessions {
		s := &f.sessions[j]
		if s.endedAt <= at.closed || !pr.closes(s.endedAt, w) {
			continue
		}
		closed = max(closed, s.endedAt)
		row := f.row(s)
		p.facts.addSession(row, 1)
		p.entered = f.entrants(p.entered, s, row)
	}
	for _, e := range p.entered {
		p.facts.addEntrant(e, 1)
	}
	if closed != at.closed || len(f.transitions)+len(f.carts) > 0 || w == forever {
		p.touch(i)
	}
	at.closed, at.until = closed, max(at.until, w)
	p.resume(pr, i)
}

// end is the end marker: everything of the project that is open closes. The watermark does not move.
func (p *Partition) end(name string) {
	pr, ok := p.byName[name]
	if !ok {
		return // the project has nothing here
	}
	for {
		e, ok := pr.closing.take(forever)
		if !ok {
			break
		}
		if at := p.at(e.person); at.due == e.due {
			at.due = noTime
			p.pass(pr, e.person, forever)
		}
	}
	p.reschedule(pr)
}

// forget makes past of the kept events that no event still to come can touch.
func (p *Partition) forget(pr *project, i uint32, w int64) {
	at, f := p.at(i), &p.fold
	p.scratch = p.scratch[:0]
	p.load(f, at)
	f.rows = false
	f.begin()
	n, sessions := 0, 0 // what goes: a run of events from the first on that ends between two sessions
	for j := range f.events {
		if s := f.of[j]; s >= 0 {
			if f.sessions[s].endedAt > at.closed || f.sessions[s].endedAt+pr.keep() >= w {
				break
			}
			sessions = s + 1
		} else if f.events[j].at+pr.keep() >= w {
			break
		}
		n = j + 1
	}
	if n > 0 {
		p.passOn(pr, i, n, sessions)
	}
	if n < len(f.events) {
		until := f.events[n].at // it waits for its whole session
		if s := f.of[n]; s >= 0 {
			until = f.sessions[s].endedAt
		}
		p.scheduleFold(pr, i, max(until, w-pr.keep()))
	}
}

// passOn moves the first n events of p.fold, which has begun, with their sessions into the past.
func (p *Partition) passOn(pr *project, i uint32, n, sessions int) {
	f := &p.fold
	h := &f.past
	for j := range f.events[:n] {
		e := &f.events[j]
		if s := f.of[j]; s < 0 || !f.sessions[s].flagged() {
			h.machine.apply(f, e)
		}
		if e.step == pr.program.purchase && e.order != 0 {
			h.orders = append(h.orders, e.order)
		}
	}
	slices.Sort(h.orders)
	h.sessions += sessions
	p.setHead(i, f.person, h)
	p.unpack(f, p.at(i)) // as they were: the steps that run took away it will take away again
	p.pack(i, f.events[n:])
	delete(p.many, i)
	p.touch(i)
}
