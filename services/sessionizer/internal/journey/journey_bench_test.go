package journey_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// shopLog makes n encoded events of a shop with so many persons: in order but for a few that are late by up to five minutes.
func shopLog(tb testing.TB, n, persons int) []journey.Record {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"Page Viewed", "Product Viewed", "Product Added", "Checkout Started", "Order Completed"}
	steps := []string{"", "view", "cart_add", "checkout", "purchase"}
	var u [16]byte
	out := make([]journey.Record, n)
	start := int64(1_767_571_200_000)
	for i := range out {
		for k := range u {
			u[k] = byte(r.Uint32())
		}
		kind := min(4, int(r.ExpFloat64()*1.2))
		at := start + int64(i)*8_640_000/int64(n) // 144 minutes
		seen := at
		if r.IntN(20) == 0 {
			at -= r.Int64N(300_000)
		}
		e := &touchpoint.Event{
			Project: "shop", Source: "web", MessageId: fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]),
			Name: names[kind], Step: steps[kind], Channel: "web", AnonymousId: fmt.Sprintf("%08x-anonymous", r.IntN(persons)),
			OccurredAt: at, ReceivedAt: seen, Url: "https://shop.example/products/42?ref=home", Path: fmt.Sprintf("/products/%d", r.IntN(500)),
			Device: "phone", Browser: "Chrome", Country: "DE", Properties: []byte(`{"colour":"red","size":"m"}`),
		}
		if kind >= 2 {
			price := int64(1999)
			e.Price, e.ProductId, e.Currency = &price, "p42", "EUR"
		}
		value, err := e.MarshalVT()
		if err != nil {
			tb.Fatal(err)
		}
		out[i] = journey.Record{Offset: int64(i), Time: seen, Key: []byte(event.Person(e)), Value: value}
	}
	return out
}

// BenchmarkApply is the state machine alone, cut into frames every 20,000 records.
func BenchmarkApply(b *testing.B) {
	for _, persons := range []int{50_000, 250_000} {
		b.Run(fmt.Sprintf("persons=%d", persons), func(b *testing.B) {
			log := shopLog(b, 500_000, persons)
			rule := rules.Default()
			b.ReportAllocs()
			b.ResetTimer()
			sessions := 0
			for range b.N {
				p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rule }})
				for i, r := range log {
					if err := p.Apply(r); err != nil {
						b.Fatal(err)
					}
					if i%20_000 == 19_999 {
						for _, f := range p.Cut() {
							sessions += len(f.Sessions)
						}
					}
				}
			}
			if sessions == 0 {
				b.Fatal("no session closed")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(log)), "ns/event")
			b.ReportMetric(float64(sessions)/float64(b.N), "sessions")
		})
	}
}

// BenchmarkMemory is the heap that open sessions, and events kept for late ones, take.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	rule := rules.Default()
	for _, events := range []int{1, 8} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			const persons = 200_000
			for range b.N {
				before := heap()
				p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rule }})
				at := int64(1_767_571_200_000)
				for k := range persons * events {
					e := &touchpoint.Event{
						Project: "shop", MessageId: fmt.Sprintf("%08x-0000-4000-8000-%012x", k, k*7), Name: "Product Viewed", Step: "view",
						AnonymousId: fmt.Sprintf("%08x-anonymous", k%persons), OccurredAt: at + int64(k/1000), ReceivedAt: at + int64(k/1000),
						Channel: "web", Device: "phone", Browser: "Chrome", Country: "DE", Path: fmt.Sprintf("/products/%d", k%500),
					}
					value, _ := e.MarshalVT()
					if err := p.Apply(journey.Record{Offset: p.Next(), Time: at + int64(k/1000), Key: []byte(event.Person(e)), Value: value}); err != nil {
						b.Fatal(err)
					}
					if k%10_000 == 0 {
						p.Discard()
					}
				}
				p.Discard()
				used := heap() - before
				b.ReportMetric(float64(p.Stats().StateBytes)/persons, "state-B/session")
				b.ReportMetric(float64(used)/persons, "B/session")
				b.ReportMetric(float64(used)/persons/float64(events), "B/event")
				runtime.KeepAlive(p)
			}
		})
	}
}
