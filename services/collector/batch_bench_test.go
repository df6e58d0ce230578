package collector_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/services/collector"
)

// eventOf is a track call as a browser library sends it, of about 900 bytes.
func eventOf(i int) string {
	return fmt.Sprintf(`{"type":"track","event":"Product Added","messageId":"ajs-next-1795521600000-%08d-1f6b","anonymousId":"%08d-8a1c-4c7e-9a55-0d3c2b1a0f9e","userId":null,`+
		`"timestamp":"2026-11-24T11:59:%02d.123Z","properties":{"product_id":"sku-%d","sku":"G-32","category":"Games","name":"Monopoly: 3rd Edition","brand":"Hasbro","variant":"200 pieces",`+
		`"price":18.99,"quantity":1,"currency":"EUR","coupon":"MAYDEALS","position":3,"cart_id":"cart-%d"},`+
		`"context":{"page":{"path":"/products/monopoly","referrer":"https://www.search.example/","search":"?c=1","title":"Monopoly","url":"https://shop.example/products/monopoly?c=1"},`+
		`"userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36","locale":"en-US","library":{"name":"analytics.js","version":"npm:next-1.84.3"},`+
		`"timezone":"Europe/Berlin"},"integrations":{}}`, i, i%997, i%60, i%50, i%31)
}

func batchOf(n int) string {
	var b strings.Builder
	b.WriteString(`{"batch":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(eventOf(i))
	}
	b.WriteString(`],"sentAt":"2026-11-24T12:00:00.000Z"}`)
	return b.String()
}

// The whole way of a batch, over HTTP and with a broker in memory in the same process: requests are sent side by side.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1, 50, 400} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			r := start(b, 12, func(_ *collector.Config, d *collector.Deps) {
				d.Log = zap.NewNop()
				d.Registry = prometheus.NewRegistry()
			})
			r.client.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
			body := batchOf(n)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			b.SetParallelism(16)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if got := r.do(http.MethodPost, "/v1/batch", body, "Key", webKey); got.status != 200 {
						b.Errorf("answer %d %s", got.status, got.body)
						return
					}
				}
			})
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
