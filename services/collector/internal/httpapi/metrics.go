package httpapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waymark-analytics/waymark/pkg/event"
)

type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	events   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	bytes    prometheus.Counter
	bots     prometheus.Counter
	clamped  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waymark_collector_requests_total",
			Help: "Requests by endpoint and status.",
		}, []string{"endpoint", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "waymark_collector_request_seconds",
			Help:    "Time to answer a request, the acknowledgement by Kafka included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"endpoint"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waymark_collector_events_total",
			Help: "Events answered with 200, by outcome: accepted or refused. Resends count again.",
		}, []string{"outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waymark_collector_refused_total",
			Help: "Events and bodies written to the dead-letter topic, by reason.",
		}, []string{"reason"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_collector_body_bytes_total",
			Help: "Bytes of bodies read, decompressed.",
		}),
		bots: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_collector_bot_events_total",
			Help: "Accepted events with a bot verdict.",
		}),
		clamped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_collector_clamped_events_total",
			Help: "Accepted events whose time was later than their receipt.",
		}),
	}
	reg.MustRegister(m.requests, m.took, m.events, m.refused, m.bytes, m.bots, m.clamped)
	for _, reason := range []string{
		event.NoIdentity, event.BadTimestamp, event.TooLarge, event.BadJSON, event.UnknownType, event.MissingEvent, event.Schema,
	} {
		m.refused.WithLabelValues(reason)
	}
	m.events.WithLabelValues("accepted")
	m.events.WithLabelValues("refused")
	return m
}

func (m *metrics) request(endpoint string, code int, took time.Duration) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(code)).Inc()
	m.took.WithLabelValues(endpoint).Observe(took.Seconds())
}
