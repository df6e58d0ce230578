package shop

import (
	"reflect"
	"testing"
	"time"
)

func config() Config {
	c := DefaultConfig()
	c.Until = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return c
}

func made(t *testing.T, c Config) *Traffic {
	t.Helper()
	traffic, err := Make(c)
	if err != nil {
		t.Fatal(err)
	}
	return traffic
}

func TestSameSeedSameTraffic(t *testing.T) {
	a, b := made(t, config()), made(t, config())
	if !reflect.DeepEqual(a, b) {
		t.Fatal("two runs differ")
	}
	c := config()
	c.Seed++
	if reflect.DeepEqual(a.Events, made(t, c).Events) {
		t.Fatal("another seed gives the same events")
	}
}

func TestTrafficHasEveryTrouble(t *testing.T) {
	c := config()
	c.Persons, c.TooLate = 5000, 0.1
	traffic := made(t, c)
	late, resent := 0, 0
	until := c.Until.UnixMilli()
	arrived := int64(0)
	for _, e := range traffic.Events {
		if e.At >= until || e.Arrives < e.At || e.Arrives > until {
			t.Fatalf("event at %d arrives at %d, the end is %d", e.At, e.Arrives, until)
		}
		if e.Arrives < arrived {
			t.Fatal("events are not in the order of arrival")
		}
		arrived = e.Arrives
		if e.Arrives-e.At > hour {
			late++
		}
		if e.Resent {
			resent++
		}
	}
	truth := traffic.Truth()
	t.Logf("%+v", truth)
	if late == 0 || resent == 0 || truth.TooLate == 0 || truth.Again == 0 || truth.Bot == 0 || truth.Runaway == 0 || truth.Single == 0 {
		t.Errorf("a trouble is missing: late %d, resent %d", late, resent)
	}
	if truth.Sent != truth.Applied+truth.Again+truth.TooLate {
		t.Errorf("%d sent, %d applied, %d again, %d too late", truth.Sent, truth.Applied, truth.Again, truth.TooLate)
	}
	f := truth.Funnel
	if f[0] <= f[1] || f[1] <= f[2] || f[2] <= f[3] || f[3] == 0 || truth.Abandoned == 0 || truth.Abandoned >= truth.WithCart {
		t.Errorf("this is no funnel: %v, %d carts, %d abandoned", f, truth.WithCart, truth.Abandoned)
	}
}

func TestDropIsSeenInItsSegmentOnly(t *testing.T) {
	c := config()
	c.Persons = 20_000
	c.Drop = &Drop{Step: "purchase", Device: "mobile", From: c.Until.AddDate(0, 0, -3), Factor: 0.3}
	truth := made(t, c).Truth()
	before := float64(truth.Drop.Before[3]) / float64(truth.Drop.Before[2])
	after := float64(truth.Drop.After[3]) / float64(truth.Drop.After[2])
	if after > 0.5*before || after < 0.15*before {
		t.Errorf("share of purchases fell from %.2f to %.2f, planted was a factor of 0.3", before, after)
	}
}

func TestTruthOfAFewEvents(t *testing.T) {
	c := config()
	at := c.Until.UnixMilli() - day
	traffic := &Traffic{Config: c, Persons: 1, Visits: []Visit{{Device: "desktop"}}, Events: []Event{
		{At: at, Arrives: at, Seq: 0, Action: Viewed},
		{At: at + 30*minute, Arrives: at + 30*minute, Seq: 1, Action: Added},
		{At: at + 60*minute + 1, Arrives: at + 60*minute + 1, Seq: 2, Action: CheckedOut},
		{At: at + 61*minute, Arrives: at + 61*minute, Seq: 3, Action: Bought, Order: 1, Revenue: 5},
		{At: at + 61*minute, Arrives: at + 61*minute, Seq: 3, Action: Bought, Order: 1, Revenue: 5, Resent: true},
		{At: at + 62*minute, Arrives: at + 62*minute, Seq: 4, Action: BoughtOnServer, Order: 1, Revenue: 5},
	}}
	truth := traffic.Truth()
	if truth.Sessions != 2 || truth.Funnel != [4]int{1, 1, 0, 0} || truth.WithCart != 1 || truth.Abandoned != 1 {
		t.Errorf("sessions %d, funnel %v, carts %d, abandoned %d", truth.Sessions, truth.Funnel, truth.WithCart, truth.Abandoned)
	}
	if truth.Orders != 1 || truth.Revenue != 5 || truth.Again != 1 || truth.Applied != 5 {
		t.Errorf("orders %d, revenue %d, again %d, applied %d", truth.Orders, truth.Revenue, truth.Again, truth.Applied)
	}
}

func TestLiveTrafficComesAtItsRate(t *testing.T) {
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	c := config()
	c.Bots = 0
	l, err := NewLive(c, start, 50)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for s := range 3600 {
		from, to := l.Due(start.Add(time.Duration(s) * time.Second))
		if from != last {
			t.Fatalf("events from %d on, before it was up to %d", from, last)
		}
		last = to
	}
	if last < 3600*40 || last > 3600*60 {
		t.Errorf("%d events in an hour at 50 a second", last)
	}
	if truth := l.Sent.Truth(); truth.Sent != last || truth.Funnel[3] == 0 {
		t.Errorf("truth of live traffic is %+v", truth)
	}
}

func TestConfigNamesWhatCannotBe(t *testing.T) {
	c := config()
	c.Persons, c.Days, c.Late, c.Drop = 0, 0, 2, &Drop{Step: "view"}
	_, err := Make(c)
	if err == nil {
		t.Fatal("a configuration of nonsense is taken")
	}
	t.Log(err)
}
