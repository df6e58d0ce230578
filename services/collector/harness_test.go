package collector_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/collector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	webKey    = "web-key"
	serverKey = "server-key"
	importKey = "import-key"
)

// now is the collector's clock in tests.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// rig is a collector over a broker in memory.
type rig struct {
	t       testing.TB
	kafka   kafka.Config
	broker  *kfake.Cluster
	service *collector.Service
	reg     *prometheus.Registry
	url     string
	client  *http.Client
}

// start starts a collector with two sources; change may change its configuration.
func start(t testing.TB, partitions int, change ...func(c *collector.Config, d *collector.Deps)) *rig {
	t.Helper()
	kc, broker := kafkatest.Fake(t, partitions)
	c := collector.DefaultConfig()
	c.Listen, c.Kafka, c.ImportKey = "127.0.0.1:0", kc, importKey
	c.Sources = []collector.Source{
		{Project: "shop", Name: "site", Kind: "web", WriteKey: webKey},
		{Project: "shop", Name: "backend", Kind: "server", WriteKey: serverKey},
	}
	reg := prometheus.NewRegistry()
	def := rules.Default()
	d := collector.Deps{
		Log: zaptest.NewLogger(t), Registry: reg,
		Rules: func(string) *rules.Rules { return def },
		Now:   func() time.Time { return now },
	}
	for _, f := range change {
		f(&c, &d)
	}
	s, err := collector.New(c, d)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	r := &rig{t: t, kafka: c.Kafka, broker: broker, service: s, reg: reg, url: "http://" + s.Addr(), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Logf("Stop: %v", err)
		}
	})
	return r
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request; the headers are name, value, name, value.
func (r *rig) do(method, path, body string, headers ...string) reply {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if key := req.Header.Get("Key"); key != "" {
		req.Header.Del("Key")
		req.SetBasicAuth(key, "")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s %s: read answer: %v", method, path, err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: string(b)}
}

// post posts a body with the web source's key and wants a status.
func (r *rig) post(path, body string, want int, headers ...string) reply {
	r.t.Helper()
	got := r.do(http.MethodPost, path, body, append([]string{"Key", webKey}, headers...)...)
	if got.status != want {
		r.t.Fatalf("POST %s: %d %s; want %d", path, got.status, got.body, want)
	}
	return got
}

// records reads all that is in a topic, partition by partition in order.
func (r *rig) records(name string) []*kgo.Record {
	r.t.Helper()
	full := r.kafka.Topic(name)
	cl := kafkatest.Client(r.t, r.kafka, kgo.ConsumeTopics(full), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ends := map[int32]int64{}
	adm, err := kadmEnds(r.t.Context(), cl, full)
	if err != nil {
		r.t.Fatalf("end offsets of %s: %v", name, err)
	}
	left := 0
	for p, end := range adm {
		ends[p] = end
		left += int(end)
	}
	var out []*kgo.Record
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	for len(out) < left {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			r.t.Fatalf("read %s: %v after %d of %d", name, err, len(out), left)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

// events are the events in the log.
func (r *rig) events() []*touchpoint.Event {
	r.t.Helper()
	var out []*touchpoint.Event
	for _, rec := range r.records(topic.Touchpoints) {
		if rec.Key == nil {
			continue
		}
		e := &touchpoint.Event{}
		if err := e.UnmarshalVT(rec.Value); err != nil {
			r.t.Fatalf("event at %d/%d: %v", rec.Partition, rec.Offset, err)
		}
		out = append(out, e)
	}
	return out
}

// letters are the refused.
func (r *rig) letters() []*deadletter.Letter {
	r.t.Helper()
	var out []*deadletter.Letter
	for _, rec := range r.records(topic.Deadletter) {
		l := &deadletter.Letter{}
		if err := l.UnmarshalVT(rec.Value); err != nil {
			r.t.Fatalf("letter at %d: %v", rec.Offset, err)
		}
		if string(rec.Key) != l.Project {
			r.t.Errorf("letter at %d has key %q, want its project %q", rec.Offset, rec.Key, l.Project)
		}
		out = append(out, l)
	}
	return out
}

// delimited puts messages one behind the other, each behind its length.
func delimited(t testing.TB, messages ...interface{ MarshalVT() ([]byte, error) }) string {
	t.Helper()
	var out bytes.Buffer
	for _, m := range messages {
		b, err := m.MarshalVT()
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		out.Write(binary.AppendUvarint(nil, uint64(len(b))))
		out.Write(b)
	}
	return out.String()
}
