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

// past is what remains of a person's events that nothing can change any more.
type past struct {
	sessions int      // how many there were
	orders   []uint64 // hashes of the order ids bought, sorted
	standing standing
}

func (h *past) append(b []byte, p *program) []byte {
	b = binary.AppendUvarint(b, uint64(h.sessions))
	b = binary.AppendUvarint(b, uint64(len(h.orders)))
	for _, o := range h.orders {
		b = binary.LittleEndian.AppendUint64(b, o)
	}
	return h.standing.append(b, p)
}

func (h *past) read(r *reader, p *program) {
	h.sessions = int(r.uvarint())
	h.orders = h.orders[:0]
	for range min(r.uvarint(), uint64(len(r.b)/8)) {
		h.orders = append(h.orders, r.fixed64())
	}
	h.standing.read(r, p)
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
}

// run works out sessions, flags and stages.
func (f *fold) run() {
	f.dropRepeatedOrders()
	f.cutSessions()
	f.flag()
	f.stand()
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
				id: event.SessionID(f.project, e.at, string(e.id)), first: place, number: f.past.sessions + n + 1, startedAt: e.at,
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

func (f *fold) flag() {
	for i := range f.sessions {
		s := &f.sessions[i]
		s.runaway = s.last-s.first+1 > f.program.maxEvents || s.endedAt-s.startedAt > f.program.maxLength
		for _, e := range f.acts[s.first : s.last+1] {
			if e.bot {
				s.bot = true
				break
			}
		}
	}
}

// stand walks the stage model over the events that no flagged session hides.
func (f *fold) stand() {
	st := f.past.standing
	st.hits = slices.Clone(st.hits)
	for i := range st.hits {
		st.hits[i].at = slices.Clone(st.hits[i].at)
	}
	place := 0
	for i := range f.events {
		e := &f.events[i]
		if f.of[i] < 0 {
			st.apply(f.program, e)
			continue
		}
		s := &f.sessions[f.of[i]]
		if place == s.first {
			s.stageStart = st.name(f.program, e.at)
		}
		if !s.flagged() {
			st.apply(f.program, e)
		}
		if place == s.last {
			s.stageEnd = st.name(f.program, e.at)
		}
		place++
	}
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
		row.FurthestSteps = append(row.FurthestSteps, uint32(len(fn.reached(counted))))
	}
	sortRevenue(row)
	row.Version = digest(row)
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

// entrants appends the rows of the funnels that a session entered, with version and without a sign.
func (f *fold) entrants(out []entrant, s *session, row *facts.Session) []entrant {
	if s.flagged() {
		return out
	}
	counted := f.counted(s)
	for i := range f.program.funnels {
		fn := &f.program.funnels[i]
		levels := fn.reached(counted)
		if len(levels) == 0 {
			continue
		}
		e := &facts.Entrant{
			Person: f.person, SessionId: slices.Clone(s.id[:]), Furthest: uint32(len(levels)), StartedAt: s.startedAt, Channel: row.Channel,
			Device: row.Device, Country: row.Country, Campaign: row.Campaign, AppVersion: row.AppVersion,
		}
		for _, r := range levels {
			e.At = append(e.At, r.at)
		}
		e.OptionalSteps, e.OptionalAt = fn.optional(counted, levels)
		e.Version = digest(e) ^ xxhash.Sum64String(fn.name)
		out = append(out, entrant{fn.def, e})
	}
	return out
}

// digest is a hash of a row's values: rows of one digest cancel each other. REQUIRES: sign and version are 0.
func digest(row interface{ MarshalVT() ([]byte, error) }) uint64 {
	b, err := row.MarshalVT()
	if err != nil {
		panic("journey: a row cannot be encoded: " + err.Error()) // only a nil message inside could
	}
	return xxhash.Sum64(b)
}
