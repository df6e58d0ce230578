package shop

import (
	"math"
	"math/rand/v2"
)

// visitor makes the events of one person.
type visitor struct {
	t      *Traffic
	r      *rand.Rand
	person int32
	first  int // of its events
	end    int64
	seq    int32
	orders int32

	home   string
	device machine
	at     int64
	here   int32 // the visit
	open   bool  // something is in the cart
	cart   []line
}

type line struct{ product, quantity int32 }

type machine struct{ device, os, browser, app string }

var devices = []weighted[machine]{
	{0.24, machine{"mobile", "iOS", "Safari", ""}},
	{0.20, machine{"mobile", "Android", "Chrome", ""}},
	{0.07, machine{"mobile", "iOS", "", "4.2.0"}},
	{0.06, machine{"mobile", "Android", "", "4.1.3"}},
	{0.22, machine{"desktop", "Windows", "Chrome", ""}},
	{0.06, machine{"desktop", "Windows", "Firefox", ""}},
	{0.10, machine{"desktop", "macOS", "Safari", ""}},
	{0.05, machine{"tablet", "iOS", "Safari", ""}},
}

var countries = []weighted[string]{{0.42, "DE"}, {0.18, "US"}, {0.14, "GB"}, {0.12, "FR"}, {0.08, "NL"}, {0.06, "JP"}}

type origin struct{ referrer, campaign, source, medium string }

var origins = []weighted[origin]{
	{0.36, origin{}},
	{0.30, origin{referrer: "https://www.google.com/"}},
	{0.14, origin{"https://www.google.com/", "autumn-sale", "google", "cpc"}},
	{0.10, origin{"", "newsletter-47", "newsletter", "email"}},
	{0.10, origin{"https://www.instagram.com/", "lookbook", "instagram", "social"}},
}

// Shares of the visits that go on, each of those that came so far: land 100, browse 62, view 41, cart 12, checkout 6.5, pay 4,
// buy 3.4.
const (
	browses  = 0.62
	views    = 0.66
	adds     = 0.29
	checks   = 0.54
	pays     = 0.62
	buys     = 0.85
	products = 400
)

// add appends an event now.
func (v *visitor) add(a Action, product, quantity int32) *Event {
	v.t.Events = append(v.t.Events, Event{
		At: v.at, Person: v.person, Visit: v.here, Seq: v.seq, Action: a, Product: product, Quantity: quantity,
	})
	v.seq++
	return &v.t.Events[len(v.t.Events)-1]
}

// think passes the time until the next act: 18 seconds in the middle with a heavy tail, and now and then a pause right at the
// border between one session and two.
func (v *visitor) think() {
	if v.r.Float64() < 0.004 {
		v.at += 30*minute - 1 + v.r.Int64N(3)
		return
	}
	v.at += max(1, int64(18_000*math.Exp(v.r.NormFloat64())))
}

// goes decides whether the person takes a step; a planted drop-off makes it less likely.
func (v *visitor) goes(step string, share float64) bool {
	d := v.t.Config.Drop
	if d != nil && d.Step == step && v.at >= d.From.UnixMilli() && (d.Device == "" || d.Device == v.t.Visits[v.here].Device) {
		share *= d.Factor
	}
	return v.r.Float64() < share
}

func (v *visitor) product() int32 { // few are in demand
	return int32(products * math.Pow(v.r.Float64(), 2.2))
}

// visit is one coming, from landing to leaving. Events from the end of the traffic on do not happen any more.
func (v *visitor) visit(at int64) {
	m := v.device
	if v.r.Float64() < 0.1 {
		m = pick(v.r, devices)
	}
	from := pick(v.r, origins)
	if m.app != "" {
		from = origin{}
	}
	v.t.Visits = append(v.t.Visits, Visit{
		Device: m.device, OS: m.os, Browser: m.browser, App: m.app, Country: v.home,
		Referrer: from.referrer, Campaign: from.campaign, Source: from.source, Medium: from.medium,
	})
	v.here = int32(len(v.t.Visits) - 1)
	began := len(v.t.Events)
	v.at = at
	v.walk()
	for n := began; n < len(v.t.Events); n++ {
		if v.t.Events[n].At >= v.end {
			v.t.Events = v.t.Events[:n]
			break
		}
	}
}

func (v *visitor) walk() {
	v.add(Landed, 0, 0)
	r := v.r
	if v.open && r.Float64() < 0.7 { // back for what is in the cart
		v.think()
		v.add(CartSeen, 0, 0)
		v.think()
		v.checkout(0.75)
		return
	}
	if r.Float64() >= browses {
		return
	}
	for range 1 + r.IntN(3) {
		v.think()
		if r.Float64() < 0.3 {
			v.add(Searched, 0, 0)
		} else {
			v.add(Listed, 0, 0)
		}
	}
	if r.Float64() < 0.02 {
		v.think()
		v.add(Asked, 0, 0)
	}
	if r.Float64() >= views {
		return
	}
	var seen int32
	for range 1 + r.IntN(5) {
		v.think()
		seen = v.product()
		v.add(Viewed, seen, 0)
	}
	if !v.goes("cart_add", adds) {
		return
	}
	for n := range 1 + r.IntN(3) {
		if n > 0 {
			v.think()
			seen = v.product()
			v.add(Viewed, seen, 0)
		}
		v.think()
		quantity := int32(1)
		if r.Float64() < 0.2 {
			quantity += int32(r.IntN(3))
		}
		v.add(Added, seen, quantity)
		v.cart, v.open = append(v.cart, line{seen, quantity}), true
	}
	if r.Float64() < 0.12 {
		v.think()
		last := v.cart[len(v.cart)-1]
		v.add(Removed, last.product, last.quantity)
		v.cart = v.cart[:len(v.cart)-1]
		v.open = len(v.cart) > 0
	}
	if !v.open {
		return
	}
	v.think()
	v.add(CartSeen, 0, 0)
	v.checkout(checks)
}

func (v *visitor) checkout(share float64) {
	if !v.goes("checkout", share) {
		return
	}
	v.think()
	v.add(CheckedOut, 0, 0)
	if !v.goes("payment", pays) {
		return
	}
	v.think()
	v.add(Paid, 0, 0)
	if !v.goes("purchase", buys) {
		return
	}
	v.think()
	v.orders++
	total := int64(0)
	for _, l := range v.cart {
		total += int64(l.quantity) * Price(l.product)
	}
	e := v.add(Bought, v.cart[0].product, v.cart[0].quantity)
	e.Revenue, e.Order = total, v.orders
	if v.r.Float64() < 0.1 {
		v.at += 1 + v.r.Int64N(5*second)
		e := v.add(BoughtOnServer, v.cart[0].product, v.cart[0].quantity)
		e.Revenue, e.Order = total, v.orders
	}
	v.cart, v.open = v.cart[:0], false
}

// Price of a product in minor units.
func Price(product int32) int64 { return 490 + int64(product)*7919%9000 }

// program is a robot: one that says so, or one that does not and views more than anybody can.
func (v *visitor) program(at int64) {
	says := v.r.Float64() < 0.7
	v.t.Visits = append(v.t.Visits, Visit{Device: "desktop", OS: "Linux", Browser: "Chrome", Country: "US", Bot: says})
	v.here = int32(len(v.t.Visits) - 1)
	v.at = at
	count := 150 + v.r.IntN(250)
	if !says {
		count = 1001 + v.r.IntN(400)
	}
	for n := range count {
		if v.at >= v.end {
			break
		}
		if n%20 == 0 {
			v.add(Listed, 0, 0)
		} else {
			v.add(Viewed, v.product(), 0)
		}
		v.at += 200 + v.r.Int64N(3*second)
	}
	v.arrivals()
}

// arrivals lets the events of the person arrive: nearly all at once, some minutes and a few hours late, some twice.
func (v *visitor) arrivals() {
	c := &v.t.Config
	n := len(v.t.Events)
	for i := v.first; i < n; i++ {
		e := &v.t.Events[i]
		if e.Arrives != 0 { // too late
			continue
		}
		delay := 50 + v.r.Int64N(1950)
		if x := v.r.Float64(); x < c.Late/20 {
			delay = hour + v.r.Int64N(5*hour)
		} else if x < c.Late {
			delay = minute + v.r.Int64N(9*minute)
		} else if x < c.Late+0.08 {
			delay = v.r.Int64N(minute)
		}
		e.Arrives = min(e.At+delay, v.end)
		if v.r.Float64() < c.Duplicates {
			again := *e
			again.Resent = true
			again.Arrives = min(e.Arrives+v.r.Int64N(10*minute), v.end)
			v.t.Events = append(v.t.Events, again)
		}
	}
}

// tooLate lets an event arrive when a much younger one of the same person has arrived, so that it is too late however the log
// is cut into partitions.
func (v *visitor) tooLate() {
	if v.r.Float64() >= v.t.Config.TooLate {
		return
	}
	own := v.t.Events[v.first:]
	for i := range own {
		for j := i + 1; j < len(own); j++ {
			if own[j].At-own[i].At > 26*hour {
				own[j].Arrives = own[j].At
				own[i].Arrives = min(own[j].At+1, v.end)
				return
			}
		}
	}
}
