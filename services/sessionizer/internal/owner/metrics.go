package owner

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	applied, replayed, rebuilds, halted, checkpointBytes prometheus.Counter
	commits, checkpoints, ticks                          *prometheus.CounterVec
	commitTime, checkpointTime                           prometheus.Histogram

	restore, first, caughtUp, lag, clockAge, watermarkAge *prometheus.GaugeVec
	persons, open, kept, bytes                            *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const prefix = "waymark_sessionizer_"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, []string{"partition"})
	}
	timing := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
	}
	m := &metrics{
		applied:         counter("records_total", "Records applied to a state."),
		replayed:        counter("replayed_records_total", "Records applied silently to restore a state."),
		rebuilds:        counter("rebuilds_total", "Workers built anew after an error or an unknown outcome."),
		halted:          counter("halted_partitions_total", "Partitions that stopped for good because state and log do not belong together."),
		checkpointBytes: counter("checkpoint_bytes_total", "Bytes of keys and values written as checkpoints."),
		commits:         counters("commits_total", "Commits of facts with the input offset.", "outcome"),
		checkpoints:     counters("checkpoints_total", "Checkpoints written.", "outcome"),
		ticks:           counters("ticks_total", "Empty records appended to move the clock of a quiet partition.", "outcome"),
		commitTime:      timing("commit_seconds", "From the cut of the facts to the end of their transaction."),
		checkpointTime:  timing("checkpoint_seconds", "Taking and writing a checkpoint."),
		restore:         gauge("restore_seconds", "From the assignment of the partition until its state was restored."),
		first:           gauge("first_applied_seconds", "From the assignment of the partition until the first record was applied."),
		caughtUp:        gauge("caught_up_seconds", "From the assignment of the partition until the end of its log was reached."),
		lag:             gauge("lag_records", "Records in the log that are not applied yet."),
		clockAge:        gauge("clock_age_seconds", "How far the partition's clock is behind this process's."),
		watermarkAge:    gauge("watermark_age_seconds", "How far the latest watermark of the partition's projects is behind this process's clock."),
		persons:         gauge("persons", "Persons in the state."),
		open:            gauge("open_sessions", "Open sessions in the state."),
		kept:            gauge("kept_events", "Events kept in the state because a late one may still concern them."),
		bytes:           gauge("state_bytes", "Size of the state, about."),
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.applied, m.replayed, m.rebuilds, m.halted, m.checkpointBytes, m.commits, m.checkpoints, m.ticks, m.commitTime, m.checkpointTime,
		m.restore, m.first, m.caughtUp, m.lag, m.clockAge, m.watermarkAge, m.persons, m.open, m.kept, m.bytes,
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// fed counts records applied to a partition, and notes when it comes to its first one and to the end of its log.
func (m *metrics) fed(p *partition, applied int) {
	m.applied.Add(float64(applied))
	if !p.first && applied > 0 {
		p.first = true
		m.first.WithLabelValues(p.label()).Set(time.Since(p.assigned).Seconds())
	}
	if !p.caughtUp && p.machine.Next() >= p.end {
		p.caughtUp = true
		m.caughtUp.WithLabelValues(p.label()).Set(time.Since(p.assigned).Seconds())
	}
}

// observe sets the gauges of a running partition.
func (m *metrics) observe(p *partition, now time.Time) {
	label, stats := p.label(), p.machine.Stats()
	m.lag.WithLabelValues(label).Set(float64(max(0, p.end-p.machine.Next())))
	m.persons.WithLabelValues(label).Set(float64(stats.Persons))
	m.open.WithLabelValues(label).Set(float64(stats.OpenSessions))
	m.kept.WithLabelValues(label).Set(float64(stats.KeptEvents))
	m.bytes.WithLabelValues(label).Set(float64(stats.StateBytes))
	if clock := p.machine.Clock(); clock > 0 {
		m.clockAge.WithLabelValues(label).Set(now.Sub(time.UnixMilli(clock)).Seconds())
		if p.watermarked {
			m.watermarkAge.WithLabelValues(label).Set(now.Sub(time.UnixMilli(clock + p.watermark)).Seconds())
		}
	}
}

// forget removes the series of a partition that went.
func (m *metrics) forget(label string) {
	for _, g := range []*prometheus.GaugeVec{
		m.restore, m.first, m.caughtUp, m.lag, m.clockAge, m.watermarkAge, m.persons, m.open, m.kept, m.bytes,
	} {
		g.DeleteLabelValues(label)
	}
}
