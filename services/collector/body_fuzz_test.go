package collector_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/services/collector"
)

// Invariants, whatever the body: the answer is 200, 400 or 413 and JSON; after 200 there are as many verdicts as events
// counted, each accepted or refused with a reason, and the log and the dead-letter topic have grown by just that many
// records; after 400 or 413 one letter says why and no event was taken; all bytes are given back.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"batch":[` + track("1") + `]}`, `{"batch":[{}, {"type":"page"}, 7, {x}]}`, `{"batch":[],"context":{"app":{}},"sentAt":"2026"}`, `{"batch":`, ``,
		"\x1f\x8b\x08\x00", zipped(f, `{"batch":[`+track("z")+`]}`), `{"batch":[{"type":"track","event":"e","userId":"u","properties":{"price":"1e9"}}]}`,
	} {
		f.Add([]byte(s))
	}
	shared := start(f, 2, func(_ *collector.Config, d *collector.Deps) {
		d.Log, d.Registry = zap.NewNop(), prometheus.NewRegistry()
	})
	counts := func(r *rig) (accepted, refused, acked float64) {
		metrics := r.do(http.MethodGet, "/metrics", "").body
		return sum(metrics, `waymark_collector_events_total{outcome="accepted"}`), sum(metrics, "waymark_collector_refused_total"), sum(metrics, "waymark_collector_records_acked_total")
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		own := *shared
		r := &own
		r.t = t
		accepted, refused, acked := counts(r)
		got := r.do(http.MethodPost, "/v1/batch?verdicts=1", string(body), "Key", webKey)
		accepted2, refused2, acked2 := counts(r)
		accepted, refused, acked = accepted2-accepted, refused2-refused, acked2-acked
		if accepted+refused != acked {
			t.Fatalf("%q: %v accepted, %v refused, %v records", body, accepted, refused, acked)
		}
		var answer struct {
			Error    string `json:"error"`
			Verdicts []struct {
				MessageID string `json:"message_id"`
				Verdict   string `json:"verdict"`
				Reason    string `json:"reason"`
			} `json:"verdicts"`
		}
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
			t.Fatalf("%q: %d %s: %v", body, got.status, got.body, err)
		}
		switch got.status {
		case http.StatusOK:
			good, bad := 0, 0
			for _, v := range answer.Verdicts {
				switch {
				case v.Verdict == "accepted" && v.Reason == "" && v.MessageID != "":
					good++
				case v.Verdict == "refused" && v.Reason != "":
					bad++
				default:
					t.Fatalf("%q: verdict %+v", body, v)
				}
			}
			if float64(good) != accepted || float64(bad) != refused {
				t.Fatalf("%q: %s, but %v accepted and %v refused", body, got.body, accepted, refused)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if answer.Error == "" || accepted != 0 || refused != 1 {
				t.Fatalf("%q: %s, %v accepted, %v refused", body, got.body, accepted, refused)
			}
		default:
			t.Fatalf("%q: %d %s", body, got.status, got.body)
		}
		if used := sum(r.do(http.MethodGet, "/metrics", "").body, "waymark_collector_inflight_bytes"); used != 0 {
			t.Fatalf("%q: %v bytes are still held", body, used)
		}
	})
}

// sum adds up the metrics whose name and labels begin so.
func sum(metrics, prefix string) float64 {
	total := 0.0
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, prefix) {
			var n float64
			_, value, _ := strings.Cut(strings.TrimSpace(line[len(prefix):]), " ")
			if value == "" {
				value = strings.TrimSpace(line[len(prefix):])
			}
			if json.Unmarshal([]byte(value), &n) == nil {
				total += n
			}
		}
	}
	return total
}
