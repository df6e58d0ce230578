package collector_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/keyhash"
	"github.com/waymark-analytics/waymark/pkg/topic"
	"github.com/waymark-analytics/waymark/services/collector"
)

// track is a good event of user u.
func track(id string) string {
	return fmt.Sprintf(`{"type":"track","event":"Product Viewed","userId":"u","messageId":%q}`, id)
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// ids are the message ids in the log, sorted by partition and offset.
func (r *rig) ids() string {
	r.t.Helper()
	var out []string
	for _, e := range r.events() {
		out = append(out, e.MessageId)
	}
	return strings.Join(out, " ")
}

// reasons are those of the refused, in order.
func (r *rig) reasons() string {
	r.t.Helper()
	var out []string
	for _, l := range r.letters() {
		out = append(out, l.Reason)
	}
	return strings.Join(out, " ")
}

func TestBatchIsInTheLogWhenAnswered(t *testing.T) {
	r := start(t, 3)
	got := r.post("/v1/batch", `{"batch":[
		{"type":"track","event":"Product Added","userId":"u1","messageId":"m1","timestamp":"2026-11-24T11:59:00.000Z","properties":{"price":19.99,"colour":"red"}},
		{"type":"page","anonymousId":"a1","messageId":"m2"},
		{"type":"nonsense","userId":"u1","messageId":"m3","context":{"app":{"version":"7"}}}
	],"sentAt":"2026-11-24T12:00:00.000Z"}`, 200)
	if got.body != `{"success":true}` {
		t.Errorf("answer %s", got.body)
	}
	records := r.records(topic.Touchpoints)
	if len(records) != 2 {
		t.Fatalf("%d records, want 2", len(records))
	}
	for _, rec := range records {
		if want := keyhash.Partition("shop", string(rec.Key), 3); rec.Partition != want || (string(rec.Key) != "u:u1" && string(rec.Key) != "a:a1") {
			t.Errorf("record of %s is in partition %d, want %d", rec.Key, rec.Partition, want)
		}
	}
	letters := r.letters()
	if len(letters) != 1 {
		t.Fatalf("letters %v", letters)
	}
	l := letters[0]
	if l.Project != "shop" || l.Source != "site" || l.Reason != event.UnknownType || l.MessageId != "m3" || l.AppVersion != "7" ||
		l.ReceivedAt != now.UnixMilli() || !strings.HasPrefix(string(l.Body), `{"type":"nonsense"`) || !strings.Contains(l.Detail, `"nonsense"`) {
		t.Errorf("letter %v", l)
	}
}

func TestEveryEndpointWithAndWithoutSlash(t *testing.T) {
	r := start(t, 1)
	names := map[string]string{
		"track": "e", "t": "e", "identify": "Identified", "i": "Identified", "page": "Page Viewed", "p": "Page Viewed", "screen": "Screen Viewed",
		"s": "Screen Viewed", "alias": "Aliased", "a": "Aliased", "group": "Grouped", "g": "Grouped",
	}
	want := 0
	for path, name := range names {
		for _, slash := range []string{"", "/"} {
			id := path + slash
			r.post("/v1/"+path+slash, fmt.Sprintf(`{"event":"e","userId":"u","messageId":%q,"type":"ignored"}`, id), 200)
			want++
		}
		_ = name
	}
	for _, path := range []string{"batch", "b", "import"} {
		for _, slash := range []string{"", "/"} {
			r.post("/v1/"+path+slash, `{"batch":[`+track(path+slash)+`]}`, 200)
			want++
		}
	}
	events := r.events()
	if len(events) != want {
		t.Fatalf("%d events, want %d", len(events), want)
	}
	for _, e := range events {
		if name, ok := names[strings.TrimSuffix(e.MessageId, "/")]; ok && e.Name != name {
			t.Errorf("%s gives %q, want %q", e.MessageId, e.Name, name)
		}
	}
}

func TestKeyByBasicThenBodyThenQuery(t *testing.T) {
	r := start(t, 1)
	basic := func(user string) []string {
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"))}
	}
	body := func(key string) string { return `{"userId":"u","event":"e","writeKey":` + key + `}` }
	for _, c := range []struct {
		path, body string
		headers    []string
		want       int
	}{
		{"/v1/t", body(`"x"`), basic(webKey), 200},
		{"/v1/t", body(`"` + webKey + `"`), nil, 200},
		{"/v1/t", body(`"` + webKey + `"`), basic(""), 200},
		{"/v1/t", body(`null`), nil, 401},
		{"/v1/t?writeKey=" + webKey, body(`null`), nil, 200},
		{"/v1/t?key=" + webKey, body(`null`), nil, 200},
		{"/v1/t?writeKey=" + webKey, body(`"x"`), nil, 401},
		{"/v1/t", body(`"` + webKey + `"`), basic("x"), 401},
		{"/v1/t", body(`"` + webKey + `"`), []string{"Authorization", "Bearer x"}, 200},
		{"/v1/t", body(`null`), basic(importKey), 401},
		{"/v1/batch", `{"batch":[],"writeKey":"` + webKey + `"}`, nil, 200},
		{"/v1/import/", `{"batch":[],"writeKey":"no"}`, nil, 401},
	} {
		if got := r.do(http.MethodPost, c.path, c.body, c.headers...); got.status != c.want {
			t.Errorf("%s %s %v: %d %s, want %d", c.path, c.body, c.headers, got.status, got.body, c.want)
		}
	}
}

func TestBodiesOfAnyTypeAndGzip(t *testing.T) {
	r := start(t, 1)
	for i, headers := range [][]string{
		{"Content-Type", "application/json"},
		{"Content-Type", "text/plain"},
		{"Content-Type", "application/x-www-form-urlencoded"},
		{"Content-Type", "multipart/form-data"},
		{"Content-Type", ";;"},
		{},
	} {
		r.post("/v1/batch", `{"batch":[`+track(fmt.Sprint("plain", i))+`]}`, 200, headers...)
		r.post("/v1/batch", zipped(t, `{"batch":[`+track(fmt.Sprint("zip", i))+`]}`), 200, headers...)
		r.post("/v1/batch", zipped(t, `{"batch":[`+track(fmt.Sprint("said", i))+`]}`), 200, append(headers, "Content-Encoding", "gzip")...)
		r.post("/v1/batch", `{"batch":[`+track(fmt.Sprint("lie", i))+`]}`, 200, append(headers, "Content-Encoding", "gzip")...)
	}
	if n := len(r.events()); n != 24 {
		t.Errorf("%d events, want 24", n)
	}
}

func TestPreflightAndOrigins(t *testing.T) {
	r := start(t, 1)
	for _, path := range []string{"/v1/t", "/v1/batch/", "/v1/projects/" + webKey + "/settings"} {
		got := r.do(http.MethodOptions, path, "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,x-retry-count")
		h := got.header
		if got.status != 204 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Allow-Credentials") != "true" ||
			h.Get("Access-Control-Max-Age") == "" || h.Get("Vary") != "Origin" {
			t.Errorf("%s: %d %v", path, got.status, h)
		}
		for _, name := range []string{"authorization", "content-type", "x-retry-count"} {
			if !strings.Contains(h.Get("Access-Control-Allow-Headers"), name) {
				t.Errorf("%s: header %s is not allowed", path, name)
			}
		}
	}
	got := r.post("/v1/t", track("m"), 200, "Origin", "https://shop.example")
	if got.header.Get("Access-Control-Allow-Origin") != "https://shop.example" {
		t.Errorf("headers %v", got.header)
	}
	for _, path := range []string{"/v1/receipts/m", "/v1/import/events"} { // not for pages
		if got := r.do(http.MethodOptions, path, "", "Origin", "https://shop.example"); got.status != 405 || got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
	}
}

func TestSettingsGiveTheKeyBack(t *testing.T) {
	r := start(t, 1)
	got := r.do(http.MethodGet, "/v1/projects/"+webKey+"/settings", "")
	if got.status != 200 || !strings.Contains(got.body, `"apiKey":"`+webKey+`"`) || !strings.Contains(got.body, `"apiHost":"`+strings.TrimPrefix(r.url, "http://")+`/v1"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := r.do(http.MethodGet, "/v1/projects/no/settings", ""); got.status != 401 {
		t.Errorf("wrong key: %d", got.status)
	}
}

func TestVerdictsInTheOrderSent(t *testing.T) {
	r := start(t, 3)
	const noID = `{"type":"page","anonymousId":"a"}`
	got := r.post("/v1/batch?verdicts=1", `{"batch":[`+track("1")+`,{"type":"track","userId":"u","messageId":"2"},{broken},`+noID+`,{"type":"x","messageId":"\u0035\""},7]}`, 200)
	want := `{"verdicts":[{"message_id":"1","verdict":"accepted","reason":""},{"message_id":"2","verdict":"refused","reason":"missing_event"},` +
		`{"message_id":"","verdict":"refused","reason":"bad_json"},{"message_id":"` + event.HashOf(webKey, noID).String() + `","verdict":"accepted","reason":""},` +
		`{"message_id":"5\"","verdict":"refused","reason":"unknown_type"},{"message_id":"","verdict":"refused","reason":"schema"}]}`
	if got.body != want {
		t.Errorf("answer %s\nwant   %s", got.body, want)
	}
	if got := r.post("/v1/track?verdicts=1", track("6"), 200); got.body != `{"verdicts":[{"message_id":"6","verdict":"accepted","reason":""}]}` {
		t.Errorf("one event: %s", got.body)
	}
	if got := r.post("/v1/batch?verdicts=1", `{"batch":[]}`, 200); got.body != `{"verdicts":[]}` {
		t.Errorf("empty batch: %s", got.body)
	}
}

func TestPixelIsAnEvent(t *testing.T) {
	r := start(t, 1)
	got := r.do(http.MethodGet, "/p.gif?key="+webKey+"&utm_source=mail&colour=red", "", "Referer", "https://shop.example/a?x=1", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	if got.status != 200 || got.header.Get("Content-Type") != "image/gif" || !strings.HasPrefix(got.body, "GIF89a") || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", got.status, got.header)
	}
	cookie := got.header.Get("Set-Cookie")
	id, _, _ := strings.Cut(strings.TrimPrefix(cookie, "waymark_id="), ";")
	if len(id) != 32 || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") {
		t.Fatalf("cookie %s", cookie)
	}
	r.do(http.MethodGet, "/p.gif?key="+webKey+"&event=Email+Opened&messageId=m", "", "Cookie", "waymark_id="+id)
	r.do(http.MethodGet, "/p.gif?key="+webKey+"&event=Email+Opened&userId=u&timestamp=nonsense", "")
	if got := r.do(http.MethodGet, "/p.gif?key=no", ""); got.status != 401 {
		t.Errorf("wrong key: %d", got.status)
	}
	if got := r.do(http.MethodGet, "/p.gif?key="+webKey+"&a=%zz", ""); got.status != 400 {
		t.Errorf("broken query: %d", got.status)
	}
	events := r.events()
	if len(events) != 2 || r.reasons() != event.BadTimestamp {
		t.Fatalf("events %v, refused %s", events, r.reasons())
	}
	page, opened := events[0], events[1]
	if page.Name != "Page Viewed" || page.AnonymousId != id || page.Url != "https://shop.example/a?x=1" || page.Path != "/a" || page.CampaignSource != "mail" ||
		page.Browser != "Firefox" || page.Bot || string(page.Properties) != `{"colour":"red"}` || page.MessageId == "" {
		t.Errorf("page %v", page)
	}
	if opened.Name != "Email Opened" || opened.Step != "email_open" || opened.AnonymousId != id || opened.MessageId != "m" {
		t.Errorf("opened %v", opened)
	}
}

func TestBotsAndStaff(t *testing.T) {
	r := start(t, 1, func(c *collector.Config, _ *collector.Deps) {
		c.Staff = map[string]collector.Staff{"shop": {Agents: []string{"OurMonitor"}, Networks: []string{"192.0.2.0/24", "2001:db8::1"}, Headers: []string{"X-Load-Test", "X-Team: qa"}}}
		c.ClientAddressHeader = "X-Forwarded-For"
	})
	const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) %sChrome/138.0.0.0 Safari/537.36"
	for _, c := range []struct {
		id, context string
		bot         bool
		headers     []string
	}{
		{"person", ``, false, []string{"User-Agent", fmt.Sprintf(chrome, "")}},
		{"library", ``, false, []string{"User-Agent", "python-requests/2.32.0"}}, // speaks for a server, not for its customers
		{"headless", ``, true, []string{"User-Agent", fmt.Sprintf(chrome, "Headless")}},
		{"sent", `"userAgent":"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"`, true, nil},
		{"agent", ``, true, []string{"User-Agent", "ourmonitor/1.0"}},
		{"sentagent", `"userAgent":"Mozilla/5.0 ourMonitor"`, true, nil},
		{"network", ``, true, []string{"X-Forwarded-For", "203.0.113.9, 192.0.2.77"}},
		{"spoofed", ``, false, []string{"X-Forwarded-For", "192.0.2.77, 203.0.113.9"}},
		{"address", `"ip":"2001:db8::1"`, true, nil},
		{"header", ``, true, []string{"X-Load-Test", "anything"}},
		{"value", ``, true, []string{"X-Team", "qa"}},
		{"othervalue", ``, false, []string{"X-Team", "sales"}},
	} {
		r.post("/v1/t", fmt.Sprintf(`{"event":"e","userId":"u","messageId":%q,"context":{%s}}`, c.id, c.context), 200, c.headers...)
		events := r.events()
		if e := events[len(events)-1]; e.MessageId != c.id || e.Bot != c.bot {
			t.Errorf("%s: bot is %v", c.id, e.Bot)
		}
	}
}

func TestHealth(t *testing.T) {
	r := start(t, 1)
	r.post("/v1/t", track("m"), 200)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": `waymark_collector_events_total{outcome="accepted"} 1`} {
		if got := r.do(http.MethodGet, path, ""); got.status != 200 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %.300s", path, got.status, got.body)
		}
	}
	if got := r.do(http.MethodGet, "/v1/track", ""); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET /v1/track: %d %v", got.status, got.header)
	}
	if got := r.do(http.MethodGet, "/nowhere", ""); got.status != 404 {
		t.Errorf("GET /nowhere: %d", got.status)
	}
}
