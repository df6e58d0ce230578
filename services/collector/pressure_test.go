package collector_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/services/collector"
)

// until waits for a condition that is to come true soon.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("still not: %s", what)
		case <-tick.C:
		}
	}
}

// gauge is a metric of the collector's own, of the first label set.
func (r *rig) gauge(name string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

// refuseProduce answers every produce request with an error, until the function returned is called.
func (r *rig) refuseProduce(code *kerr.Error) (stop func()) {
	var over atomic.Bool
	r.broker.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		if over.Load() {
			r.broker.DropControl()
			return nil, nil, false
		}
		r.broker.KeepControl()
		req, _ := kreq.(*kmsg.ProduceRequest)
		resp, _ := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	return func() { over.Store(true) }
}

// holdProduce keeps produce requests waiting until the function returned is called.
func (r *rig) holdProduce() (release func()) {
	gate := make(chan struct{})
	r.broker.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.broker.KeepControl()
		r.broker.SleepControl(func() { <-gate })
		return nil, nil, false
	})
	once := sync.OnceFunc(func() { close(gate) })
	r.t.Cleanup(once)
	return once
}

func TestRefusedProduceIsNeverAnswered200(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.NotLeaderForPartition, kerr.NotEnoughReplicas} {
		t.Run(code.Message, func(t *testing.T) {
			r := start(t, 1, func(c *collector.Config, _ *collector.Deps) { c.AckWithin = 300 * time.Millisecond })
			stop := r.refuseProduce(code)
			got := r.post("/v1/batch", `{"batch":[`+track("1")+`,{"type":"x"}]}`, 503)
			if got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, "send the same again") {
				t.Errorf("answer %v %s", got.header, got.body)
			}
			if ready := r.do(http.MethodGet, "/readyz", ""); ready.status != 503 {
				t.Errorf("/readyz says %d %s", ready.status, ready.body)
			}
			if n := r.gauge("waymark_collector_events_total"); n != 0 {
				t.Errorf("%v events counted that were not answered with 200", n)
			}
			stop()
			until(t, "taken again", func() bool {
				return r.do(http.MethodPost, "/v1/batch", `{"batch":[`+track("2")+`]}`, "Key", webKey).status == 200
			})
			if ready := r.do(http.MethodGet, "/readyz", ""); ready.status != 200 {
				t.Errorf("/readyz says %d %s", ready.status, ready.body)
			}
			if !strings.HasSuffix(r.ids(), "2") {
				t.Errorf("events %s", r.ids())
			}
			until(t, "all bytes given back", func() bool { return r.gauge("waymark_collector_inflight_bytes") == 0 })
		})
	}
}

// A broker that stands still makes requests fail, then be refused at once; memory is bounded, and all is given back after it.
func TestBytesUnderWayAreBounded(t *testing.T) {
	const bound = 5 << 20
	r := start(t, 1, func(c *collector.Config, _ *collector.Deps) {
		c.AckWithin, c.MaxInFlightBytes, c.MaxImportBytes = 50*time.Millisecond, bound, c.MaxBatchBytes
	})
	release := r.holdProduce()
	body := `{"batch":[` + strings.Repeat(strings.Replace(track("m"), `"type"`, `"properties":{"x":"`+strings.Repeat("x", 20<<10)+`"},"type"`, 1)+",", 19) + track("m") + `]}`
	full := false
	for range 12 {
		got := r.post("/v1/batch", body, 503)
		full = full || strings.Contains(got.body, "too much under way")
		if used := r.gauge("waymark_collector_inflight_bytes"); used > bound {
			t.Fatalf("%v bytes under way, allowed are %d", used, bound)
		}
	}
	if !full {
		t.Error("no request was refused because of the bound")
	}
	release()
	until(t, "all bytes given back", func() bool { return r.gauge("waymark_collector_inflight_bytes") == 0 })
	r.post("/v1/batch", body, 200)
}

// A request in hand is finished by Stop, not cut off.
func TestStopFinishesWhatIsInHand(t *testing.T) {
	r := start(t, 1)
	release := r.holdProduce()
	answered := make(chan reply, 1)
	go func() { answered <- r.do(http.MethodPost, "/v1/t", track("m"), "Key", webKey) }()
	until(t, "under way", func() bool { return r.gauge("waymark_collector_inflight_bytes") > 0 })
	stopped := make(chan error, 1)
	go func() { stopped <- r.service.Stop(context.WithoutCancel(t.Context())) }()
	until(t, "not ready", func() bool {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/readyz", nil)
		resp, err := r.client.Do(req)
		if err != nil {
			return true // the port is closed already
		}
		_ = resp.Body.Close()
		return resp.StatusCode == 503
	})
	release()
	if got := <-answered; got.status != 200 {
		t.Errorf("answer %d %s", got.status, got.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := r.service.Stop(t.Context()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if got := r.ids(); got != "m" {
		t.Errorf("events %q", got)
	}
}

func TestStopBeforeStart(t *testing.T) {
	kc, _ := kafkatest.Fake(t, 1)
	c := collector.DefaultConfig()
	c.Listen, c.Kafka = "127.0.0.1:0", kc
	s, err := collector.New(c, collector.Deps{Log: zaptest.NewLogger(t), Registry: prometheus.NewRegistry(), Rules: func(string) *rules.Rules { return rules.Default() }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestStartNeedsTheTopics(t *testing.T) {
	kc, _ := kafkatest.Fake(t, 1)
	cl := kafkatest.Client(t, kc)
	defer cl.Close()
	if _, err := kadm.NewClient(cl).DeleteTopics(t.Context(), kc.Topic(topic.Deadletter)); err != nil {
		t.Fatal(err)
	}
	c := collector.DefaultConfig()
	c.Listen, c.Kafka = "127.0.0.1:0", kc
	s, err := collector.New(c, collector.Deps{Log: zaptest.NewLogger(t), Registry: prometheus.NewRegistry(), Rules: func(string) *rules.Rules { return rules.Default() }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(t.Context()) }()
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "topic deadletter does not exist") {
		t.Errorf("Start: %v", err)
	}
}

func TestRateOfAKey(t *testing.T) {
	var clock atomic.Int64
	r := start(t, 1, func(c *collector.Config, d *collector.Deps) {
		c.RatePerKey, c.MaxBatchEvents = 2, 4
		d.Now = func() time.Time { return now.Add(time.Duration(clock.Load())) }
	})
	four := `{"batch":[` + strings.Repeat(track("m")+",", 3) + track("m") + `]}`
	r.post("/v1/batch", four, 200)
	got := r.post("/v1/batch", four, 429)
	if got.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q, want 2: four events at two a second", got.header.Get("Retry-After"))
	}
	r.post("/v1/t", track("m"), 429)
	if other := r.do(http.MethodPost, "/v1/t", track("m"), "Key", serverKey); other.status != 200 {
		t.Errorf("another key: %d", other.status)
	}
	clock.Store(int64(2 * time.Second))
	r.post("/v1/batch", four, 200)
	if n := len(r.events()); n != 9 {
		t.Errorf("%d events, want 9", n)
	}
}

func TestReceipts(t *testing.T) {
	r := start(t, 1, func(_ *collector.Config, d *collector.Deps) {
		d.Locate = func(_ context.Context, project, id string) (collector.Receipt, error) {
			switch id {
			case "m/1 ä":
				return collector.Receipt{Project: project, MessageID: id, State: "applied", Person: "u:u"}, nil
			case "broken":
				return collector.Receipt{}, errors.New("no ClickHouse")
			}
			return collector.Receipt{}, fmt.Errorf("look: %w", collector.ErrUnknown)
		}
	})
	for _, c := range []struct {
		path, key string
		status    int
		body      string
	}{
		{"/v1/receipts/m%2F1%20%C3%A4", webKey, 200, `{"project":"shop","message_id":"m/1 ä","state":"applied","person":"u:u"}`},
		{"/v1/receipts/m%2F1%20%C3%A4?project=other", importKey, 200, `{"project":"other",`},
		{"/v1/receipts/m", importKey, 400, "?project=NAME"},
		{"/v1/receipts/m", webKey, 404, `"state":"unknown"`},
		{"/v1/receipts/broken", webKey, 503, "cannot be looked up"},
		{"/v1/receipts/m", "no", 401, ""},
		{"/v1/receipts/", webKey, 400, "no message id"},
	} {
		if got := r.do(http.MethodGet, c.path, "", "Key", c.key); got.status != c.status || !strings.Contains(got.body, c.body) {
			t.Errorf("%s: %d %s; want %d %s", c.path, got.status, got.body, c.status, c.body)
		}
	}
	if got := start(t, 1).do(http.MethodGet, "/v1/receipts/m", "", "Key", webKey); got.status != 501 {
		t.Errorf("without a place to look: %d %s", got.status, got.body)
	}
}
