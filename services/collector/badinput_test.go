package collector_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/services/collector"
)

// Bodies of which nothing can be taken: the status, and the reason in the dead-letter topic.
func TestBodiesThatCannotBeTaken(t *testing.T) {
	big := `{"batch":[` + strings.Repeat(track("m")+",", 10<<20/80) + track("m") + `]}`
	many := `{"batch":[` + strings.Repeat("{},", 5000) + `{}]}`
	for _, c := range []struct {
		what, path, body string
		status           int
		reason           string
	}{
		{"empty", "/v1/batch", "", 400, event.BadJSON},
		{"no JSON", "/v1/batch", "hello", 400, event.BadJSON},
		{"list", "/v1/batch", "[]", 400, event.BadJSON},
		{"cut off", "/v1/batch", `{"batch":[` + track("m") + `,{"type":"tr`, 400, event.BadJSON},
		{"no batch", "/v1/batch", `{"writeKey":"x"}`, 400, event.Schema},
		{"batch is no list", "/v1/batch", `{"batch":{}}`, 400, event.Schema},
		{"context of the batch is broken", "/v1/batch", `{"batch":[],"context":{x}}`, 400, event.BadJSON},
		{"truncated gzip", "/v1/batch", zipped(t, `{"batch":[`+track("m")+`]}`)[:40], 400, event.BadJSON},
		{"gzip of which only the magic came", "/v1/batch", "\x1f\x8b", 400, event.BadJSON},
		{"damaged gzip", "/v1/batch", strings.Replace(zipped(t, `{"batch":[`+track("m")+`]}`), "\xff", "\x00", 1)[:30] + "xxxxxxxxxxxxxxxxxxx", 400, event.BadJSON},
		{"10 MB", "/v1/batch", big, 413, event.TooLarge},
		{"10 MB zipped", "/v1/batch", zipped(t, big), 413, event.TooLarge},
		{"500 KiB and a byte", "/v1/batch", `{"batch":[]}` + strings.Repeat(" ", 500<<10-12+1), 413, event.TooLarge},
		{"too many events", "/v1/batch", many, 413, event.TooLarge},
		{"context for all", "/v1/batch", `{"batch":[` + strings.Repeat("{},", 999) + `{}],"context":{"x":"` + strings.Repeat("x", 20<<10) + `"}}`, 413, event.TooLarge},
		{"context over 32 KiB", "/v1/batch", `{"batch":[{}],"context":{"x":"` + strings.Repeat("x", 32<<10) + `"}}`, 413, event.TooLarge},
		{"broken event", "/v1/track", `{"userId":"u","event":}`, 400, event.BadJSON},
		{"cut off event", "/v1/track", `{"userId":"u","event":"e"`, 400, event.BadJSON},
		{"event is a list", "/v1/track", `[1]`, 400, event.BadJSON},
		{"10 MB event", "/v1/track", `{"userId":"u","event":"e","properties":{"x":"` + strings.Repeat("x", 10<<20) + `"}}`, 413, event.TooLarge},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			r := start(t, 1)
			got := r.post(c.path, c.body, c.status)
			if !strings.HasPrefix(got.body, `{"success":false,"error":"`) {
				t.Errorf("answer %s", got.body)
			}
			letters := r.letters()
			if len(letters) != 1 || letters[0].Reason != c.reason || letters[0].Project != "shop" || len(letters[0].Body) > event.MaxBytes {
				t.Errorf("letters %.500v", letters)
			}
			if n := len(r.events()); n != 0 {
				t.Errorf("%d events", n)
			}
			r.post("/v1/batch", `{"batch":[`+track("after")+`]}`, 200) // the next one is served
		})
	}
}

// Events that are refused alone, in a batch and as a body of their own, while their neighbours are kept.
func TestBadEventsAmongGoodOnes(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	for _, c := range []struct{ what, bad, reason string }{
		{"broken JSON", `{"type":"track","event":,"userId":"u"}`, event.BadJSON},
		{"bare words", `{type:track}`, event.BadJSON},
		{"no object", `"track"`, event.Schema},
		{"1000 levels", `{"type":"track","event":"e","userId":"u","properties":` + deep + `}`, event.Schema},
		{"1000 lists", `{"type":"track","event":"e","userId":"u","properties":{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}}`, event.Schema},
		{"no identity", `{"type":"track","event":"e"}`, event.NoIdentity},
		{"placeholders", `{"type":"track","event":"e","userId":"undefined","anonymousId":"00000000000000000000000000000000"}`, event.NoIdentity},
		{"year 1900", `{"type":"track","event":"e","userId":"u","timestamp":"1900-01-01T00:00:00Z"}`, event.BadTimestamp},
		{"unreadable time", `{"type":"track","event":"e","userId":"u","timestamp":"next week"}`, event.BadTimestamp},
		{"year 10000", `{"type":"track","event":"e","userId":"u","timestamp":"+010000-01-01T00:00:00.000Z"}`, event.BadTimestamp},
		{"invalid UTF-8", "{\"type\":\"track\",\"event\":\"\xff\xfe\",\"userId\":\"u\"}", event.BadJSON},
		{"invalid UTF-8 in properties", "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"properties\":{\"\xc0\x80\":1}}", event.BadJSON},
		{"NUL byte", "{\"type\":\"track\",\"event\":\"a\x00b\",\"userId\":\"u\"}", event.BadJSON},
		{"duplicated key", `{"type":"track","event":"e","userId":"u","userId":"v"}`, event.BadJSON},
		{"duplicated property", `{"type":"track","event":"e","userId":"u","properties":{"a":{"b":1,"b":2}}}`, event.BadJSON},
		{"over 32 KiB", `{"type":"track","event":"e","userId":"u","properties":{"x":"` + strings.Repeat("x", 32<<10) + `"}}`, event.TooLarge},
		{"unknown type", `{"type":"delete","userId":"u"}`, event.UnknownType},
		{"no event", `{"type":"track","userId":"u"}`, event.MissingEvent},
		{"properties are a text", `{"type":"track","event":"e","userId":"u","properties":"p"}`, event.Schema},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			r := start(t, 1)
			r.post("/v1/batch", `{"batch":[`+track("1")+`,`+c.bad+`,`+track("2")+`]}`, 200)
			if got := r.ids(); got != "1 2" {
				t.Errorf("events %s, want 1 2", got)
			}
			letters := r.letters()
			if len(letters) != 1 || letters[0].Reason != c.reason {
				t.Fatalf("letters %.500v, want one of %s", letters, c.reason)
			}
			if want := c.bad[:min(len(c.bad), 32<<10)]; string(letters[0].Body) != want {
				t.Errorf("the letter has not the event's bytes: %.200q", letters[0].Body)
			}
		})
	}
}

// What is odd but can be kept.
func TestOddEventsThatAreKept(t *testing.T) {
	r := start(t, 1)
	for i, odd := range []string{
		`"properties":{"n":1e400,"m":123456789012345678901234567890,"price":1e308}`,
		`"properties":{"x":"\u0000"},"userId":"a\u0000b"`,
		`"timestamp":"9999-12-31T23:59:59Z"`,
		`"properties":null,"context":null,"integrations":{"All":false},"unknown":[[[]]]`,
		`"userId":"` + strings.Repeat("é", 5000) + `"`,
		`"event":"😀\t"`,
	} {
		fields := map[bool]string{true: "", false: `"userId":"u",`}[strings.Contains(odd, `"userId"`)]
		fields += map[bool]string{true: "", false: `"event":"e",`}[strings.Contains(odd, `"event"`)]
		r.post("/v1/track", fmt.Sprintf(`{%s"messageId":"%d",%s}`, fields, i, odd), 200)
	}
	r.post("/v1/batch", `{"batch":[]}`, 200)
	events := r.events()
	if len(events) != 6 || r.reasons() != "" {
		t.Fatalf("%d events, refused %s", len(events), r.reasons())
	}
	if e := events[0]; string(e.Properties) != `{"n":1e400,"m":123456789012345678901234567890,"price":1e308}` || e.Price != nil {
		t.Errorf("huge numbers: %v", e)
	}
	if e := events[1]; e.UserId != "a\x00b" {
		t.Errorf("escaped NUL: %v", e)
	}
	if e := events[2]; e.OccurredAt != now.UnixMilli() || len(e.Flags) != 1 || e.Flags[0] != event.Clamped {
		t.Errorf("year 9999: %v", e)
	}
}

// With a wrong key nothing is kept, whatever the body.
func TestWrongKeyLeavesNothing(t *testing.T) {
	r := start(t, 1)
	for _, body := range []string{`{"batch":[` + track("m") + `]}`, "broken", strings.Repeat("x", 10<<20), zipped(t, "x")[:12]} {
		if got := r.do(http.MethodPost, "/v1/batch", body, "Key", "wrong"); got.status != 401 {
			t.Errorf("%.20q: %d %s", body, got.status, got.body)
		}
	}
	if r.ids() != "" || r.reasons() != "" {
		t.Errorf("events %s, refused %s", r.ids(), r.reasons())
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	c := collector.DefaultConfig()
	c.Listen = "nowhere"
	c.MaxBatchBytes = 5
	c.RatePerKey = -1
	c.ImportKey = "same"
	c.Sources = []collector.Source{{Project: "p", Name: "a", WriteKey: "k"}, {Project: "p", Name: "b", WriteKey: "k"}, {Project: "p", Name: "c"}, {Project: "p", Name: "d", WriteKey: "same"}}
	c.Staff = map[string]collector.Staff{"p": {Networks: []string{"10.0.0.0/99"}}}
	err := c.Validate()
	if err == nil {
		t.Fatal("taken")
	}
	for _, part := range []string{
		`collector.listen: "nowhere"`, "collector.max_batch_bytes: 5", "collector.rate_per_key: -1", "projects.p.sources.b.write_key: source a of project p",
		"projects.p.sources.c.write_key: is empty", "projects.p.sources.d.write_key: is the import key", `"10.0.0.0/99"`,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\ndoes not say %s", err, part)
		}
	}
}
