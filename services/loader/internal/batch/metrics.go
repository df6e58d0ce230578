package batch

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are shared by the lanes of a process.
type Metrics struct {
	stored  *prometheus.CounterVec
	retries *prometheus.CounterVec
	batches prometheus.Counter
	took    prometheus.Histogram
	seq     *prometheus.GaugeVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		stored:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "waymark_loader_rows_total", Help: "Rows written, repeated ones too."}, []string{"table"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "waymark_loader_retries_total", Help: "Inserts that the server did not take at once."}, []string{"table"}),
		batches: prometheus.NewCounter(prometheus.CounterOpts{Name: "waymark_loader_batches_total", Help: "Batches written."}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "waymark_loader_batch_seconds", Help: "From the ledger row of a batch to its last row.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 12),
		}),
		seq: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waymark_loader_batch_number", Help: "Number of a lane's last complete batch."}, []string{"lane"}),
	}
	for _, c := range []prometheus.Collector{m.stored, m.retries, m.batches, m.took, m.seq} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) rows(table string, n int) { m.stored.WithLabelValues(table).Add(float64(n)) }
func (m *Metrics) retry(table string)       { m.retries.WithLabelValues(table).Inc() }

func (m *Metrics) batch(r *row, took time.Duration) {
	m.batches.Inc()
	m.took.Observe(took.Seconds())
	m.seq.WithLabelValues(laneLabel(r.Lane)).Set(float64(r.Seq))
}

func laneLabel(lane uint16) string { return strconv.Itoa(int(lane)) }
