package journey_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// TestCasesOfTheReferenceModel runs the hand-made cases that stand beside the reference model, less those about links between
// ids.
func TestCasesOfTheReferenceModel(t *testing.T) {
	dir := "../../../../../shared/oracle/cases"
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.ndjson"))
	if err != nil {
		t.Skipf("the reference model is not beside the repository: %v", err)
	}
	for row := range bytes.Lines(index) {
		var c struct {
			Name   string
			Config bool
			Until  *string
		}
		if err := json.Unmarshal(row, &c); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(c.Name, "link_"), c.Name == "cart_merged_persons", c.Name == "session_two_devices":
			continue // two ids become one person
		case c.Name == "duplicate_needs_same_ids":
			continue // two sessions with one id, which check takes for one
		}
		t.Run(c.Name, func(t *testing.T) {
			var layers []*yaml.Node
			if c.Config {
				text, err := os.ReadFile(filepath.Join(dir, c.Name+".config.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				var doc yaml.Node
				if err := yaml.Unmarshal(text, &doc); err != nil {
					t.Fatal(err)
				}
				layers = append(layers, doc.Content[0])
			}
			rule, err := rules.Parse(layers...)
			if err != nil {
				t.Fatal(err)
			}
			var events []*touchpoint.Event
			arrival := map[*touchpoint.Event]int{} // place in the log, where it is given
			eachLine(t, filepath.Join(dir, c.Name+".in.ndjson"), func(line []byte) {
				e := oracleEvent(t, line)
				fill(t, e, line, rule)
				var place struct{ Arrival int }
				if err := json.Unmarshal(line, &place); err != nil {
					t.Fatal(err)
				}
				arrival[e] = place.Arrival
				if e.UserId+e.AnonymousId != "" {
					events = append(events, e)
				}
			})
			slices.SortStableFunc(events, func(a, b *touchpoint.Event) int {
				return cmp.Or(cmp.Compare(arrival[a], arrival[b]), cmp.Compare(a.ReceivedAt, b.ReceivedAt), cmp.Compare(a.OccurredAt, b.OccurredAt))
			})
			var want []string
			eachLine(t, filepath.Join(dir, c.Name+".out.ndjson"), func(line []byte) {
				if !bytes.Contains(line, []byte(`"kind":"link"`)) && !bytes.Contains(line, []byte(`"kind":"totals"`)) {
					want = append(want, string(line))
				}
			})
			if c.Until != nil {
				until, err := time.Parse(time.RFC3339, *c.Until)
				if err != nil {
					t.Fatal(err)
				}
				diff(t, c.Name, runUntil(t, events, until.UnixMilli(), rule).rows(), want)
				return
			}
			diff(t, c.Name, run(t, events, 1, rand.New(rand.NewPCG(1, 1)), rule).rows(), want)
		})
	}
}

func eachLine(t *testing.T, file string, do func(line []byte)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		do(bytes.Clone(lines.Bytes()))
	}
}

// fill adds what oracleEvent leaves out: the step of an event that has none given, properties, flags, cart ids.
func fill(t *testing.T, e *touchpoint.Event, line []byte, rule *rules.Rules) {
	t.Helper()
	var in struct {
		Step       *string         `json:"step"`
		Properties json.RawMessage `json:"properties"`
		Flags      []string        `json:"flags"`
		Context    struct {
			AppVersion string `json:"app_version"`
		} `json:"context"`
	}
	if err := json.Unmarshal(line, &in); err != nil {
		t.Fatal(err)
	}
	if in.Step == nil {
		e.Step = rule.Step(e.Name)
	}
	e.UserId, e.AnonymousId = event.ID(e.UserId), event.ID(e.AnonymousId)
	e.Properties, e.Flags = in.Properties, in.Flags
}

// runUntil feeds what an in-order run has seen when its watermark is until, and lets the clock bring the watermark there.
func runUntil(t *testing.T, events []*touchpoint.Event, until int64, rule *rules.Rules) *tally {
	t.Helper()
	y := newTally(t)
	p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rule }})
	latest := int64(0)
	for _, e := range events {
		if e.OccurredAt <= until+rule.Slack.Milliseconds() {
			apply(t, p, e)
			latest = max(latest, e.OccurredAt)
		}
	}
	pass := until - (latest - rule.Slack.Milliseconds())
	if err := p.Apply(journey.Record{Offset: p.Next(), Time: at + pass}); err != nil {
		t.Fatal(err)
	}
	y.take(p.Cut())
	return y
}

// TestRestoredPartitionsConcludeTheSame runs a log straight, and again with restores and cuts at random places: the running
// hash must come out the same, or a replay could not be told from a broken one.
func TestRestoredPartitionsConcludeTheSame(t *testing.T) {
	rule := rules.Default()
	log := shopLog(t, 20_000, 300)
	straight := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rule }})
	for _, r := range log {
		if err := straight.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	straight.Discard()
	want, count := straight.Hash()
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rule }})
			saved := map[string][]byte{} // what a compacted topic would hold
			for i, record := range log {
				if err := p.Apply(record); err != nil {
					t.Fatal(err)
				}
				if r.IntN(200) == 0 {
					p.Cut()
				}
				if r.IntN(2000) != 0 {
					continue
				}
				p.Discard()
				p = restored(t, p, saved, rule)
				if p.Next() != int64(i)+1 {
					t.Fatalf("restored to record %d, want %d", p.Next(), i+1)
				}
			}
			p.Discard()
			if hash, n := p.Hash(); hash != want || n != count {
				t.Fatalf("hash %x of %d facts, want %x of %d", hash, n, want, count)
			}
		})
	}
}
