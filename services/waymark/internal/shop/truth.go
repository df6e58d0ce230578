package shop

import (
	"cmp"
	"slices"
)

// Truth is what every pipeline must say of the traffic, once all that is open has closed.
type Truth struct {
	Project string `json:"project"`
	Seed    uint64 `json:"seed"`
	Sent    int    `json:"sent"`      // events, resent ones too
	Applied int    `json:"events"`    // that count
	Again   int    `json:"duplicate"` // of one message id
	TooLate int    `json:"too_late"`  // if the order of arrival is kept
	Persons int    `json:"persons"`

	Sessions int `json:"sessions"` // flagged ones too
	Single   int `json:"single_event_sessions"`
	Bot      int `json:"bot_sessions"`
	Runaway  int `json:"runaway_sessions"`

	Funnel    [4]int           `json:"funnel"` // view, cart_add, checkout, purchase; by unflagged session
	WithCart  int              `json:"with_cart"`
	Abandoned int              `json:"abandoned"`
	Orders    int              `json:"orders"`
	Revenue   int64            `json:"revenue"` // minor units
	Drop      *DropTruth       `json:"drop,omitempty"`
	Steps     map[string][]int `json:"funnel_by_device"`
}

// DropTruth is what a planted drop-off did: sessions that began before and from it on, of its segment.
type DropTruth struct {
	Step   string `json:"step"`
	Device string `json:"device"`
	From   int64  `json:"from"`
	Before [4]int `json:"before"` // the funnel's steps
	After  [4]int `json:"after"`
}

const (
	sessionGap    = 30 * minute
	runawayEvents = 1000
	runawayLength = day
	allowedLate   = day + minute // lateness and slack of the default rules
)

// Truth works out what is true of the traffic, by sorting.
func (t *Traffic) Truth() Truth {
	truth := Truth{Project: t.Config.Project, Seed: t.Config.Seed, Sent: len(t.Events), Steps: map[string][]int{}}
	if d := t.Config.Drop; d != nil {
		truth.Drop = &DropTruth{Step: d.Step, Device: d.Device, From: d.From.UnixMilli()}
	}
	people := make([][]Event, t.Persons)
	latest := make([]int64, t.Persons)
	for _, e := range t.Events { // in the order of arrival
		if latest[e.Person]-allowedLate > e.At {
			truth.TooLate++
			continue
		}
		latest[e.Person] = max(latest[e.Person], e.At)
		people[e.Person] = append(people[e.Person], e)
	}
	for _, events := range people {
		slices.SortStableFunc(events, func(a, b Event) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Seq, b.Seq)) })
		all := len(events)
		events = slices.CompactFunc(events, func(a, b Event) bool { return a.Seq == b.Seq })
		truth.Again += all - len(events)
		truth.Applied += len(events)
		if len(events) == 0 {
			continue
		}
		truth.Persons++
		ordered := map[int32]bool{}
		for first := 0; first < len(events); {
			last := first
			for last+1 < len(events) && events[last+1].At-events[last].At <= sessionGap {
				last++
			}
			t.session(&truth, events[first:last+1], ordered)
			first = last + 1
		}
	}
	return truth
}

// session adds one session. ordered are the orders of the person so far: one reported again has no step.
func (t *Traffic) session(truth *Truth, events []Event, ordered map[int32]bool) {
	truth.Sessions++
	if len(events) == 1 {
		truth.Single++
	}
	bot := slices.ContainsFunc(events, func(e Event) bool { return t.Visits[e.Visit].Bot })
	runaway := len(events) > runawayEvents || events[len(events)-1].At-events[0].At > runawayLength
	if bot {
		truth.Bot++
	}
	if runaway {
		truth.Runaway++
	}
	reached, orders, revenue := 0, 0, int64(0)
	withCart, bought := false, false
	for _, e := range events {
		step := ""
		switch e.Action {
		case Landed, Listed, Searched, Removed, CartSeen, Paid, Asked:
		case Viewed:
			step = "view"
		case Added:
			step = "cart_add"
			withCart = true
		case CheckedOut:
			step = "checkout"
		case Bought, BoughtOnServer:
			if !ordered[e.Order] {
				ordered[e.Order] = true
				step = "purchase"
				orders++
				revenue += e.Revenue
				bought = bought || withCart
			}
		}
		if reached < len(funnel) && step == funnel[reached] {
			reached++
		}
	}
	if bot || runaway {
		return
	}
	truth.Orders += orders
	truth.Revenue += revenue
	if withCart {
		truth.WithCart++
		if !bought {
			truth.Abandoned++
		}
	}
	device := t.Visits[events[0].Visit].Device
	if truth.Steps[device] == nil {
		truth.Steps[device] = make([]int, len(funnel))
	}
	for k := range reached {
		truth.Funnel[k]++
		truth.Steps[device][k]++
		if d := truth.Drop; d != nil && (d.Device == "" || d.Device == device) {
			if events[0].At < d.From {
				d.Before[k]++
			} else {
				d.After[k]++
			}
		}
	}
}

var funnel = [...]string{"view", "cart_add", "checkout", "purchase"}
