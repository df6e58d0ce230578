package journey

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/facts"
)

// past is what remains of a person's events that nothing can change any more: how many sessions they were, which orders were
// bought, and where stages, carts and person funnels stood after them.
type past struct {
	sessions int
	orders   []uint64 // hashes of the order ids, sorted
	machine  machine
}

// machine is what walks over the events that no flagged session hides.
type machine struct {
	standing standing
	carts    carts
	funnels  []chains // as program.persons
}

// reset makes m the machine that has seen nothing.
func (m *machine) reset(p *program) {
	m.standing = standing{stage: -1, entered: noTime, hits: m.standing.hits[:0]}
	m.carts = carts{last: noTime, live: m.carts.live[:0]}
	m.sized(p)
	for i := range m.funnels {
		m.funnels[i].reset()
	}
}

// set makes m a copy of o that shares no memory that either changes.
func (m *machine) set(o *machine, p *program) {
	m.standing.set(&o.standing)
	m.carts.set(&o.carts)
	m.sized(p)
	for i := range m.funnels {
		m.funnels[i].set(&o.funnels[i])
	}
}

func (m *machine) sized(p *program) {
	for len(m.funnels) < len(p.persons) {
		m.funnels = append(m.funnels, chains{})
	}
	m.funnels = m.funnels[:len(p.persons)]
}

func (m *machine) apply(f *fold, e *kept) {
	m.standing.apply(f, e)
	if !e.passive {
		m.carts.apply(f, e)
	}
	for i := range m.funnels {
		m.funnels[i].take(&f.program.persons[i], e)
	}
}

// timers fires what is due before now.
func (m *machine) timers(f *fold, now int64) {
	m.standing.lapseBy(f, now)
	m.carts.timers(f, now)
}

// due is the earliest time at which a timer waits, forever if none does.
func (m *machine) due(p *program) int64 {
	due := m.carts.due(p)
	if m.standing.begun {
		due = min(due, m.standing.last+p.lapse)
	}
	return due
}

func (h *past) append(b []byte, p *program, t *tables) []byte {
	b = binary.AppendUvarint(b, uint64(h.sessions))
	b = binary.AppendUvarint(b, uint64(len(h.orders)))
	for _, o := range h.orders {
		b = binary.LittleEndian.AppendUint64(b, o)
	}
	b = h.machine.standing.append(b, p)
	b = h.machine.carts.append(b, t)
	b = binary.AppendUvarint(b, uint64(len(h.machine.funnels)))
	for i := range h.machine.funnels {
		b = appendText(b, p.persons[i].name)
		b = h.machine.funnels[i].append(b, t)
	}
	return b
}

func (h *past) read(r *reader, p *program, t *tables) {
	h.sessions = int(r.uvarint())
	h.orders = h.orders[:0]
	for range min(r.uvarint(), uint64(len(r.b)/8)) {
		h.orders = append(h.orders, r.fixed64())
	}
	h.machine.reset(p)
	h.machine.standing.read(r, p)
	h.machine.carts.read(r, t)
	for range r.count() {
		name := r.text()
		var c chains
		c.read(r, t)
		for i := range p.persons { // a funnel that is gone, or has other steps now, begins anew
			if f := &p.persons[i]; f.name == name && len(c.first) <= len(f.required) && len(c.optional) <= len(f.steps) && c.fits(len(f.required)) {
				h.machine.funnels[i] = c
			}
		}
	}
}

// session is a run of a person's acts: a range of places among them.
type session struct {
	id          event.Hash
	first, last int // places in fold.acts, both inclusive
	number      int
	startedAt   int64
	endedAt     int64
	runaway     bool
	bot         bool
	stageStart  string
	stageEnd    string
}

func (s *session) flagged() bool { return s.runaway || s.bot }

// A fold is what a person's events mean: computed from the past and the kept events, in order, and from nothing else.
type fold struct {
	t        *tables
	program  *program
	project  string
	person   string
	past     past
	events   []kept // in order; the step of an order reported again is taken away
	acts     []*kept
	of       []int // for each event its session, or -1
	sessions []session

	machine machine
	place   int  // acts walked over so far
	rows    bool // rows are wanted, not just where things stand

	transitions []*facts.Transition
	carts       []*facts.Cart
}

// run works out sessions, flags, stages and carts, with the timers that are due before until.
func (f *fold) run(until int64) {
	f.begin()
	for i := range f.events {
		f.walk(i)
	}
	f.machine.timers(f, until)
}

// begin cuts the sessions and stands at the past.
func (f *fold) begin() {
	f.dropRepeatedOrders()
	f.cutSessions()
	for i := range f.sessions {
		f.flag(&f.sessions[i])
	}
	f.machine.set(&f.past.machine, f.program)
	f.place = 0
	f.transitions, f.carts = nil, nil
}

// walk takes event i, the next one.
func (f *fold) walk(i int) {
	e := &f.events[i]
	if f.of[i] < 0 {
		f.machine.apply(f, e)
		return
	}
	s := &f.sessions[f.of[i]]
	if f.place == s.first {
		s.stageStart = f.machine.standing.at(f.program, e.at)
	}
	if !s.flagged() {
		f.machine.apply(f, e)
	}
	if f.place == s.last {
		s.stageEnd = f.machine.standing.at(f.program, e.at)
	}
	f.place++
}

func (f *fold) addTransition(t *facts.Transition) {
	t.Version = f.t.digest(t)
	f.transitions = append(f.transitions, t)
}

func (f *fold) addCart(c *facts.Cart) {
	c.Version = f.t.digest(c)
	f.carts = append(f.carts, c)
}

// dropRepeatedOrders takes the step from purchases whose order the person has already reported.
func (f *fold) dropRepeatedOrders() {
	var seen []uint64
	for i := range f.events {
		e := &f.events[i]
		if e.step != f.program.purchase || e.order == 0 {
			continue
		}
		if _, ok := slices.BinarySearch(f.past.orders, e.order); ok || slices.Contains(seen, e.order) {
			e.step = 0
			continue
		}
		seen = append(seen, e.order)
	}
}

func (f *fold) cutSessions() {
	f.acts, f.of, f.sessions = f.acts[:0], f.of[:0], f.sessions[:0]
	for i := range f.events {
		e := &f.events[i]
		if e.passive {
			f.of = append(f.of, -1)
			continue
		}
		place := len(f.acts)
		if n := len(f.sessions); n == 0 || f.splits(&f.sessions[n-1], e) {
			f.sessions = append(f.sessions, session{
				id: event.SessionID(f.project, e.at, view(e.id)), first: place, number: f.past.sessions + n + 1, startedAt: e.at,
			})
		}
		f.acts = append(f.acts, e)
		s := &f.sessions[len(f.sessions)-1]
		s.last, s.endedAt = place, e.at
		f.of = append(f.of, len(f.sessions)-1)
	}
}

// splits says whether an act begins a new session after those in s.
func (f *fold) splits(s *session, e *kept) bool {
	p := f.program
	if e.at-s.endedAt > p.gap {
		return true
	}
	if p.splitMidnight && p.day(e.at) != p.day(s.endedAt) {
		return true
	}
	if !p.splitCampaign || e.excluded || e.campaign == 0 {
		return false
	}
	c := f.t.campaigns.value(e.campaign)
	for _, part := range []func(campaignTuple) string{
		func(c campaignTuple) string { return c.name },
		func(c campaignTuple) string { return c.source },
		func(c campaignTuple) string { return c.medium },
	} {
		if part(c) == "" {
			continue
		}
		for i := s.last; i >= s.first; i-- { // the session's last non-empty value
			if old := f.acts[i]; !old.excluded && old.campaign != 0 {
				if was := part(f.t.campaigns.value(old.campaign)); was != "" {
					if was != part(c) {
						return true
					}
					break
				}
			}
		}
	}
	return false
}

func (f *fold) flag(s *session) {
	s.runaway = s.last-s.first+1 > f.program.maxEvents || s.endedAt-s.startedAt > f.program.maxLength
	s.bot = slices.ContainsFunc(f.acts[s.first:s.last+1], func(e *kept) bool { return e.bot })
}

// counted are the events that make a session's row: of a runaway one the first only.
func (f *fold) counted(s *session) []*kept {
	acts := f.acts[s.first : s.last+1]
	return acts[:min(len(acts), f.program.maxEvents)]
}

// row is the session's row, with its version and without a sign.
func (f *fold) row(s *session) *facts.Session {
	row := &facts.Session{
		Project: f.project, SessionId: slices.Clone(s.id[:]), Person: f.person, Number: uint32(s.number), StartedAt: s.startedAt, EndedAt: s.endedAt,
		Events: uint32(s.last - s.first + 1), StageStart: s.stageStart, StageEnd: s.stageEnd, Runaway: s.runaway, Bot: s.bot,
		RuleVersion: f.program.rules.Version,
	}
	counted := f.counted(s)
	var flags []string
	for _, e := range counted {
		f.describe(row, e)
		f.step(row, e)
		if e.flags != 0 {
			flags = append(flags, strings.Split(f.t.text(e.flags), "\n")...)
		}
	}
	if s.runaway {
		flags = append(flags, "runaway")
	}
	if s.bot {
		flags = append(flags, "bot")
	}
	slices.Sort(flags)
	row.Flags = slices.Compact(flags)
	for i := range f.program.funnels {
		fn := &f.program.funnels[i]
		row.FurthestFunnels = append(row.FurthestFunnels, fn.name)
		row.FurthestSteps = append(row.FurthestSteps, uint32(len(f.t.session(fn, counted).first)))
	}
	sortRevenue(row)
	row.Version = f.t.digest(row)
	return row
}

// describe takes each field from the first event that has it; the exit page from the last.
func (f *fold) describe(row *facts.Session, e *kept) {
	first := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	if e.pageView {
		row.PageViews++
	}
	if e.path != 0 {
		row.ExitPage = f.t.text(e.path)
		first(&row.EntryPage, row.ExitPage)
	}
	first(&row.Referrer, f.t.text(e.referrer))
	if c := f.t.campaigns.value(e.campaign); e.campaign != 0 && row.Campaign == "" && row.CampaignSource == "" && row.CampaignMedium == "" {
		row.Campaign, row.CampaignSource, row.CampaignMedium = c.name, c.source, c.medium
	}
	if e.context != 0 {
		c := f.t.contexts.value(e.context)
		first(&row.Channel, c.channel)
		first(&row.Device, c.device)
		first(&row.Browser, c.browser)
		first(&row.Country, c.country)
		first(&row.AppVersion, c.appVersion)
	}
}

func (f *fold) step(row *facts.Session, e *kept) {
	if e.step == 0 {
		return
	}
	row.Steps, row.StepTimes = append(row.Steps, f.t.text(e.step)), append(row.StepTimes, e.at)
	switch e.step {
	case f.program.cartAdd:
		row.CartAdds++
		if row.CartAdds == 1 {
			row.Abandoned = true
		}
	case f.program.cartRemove:
		row.CartRemoves++
	case f.program.purchase:
		row.Orders++
		row.Abandoned = false
		if e.paid {
			currency := f.t.text(e.currency)
			i := slices.Index(row.RevenueCurrencies, currency)
			if i < 0 {
				i = len(row.RevenueCurrencies)
				row.RevenueCurrencies, row.RevenueAmounts = append(row.RevenueCurrencies, currency), append(row.RevenueAmounts, 0)
			}
			row.RevenueAmounts[i] += e.revenue
		}
	}
}

func sortRevenue(row *facts.Session) {
	if len(row.RevenueCurrencies) < 2 {
		return
	}
	type sum struct {
		currency string
		amount   int64
	}
	sums := make([]sum, len(row.RevenueCurrencies))
	for i, c := range row.RevenueCurrencies {
		sums[i] = sum{c, row.RevenueAmounts[i]}
	}
	slices.SortFunc(sums, func(a, b sum) int { return cmp.Compare(a.currency, b.currency) })
	for i, s := range sums {
		row.RevenueCurrencies[i], row.RevenueAmounts[i] = s.currency, s.amount
	}
}

// entrant is a row of a funnel, before the frame gives its definition a number.
type entrant struct {
	def *facts.FunnelDef
	row *facts.Entrant
}

// session walks a session's events through a funnel. The result is good until the next call.
func (t *tables) session(fn *funnelProgram, events []*kept) *chains {
	t.chains.reset()
	for _, e := range events {
		t.chains.take(fn, e)
	}
	return &t.chains
}

// entrants appends the rows of the funnels that a session entered, with version and without a sign.
func (f *fold) entrants(out []entrant, s *session, row *facts.Session) []entrant {
	if s.flagged() {
		return out
	}
	counted := f.counted(s)
	for i := range f.program.funnels {
		fn := &f.program.funnels[i]
		c := f.t.session(fn, counted)
		if len(c.first) == 0 {
			continue
		}
		out = append(out, f.entrant(fn, c, &facts.Entrant{
			SessionId: slices.Clone(s.id[:]), StartedAt: s.startedAt, Channel: row.Channel, Device: row.Device, Country: row.Country,
			Campaign: row.Campaign, AppVersion: row.AppVersion,
		}))
	}
	return out
}

// personEntrants appends the person's rows in the person funnels, as the machine stands. Their segment is that of the event that
// first reached the first step.
func (f *fold) personEntrants(out []entrant) []entrant {
	for i := range f.program.persons {
		c := &f.machine.funnels[i]
		if len(c.first) == 0 {
			continue
		}
		segment, campaign := f.t.contexts.value(c.context), f.t.campaigns.value(c.campaign)
		out = append(out, f.entrant(&f.program.persons[i], c, &facts.Entrant{
			StartedAt: c.first[0].at, Channel: segment.channel, Device: segment.device, Country: segment.country, Campaign: campaign.name,
			AppVersion: segment.appVersion,
		}))
	}
	return out
}

func (f *fold) entrant(fn *funnelProgram, c *chains, e *facts.Entrant) entrant {
	e.Person, e.Furthest = f.person, uint32(len(c.first))
	for _, r := range c.first {
		e.At = append(e.At, r.at)
	}
	for i, at := range c.optional {
		if at != noTime {
			e.OptionalSteps, e.OptionalAt = append(e.OptionalSteps, uint32(i)), append(e.OptionalAt, at)
		}
	}
	e.Version = f.t.digest(e) ^ xxhash.Sum64String(fn.def.Project+"\x00"+fn.name)
	return entrant{fn.def, e}
}

// digest is a hash of a row's values: rows of one digest cancel each other. REQUIRES: sign and version are 0.
func (t *tables) digest(row interface {
	SizeVT() int
	MarshalToSizedBufferVT(b []byte) (int, error)
},
) uint64 {
	n := row.SizeVT()
	t.buf = slices.Grow(t.buf[:0], n)[:n]
	if _, err := row.MarshalToSizedBufferVT(t.buf); err != nil {
		panic("journey: a row cannot be encoded: " + err.Error()) // only a nil message inside could
	}
	return xxhash.Sum64(t.buf)
}
