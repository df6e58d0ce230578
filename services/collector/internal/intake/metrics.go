package intake

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	acked   prometheus.Counter
	unacked prometheus.Counter
	took    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, budget *Budget) *metrics {
	m := &metrics{
		acked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_collector_records_acked_total",
			Help: "Records that Kafka acknowledged, of both topics.",
		}),
		unacked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_collector_batches_unacked_total",
			Help: "Requests answered 503 because Kafka did not acknowledge all of their records in time.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "waymark_collector_ack_seconds",
			Help:    "Time from the records of a request to their last acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
	}
	reg.MustRegister(m.acked, m.unacked, m.took, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "waymark_collector_inflight_bytes",
		Help: "Bytes held by requests: bodies being read, and records not yet acknowledged.",
	}, func() float64 { return float64(budget.Used()) }))
	return m
}
