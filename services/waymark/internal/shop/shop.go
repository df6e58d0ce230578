// Package shop is a simulated shop: seeded traffic of people and programs, and the truth about it. The truth is worked out
// from the events by another way than the product's: everything in memory, sorted, one person after the other. It is pure: same
// configuration, same events.
package shop

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Config is what traffic to make.
type Config struct {
	Seed    uint64
	Project string
	Prefix  string // of all ids
	Persons int
	Events  int       // about so many, over Persons; 0: as many as the persons make
	Until   time.Time // no event is later
	Days    int       // before Until

	Late       float64 // share of events that arrive minutes to hours late, within the bounds
	TooLate    float64 // share of persons with an event that arrives too late to count
	Duplicates float64 // share of events that are sent twice
	Bots       float64 // share of persons that are programs
	Drop       *Drop   // nil plants none
}

// Drop is a planted drop-off: from a moment on, fewer people of a segment take a step.
type Drop struct {
	Step   string // cart_add, checkout, payment or purchase
	Device string // "" is every device
	From   time.Time
	Factor float64 // of the usual share
}

// DefaultConfig is a small shop with every trouble in it but a drop-off.
func DefaultConfig() Config {
	return Config{Seed: 1, Project: "shop", Prefix: "shop", Persons: 1000, Days: 7, Late: 0.02, Duplicates: 0.01, Bots: 0.004}
}

// Steps that a drop-off can be planted at.
var Steps = []string{"cart_add", "checkout", "payment", "purchase"}

// Devices of the shop's people.
var Devices = []string{"mobile", "desktop", "tablet"}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Persons < 1 && c.Events < 1 {
		bad("persons %d: at least one person makes traffic", c.Persons)
	}
	if c.Persons > 50_000_000 || c.Events > 200_000_000 {
		bad("persons %d, events %d: more than fits into memory", c.Persons, c.Events)
	}
	if c.Days < 1 || c.Days > 3650 {
		bad("days %d: expected 1 to 3650", c.Days)
	}
	for _, share := range []struct {
		name  string
		value float64
	}{{"late", c.Late}, {"too-late", c.TooLate}, {"duplicates", c.Duplicates}, {"bots", c.Bots}} {
		if !(share.value >= 0 && share.value <= 1) {
			bad("%s %v: expected a share from 0 to 1", share.name, share.value)
		}
	}
	if d := c.Drop; d != nil {
		if !slices.Contains(Steps, d.Step) {
			bad("drop: step %q: expected one of %v", d.Step, Steps)
		}
		if d.Device != "" && !slices.Contains(Devices, d.Device) {
			bad("drop: device %q: expected one of %v", d.Device, Devices)
		}
		if !(d.Factor >= 0 && d.Factor <= 1) {
			bad("drop: factor %v: expected 0 to 1", d.Factor)
		}
	}
	return errors.Join(problems...)
}

// Action is what somebody did.
type Action uint8

// The actions.
const (
	Landed Action = iota
	Listed
	Searched
	Viewed
	Added
	Removed
	CartSeen
	CheckedOut
	Paid // gave payment details
	Bought
	BoughtOnServer // the shop's server reports the same order
	Asked          // support
)

// Event is one event, small: millions of them are kept.
type Event struct {
	At       int64 // ms
	Arrives  int64
	Person   int32
	Visit    int32 // index into Traffic.Visits
	Seq      int32 // of the person's events
	Product  int32
	Quantity int32
	Revenue  int64 // minor units
	Order    int32 // 1 and up
	Action   Action
	Resent   bool
}

// Visit is what the events of one coming have in common.
type Visit struct {
	Device, OS, Browser, Country string
	Referrer                     string
	Campaign, Source, Medium     string
	App                          string // version; "" is the web
	Bot                          bool
}

// Traffic is all events in the order of their arrival.
type Traffic struct {
	Config  Config
	Events  []Event
	Visits  []Visit
	Persons int
}

// Make makes the traffic.
func Make(cfg Config) (*Traffic, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Traffic{Config: cfg}
	end := cfg.Until.UnixMilli()
	begin := end - int64(cfg.Days)*day
	for (cfg.Persons == 0 || t.Persons < cfg.Persons) && (cfg.Events == 0 || len(t.Events) < cfg.Events) {
		t.person(begin, end)
	}
	slices.SortFunc(t.Events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Arrives, b.Arrives), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Seq, b.Seq))
	})
	return t, nil
}

const (
	second = int64(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// random is the source of one person: of its own, so that traffic with more persons has the same ones first.
func (t *Traffic) random(person int) *rand.Rand {
	return rand.New(rand.NewPCG(t.Config.Seed, uint64(person)+1)) //nolint:gosec // a simulation, the same at each run
}

// Hours of the day in the order of their traffic: night, morning, noon, evening.
var diurnal = func() (sum [24]float64) {
	total := 0.0
	for h := range 24 {
		x := float64(h)
		total += 0.15 + 0.7*bell((x-11)/4) + bell((x-20)/2.5)
		sum[h] = total
	}
	for h := range sum {
		sum[h] /= total
	}
	return sum
}()

func bell(x float64) float64 { return math.Exp(-x * x / 2) }

// moment is a time of a day by the daily curve.
func moment(r *rand.Rand) int64 {
	h, _ := slices.BinarySearch(diurnal[:], r.Float64())
	return int64(min(h, 23))*hour + r.Int64N(hour)
}

func (t *Traffic) person(begin, end int64) {
	r := t.random(t.Persons)
	v := &visitor{t: t, r: r, person: int32(t.Persons), first: len(t.Events), end: end}
	t.Persons++
	if r.Float64() < t.Config.Bots {
		v.program(begin + r.Int64N(end-begin))
		return
	}
	v.home = pick(r, countries)
	v.device = pick(r, devices)
	day0 := r.Int64N(int64(t.Config.Days))
	at := begin + day0*day + moment(r)
	for at < end {
		v.visit(at)
		if r.Float64() > 0.35 { // the others come back
			break
		}
		at = v.at + 31*minute + r.Int64N(3*day)
		if v.open && r.Float64() < 0.5 { // for the cart, soon
			at = v.at + 40*minute + r.Int64N(day)
		}
	}
	v.tooLate()
	v.arrivals()
}

func pick[T any](r *rand.Rand, from []weighted[T]) T {
	x := r.Float64()
	for _, w := range from {
		if x -= w.share; x < 0 {
			return w.value
		}
	}
	return from[len(from)-1].value
}

type weighted[T any] struct {
	share float64
	value T
}
