package segment

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

var received = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixMilli()

var def = sync.OnceValue(rules.Default)

func request() Request {
	return Request{
		Project: "shop", Source: "site", Channel: "web", WriteKey: "k", Step: def().Step, ReceivedAt: received,
		Agent: func(ua string) Agent {
			return Agent{Device: "phone of " + ua, OS: "os", Browser: "browser", Bot: ua == "robot"}
		},
		Staff: func(ua, ip string) bool { return ip == "192.0.2.1" },
	}
}

// read makes an event of a message, or tells why not.
func read(t *testing.T, kind Kind, message string, change ...func(r *Request)) (*touchpoint.Event, *Fault) {
	t.Helper()
	req := request()
	for _, f := range change {
		f(&req)
	}
	var p Parser
	if err := p.Begin(req); err != nil {
		t.Fatalf("context %s: %v", req.Context, err)
	}
	e, fault := p.Event([]byte(message), kind)
	if fault != nil {
		return nil, fault
	}
	return clone(t, e), nil
}

// clone is a copy that the parser does not write into.
func clone(t *testing.T, e *touchpoint.Event) *touchpoint.Event {
	t.Helper()
	out := &touchpoint.Event{}
	if err := out.UnmarshalVT([]byte(encoded(t, e))); err != nil {
		t.Fatalf("decode: %v", err)
	}
	return out
}

func encoded(t *testing.T, e *touchpoint.Event) string {
	t.Helper()
	b, err := e.MarshalVT()
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return string(b)
}

// must is read for what is no fault.
func must(t *testing.T, kind Kind, message string, change ...func(r *Request)) *touchpoint.Event {
	t.Helper()
	e, fault := read(t, kind, message, change...)
	if fault != nil {
		t.Fatalf("%s: %v", message, fault)
	}
	return e
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s is %q, want %q", what, g, w)
	}
}

func ptr(n *int64) string {
	if n == nil {
		return "none"
	}
	return fmt.Sprint(*n)
}

func TestNamesAndStepsByKind(t *testing.T) {
	for _, c := range []struct{ message, name, step string }{
		{`{"type":"track","event":"Order Completed","userId":"u"}`, "Order Completed", "purchase"},
		{`{"type":"track","event":"ADD-to__cart","userId":"u"}`, "ADD-to__cart", "cart_add"},
		{`{"type":"track","event":"Something","userId":"u"}`, "Something", ""},
		{`{"type":"page","userId":"u"}`, "Page Viewed", ""},
		{`{"type":"screen","userId":"u"}`, "Screen Viewed", ""},
		{`{"type":"identify","userId":"u"}`, "Identified", ""},
		{`{"type":"group","userId":"u","groupId":"g"}`, "Grouped", ""},
		{`{"type":"alias","userId":"u","previousId":"a"}`, "Aliased", ""},
	} {
		e := must(t, Any, c.message)
		same(t, c.message, e.Name+"/"+e.Step, c.name+"/"+c.step)
	}
}

func TestReasonsForRefusal(t *testing.T) {
	long := `{"userId":"u","event":"e","properties":{"x":"` + strings.Repeat("x", event.MaxBytes) + `"}}`
	for _, c := range []struct{ message, reason string }{
		{`{"userId":"u"}`, event.MissingEvent},
		{`{"userId":"u","event":null}`, event.MissingEvent},
		{`{"userId":"u","event":""}`, event.MissingEvent},
		{`{"userId":"u","event":7}`, event.Schema},
		{`{"userId":"u","event":{}}`, event.Schema},
		{`{"userId":["u"],"event":"e"}`, event.Schema},
		{`{"event":"e"}`, event.NoIdentity},
		{`{"event":"e","userId":null,"anonymousId":" Guest\n"}`, event.NoIdentity},
		{`{"event":"e","userId":0,"anonymousId":false}`, event.NoIdentity},
		{`{"event":"e","userId":"00000000-0000-0000-0000-000000000000"}`, event.NoIdentity},
		{`{"event":"e","userId":"u","timestamp":"soon"}`, event.BadTimestamp},
		{`{"event":"e","userId":"u","timestamp":true}`, event.BadTimestamp},
		{`{"event":"e","userId":"u","timestamp":"1900-01-01T00:00:00Z"}`, event.BadTimestamp},
		{`{"event":"e","userId":"u","timestamp":"1969-12-31T23:59:59.999Z"}`, event.BadTimestamp},
		{`{"event":"e","userId":"u","timestamp":"10000-01-01T00:00:00Z"}`, event.BadTimestamp},
		{`{"event":"e","userId":"u","timestamp":"2026-11-24T12:00:00Z","sentAt":"9999-01-01T00:00:00Z"}`, event.BadTimestamp},
		{`{"event":"e","userId":"u","properties":"x"}`, event.Schema},
		{`{"event":"e","userId":"u","context":[1]}`, event.Schema},
		{`{"event":"e","userId":"u","traits":7}`, event.Schema},
		{`[]`, event.Schema},
		{`7`, event.Schema},
		{`{"event":"e","userId":"u",}`, event.BadJSON},
		{`{"event":"e","userId":"u","userId":"v"}`, event.BadJSON},
		{`{"event":"e","userId":"u","properties":{"a":1,"a":2}}`, event.BadJSON},
		{`{"event":"e","userId":"u","context":{"page":{"url":"","url":""}}}`, event.BadJSON},
		{"{\"event\":\"e\",\"userId\":\"\xff\"}", event.BadJSON},
		{"{\"event\":\"e\x00\",\"userId\":\"u\"}", event.BadJSON},
		{`{"event":"e","userId":"u","properties":{"x":"\ud800"}}`, event.BadJSON},
		{`{"event":"e","userId":"u","properties":` + strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat("}", 1000) + `}`, event.Schema},
		{long, event.TooLarge},
		{strings.TrimSuffix(long, "}"), event.TooLarge},
	} {
		e, fault := read(t, Track, c.message)
		if fault == nil || fault.Reason != c.reason {
			t.Errorf("%.200s: %v, %v; want %s", c.message, e, fault, c.reason)
		}
	}
	for _, message := range []string{`{"userId":"u"}`, `{"type":"Track","userId":"u"}`, `{"type":"delete","userId":"u"}`, `{"type":null,"userId":"u"}`, `{"type":7,"userId":"u"}`} {
		if _, fault := read(t, Any, message); fault == nil || fault.Reason != event.UnknownType {
			t.Errorf("%s: %v; want %s", message, fault, event.UnknownType)
		}
	}
}

func TestLargestEventIsTaken(t *testing.T) {
	const frame = `{"userId":"u","event":"e","properties":{"x":""}}`
	message := strings.Replace(frame, `""`, `"`+strings.Repeat("x", event.MaxBytes-len(frame))+`"`, 1)
	if len(message) != event.MaxBytes {
		t.Fatalf("message has %d bytes", len(message))
	}
	must(t, Track, message)
	if _, fault := read(t, Track, message+" "); fault == nil || fault.Reason != event.TooLarge {
		t.Errorf("one byte more: %v", fault)
	}
}

func TestIdentities(t *testing.T) {
	for _, c := range []struct {
		kind              Kind
		message           string
		user, anonymousID string
	}{
		{Track, `{"event":"e","userId":" u ","anonymousId":"a"}`, " u ", "a"},
		{Track, `{"event":"e","userId":12345,"anonymousId":null}`, "12345", ""},
		{Track, `{"event":"e","userId":"NaN","anonymousId":"\u00e4\n"}`, "", "ä\n"},
		{Track, `{"event":"e","userId":"a\u0000b"}`, "a\x00b", ""},
		{Alias, `{"userId":"u","previousId":"p"}`, "u", "p"},
		{Alias, `{"userId":"u","previousId":"p","anonymousId":"a"}`, "u", "p"},
		{Alias, `{"userId":"u","previousId":"guest","anonymousId":"a"}`, "u", "a"},
		{Track, `{"event":"e","userId":"u","previousId":"p"}`, "u", ""},
	} {
		e := must(t, c.kind, c.message)
		same(t, c.message, e.UserId+"/"+e.AnonymousId, c.user+"/"+c.anonymousID)
	}
}

func TestMessageIDs(t *testing.T) {
	same(t, "sent id", must(t, Track, `{"event":"e","userId":"u","messageId":"m"}`).MessageId, "m")
	const without = `{"event":"e","userId":"u"}`
	first := must(t, Track, without).MessageId
	same(t, "made id", first, event.HashOf("k", without))
	same(t, "id of a resend", must(t, Track, without).MessageId, first)
	if other := must(t, Track, without, func(r *Request) { r.WriteKey = "other" }).MessageId; other == first {
		t.Error("another key gives the same id")
	}
	for _, empty := range []string{`""`, `null`} {
		message := `{"event":"e","userId":"u","messageId":` + empty + `}`
		same(t, "id made for "+empty, must(t, Track, message).MessageId, event.HashOf("k", message))
	}
}

func TestTimesAndSkew(t *testing.T) {
	const sec = 1000
	sentAt := func(text string) func(*Request) { return func(r *Request) { r.SentAt = []byte(text) } }
	none := func(*Request) {}
	for _, c := range []struct {
		what, fields string
		body         func(*Request)
		want         int64 // behind the receipt, ms
		clamped      bool
	}{
		{"no time", ``, none, 0, false},
		{"null", `"timestamp":null`, none, 0, false},
		{"empty", `"timestamp":""`, none, 0, false},
		{"timestamp", `"timestamp":"2026-11-24T11:59:50Z"`, none, -10 * sec, false},
		{"original", `"originalTimestamp":"2026-11-24T11:59:50Z"`, none, -10 * sec, false},
		{"timestamp before original", `"originalTimestamp":"2026-11-24T11:00:00Z","timestamp":"2026-11-24T11:59:50Z"`, none, -10 * sec, false},
		{"original where timestamp is null", `"originalTimestamp":"2026-11-24T11:59:50Z","timestamp":null`, none, -10 * sec, false},
		{"skew of exactly 1 s", `"timestamp":"2026-11-24T11:59:50Z"`, sentAt(`"2026-11-24T11:59:59Z"`), -10 * sec, false},
		{"skew over 1 s", `"timestamp":"2026-11-24T11:59:50Z"`, sentAt(`"2026-11-24T11:59:58.999Z"`), -10*sec + 1001, false},
		{"skew below -1 s", `"timestamp":"2026-11-24T12:59:50Z"`, sentAt(`"2026-11-24T13:00:00Z"`), -10 * sec, false},
		{"skew of exactly -1 s", `"timestamp":"2026-11-24T11:59:50Z"`, sentAt(`"2026-11-24T12:00:01Z"`), -10 * sec, false},
		{"own sentAt before the body's", `"timestamp":"2026-11-24T10:59:50Z","sentAt":"2026-11-24T11:00:00Z"`, sentAt(`"2026-11-24T11:30:00Z"`), -10 * sec, false},
		{"unreadable sentAt", `"timestamp":"2026-11-24T11:59:50Z"`, sentAt(`"now"`), -10 * sec, false},
		{"sentAt before 1970", `"timestamp":"2026-11-24T11:59:50Z"`, sentAt(`"1900-01-01T00:00:00Z"`), -10 * sec, false},
		{"clock at 1970", `"timestamp":"1970-01-01T00:00:10Z"`, sentAt(`"1970-01-01T00:00:20Z"`), -10 * sec, false},
		{"future", `"timestamp":"2026-11-24T12:00:00.001Z"`, none, 0, true},
		{"year 9999", `"timestamp":"9999-12-31T23:59:59Z"`, none, 0, true},
		{"sentAt alone", `"sentAt":"2026-11-24T10:00:00Z"`, none, 0, false},
		{"seconds", `"timestamp":1795521590`, none, -10 * sec, false},
		{"milliseconds", `"timestamp":1795521590000`, none, -10 * sec, false},
	} {
		message := `{"event":"e","userId":"u"`
		if c.fields != "" {
			message += "," + c.fields
		}
		e := must(t, Track, message+"}", c.body)
		same(t, c.what, e.OccurredAt-received, c.want)
		same(t, c.what+": flags", e.Flags, map[bool]string{true: "[clamped]", false: "[]"}[c.clamped])
		same(t, c.what+": received_at", e.ReceivedAt, received)
	}
}

func TestCommerceFields(t *testing.T) {
	e := must(t, Track, `{"event":"Order Completed","userId":"u","properties":{"order_id":7001,"cart_id":"c","currency":"eur","revenue":"59.90","coupon":"MAY",
		"products":[{"product_id":"p1","price":19.99,"quantity":"2"},{"product_id":"p2","price":1999,"currency":"JPY","quantity":1}],"tax":9.56,"gift":true}}`)
	same(t, "order", e.OrderId+" "+e.CartId+" "+e.Currency+" "+e.Coupon, "7001 c EUR MAY")
	same(t, "revenue", ptr(e.Revenue), 5990)
	same(t, "lines", fmt.Sprint(len(e.Products), " ", e.Products[0].ProductId, " ", ptr(e.Products[0].Price), " ", ptr(e.Products[0].Quantity), " ", e.Products[1].Currency, " ", ptr(e.Products[1].Price)),
		"2 p1 1999 2 JPY 1999")
	same(t, "rest", string(e.Properties), `{"tax":9.56,"gift":true}`)

	e = must(t, Track, `{"event":"Product Viewed","userId":"u","properties":{"product_id":"p","sku":"s","price":"free","quantity":1.5,"currency":"CHF"}}`)
	same(t, "amounts that are none", ptr(e.Price)+ptr(e.Quantity), "nonenone")
	same(t, "are kept as sent", string(e.Properties), `{"sku":"s","price":"free","quantity":1.5}`)

	e = must(t, Track, `{"event":"purchase","userId":"u","properties":{"transaction_id":"t","value":25.5,"currency":"USD","items":[{"item_id":"i","item_name":"Cap","price":25.5,"quantity":1}]}}`)
	same(t, "GA4 order", e.OrderId+" "+ptr(e.Revenue)+" "+e.Products[0].ProductId, "t 2550 i")
	same(t, "lines that tell more are kept", string(e.Properties), `{"items":[{"item_id":"i","item_name":"Cap","price":25.5,"quantity":1}]}`)

	e = must(t, Track, `{"event":"add_to_cart","userId":"u","properties":{"value":25.5,"price":1e400,"quantity":99999999999999999999999,"product_id":{"x":1}}}`)
	same(t, "what is no amount", ptr(e.Revenue)+ptr(e.Price)+ptr(e.Quantity)+e.ProductId, "nonenonenone")
	same(t, "is kept as sent", string(e.Properties), `{"value":25.5,"price":1e400,"quantity":99999999999999999999999,"product_id":{"x":1}}`)

	e = must(t, Identify, `{"userId":"u","traits":{"price":5,"email":"x"}}`)
	same(t, "traits", string(e.Properties)+ptr(e.Price), `{"price":5,"email":"x"}none`)
}

func TestContextFields(t *testing.T) {
	e := must(t, Page, `{"anonymousId":"a","name":"Home","category":"Top","properties":{"path":"/virtual","search":"?q"},"context":{
		"page":{"url":"https://x.example/real?utm_source=s&utm_medium=m&utm_campaign=spring%20sale","path":"/real","title":"T","referrer":"https://r.example/","search":"?q"},
		"device":{"type":"iOS","model":"X"},"os":{"name":"iOS","version":"19"},"location":{"country":"DE","city":"Ulm"},"app":{"name":"A","version":"1.2"},
		"userAgent":"ua","library":{"name":"l"},"traits":{"plan":"p"},"timezone":"Europe/Berlin"}}`)
	same(t, "page", strings.Join([]string{e.Url[:24], e.Path, e.Title, e.Referrer}, " "), "https://x.example/real?u /virtual T https://r.example/")
	same(t, "campaign", e.Campaign+"|"+e.CampaignSource+"|"+e.CampaignMedium, "spring sale|s|m")
	same(t, "device", strings.Join([]string{e.Device, e.Os, e.Browser, e.Country, e.AppVersion}, " "), "mobile iOS browser DE 1.2")
	same(t, "properties", string(e.Properties), `{"search":"?q","name":"Home","category":"Top"}`)
	same(t, "context", string(e.Context), `{"page":{"search":"?q"},"device":{"model":"X"},"os":{"version":"19"},"location":{"city":"Ulm"},"app":{"name":"A"},`+
		`"userAgent":"ua","library":{"name":"l"},"timezone":"Europe/Berlin","traits":{"plan":"p"}}`)

	e = must(t, Track, `{"event":"e","anonymousId":"a","properties":{"url":"https://x.example","load_time":812.6},"context":{"campaign":{"name":"n","term":"t"},"device":"Tablet","bot":true}}`)
	same(t, "page by properties", e.Url+" "+e.Path, "https://x.example /")
	same(t, "load time", ptr(e.LoadTime), 813)
	same(t, "campaign, device, bot", fmt.Sprint(e.Campaign, e.Device, e.Bot), "ntablettrue")
	same(t, "properties keep their page", string(e.Properties), `{"url":"https://x.example"}`)

	same(t, "no context", string(must(t, Track, `{"event":"e","userId":"u","context":{"page":{"url":"x"}}}`).Context), "")
	same(t, "PHP's empty maps", string(must(t, Track, `{"event":"e","userId":"u","context":[],"properties":[ ],"traits":null}`).Properties), "")
}

func TestContextOfTheBatch(t *testing.T) {
	batch := func(r *Request) {
		r.Context = []byte(`{"library":{"name":"go"},"app":{"version":"1"},"userAgent":"ua","device":{"type":"Desktop"},"extra":1}`)
	}
	e := must(t, Track, `{"event":"e","userId":"u"}`, batch)
	same(t, "shared", e.AppVersion+" "+e.Device+" "+e.Browser+" "+string(e.Context), `1 desktop browser {"library":{"name":"go"},"userAgent":"ua","extra":1}`)
	e = must(t, Track, `{"event":"e","userId":"u","context":{"app":{"version":"2"},"extra":2,"ip":"192.0.2.1"}}`, batch)
	same(t, "own first", e.AppVersion+" "+e.Device+" "+string(e.Context), `2 desktop {"extra":2,"ip":"192.0.2.1","library":{"name":"go"},"userAgent":"ua"}`)
	same(t, "staff", e.Bot, true)
}

func TestTraitsOfIdentifyAndGroup(t *testing.T) {
	e := must(t, Identify, `{"userId":"u","context":{"traits":{"plan":"p"}}}`)
	same(t, "traits of the context", string(e.Properties)+string(e.Context), `{"plan":"p"}`)
	e = must(t, Identify, `{"userId":"u","traits":{"plan":"p"},"context":{"traits":{"plan":"p"},"x":1}}`)
	same(t, "traits sent twice", string(e.Properties)+string(e.Context), `{"plan":"p"}{"x":1}`)
	e = must(t, Group, `{"userId":"u","groupId":"g","traits":{"name":"G"}}`)
	same(t, "group", string(e.Properties), `{"name":"G","groupId":"g"}`)
	e = must(t, Group, `{"userId":"u","groupId":"g","context":{"traits":{}}}`)
	same(t, "group without traits", string(e.Properties), `{"groupId":"g"}`)
}

func TestChannels(t *testing.T) {
	server := func(r *Request) { r.Channel = ChannelOf("server") }
	same(t, "source", must(t, Track, `{"event":"e","userId":"u"}`).Channel, "web")
	same(t, "server", must(t, Track, `{"event":"e","userId":"u"}`, server).Channel, "other")
	same(t, "step", must(t, Track, `{"event":"Email Opened","userId":"u"}`, server).Channel, "email")
	same(t, "step on a web source", must(t, Track, `{"event":"Ad Clicked","userId":"u"}`).Channel, "web")
	same(t, "said", must(t, Track, `{"event":"e","userId":"u","channel":"store"}`).Channel, "store")
	same(t, "said by the context", must(t, Track, `{"event":"e","userId":"u","context":{"channel":"chat"}}`).Channel, "chat")
	same(t, "library's word", must(t, Track, `{"event":"e","userId":"u","channel":"browser"}`).Channel, "web")
	same(t, "shop", ChannelOf("shop"), "store")
}

func TestAgentsAndBots(t *testing.T) {
	own := func(r *Request) { r.UserAgent = "header" }
	same(t, "request's", must(t, Track, `{"event":"e","userId":"u"}`, own).Device, "phone of header")
	same(t, "context's first", must(t, Track, `{"event":"e","userId":"u","context":{"userAgent":"sent"}}`, own).Device, "phone of sent")
	same(t, "robot", must(t, Track, `{"event":"e","userId":"u","context":{"userAgent":"robot"}}`).Bot, true)
	same(t, "none", must(t, Track, `{"event":"e","userId":"u"}`).Bot, false)
}

// A parser is used for one message after the other: nothing of one shows in the next.
func TestParserForgets(t *testing.T) {
	var p Parser
	if err := p.Begin(request()); err != nil {
		t.Fatal(err)
	}
	full := `{"type":"track","event":"Product Added","messageId":"m\u0031","userId":"\u0075","properties":{"product_id":"p","products":[{"product_id":"x"}],"a":1},"context":{"app":{"version":"1"},"b":2},"timestamp":"9999-01-01"}`
	for _, bad := range []string{full, `{"type":"track",`, full, `{"type":"page","userId":["x"]}`} {
		_, _ = p.Event([]byte(bad), Any)
		e, fault := p.Event([]byte(`{"type":"track","event":"e","userId":"v","messageId":"n"}`), Any)
		if fault != nil {
			t.Fatal(fault)
		}
		want := &touchpoint.Event{Project: "shop", Source: "site", MessageId: "n", Name: "e", Channel: "web", UserId: "v", OccurredAt: received, ReceivedAt: received}
		if encoded(t, e) != encoded(t, want) {
			t.Fatalf("after %s: %v", bad, e)
		}
	}
	if e, _ := p.Event([]byte(full), Any); e.MessageId != "m1" || e.UserId != "u" {
		t.Errorf("ids %q %q", e.MessageId, e.UserId)
	}
}

// Invariants, whatever the message: no panic; either an event or a fault with one of the reasons; an event has a project, a
// message id, an identity that is no placeholder, a time from 1970 to its receipt, and JSON objects where there is JSON; it
// can be encoded; and the same message gives the same event again.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		`{"type":"track","event":"Product Added","userId":"u","properties":{"price":"1.5","products":[{"id":1}]},"context":{"page":{"url":"http://x/?utm_source=%zz"}}}`,
		`{"type":"page","anonymousId":"a","name":"n","properties":{"url":"x"}}`,
		`{"type":"group","userId":"u","groupId":"g","context":{"traits":{"a":{}}}}`,
		`{"type":"alias","userId":"u","previousId":"\u0000"}`,
		`{"type":"identify","userId":"u","traits":{"\"":"\\"},"timestamp":-1}`,
		`{"context":{"device":{"type":{}},"os":7,"bot":true,"campaign":[]}}`,
	} {
		f.Add([]byte(s), []byte(`{"app":{"version":"1"},"x":1}`))
	}
	reasons := map[string]bool{
		event.NoIdentity: true, event.BadTimestamp: true, event.TooLarge: true, event.BadJSON: true, event.UnknownType: true, event.MissingEvent: true, event.Schema: true,
	}
	f.Fuzz(func(t *testing.T, message, batch []byte) {
		var p Parser
		req := request()
		req.Context = batch
		if p.Begin(req) != nil {
			req.Context = nil
			if err := p.Begin(req); err != nil {
				t.Fatal(err)
			}
		}
		e, fault := p.Event(message, Any)
		if fault != nil {
			if e != nil || !reasons[fault.Reason] || fault.Detail == "" {
				t.Fatalf("%v, %v", e, fault)
			}
			return
		}
		first := clone(t, e)
		if first.Project == "" || first.MessageId == "" || event.Person(first) == "" || event.ID(first.UserId) != first.UserId || event.ID(first.AnonymousId) != first.AnonymousId {
			t.Fatalf("identity: %v", first)
		}
		if first.OccurredAt < 0 || first.OccurredAt > first.ReceivedAt || first.ReceivedAt != received {
			t.Fatalf("times: %v", first)
		}
		for _, object := range [][]byte{first.Properties, first.Context, first.Commerce} {
			if len(object) > 0 && !ValidObject(object) {
				t.Fatalf("no JSON object: %q", object)
			}
		}
		if again, fault := p.Event(message, Any); fault != nil || encoded(t, again) != encoded(t, first) {
			t.Fatalf("again: %v, %v; first %v", again, fault, first)
		}
	})
}
