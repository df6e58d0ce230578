package importer

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// collector records what an importer sends, as far as it takes it.
type collector struct {
	t      *testing.T
	server *httptest.Server

	mu struct {
		sync.Mutex
		events  []*touchpoint.Event
		batches [][]*touchpoint.Event
		letters []*deadletter.Letter
		ends    [][]string
		next    int64 // offset that the tables have reached
		calls   int
	}
	// fail answers a call instead of the collector; after says that the call has its effect nevertheless.
	fail func(call int, path string) (status int, after bool)
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/" { // ClickHouse
		if strings.Contains(r.URL.Query().Get("query"), "progress") {
			fmt.Fprintf(w, "0\t%d\t\n", c.mu.next)
			c.mu.next = int64(len(c.mu.events) + len(c.mu.ends))
		} else {
			fmt.Fprintln(w, "0")
		}
		return
	}
	c.mu.calls++
	status, after := 0, true
	if c.fail != nil {
		status, after = c.fail(c.mu.calls, r.URL.Path)
	}
	if status != 0 && !after {
		w.WriteHeader(status)
		return
	}
	if key, _, _ := r.BasicAuth(); key != "key" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer := c.take(r, body)
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (c *collector) take(r *http.Request, body []byte) any {
	switch r.URL.Path {
	case "/v1/import/vocabulary":
		def := rules.Default()
		steps := map[string]string{}
		for _, names := range def.Vocabulary {
			for _, name := range names {
				steps[event.Plain(name)] = def.Step(name)
			}
		}
		return map[string]any{"steps": steps, "lateness": def.Lateness.Milliseconds()}
	case "/v1/import/events":
		type refused struct {
			Index  int    `json:"index"`
			Reason string `json:"reason"`
		}
		out := []refused{}
		written := map[string]bool{} // what a collector finds in its log
		if r.URL.Query().Get("since") != "" {
			for _, e := range c.mu.events {
				written[e.MessageId] = true
			}
		}
		accepted := 0
		var batch []*touchpoint.Event
		for i, message := range split(c.t, body) {
			e := &touchpoint.Event{}
			if err := e.UnmarshalVT(message); err != nil {
				c.t.Errorf("no event: %v", err)
			}
			if strings.HasPrefix(e.Name, "refuse") {
				out = append(out, refused{i, "schema"})
				continue
			}
			if accepted++; !written[e.MessageId] {
				batch = append(batch, e)
			}
		}
		c.mu.events, c.mu.batches = append(c.mu.events, batch...), append(c.mu.batches, batch)
		return map[string]any{"accepted": accepted, "refused": out, "offsets": map[string]int64{"0": int64(len(c.mu.events))}}
	case "/v1/import/offsets":
		return map[string]any{"offsets": map[string]int64{"0": int64(len(c.mu.events) + len(c.mu.ends))}}
	case "/v1/import/rejects":
		for _, message := range split(c.t, body) {
			l := &deadletter.Letter{}
			if err := l.UnmarshalVT(message); err != nil {
				c.t.Errorf("no letter: %v", err)
			}
			c.mu.letters = append(c.mu.letters, l)
		}
		return map[string]any{"accepted": 1}
	case "/v1/import/end":
		var sent struct{ Projects []string }
		if err := json.Unmarshal(body, &sent); err != nil {
			c.t.Errorf("end: %v", err)
		}
		c.mu.ends = append(c.mu.ends, sent.Projects)
		return map[string]any{"offsets": map[string]int64{"0": int64(len(c.mu.events) + len(c.mu.ends))}}
	}
	c.t.Errorf("a request to %s", r.URL.Path)
	return nil
}

func split(t *testing.T, list []byte) (messages [][]byte) {
	t.Helper()
	for len(list) > 0 {
		n, used := binary.Uvarint(list)
		if used <= 0 || n > uint64(len(list)-used) {
			t.Fatal("the lengths of a list are wrong")
		}
		messages, list = append(messages, list[used:used+int(n)]), list[used+int(n):]
	}
	return messages
}

// job is an import in a test.
type job struct {
	Config
	bad     []Bad
	notices []string
}

func newJob(t *testing.T, mapping string, files ...string) *job {
	t.Helper()
	j := &job{Config: Config{Files: files, MaxBad: -1, GiveUp: 10 * time.Second, Journals: t.TempDir(), TempDir: t.TempDir(), ImportID: "imp"}}
	if mapping == "" {
		j.Format = Events
		return j
	}
	m, err := ParseMapping([]byte(mapping))
	if err != nil {
		t.Fatal(err)
	}
	j.Mapping = m
	return j
}

func (j *job) run(t *testing.T, c *collector) (Summary, error) {
	t.Helper()
	j.bad, j.notices = nil, nil
	return Run(t.Context(), j.Config, j.deps(c))
}

func (j *job) deps(c *collector) Deps {
	return Deps{
		Find: func() (Target, error) {
			return Target{Collector: c.server.URL, ClickHouse: c.server.URL, ImportKey: "key"}, nil
		},
		HTTP:     c.server.Client(),
		Progress: func(Phase, int64, int64) {},
		Bad:      func(b Bad) { j.bad = append(j.bad, b) },
		Notice:   func(text string) { j.notices = append(j.notices, text) },
		Now:      func() time.Time { return time.UnixMilli(1_800_000_000_000) },
	}
}

func (j *job) must(t *testing.T, c *collector) Summary {
	t.Helper()
	sum, err := j.run(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w io.WriteCloser = f
	switch filepath.Ext(name) {
	case ".gz":
		w = gzip.NewWriter(f)
	case ".zst":
		if w, err = zstd.NewWriter(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if w != io.WriteCloser(f) {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// ids are the message ids of the events, in the order they were taken.
func (c *collector) ids() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, e := range c.mu.events {
		out = append(out, e.MessageId)
	}
	return out
}

const plainMapping = `
project: p
time: at
time_format: unix
user_id: who
name: what
`
