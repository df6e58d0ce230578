package loader_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/chdb"
	"github.com/waymark-analytics/waymark/pkg/chdb/chdbtest"
	"github.com/waymark-analytics/waymark/pkg/chengine"
	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/kafka"
	"github.com/waymark-analytics/waymark/pkg/kafka/kafkatest"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/loader"
)

func TestMain(m *testing.M) { chdbtest.Main(m) }

// start0 is the time of the first event of a stage: a full hour.
const start0 = 1767225600000 // 2026-01-01

// stage is a broker, an engine, and the part of a sessionizer, played by the test.
type stage struct {
	t      *testing.T
	kafka  kafka.Config
	db     *chdb.DB
	engine *chengine.Engine
	c      loader.Config
	cl     *kgo.Client
	logs   []*log // one a partition
	dead   int64
}

// log is a partition: its records and how far frames go.
type log struct {
	next, framed int64
	verdicts     []uint32
	sessions     []byte
	frame        *facts.Frame
}

func newStage(t *testing.T, partitions int) *stage {
	db, e := chdbtest.New(t)
	k, _ := kafkatest.Fake(t, partitions)
	c := loader.DefaultConfig()
	c.Kafka, c.ClickHouse = k, chdbtest.Config(e)
	c.FlushEvery, c.IdleEvery, c.StandbyAfter = 20*time.Millisecond, 50*time.Millisecond, 500*time.Millisecond
	s := &stage{t: t, kafka: k, db: db, engine: e, c: c, cl: kafkatest.Client(t, k)}
	t.Cleanup(s.cl.Close)
	for p := range partitions {
		s.logs = append(s.logs, &log{frame: &facts.Frame{Partition: uint32(p)}})
	}
	return s
}

func (s *stage) produce(name string, partition int, key, value []byte) int64 {
	s.t.Helper()
	r := &kgo.Record{Topic: s.kafka.Topic(name), Partition: int32(partition), Key: key, Value: value}
	if err := s.cl.ProduceSync(s.t.Context(), r).FirstErr(); err != nil {
		s.t.Fatalf("produce to %s: %v", name, err)
	}
	return r.Offset
}

// send appends an event with a verdict.
func (s *stage) send(partition int, e *touchpoint.Event, verdict uint32) int64 {
	s.t.Helper()
	value, err := e.MarshalVT()
	if err != nil {
		s.t.Fatal(err)
	}
	offset := s.produce(topic.Touchpoints, partition, []byte(event.Person(e)), value)
	l := s.logs[partition]
	l.next, l.verdicts = offset+1, append(l.verdicts, verdict)
	return offset
}

func (s *stage) tick(partition int) {
	s.t.Helper()
	l := s.logs[partition]
	l.next, l.verdicts = s.produce(topic.Touchpoints, partition, nil, nil)+1, append(l.verdicts, facts.VerdictNone)
}

// session is the verdict for a session of the frame in hand.
func (l *log) session(id event.Hash) uint32 {
	for i := 0; i < len(l.sessions); i += facts.SessionIDBytes {
		if string(l.sessions[i:i+facts.SessionIDBytes]) == string(id[:]) {
			return facts.VerdictSession + uint32(i/facts.SessionIDBytes)
		}
	}
	l.sessions = append(l.sessions, id[:]...)
	return facts.VerdictSession + uint32(len(l.sessions)/facts.SessionIDBytes) - 1
}

// cut writes the frame of everything since the last one, in n parts.
func (s *stage) cut(partition int, clock int64, n int) {
	s.t.Helper()
	l := s.logs[partition]
	whole := l.frame
	for part := range n {
		f := &facts.Frame{Partition: uint32(partition), From: l.framed, To: l.next, Part: uint32(part), Last: part == n-1, Clock: clock, Version: 1}
		f.Funnels = whole.Funnels
		if part == 0 {
			f.Verdicts, f.SessionIds, f.Moves, f.Watermarks = l.verdicts, l.sessions, whole.Moves, whole.Watermarks
		}
		f.Sessions = share(whole.Sessions, part, n)
		f.Entrants = share(whole.Entrants, part, n)
		value, err := f.MarshalVT()
		if err != nil {
			s.t.Fatal(err)
		}
		s.produce(topic.Facts, partition, nil, value)
	}
	l.framed, l.verdicts, l.sessions, l.frame = l.next, nil, nil, &facts.Frame{Partition: uint32(partition)}
}

// trim deletes what a partition holds.
func (s *stage) trim(name string, partition int32) {
	s.t.Helper()
	adm := kadm.NewClient(s.cl)
	ends, err := adm.ListEndOffsets(s.t.Context(), s.kafka.Topic(name))
	if err != nil {
		s.t.Fatal(err)
	}
	at := kadm.Offsets{}
	end, _ := ends.Lookup(s.kafka.Topic(name), partition)
	at.AddOffset(s.kafka.Topic(name), partition, end.Offset, -1)
	if _, err := adm.DeleteRecords(s.t.Context(), at); err != nil {
		s.t.Fatal(err)
	}
}

func share[T any](all []T, part, n int) []T {
	return all[len(all)*part/n : len(all)*(part+1)/n]
}

func (s *stage) refuse(l *deadletter.Letter) {
	s.t.Helper()
	value, err := l.MarshalVT()
	if err != nil {
		s.t.Fatal(err)
	}
	s.dead = s.produce(topic.Deadletter, 0, []byte(l.Project), value) + 1
}

// load starts a loader that ends with the test.
func (s *stage) load(hook func(string) error) *loader.Service {
	s.t.Helper()
	l, err := loader.New(s.c, loader.Deps{Log: zaptest.NewLogger(s.t, zaptest.Level(zap.InfoLevel)), Registry: prometheus.NewRegistry(), Rules: func(string) *rules.Rules { return rules.Default() }, Hook: hook})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := l.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.stop(l) })
	return l
}

func (s *stage) stop(l *loader.Service) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 10*time.Second)
	defer cancel()
	if err := l.Stop(ctx); err != nil {
		s.t.Errorf("stop loader: %v", err)
	}
}

// loaded waits until everything framed is complete in the tables, sending ticks as an owner does.
func (s *stage) loaded() {
	s.t.Helper()
	var want []int64
	for _, l := range s.logs {
		want = append(want, l.framed)
	}
	eventually(s.t, func() error {
		for p := range s.logs {
			s.tick(p)
			s.cut(p, start0+3_600_000, 1)
		}
		got := s.rows("SELECT topic, partition, next_offset FROM waymark.progress")
		for p, offset := range want {
			if !slices.ContainsFunc(got, func(row string) bool { return atLeast(row, "touchpoints", p, offset) }) {
				return fmt.Errorf("partition %d is to reach %d: %v", p, offset, got)
			}
		}
		return nil
	})
}

func atLeast(row, topic string, partition int, offset int64) bool {
	var p int
	var next int64
	name, rest, _ := strings.Cut(row, "\t")
	if _, err := fmt.Sscan(rest, &p, &next); err != nil {
		return false
	}
	return name == topic && p == partition && next >= offset
}

// rows are the rows of a query as text, columns behind tabs.
func (s *stage) rows(sql string) []string {
	s.t.Helper()
	out, err := s.query(sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func (s *stage) query(sql string) ([]string, error) {
	var out []string
	err := s.db.Row(s.t.Context(), "SELECT groupArray(arrayStringConcat(arrayMap(x -> toString(x), [x]), '')) FROM (SELECT formatRowNoNewline('TSV', COLUMNS('.*')) AS x FROM ("+sql+"))", nil, &out)
	return out, err
}

// same fails unless the query gives these rows.
func (s *stage) same(sql string, want ...string) {
	s.t.Helper()
	got := s.rows(sql)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s\n got %s\nwant %s", sql, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func eventually(t *testing.T, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
