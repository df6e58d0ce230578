package batch

import (
	"fmt"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

func sample(i int) *touchpoint.Event {
	price, quantity := int64(1999), int64(1)
	return &touchpoint.Event{
		Project: "shop", Source: "site", MessageId: fmt.Sprintf("message-%08d", i), Name: "Product Viewed", Step: "view", Channel: "web",
		AnonymousId: fmt.Sprintf("0f3c2a1e-%08d", i%1000), OccurredAt: 1767225600000 + int64(i), ReceivedAt: 1767225600500 + int64(i),
		Url: fmt.Sprintf("https://shop.example/p/%d?utm_campaign=spring", i%500), Path: fmt.Sprintf("/p/%d", i%500), Title: "A product",
		Referrer: "https://search.example/", Campaign: "spring", CampaignSource: "search", CampaignMedium: "cpc", Device: "phone", Os: "Android",
		Browser: "Chrome", Country: "DE", AppVersion: "4.2.1", ProductId: fmt.Sprintf("sku-%d", i%500), Currency: "EUR", Price: &price,
		Quantity: &quantity, Properties: []byte(`{"brand":"Acme","category":"Shirts","list":"search","position":7}`),
		Context: []byte(`{"library":{"name":"analytics.js","version":"2.11.1"},"locale":"de-DE"}`),
	}
}

// The columns of an event: decode and append, as the loader does for every event.
func BenchmarkEventColumns(b *testing.B) {
	const rows = 50_000
	var values [][]byte
	bytes := 0
	for i := range rows {
		value, err := sample(i).MarshalVT()
		if err != nil {
			b.Fatal(err)
		}
		values, bytes = append(values, value), bytes+len(value)
	}
	block := newEventBlock("events")
	session := []byte("5ff9b9bb1572dad17dca42c2427c4d2d")
	var e touchpoint.Event
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		block.Reset()
		for i, value := range values {
			e.Reset()
			if err := e.UnmarshalVTUnsafe(value); err != nil {
				b.Fatal(err)
			}
			block.append(&e, session, 3, int64(i))
		}
		if block.Rows() != rows {
			b.Fatalf("%d rows", block.Rows())
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func TestPersonColumnFollowsTheRule(t *testing.T) {
	block := newEventBlock("events")
	for i, e := range []*touchpoint.Event{{UserId: "u", AnonymousId: "a"}, {AnonymousId: "a"}, {UserId: "\x00u:"}} {
		block.append(e, nil, 0, 0)
		if got, want := block.person.Row(i), event.Person(e); got != want {
			t.Errorf("person %q, want %q", got, want)
		}
	}
}

func TestProductsAreJSON(t *testing.T) {
	price, quantity := int64(-5), int64(0)
	got := string(appendProducts(nil, []*touchpoint.Product{
		{ProductId: "a\"\\\x01ü", Price: &price, Currency: "EUR"}, {ProductId: "\xff", Quantity: &quantity}, {},
	}))
	want := `[{"product_id":"a\"\\\u0001ü","price":-5,"currency":"EUR"},{"product_id":"` + "\ufffd" + `","quantity":0},{"product_id":""}]`
	if got != want {
		t.Errorf("products\n got %s\nwant %s", got, want)
	}
	if got := appendProducts(nil, nil); len(got) != 0 {
		t.Errorf("no products gave %s", got)
	}
}

func TestPredicateValuesAsTheViewsCompareThem(t *testing.T) {
	for value, want := range map[string]string{
		`"view"`: "sview", `""`: "s", `5`: "n5", `5.0`: "n5.0", `true`: "btrue", `false`: "bfalse", `null`: "", `"a/b"`: "sa/b",
	} {
		if got := comparableForm(value); got != want {
			t.Errorf("%s is %q, want %q", value, got, want)
		}
	}
}
