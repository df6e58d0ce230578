package loader_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/services/loader"
)

var errCrash = errors.New("crash")

// visit sends one session of two events of a new user, with all that follows from it.
func (s *stage) visit(partition, n int) {
	s.t.Helper()
	l := s.logs[partition]
	user, at := fmt.Sprintf("user%d", n), int64(n)*1000
	id := event.SessionID("shop", start0+at, user)
	s.send(partition, ev(user+"-1", user, at, "view"), l.session(id))
	s.send(partition, ev(user+"-2", user, at+10, "cart_add"), l.session(id))
	s.send(partition, ev(user+"-3", user, at-100_000_000, "view"), facts.VerdictTooLate)
	l.frame.Funnels = []*facts.FunnelDef{buy()}
	l.frame.Sessions = append(l.frame.Sessions, session(id, 1, uint64(n)+1000, "u:"+user, at, at+10, 2))
	l.frame.Entrants = append(l.frame.Entrants, entrant(id, 1, uint64(n)+2000, "u:"+user, at, at, at+10))
	s.refuse(&deadletter.Letter{Project: "shop", Reason: event.BadJSON, MessageId: user, ReceivedAt: start0})
}

// visited checks that n visits are there, each once.
func (s *stage) visited(n int) {
	s.t.Helper()
	s.loaded()
	s.same("SELECT count(), uniqExact(message_id) FROM waymark.events", fmt.Sprintf("%d\t%d", 2*n, 2*n))
	s.same("SELECT count(), uniqExact(message_id) FROM waymark.events_too_late", fmt.Sprintf("%d\t%d", n, n))
	s.same("SELECT count(), uniqExact(session_id) FROM waymark.sessions", fmt.Sprintf("%d\t%d", n, n))
	s.same("SELECT count(), sum(sign) FROM waymark_store.sessions", fmt.Sprintf("%d\t%d", n, n))
	s.same("SELECT count() FROM waymark.funnel_people", fmt.Sprint(n))
	s.same("SELECT step_no, sum(reached) FROM waymark.funnel_steps GROUP BY step_no ORDER BY step_no",
		fmt.Sprintf("1\t%d", n), fmt.Sprintf("2\t%d", n), "3\t0", "4\t0")
	s.same("SELECT sum(events) FROM waymark.refused", fmt.Sprint(n))
	s.same("SELECT count(), uniqExact(seq), max(seq) = count() FROM waymark_store.batches", s.rows("SELECT max(seq), max(seq), 1 FROM waymark_store.batches")...)
}

func failed(t *testing.T, l *loader.Service) error {
	t.Helper()
	select {
	case err := <-l.Failed():
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the loader did not fail")
	}
	return nil
}

func TestCrashBetweenAnyTwoTablesIsRepeated(t *testing.T) {
	for name, window := range map[string]int{"by tokens": 50_000, "by looking rows up": 0} {
		t.Run(name, func(t *testing.T) { crashEverywhere(t, window) })
	}
}

func crashEverywhere(t *testing.T, window int) {
	s := newStage(t, 2)
	s.c.Window = window
	n := 0
	for _, point := range []string{
		"claimed", "before events", "after events", "before events_too_late", "after events_too_late", "before sessions",
		"after sessions", "before entrants", "after entrants", "before refused", "after refused", "before watermarks", "after watermarks",
	} {
		s.visit(n%2, n)
		s.logs[n%2].frame.Watermarks = []*facts.Watermark{{Project: "shop", Watermark: start0, At: start0}}
		s.cut(n%2, start0, 1+n%2)
		n++
		l := s.load(func(at string) error {
			if at == point {
				return errCrash
			}
			return nil
		})
		if err := failed(t, l); !errors.Is(err, errCrash) {
			t.Fatalf("at %q the loader ended with %v", point, err)
		}
		s.stop(l)
	}
	s.load(nil)
	s.visited(n)
}

// The log of tokens and the part are two writes of the server: rows may be gone although their token is known.
func TestRowsMissingBehindTheirTokenAreWritten(t *testing.T) {
	s := newStage(t, 2)
	first := s.load(func(at string) error {
		if at == "after entrants" {
			return errCrash
		}
		return nil
	})
	for n := range 6 {
		s.visit(n%2, n)
	}
	s.cut(0, start0, 1)
	s.cut(1, start0, 2)
	if err := failed(t, first); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	s.stop(first)
	for _, sql := range []string{
		"ALTER TABLE waymark_store.events DELETE WHERE message_id IN ('user1-1', 'user2-2') SETTINGS mutations_sync = 2",
		"ALTER TABLE waymark_store.entrants DELETE WHERE person = 'u:user3' SETTINGS mutations_sync = 2",
		"TRUNCATE TABLE waymark_store.funnel_rollup",
	} {
		if err := s.db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s.load(nil)
	s.visited(6)
}

func TestSecondLoaderStandsByAndTakesOver(t *testing.T) {
	s := newStage(t, 2)
	first := s.load(nil)
	s.visit(0, 0)
	s.cut(0, start0, 1)
	s.visited(1)
	s.load(nil)
	for n := 1; n < 20; n++ {
		s.visit(n%2, n)
		s.cut(n%2, start0, 1)
	}
	s.visited(20)
	s.stop(first)
	for n := 20; n < 30; n++ {
		s.visit(n%2, n)
		s.cut(n%2, start0, 1)
	}
	s.visited(30)
}

func TestFrozenLoaderWritesNothingTwice(t *testing.T) {
	s := newStage(t, 1)
	frozen, thaw := make(chan struct{}), make(chan struct{})
	var armed, once atomic.Bool
	zombie := s.load(func(at string) error {
		if at == "before sessions" && armed.Load() && once.CompareAndSwap(false, true) {
			close(frozen)
			<-thaw
		}
		return nil
	})
	s.visit(0, 0)
	s.cut(0, start0, 1)
	s.visited(1)
	armed.Store(true)
	s.visit(0, 1)
	s.cut(0, start0, 1)
	<-frozen
	s.load(nil)
	for n := 2; n < 6; n++ {
		s.visit(0, n)
		s.cut(0, start0, 1)
	}
	s.visited(6)
	close(thaw)
	for n := 6; n < 9; n++ {
		s.visit(0, n)
		s.cut(0, start0, 1)
	}
	s.visited(9)
	s.stop(zombie)
	s.visited(9)
}

func TestEngineKilledUnderLoad(t *testing.T) {
	s := newStage(t, 2)
	s.load(nil)
	n := 0
	for range 3 {
		for range 40 {
			s.visit(n%2, n)
			n++
			if n%5 == 0 {
				s.cut(0, start0, 1)
				s.cut(1, start0, 1)
			}
			if n%20 == 10 {
				if pid := s.engine.Pid(); pid != 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
	}
	s.cut(0, start0, 1)
	s.cut(1, start0, 1)
	eventually(t, func() error { // the engine is back
		_, err := s.query("SELECT 1")
		return err
	})
	s.visited(n)
}

func TestMissingFactsStopTheLane(t *testing.T) {
	s := newStage(t, 1)
	l := s.load(nil)
	s.visit(0, 0)
	s.cut(0, start0, 1)
	s.visited(1)
	s.tick(0)
	s.logs[0].framed++ // a frame is lost
	s.logs[0].verdicts = nil
	s.tick(0)
	s.cut(0, start0, 1)
	err := failed(t, l)
	if !strings.Contains(err.Error(), "facts are missing or doubled") || !strings.Contains(err.Error(), "partition 0") {
		t.Fatalf("a gap gave %v", err)
	}
	s.same("SELECT DISTINCT position(cause, 'facts are missing') > 0 FROM waymark.progress", "1")
}

func TestPositionsBelowTheTopicStopTheLane(t *testing.T) {
	s := newStage(t, 1)
	l := s.load(nil)
	s.visit(0, 0)
	s.cut(0, start0, 1)
	s.visited(1)
	s.stop(l)
	for range 5 {
		s.tick(0)
		s.cut(0, start0, 1)
	}
	s.trim(topic.Facts, 0)
	err := failed(t, s.load(nil))
	if !strings.Contains(err.Error(), "gone from the topic") {
		t.Fatalf("trimmed facts gave %v", err)
	}
}

func TestBadRecordsStopTheLane(t *testing.T) {
	for name, spoil := range map[string]func(*stage){
		"no frame": func(s *stage) { s.produce(topic.Facts, 0, nil, []byte{0xff}) },
		"no event": func(s *stage) {
			s.logs[0].next = s.produce(topic.Touchpoints, 0, []byte("u:x"), []byte{0xff}) + 1
			s.logs[0].verdicts = append(s.logs[0].verdicts, facts.VerdictPassive)
			s.cut(0, start0, 1)
		},
		"a control record with the verdict": func(s *stage) {
			s.tick(0)
			s.logs[0].verdicts[len(s.logs[0].verdicts)-1] = facts.VerdictPassive
			s.cut(0, start0, 1)
		},
		"verdict about session 7 of 0": func(s *stage) {
			s.send(0, ev("a", "ann", 0, "view"), facts.VerdictSession+7)
			s.cut(0, start0, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			spoil(s)
			if err := failed(t, s.load(nil)); !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "offset 0") {
				t.Fatalf("%s gave %v", name, err)
			}
		})
	}
}
