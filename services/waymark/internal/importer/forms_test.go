package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/proto"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

type parquetRecord struct {
	At     time.Time `parquet:"at,timestamp(microsecond)"`
	Who    int64     `parquet:"who"`
	What   string    `parquet:"what"`
	Price  float64   `parquet:"price,optional"`
	Cents  int64     `parquet:"cents,decimal(2:18)"`
	Flag   bool      `parquet:"flag"`
	Tags   []string  `parquet:"tags,list"`
	Nested struct {
		Deep string `parquet:"deep"`
	} `parquet:"nested"`
}

func TestParquetRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.parquet")
	records := []parquetRecord{
		{At: time.UnixMilli(1700000000123), Who: 9007199254740993, What: "pv", Price: 19.99, Cents: 1250, Flag: true, Tags: []string{"a", "b"}},
		{At: time.UnixMilli(-5), Who: 1, What: "pv"},
	}
	records[0].Nested.Deep = "d"
	if err := parquet.WriteFile(path, records); err != nil {
		t.Fatal(err)
	}
	c := newCollector(t)
	j := newJob(t, "project: p\ntime: at\nuser_id: who\nname: what\nnames: {pv: Product Viewed}\nfields: {commerce.price: price, commerce.revenue: cents, context.title: nested.deep}\n", path)
	sum := j.must(t, c)
	if sum.Accepted != 1 || sum.Reasons[event.BadTimestamp] != 1 || j.bad[0].Line != 2 {
		t.Fatalf("summary %+v, bad %v", sum, j.bad)
	}
	e := c.mu.events[0]
	if e.OccurredAt != 1700000000123 || e.UserId != "9007199254740993" || e.Step != "view" || *e.Price != 1999 || *e.Revenue != 1250 ||
		e.Title != "d" || string(e.Properties) != `{"flag":true,"tags":["a","b"]}` {
		t.Errorf("event %v", e)
	}
}

func TestDamagedParquetIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.parquet")
	if err := parquet.WriteFile(path, make([]parquetRecord, 100)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 7 {
		whole[i] ^= 0x55
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCollector(t)
	j := newJob(t, "project: p\ntime: at\nuser_id: who\nname: what\n", path)
	if _, err := j.run(t, c); err == nil || !strings.Contains(err.Error(), "a.parquet") || len(c.mu.events) != 0 {
		t.Errorf("error %v, %d events", err, len(c.mu.events))
	}
}

func TestNormalisedEventsAreReadAsGiven(t *testing.T) {
	c := newCollector(t)
	j := newJob(t, "", write(t, "e.ndjson",
		`{"project":"p","message_id":"m1","occurred_at":5,"received_at":9,"name":"Product Viewed","user_id":"u","arrival":3,"commerce":{"price":250,"quantity":"2","product_id":7,"gift":true,"products":[{"product_id":"a","price":1.5,"quantity":2}]},"context":{"path":"/x","campaign":{"name":"n","term":"t"},"bot":true,"zoo":1},"properties":{"a":1.50},"flags":["x"]}`+"\n"+
			`{"project":"q","message_id":"m2","occurred_at":20,"received_at":10,"name":"Product Viewed","step":"","anonymous_id":" NULL ","user_id":"u"}`+"\n"+
			`{"project":"p","message_id":"m3","occurred_at":"5","user_id":"u"}`+"\n"+
			`{"project":"p","message_id":"m4","occurred_at":5.5,"user_id":"u"}`+"\n"+
			`{"project":"p","message_id":"m5","occurred_at":5,"user_id":17}`+"\n"+
			`{"project":"p","message_id":"m6","occurred_at":5}`+"\n"+
			`{"project":"p","occurred_at":5,"user_id":"u"}`+"\n"+
			`{"message_id":"m8","occurred_at":5,"user_id":"u"}`+"\n"+
			`{"project":"p","message_id":"m9","occurred_at":5,"user_id":"u","commerce":[]}`+"\n"+
			`{"project":"p","message_id":"m10","occurred_at":5,"user_id":"u",`+"\n"))
	sum := j.must(t, c)
	want := map[string]int64{event.BadTimestamp: 2, event.Schema: 4, event.NoIdentity: 1, event.BadJSON: 1}
	for reason, n := range want {
		if sum.Reasons[reason] != n {
			t.Errorf("%d rows refused as %s, want %d", sum.Reasons[reason], reason, n)
		}
	}
	if len(c.mu.events) != 2 || len(c.mu.ends) != 1 || len(c.mu.ends[0]) != 2 {
		t.Fatalf("%d events, ends %v", len(c.mu.events), c.mu.ends)
	}
	price, two := int64(250), int64(2)
	first := &touchpoint.Event{
		Project: "p", MessageId: "m1", OccurredAt: 5, ReceivedAt: 9, Name: "Product Viewed", Step: "view", UserId: "u", Price: &price,
		ProductId: "7", Products: []*touchpoint.Product{{ProductId: "a", Quantity: &two}}, Path: "/x", Campaign: "n", Bot: true,
		Flags: []string{"x"}, Properties: []byte(`{"a":1.50}`), Context: []byte(`{"campaign":{"term":"t"},"zoo":1}`),
		Commerce: []byte(`{"quantity":"2","gift":true,"products":[{"product_id":"a","price":1.5,"quantity":2}]}`),
	}
	for _, e := range c.mu.events {
		if e.MessageId == "m1" && !proto.Equal(e, &touchpoint.Event{}) {
			e.Context = []byte(strings.Replace(string(e.Context), `{"campaign":{"term":"t"},"zoo":1}`, string(first.Context), 1))
			if !proto.Equal(e, first) {
				t.Errorf("got  %v\nwant %v", e, first)
			}
		}
		if e.MessageId == "m2" && (e.Step != "" || e.AnonymousId != "" || e.OccurredAt != 10 || len(e.Flags) != 1 || e.Flags[0] != event.Clamped) {
			t.Errorf("m2 is %v", e)
		}
	}
}

func TestEventFormIsReadBackAsWritten(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	for _, e := range []*touchpoint.Event{
		{Project: "p", MessageId: "m", OccurredAt: 1, AnonymousId: "a"},
		{
			Project: "p\n", Source: "web", MessageId: "m\"", Name: "n", Step: "view", Channel: "web", AnonymousId: "a", UserId: "u",
			OccurredAt: 1, ReceivedAt: 2, Flags: []string{"clamped"}, Url: "u", Path: "p", Title: "t", Referrer: "r", Campaign: "c",
			CampaignSource: "s", CampaignMedium: "m", Device: "d", Os: "o", Browser: "b", Country: "DE", AppVersion: "1", LoadTime: n(0), Bot: true,
			ProductId: "x", CartId: "c", OrderId: "o", Currency: "EUR", Coupon: "k", Price: n(0), Quantity: n(-1), Revenue: n(1 << 60),
			Products:   []*touchpoint.Product{{ProductId: "a"}, {Price: n(1), Quantity: n(2), Currency: "USD"}},
			Properties: []byte(`{"a":{"b":[1]}}`), Commerce: []byte(`{"tax":"1.5"}`), Context: []byte(`{"campaign":{"term":"t"},"ip":"::1"}`),
		},
	} {
		line := AppendEvent(nil, e)
		got := &touchpoint.Event{}
		given, refused := DecodeEvent(line, got)
		if refused != nil || !given {
			t.Fatalf("%s: refused %v, step given %v", line, refused, given)
		}
		if !proto.Equal(got, e) {
			t.Errorf("%s\ngot  %v\nwant %v", line, got, e)
		}
	}
}
