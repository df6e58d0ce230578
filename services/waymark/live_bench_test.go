package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// BenchmarkLive runs the whole product on this machine under steady traffic, batches of 100 over HTTP, for WAYMARK_BENCH_SECONDS
// (20), and prints how long an event takes from the 200 that acknowledges it until it is in `events` and in `sessions_open`,
// what all processes use for it, and how far the tables were behind at the end. The sender shares the cores.
func BenchmarkLive(b *testing.B) {
	needEngine(b)
	seconds := 20
	if n, err := strconv.Atoi(os.Getenv("WAYMARK_BENCH_SECONDS")); err == nil && n > 0 {
		seconds = n
	}
	for _, rate := range []int{2000, 20_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			for range b.N {
				live(b, rate, time.Duration(seconds)*time.Second)
			}
		})
	}
}

// sent is a moment of the traffic: so many events were acknowledged by then.
type sent struct {
	events int64
	at     time.Time
}

func live(b *testing.B, rate int, during time.Duration) {
	dir := b.TempDir()
	p := launch(b, nil, "up", "--dir", dir, "--port-base", "0")
	e := p.up(dir)
	const size = 100
	var mu sync.Mutex
	var acked []sent
	began := time.Now()
	done := make(chan error, 1)
	go func() {
		body := newTraffic(size)
		for n := int64(0); time.Since(began) < during; n += size {
			if due := began.Add(time.Duration(n) * time.Second / time.Duration(rate)); time.Until(due) > 0 {
				<-time.After(time.Until(due))
			}
			if err := post(b, e, body.next(n)); err != nil {
				done <- err
				return
			}
			mu.Lock()
			acked = append(acked, sent{n + size, time.Now()})
			mu.Unlock()
		}
		done <- nil
	}()

	type counts struct{ Events, Open int64 }
	asks := &ask.Client{URL: e.ClickHouseHTTP}
	var events, open []time.Duration
	behind := func(seen int64, at time.Time, from *int, into *[]time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		for ; *from < len(acked) && acked[*from].events <= seen; *from++ {
			*into = append(*into, at.Sub(acked[*from].at))
		}
	}
	var nextEvents, nextOpen int
	var lag int64
	finished := time.Time{}
	for finished.IsZero() || nextEvents < len(acked) || nextOpen < len(acked) {
		select {
		case err := <-done:
			if err != nil {
				b.Fatal(err)
			}
			finished = time.Now()
		case <-time.After(100 * time.Millisecond):
		}
		rows, err := ask.Rows[counts](b.Context(), asks, `SELECT (SELECT count() FROM waymark.events WHERE project = 'default') AS Events,
			(SELECT sum(events) FROM waymark.sessions_open WHERE project = 'default') AS Open`, nil)
		if err != nil {
			b.Fatal(err)
		}
		now := time.Now()
		behind(rows[0].Events, now, &nextEvents, &events)
		behind(rows[0].Open, now, &nextOpen, &open)
		if !finished.IsZero() && lag == 0 {
			lag = max(1, acked[len(acked)-1].events-rows[0].Events)
		}
		if !finished.IsZero() && time.Since(finished) > time.Minute {
			b.Fatalf("a minute after the last event %d of %d are in the tables", rows[0].Events, acked[len(acked)-1].events)
		}
	}
	total := acked[len(acked)-1].events
	b.ReportMetric(float64(total)/finished.Sub(began).Seconds(), "events/s")
	for name, all := range map[string][]time.Duration{"events": events, "open": open} {
		slices.Sort(all)
		for _, q := range []int{50, 95, 99} {
			b.ReportMetric(all[(len(all)-1)*q/100].Seconds(), fmt.Sprintf("s-%s-p%d", name, q))
		}
	}
	b.ReportMetric(float64(lag), "behind-at-end")
	b.ReportMetric(treeCPU(b, p.cmd.Process.Pid).Seconds()/float64(total)*1e6, "cpu-s/M")
	p.signal(syscall.SIGINT)
	if status, said := p.ends(); status != 0 {
		b.Fatalf("status %d:\n%s", status, said)
	}
}

// traffic makes bodies of batches that differ in ids only.
type traffic struct {
	size int
	buf  bytes.Buffer
}

func newTraffic(size int) *traffic { return &traffic{size: size} }

func (t *traffic) next(first int64) []byte {
	t.buf.Reset()
	t.buf.WriteString(`{"batch":[`)
	for i := range int64(t.size) {
		if i > 0 {
			t.buf.WriteByte(',')
		}
		n := first + i
		person := n * 2654435761 % 20_000
		fmt.Fprintf(&t.buf, `{"type":"track","event":"Product Viewed","anonymousId":"browser-%05d","messageId":"live-%010d",`+
			`"context":{"page":{"path":"/products/%d","url":"https://shop.example/products/%d"},"userAgent":"Mozilla/5.0 (X11; Linux x86_64) Firefox/142.0"},`+
			`"properties":{"product_id":"p%d","price":19.99,"currency":"EUR","colour":"red"}}`, person, n, n%500, n%500, n%500)
	}
	t.buf.WriteString(`]}`)
	return t.buf.Bytes()
}

func post(b *testing.B, e endpoints.Endpoints, body []byte) error {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, e.Collector+"/v1/batch", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(e.WriteKey, "")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %s", resp.Status)
	}
	var answer json.RawMessage
	return json.NewDecoder(resp.Body).Decode(&answer)
}

// treeCPU is what a process and its children have used.
func treeCPU(b *testing.B, pid int) time.Duration {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		b.Log("no /proc: the processes' time is not known")
		return 0
	}
	var ticks int64
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		id := strings.Split(path, "/")[2]
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(f) < 13 || id != strconv.Itoa(pid) && f[1] != strconv.Itoa(pid) {
			continue
		}
		for _, field := range f[11:13] {
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // the kernel counts in hundredths of a second
}
