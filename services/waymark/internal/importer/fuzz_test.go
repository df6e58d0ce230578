package importer

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// A mapping file is taken or refused, and what is taken can be used on any row.
func FuzzMapping(f *testing.F) {
	f.Add(plainMapping)
	f.Add(plainMapping + "fields: {commerce.price: p, context.campaign.name: n, properties.x: y}\nnames: {a: b}\nwhere: {a: [b]}\n")
	f.Add("a: &x [*x]\n")
	f.Add("project: p\ntime: &a b\nname: *a\nuser_id: *a\ntime_format: '2006'\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMapping([]byte(text))
		if err != nil {
			return
		}
		p := newPlan(m, func(string) string { return "" })
		_ = readNDJSON(strings.NewReader(`{"a":"b","at":1}`), p, func(row) error { return nil })
	})
}

// Invariants of reading CSV: it ends; every line belongs to at most one row, in order; a row that is not refused has an id, a
// time in range and valid texts; lines that hold no quote and the right number of fields are never refused for their form.
func FuzzCSV(f *testing.F) {
	f.Add("at,who,what\n1,u,x\n")
	f.Add("at,who,what\r\n1,\"u\n\"\"\",x\r\n\"\n")
	f.Add("\xEF\xBB\xBFat,who,what\n\"1\"x,u\n2,\"u")
	f.Add("at,who,what,what\n1,u,x,y\n")
	m, err := ParseMapping([]byte(plainMapping))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		last := int64(0)
		_ = readCSV(strings.NewReader(text), newPlan(m, func(string) string { return "" }), func(r row) error {
			if r.line <= last || r.line > int64(strings.Count(text, "\n"))+1 {
				t.Fatalf("line %d comes behind %d", r.line, last)
			}
			last = r.line
			if r.refused == nil && !r.left && (event.Person(r.event) == "" || r.event.OccurredAt < 0 || r.event.OccurredAt > lastTime) {
				t.Fatalf("row %v is taken", r.event)
			}
			if r.refused != nil && r.refused.reason == event.Schema && !bytes.ContainsAny(r.raw, "\"") && bytes.Count(r.raw, []byte(",")) == 2 &&
				strings.HasPrefix(text, "at,who,what\n") && !strings.Contains(r.refused.detail, "UTF-8") {
				t.Fatalf("line %d (%q) is refused: %s", r.line, r.raw, r.refused.detail)
			}
			return nil
		})
	})
}

// Invariants of normalised events: a line is refused with a known reason, or what is read of it is written and read again as the
// same event.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"project":"p","message_id":"m1","occurred_at":5,"user_id":"u","commerce":{"price":250,"products":[{"product_id":1}]},"context":{"campaign":{"term":"t"},"bot":1}}`))
	f.Add([]byte(`{"project":"p","message_id":"m","occurred_at":5,"user_id":"u","context":{"campaign":3,"url":{}},"commerce":{"price":1.5,"products":[]},"flags":[""]}`))
	f.Add([]byte(`{"occurred_at":1e3}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e := &touchpoint.Event{}
		_, refused := DecodeEvent(line, e)
		if refused != nil {
			return
		}
		if _, err := e.MarshalVT(); err != nil {
			t.Fatal(err)
		}
		again := &touchpoint.Event{}
		written := AppendEvent(nil, e)
		if _, refused := DecodeEvent(written, again); refused != nil {
			t.Fatalf("%s is written as %s: %v", line, written, refused)
		}
		// The members of what has no field of its own may come in another order.
		for _, x := range []*touchpoint.Event{e, again} {
			x.Commerce, x.Context = nil, nil
		}
		if !proto.Equal(e, again) {
			t.Fatalf("%s\nfirst  %v\nsecond %v", line, e, again)
		}
	})
}
