package collector_test

import (
	"strings"
	"testing"
)

func TestBatchIsInTheLogWhenAnswered(t *testing.T) {
	r := start(t, 3)
	got := r.post("/v1/batch", `{"batch":[
		{"type":"track","event":"Product Added","userId":"u1","messageId":"m1","timestamp":"2026-11-24T11:59:00.000Z",
		 "properties":{"product_id":"p1","price":19.99,"quantity":2,"currency":"EUR","colour":"red"}},
		{"type":"page","anonymousId":"a1","messageId":"m2","properties":{"url":"https://shop.example/a/b?utm_source=mail&utm_campaign=may+sale","title":"B"}},
		{"type":"nonsense","userId":"u1","messageId":"m3"}
	],"sentAt":"2026-11-24T12:00:00.000Z"}`, 200)
	if got.body != `{"success":true}` {
		t.Errorf("answer %s", got.body)
	}
	events := r.events()
	if len(events) != 2 {
		t.Fatalf("events: %v", events)
	}
	for _, e := range events {
		t.Log(e)
	}
	letters := r.letters()
	if len(letters) != 1 || letters[0].Reason != "unknown_type" || letters[0].MessageId != "m3" || !strings.Contains(string(letters[0].Body), "nonsense") {
		t.Errorf("letters: %v", letters)
	}
}
