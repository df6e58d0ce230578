package journey_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

const lawRules = `
session: {gap: 30m, max_events: 9, max_length: 3h}
split: {campaign: true}
funnels:
  - {name: plain, steps: [view, cart_add, purchase]}
  - {name: short, steps: [view, cart_add], window: 10m}
  - {name: strict, steps: [view, cart_add], mode: strict}
  - {name: any, steps: [view, cart_add, purchase], mode: any, window: 40m}
  - {name: held, steps: [view, cart_add], hold: commerce.product_id}
  - name: rich
    steps: [view, {name: help, when: {step: support}, optional: true}, {name: pay, when: {step: [payment, purchase], source: web}}]
    exclude: [{when: {step: cart_remove}}]
`

func parse(t testing.TB, text string) *rules.Rules {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	r, err := rules.Parse(doc.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// drawEvents makes events of few persons with pauses on both sides of every limit, ties, orders reported twice, bots, campaigns.
func drawEvents(t *rapid.T) []*touchpoint.Event {
	const minute = int64(60_000)
	pause := rapid.SampledFrom([]int64{0, 1, minute, 10 * minute, 10*minute + 1, 30*minute - 1, 30 * minute, 30*minute + 1, 90 * minute})
	step := rapid.SampledFrom([]string{"", "view", "view", "cart_add", "cart_remove", "payment", "purchase", "support", "email_sent"})
	var out []*touchpoint.Event
	for person := range rapid.IntRange(1, 3).Draw(t, "persons") {
		at := int64(1_767_571_200_000)
		for i := range rapid.IntRange(1, 30).Draw(t, "events") {
			at += pause.Draw(t, "pause")
			e := &touchpoint.Event{
				Project: "p", Source: rapid.SampledFrom([]string{"web", "app"}).Draw(t, "source"), MessageId: fmt.Sprintf("%c%d-%d", "zaB"[i%3], person, i),
				Name: "Page Viewed", Step: step.Draw(t, "step"), AnonymousId: fmt.Sprintf("x%d", person), OccurredAt: at, ReceivedAt: at,
				Path: rapid.SampledFrom([]string{"", "/a", "/b"}).Draw(t, "path"), ProductId: rapid.SampledFrom([]string{"", "p1", "p2"}).Draw(t, "product"),
				Bot: rapid.IntRange(0, 40).Draw(t, "bot") == 0, Campaign: rapid.SampledFrom([]string{"", "", "", "spring", "sale"}).Draw(t, "campaign"),
			}
			if e.Step == "purchase" {
				e.OrderId = rapid.SampledFrom([]string{"", "o1", "o2"}).Draw(t, "order")
			}
			out = append(out, e)
		}
	}
	return out
}

// TestRowsDependOnTheSetOfEventsOnly is the law: any order within the lateness, any number of partitions, any repeats, cuts and
// restores give the rows of the orderly run.
func TestRowsDependOnTheSetOfEventsOnly(t *testing.T) {
	rule := parse(t, lawRules)
	rapid.Check(t, func(rt *rapid.T) {
		events := drawEvents(rt)
		seed := rapid.Uint64().Draw(rt, "order")
		r := rand.New(rand.NewPCG(seed, 3))
		slices.SortStableFunc(events, event.Compare)
		want := run(t, events, 1, r, rule).rows()
		slices.Sort(want)

		shuffled := slices.Clone(events)
		for range r.IntN(4) {
			shuffled = append(shuffled, events[r.IntN(len(events))])
		}
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		// Nothing may be late by more than the bound.
		latest := int64(0)
		for _, e := range shuffled {
			latest = max(latest, e.OccurredAt)
		}
		if latest-events[0].OccurredAt > rule.Lateness.Milliseconds() {
			late := func(e *touchpoint.Event) int64 { return e.OccurredAt + r.Int64N(rule.Lateness.Milliseconds()) }
			arrival := map[*touchpoint.Event]int64{}
			for _, e := range events {
				arrival[e] = late(e)
			}
			slices.SortStableFunc(shuffled, func(a, b *touchpoint.Event) int { return cmp.Compare(arrival[a], arrival[b]) })
		}
		got := run(t, shuffled, 1+r.IntN(5), r, rule).rows()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			rt.Fatalf("the rows differ from those of the orderly run:\ngot  %v\nwant %v", got, want)
		}
	})
}

// TestSessionsAreRunsWithoutALongPause compares sessions with the plainest reading of the definition.
func TestSessionsAreRunsWithoutALongPause(t *testing.T) {
	rule := parse(t, "{}")
	rapid.Check(t, func(rt *rapid.T) {
		events := drawEvents(rt)
		got := run(t, events, 1, rand.New(rand.NewPCG(1, 3)), rule)
		slices.SortStableFunc(events, event.Compare)
		want := 0
		last := map[string]int64{}
		for _, e := range events {
			if e.Step == "email_sent" {
				continue
			}
			if before, ok := last[e.AnonymousId]; !ok || e.OccurredAt-before > 30*60_000 {
				want++
			}
			last[e.AnonymousId] = e.OccurredAt
		}
		n := 0
		for _, count := range got.sessions {
			n += count
		}
		if n != want {
			rt.Fatalf("%d sessions, want %d", n, want)
		}
	})
}
