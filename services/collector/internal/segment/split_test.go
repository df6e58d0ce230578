package segment

import (
	"errors"
	"strings"
	"testing"
)

func split(t *testing.T, body string) (Body, []string) {
	t.Helper()
	var p Splitter
	parts, err := p.Split([]byte(body), 100)
	if err != nil {
		t.Fatalf("split %s: %v", body, err)
	}
	var events []string
	for _, s := range parts.Events {
		events = append(events, body[s.From:s.To])
	}
	return parts, events
}

func TestSplitFindsTheEventsAndWhatTheyShare(t *testing.T) {
	parts, events := split(t, ` {"messageId":"b","sentAt":"2026", "batch" : [ {"a":"]}\"{"} , {} ,7,"x", [1],nul ] ,"context":{"x":[{}]},"writeKey":"k"} `)
	if got := strings.Join(events, "|"); got != `{"a":"]}\"{"}|{}|7|"x"|[1]|nul` {
		t.Errorf("events %s", got)
	}
	if parts.WriteKey != "k" || string(parts.SentAt) != `"2026"` || string(parts.Context) != `{"x":[{}]}` || !parts.HasBatch {
		t.Errorf("parts %+v", parts)
	}
	if parts, events := split(t, `{"batch":[]}`); !parts.HasBatch || len(events) != 0 {
		t.Errorf("empty batch: %v %v", parts, events)
	}
	if parts, _ := split(t, `{"batch":null,"writeKey":5}`); parts.HasBatch || parts.WriteKey != "" {
		t.Errorf("no batch: %v", parts)
	}
}

func TestSplitLeavesBrokenEventsToTheirReader(t *testing.T) {
	_, events := split(t, `{"batch":[{"good":1},{bad: 1,},{"also":tru},{"good":2}]}`)
	if len(events) != 4 || events[1] != `{bad: 1,}` {
		t.Errorf("events %q", events)
	}
}

func TestSplitRefusesWhatHasNoEnd(t *testing.T) {
	for _, body := range []string{
		``, ` `, `null`, `[]`, `"x"`, `{`, `{"batch`, `{"batch"`, `{"batch":`, `{"batch":[`, `{"batch":[{}`, `{"batch":[{}]`, `{"batch":[{]}`, `{"batch":[{"a":"x}]}`,
		`{"batch":[{}],}`, `{"batch":[{},]}`, `{"batch":[,{}]}`, `{"batch":[{} {}]}`, `{"batch":[{}]}}`, `{"batch":[{}]} {}`, `{"a" 1}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":}`,
		`{"batch":[{}],"batch":[{}]}`, `{"a":"\"}`,
	} {
		var p Splitter
		if parts, err := p.Split([]byte(body), 100); err == nil {
			t.Errorf("%s gives %+v", body, parts)
		}
	}
}

func TestSplitBoundsTheEvents(t *testing.T) {
	var p Splitter
	if _, err := p.Split([]byte(`{"batch":[1,2,3]}`), 3); err != nil {
		t.Error(err)
	}
	if _, err := p.Split([]byte(`{"batch":[1,2,3,4]}`), 3); !errors.Is(err, ErrTooMany) {
		t.Errorf("error %v", err)
	}
}

// Invariants: no panic; the events lie in the body, in order, one behind the other; a body that a strict parser takes splits
// into the elements of its batch.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{`{"batch":[{"a":1},{}],"sentAt":""}`, `{"batch":[{"a":"\\\""}]}`, `{"a":[[[]]],"batch":[1]}`, `{"batch":[{]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var p Splitter
		parts, err := p.Split(body, 1000)
		if err != nil {
			if ValidObject(body) && strings.Count(string(body), "batch") < 2 && strings.Count(string(body), ",") < 1000 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		last := 0
		for _, s := range parts.Events {
			if s.From < last || s.To <= s.From || s.To > len(body) {
				t.Fatalf("%q: event at %v behind %d", body, s, last)
			}
			last = s.To
			if ValidObject(body) {
				sc := scanner{b: body[s.From:s.To]}
				if _, err := sc.value(); err != nil || sc.end() != nil {
					t.Fatalf("%q: %q is no element", body, body[s.From:s.To])
				}
			}
		}
	})
}
