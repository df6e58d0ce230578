package collector_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/keyhash"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/schemas/deadletter"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/collector"
)

func anyProject(c *collector.Config, _ *collector.Deps) { c.AnyProject = true }

func TestImportKeepsOrderWithinEachPartition(t *testing.T) {
	r := start(t, 3, anyProject)
	var sent []interface{ MarshalVT() ([]byte, error) }
	for i := range 1000 {
		sent = append(sent, &touchpoint.Event{
			Project: "history", MessageId: fmt.Sprintf("m%04d", i), Name: "x", UserId: fmt.Sprintf("u%d", i%17), OccurredAt: int64(1000 + i),
		})
	}
	got := r.do(http.MethodPost, "/v1/import/events", delimited(t, sent...), "Key", importKey)
	if got.status != 200 || got.body != `{"accepted":1000,"refused":[]}` {
		t.Fatalf("answer %d %s", got.status, got.body)
	}
	last := map[int32]string{}
	count := 0
	for _, rec := range r.records(topic.Touchpoints) {
		e := &touchpoint.Event{}
		if err := e.UnmarshalVT(rec.Value); err != nil {
			t.Fatal(err)
		}
		if want := event.Person(e); string(rec.Key) != want {
			t.Fatalf("key %q, want %q", rec.Key, want)
		}
		if want := keyhash.Partition("history", string(rec.Key), 3); rec.Partition != want {
			t.Fatalf("%s is in partition %d, want %d", e.MessageId, rec.Partition, want)
		}
		if e.MessageId <= last[rec.Partition] {
			t.Fatalf("%s comes behind %s", e.MessageId, last[rec.Partition])
		}
		last[rec.Partition] = e.MessageId
		if e.ReceivedAt != now.UnixMilli() {
			t.Fatalf("received_at %d, want the collector's clock", e.ReceivedAt)
		}
		count++
	}
	if count != 1000 {
		t.Fatalf("%d events in the log, want 1000", count)
	}
}

func TestImportRefusesEventsAlone(t *testing.T) {
	r := start(t, 2, anyProject)
	good := func(change func(e *touchpoint.Event)) *touchpoint.Event {
		e := &touchpoint.Event{Project: "p", MessageId: "m", UserId: "u", OccurredAt: 5, ReceivedAt: 9}
		change(e)
		return e
	}
	body := delimited(
		t,
		good(func(*touchpoint.Event) {}),
		good(func(e *touchpoint.Event) { e.Project = "" }),
		good(func(e *touchpoint.Event) { e.MessageId = "" }),
		good(func(e *touchpoint.Event) { e.UserId, e.AnonymousId = " NULL ", "guest" }),
		good(func(e *touchpoint.Event) { e.OccurredAt = -1 }),
		good(func(e *touchpoint.Event) { e.OccurredAt = 253402300800000 }),
		good(func(e *touchpoint.Event) { e.Properties = []byte(strings.Repeat(" ", 33<<10)) }),
		good(func(e *touchpoint.Event) { e.Properties = []byte(`{"a":1,"a":2}`) }),
		good(func(e *touchpoint.Event) {
			e.MessageId, e.UserId, e.AnonymousId = "clamped", "0", "a"
			e.OccurredAt = 10
		}),
	)
	got := r.do(http.MethodPost, "/v1/import/events", body, "Key", importKey)
	const want = `{"accepted":2,"refused":[{"index":1,"reason":"schema"},{"index":2,"reason":"schema"},{"index":3,"reason":"no_identity"},` +
		`{"index":4,"reason":"bad_timestamp"},{"index":5,"reason":"bad_timestamp"},{"index":6,"reason":"too_large"},{"index":7,"reason":"bad_json"}]}`
	if got.status != 200 || got.body != want {
		t.Fatalf("answer %d %s", got.status, got.body)
	}
	if n := len(r.letters()); n != 7 {
		t.Errorf("%d letters, want 7", n)
	}
	for _, e := range r.events() {
		if e.MessageId == "clamped" && (e.OccurredAt != 9 || len(e.Flags) != 1 || e.Flags[0] != "clamped" || e.UserId != "" || e.AnonymousId != "a") {
			t.Errorf("clamped event is %v", e)
		}
	}
}

func TestImportOfUnknownProject(t *testing.T) {
	r := start(t, 1)
	body := delimited(t, &touchpoint.Event{Project: "shop", MessageId: "1", UserId: "u"}, &touchpoint.Event{Project: "new", MessageId: "1", UserId: "u"})
	got := r.do(http.MethodPost, "/v1/import/events", body, "Key", importKey)
	if got.status != 403 || !strings.Contains(got.body, `\"new\"`) {
		t.Fatalf("answer %d %s", got.status, got.body)
	}
	if n := len(r.events()); n != 0 {
		t.Errorf("%d events were written of a request that was not taken", n)
	}
}

func TestImportRejectsAndEnd(t *testing.T) {
	r := start(t, 3, anyProject)
	got := r.do(http.MethodPost, "/v1/import/rejects", delimited(t, &deadletter.Letter{Project: "p", Reason: "bad_timestamp", Detail: "line 7", Body: []byte("x,y")}), "Key", importKey)
	if got.status != 200 || got.body != `{"accepted":1}` {
		t.Fatalf("rejects: %d %s", got.status, got.body)
	}
	if l := r.letters(); len(l) != 1 || l[0].Detail != "line 7" || l[0].ReceivedAt != now.UnixMilli() || string(l[0].Body) != "x,y" {
		t.Errorf("letters %v", l)
	}
	r.do(http.MethodPost, "/v1/import/events", delimited(t, &touchpoint.Event{Project: "p", MessageId: "1", UserId: "u"}), "Key", importKey)
	home := keyhash.Partition("p", "u:u", 3)
	got = r.do(http.MethodPost, "/v1/import/end", `{"projects":["p","q"]}`, "Key", importKey)
	want := []int{2, 2, 2}
	want[home] = 3
	if got.status != 200 || got.body != fmt.Sprintf(`{"offsets":{"0":%d,"1":%d,"2":%d}}`, want[0], want[1], want[2]) {
		t.Fatalf("end: %d %s, home %d", got.status, got.body, home)
	}
	seen := map[string]int{}
	for _, rec := range r.records(topic.Touchpoints) {
		if rec.Key == nil {
			c := &touchpoint.Control{}
			if err := c.UnmarshalVT(rec.Value); err != nil {
				t.Fatal(err)
			}
			seen[c.GetEnd().GetProject()]++
		}
	}
	if seen["p"] != 3 || seen["q"] != 3 {
		t.Errorf("end markers %v, want one of each project in each of 3 partitions", seen)
	}
}

func TestImportAnswersWhatItCannotRead(t *testing.T) {
	r := start(t, 1, anyProject)
	for _, c := range []struct {
		path, body, key string
		want            int
	}{
		{"/v1/import/events", "\x05abc", importKey, 400},
		{"/v1/import/events", "\x03\xff\xff\xff", importKey, 400},
		{"/v1/import/events", "", importKey, 200},
		{"/v1/import/events", "", webKey, 401},
		{"/v1/import/events", "", "", 401},
		{"/v1/import/rejects", "\x02zz", importKey, 400},
		{"/v1/import/rejects", delimited(t, &deadletter.Letter{Project: "p", Reason: "whim"}), importKey, 400},
		{"/v1/import/end", `{"projects":[]}`, importKey, 400},
		{"/v1/import/end", `{"project":"p"}`, importKey, 400},
		{"/v1/import/end", `nonsense`, importKey, 400},
		{"/v1/import/events", strings.Repeat("x", 9<<20), importKey, 413},
	} {
		if got := r.do(http.MethodPost, c.path, c.body, "Key", c.key); got.status != c.want {
			t.Errorf("POST %s %.20q: %d %s, want %d", c.path, c.body, got.status, got.body, c.want)
		}
	}
}

func TestImportTellsOffsetsAndVocabulary(t *testing.T) {
	r := start(t, 1, anyProject)
	body := delimited(t, &touchpoint.Event{Project: "p", MessageId: "1", UserId: "u"}, &touchpoint.Event{Project: "p", MessageId: "2", UserId: "u"})
	got := r.do(http.MethodPost, "/v1/import/events?offsets=1", body, "Key", importKey)
	if got.status != 200 || got.body != `{"accepted":2,"refused":[],"offsets":{"0":2}}` {
		t.Errorf("events: %d %s", got.status, got.body)
	}
	got = r.do(http.MethodGet, "/v1/import/vocabulary?project=p", "", "Key", importKey)
	if got.status != 200 || !strings.Contains(got.body, `"product_viewed":"view"`) || !strings.Contains(got.body, `"lateness":86400000`) {
		t.Errorf("vocabulary: %d %s", got.status, got.body)
	}
	if got := r.do(http.MethodGet, "/v1/import/vocabulary?project=p", "", "Key", webKey); got.status != 401 {
		t.Errorf("a web key is answered %d, want 401", got.status)
	}
}

// A request whose answer was lost is sent again with the offsets behind which it may be: what is there is not written twice.
func TestImportInDoubtWritesOnlyWhatIsMissing(t *testing.T) {
	r := start(t, 3, anyProject)
	before := r.do(http.MethodGet, "/v1/import/offsets", "", "Key", importKey)
	since := strings.TrimSuffix(strings.TrimPrefix(before.body, `{"offsets":`), "}")
	if before.status != 200 || since != `{"0":0,"1":0,"2":0}` {
		t.Fatalf("offsets: answer %d %s", before.status, before.body)
	}
	var sent []interface{ MarshalVT() ([]byte, error) }
	for i := range 30 {
		sent = append(sent, &touchpoint.Event{Project: "p", MessageId: fmt.Sprintf("m%02d", i), UserId: fmt.Sprintf("u%d", i%7), OccurredAt: int64(i + 1)})
	}
	if got := r.do(http.MethodPost, "/v1/import/events", delimited(t, sent[:20]...), "Key", importKey); got.status != 200 {
		t.Fatalf("answer %d %s", got.status, got.body)
	}
	path := "/v1/import/events?offsets=1&since=" + url.QueryEscape(since)
	for range 2 {
		got := r.do(http.MethodPost, path, delimited(t, sent...), "Key", importKey)
		if got.status != 200 || !strings.HasPrefix(got.body, `{"accepted":30,"refused":[],"offsets":{"0":`) {
			t.Fatalf("answer %d %s", got.status, got.body)
		}
	}
	if n := len(r.records(topic.Touchpoints)); n != 30 {
		t.Fatalf("%d events in the log, want each of 30 once", n)
	}
	if got := r.do(http.MethodPost, "/v1/import/events?since=no", "", "Key", importKey); got.status != 400 {
		t.Fatalf("answer %d %s", got.status, got.body)
	}
}
