package segment

import (
	"testing"
)

const benchMessage = `{"type":"track","event":"Product Added","messageId":"ajs-next-1795521600000-00000001-1f6b","anonymousId":"00000001-8a1c-4c7e-9a55-0d3c2b1a0f9e","userId":null,` +
	`"timestamp":"2026-11-24T11:59:01.123Z","properties":{"product_id":"sku-1","sku":"G-32","category":"Games","name":"Monopoly: 3rd Edition","brand":"Hasbro","variant":"200 pieces",` +
	`"price":18.99,"quantity":1,"currency":"EUR","coupon":"MAYDEALS","position":3,"cart_id":"cart-1"},` +
	`"context":{"page":{"path":"/products/monopoly","referrer":"https://www.search.example/","search":"?c=1","title":"Monopoly","url":"https://shop.example/products/monopoly?c=1"},` +
	`"userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36","locale":"en-US","library":{"name":"analytics.js","version":"npm:next-1.84.3"},` +
	`"timezone":"Europe/Berlin"},"integrations":{}}`

func BenchmarkEvent(b *testing.B) {
	var p Parser
	if err := p.Begin(request()); err != nil {
		b.Fatal(err)
	}
	message := []byte(benchMessage)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		e, fault := p.Event(message, Any)
		if fault != nil || e.ProductId != "sku-1" {
			b.Fatal(fault)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	message := []byte(`{"batch":[` + benchMessage + `],"sentAt":"x"}`)
	var p Splitter
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if parts, err := p.Split(message, 10); err != nil || len(parts.Events) != 1 {
			b.Fatal(err)
		}
	}
}

// The way of an event takes no allocations but those of its amounts and its step.
func TestEventAllocatesLittle(t *testing.T) {
	var p Parser
	if err := p.Begin(request()); err != nil {
		t.Fatal(err)
	}
	message := []byte(benchMessage)
	if n := testing.AllocsPerRun(100, func() { _, _ = p.Event(message, Any) }); n > 8 {
		t.Errorf("%v allocations an event", n)
	}
}
