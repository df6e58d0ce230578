package importer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

func TestRowsAreSortedByTimeAndTiesKeepTheirOrder(t *testing.T) {
	c := newCollector(t)
	j := newJob(t, plainMapping, write(t, "a.csv", "at,who,what\n30,u,x\n10,u,a\n20,u,b\n10,u,c\n"), write(t, "b.csv.gz", "who,at,what\nu,10,d\n"))
	sum := j.must(t, c)
	want := []string{"imp-000000000002", "imp-000000000004", "imp-000000000005", "imp-000000000003", "imp-000000000001"}
	if got := c.ids(); !slices.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
	if sum.Rows != 5 || sum.Accepted != 5 || len(c.mu.ends) != 1 || !slices.Equal(c.mu.ends[0], []string{"p"}) {
		t.Errorf("summary %+v, ends %v", sum, c.mu.ends)
	}
}

func TestAsIsKeepsTheOrderOfTheFile(t *testing.T) {
	c := newCollector(t)
	j := newJob(t, plainMapping, write(t, "a.csv", "at,who,what\n30,u,x\n10,u,a\n20,u,b\n"))
	j.AsIs, j.NoEnd = true, true
	j.must(t, c)
	if got := c.ids(); !slices.IsSorted(got) || len(got) != 3 {
		t.Errorf("sent %v", got)
	}
	if len(c.mu.ends) != 0 {
		t.Error("an end marker was sent")
	}
}

func TestManyRowsAreSortedOnDisk(t *testing.T) {
	c := newCollector(t)
	var b strings.Builder
	b.WriteString("at,who,what\n")
	r := rand.New(rand.NewPCG(1, 2))
	const rows = 20_000
	for range rows {
		fmt.Fprintf(&b, "%d,u%d,name\n", r.IntN(3000), r.IntN(50))
	}
	j := newJob(t, plainMapping, write(t, "a.csv.zst", b.String()))
	j.Memory = 4 << 10 // hundreds of runs, merged in two rounds
	j.must(t, c)
	if len(c.mu.events) != rows {
		t.Fatalf("%d events, want %d", len(c.mu.events), rows)
	}
	for i := 1; i < rows; i++ {
		a, b := c.mu.events[i-1], c.mu.events[i]
		if a.OccurredAt > b.OccurredAt || a.OccurredAt == b.OccurredAt && a.MessageId >= b.MessageId {
			t.Fatalf("%s at %d comes before %s at %d", a.MessageId, a.OccurredAt, b.MessageId, b.OccurredAt)
		}
	}
}

func TestMappingFillsTheEvent(t *testing.T) {
	const mapping = `
project: shop
time: when
time_format: 2006-01-02 15:04
time_zone: Europe/Berlin
user_id: customer
anonymous_id: cookie
message_id: id
name: action
names: {pv: Product Viewed, "010": Product Added}
currency: EUR
where: {site: [de, at]}
fields:
  channel: chan
  commerce.product_id: sku
  commerce.price: price
  commerce.quantity: qty
  commerce.tax: tax
  context.device: device
  context.campaign.name: camp
  context.campaign.term: term
  properties.plan: plan
`
	c := newCollector(t)
	j := newJob(t, mapping, write(t, "a.csv", "when,customer,cookie,id,action,site,chan,sku,price,qty,tax,device,camp,term,plan,note,empty\n"+
		"2026-01-02 03:04,007,000000000000000012345678901234567890,m1,pv,de,web,s1,19.99,2.0,1.5,phone,sale,shoes,gold,\"a \"\"b\"\"\n c\",\n"+
		"2026-01-02 03:05,007,c,m2,010,ch,web,s1,1,1,1,phone,x,y,z,n,\n"+
		"2026-01-02 03:06,null,c,m3,010,at,app,s1,cheap,1,1,phone,x,y,z,n,\n"))
	sum := j.must(t, c)
	if sum.Left != 1 || sum.Accepted != 2 || sum.Kept != 1 || len(c.mu.events) != 2 {
		t.Fatalf("summary %+v", sum)
	}
	price, quantity := int64(1999), int64(2)
	want := &touchpoint.Event{
		Project: "shop", Source: "import", MessageId: "m1", Name: "Product Viewed", Step: "view", Channel: "web",
		UserId: "007", AnonymousId: "000000000000000012345678901234567890", OccurredAt: 1767319440000,
		ProductId: "s1", Price: &price, Quantity: &quantity, Currency: "EUR", Device: "phone", Campaign: "sale",
		Properties: []byte(`{"note":"a \"b\"\n c","plan":"gold"}`), Commerce: []byte(`{"tax":"1.5"}`), Context: []byte(`{"campaign":{"term":"shoes"}}`),
	}
	if got := c.mu.events[0]; !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	e := c.mu.events[1]
	if e.Step != "cart_add" || e.UserId != "" || e.AnonymousId != "c" || e.Price != nil || !strings.Contains(string(e.Properties), `"price":"cheap"`) {
		t.Errorf("the event with an odd price is %v", e)
	}
}

func TestBadRowsAreRefusedAloneWithTheirLines(t *testing.T) {
	c := newCollector(t)
	file := write(t, "a.csv", "at,who,what\r\n"+
		"1,u,good\r\n"+ // 2
		"2,u\r\n"+ // 3: a field is missing
		"3,u,\"good\nof two lines\"\r\n"+ // 4 and 5
		"4,\"u\" x,y\r\n"+ // 6: a quote
		"\r\n"+
		"yesterday,u,x\r\n"+ // 8
		"-5,u,x\r\n"+ // 9
		"5,guest,x\r\n"+ // 10
		"6,u,\r\n"+ // 11
		"7,u,refuse me\r\n"+ // 12
		"8,\"u,unclosed\r\n"+ // 13
		"9,u,good\r\n"+
		"10,u,"+strings.Repeat("long", 9000)+"\r\n"+ // 15
		"11,u\xff,x\r\n"+ // 16
		"12,u,good")
	j := newJob(t, plainMapping, file)
	sum := j.must(t, c)
	want := map[int64]string{
		3: event.Schema, 6: event.Schema, 8: event.BadTimestamp, 9: event.BadTimestamp, 10: event.NoIdentity, 11: event.MissingEvent, 12: event.Schema,
		13: event.Schema, 15: event.TooLarge, 16: event.Schema,
	}
	got := map[int64]string{}
	for _, b := range j.bad {
		got[b.Line] = b.Reason
		if b.File != file {
			t.Errorf("refused row of %s", b.File)
		}
	}
	if len(got) != len(j.bad) || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("refused %v\nwant    %v", got, want)
	}
	if sum.Accepted != 4 || sum.Refused != int64(len(want)) || len(c.mu.events) != 4 {
		t.Errorf("summary %+v, %d events", sum, len(c.mu.events))
	}
	if len(c.mu.letters) != len(want)-1 { // the collector writes the letter of what it refuses itself
		t.Errorf("%d letters", len(c.mu.letters))
	}
	for _, l := range c.mu.letters {
		if l.Project != "p" || l.Reason == "" || !strings.Contains(l.Detail, "a.csv, line ") || len(l.Body) == 0 || len(l.Body) > event.MaxBytes {
			t.Errorf("letter %v", l)
		}
	}
}

func TestNestedColumnsAndNumbersOfNDJSON(t *testing.T) {
	c := newCollector(t)
	j := newJob(t, "project: p\ntime: t\ntime_format: unix_ms\nuser_id: user.id\nname: n\nfields: {commerce.price: price}\n", write(t, "a.ndjson",
		`{"t":1700000000123,"user":{"id":12345678901234567890,"tier":1},"n":"purchase","price":19.99,"extra":[1,{"a":null}],"none":null}`+"\n"+
			"\n"+
			`{"t":"1700000000124","user":{"id":"x"},"n":"y"`+"\n"+
			`{"t":1,"t":2,"user":{"id":"x"},"n":"y"}`+"\n"+
			`[1]`+"\n"+
			`{"t":1700000000125.9,"user":{"id":"x"},"n":"y"} `))
	sum := j.must(t, c)
	if sum.Accepted != 2 || sum.Reasons[event.BadJSON] != 3 {
		t.Fatalf("summary %+v, bad %v", sum, j.bad)
	}
	e := c.mu.events[0]
	if e.UserId != "12345678901234567890" || e.Step != "purchase" || *e.Price != 1999 || e.OccurredAt != 1700000000123 ||
		string(e.Properties) != `{"user":{"id":12345678901234567890,"tier":1},"extra":[1,{"a":null}]}` {
		t.Errorf("event %v", e)
	}
}

func TestNothingIsSentOfABrokenFile(t *testing.T) {
	whole := write(t, "a.csv.gz", "at,who,what\n"+strings.Repeat("1,u,x\n", 1000))
	packed, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.csv.gz")
	if err := os.WriteFile(cut, packed[:len(packed)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCollector(t)
	j := newJob(t, plainMapping, cut)
	if _, err := j.run(t, c); err == nil || !strings.Contains(err.Error(), "cut.csv.gz") {
		t.Errorf("error %v", err)
	}
	if len(c.mu.events) != 0 || len(c.mu.ends) != 0 {
		t.Error("something was sent")
	}
}

func TestIDsDependOnContentAlone(t *testing.T) {
	c := newCollector(t)
	const content = "at,who,what\n1,u,x\n"
	a, b := newJob(t, plainMapping, write(t, "a.csv", content)), newJob(t, plainMapping, write(t, "b.csv.gz", content))
	a.ImportID, b.ImportID = "", ""
	a.must(t, c)
	b.must(t, c)
	other := newJob(t, plainMapping, write(t, "a.csv", content+"2,u,x\n"))
	other.ImportID = ""
	other.must(t, c)
	// The collector finds the row of b in its log: it is that of a.
	ids := c.ids()
	if len(ids) != 3 || ids[0] == ids[1] || ids[1][:16] != ids[2][:16] {
		t.Errorf("ids %v", ids)
	}
}

func TestTheSameRequestIsSentUntilItIsTaken(t *testing.T) {
	c := newCollector(t)
	c.fail = func(call int, path string) (int, bool) {
		if call%3 == 0 {
			return []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusNotFound}[call/3%4], false
		}
		return 0, true
	}
	j := newJob(t, plainMapping, write(t, "a.csv", "at,who,what\n"+numbered(9000)))
	j.Wait = true
	j.must(t, c)
	checkNumbered(t, c, 9000)
}

func TestAnswerThatIsLostDoublesNothing(t *testing.T) {
	c := newCollector(t)
	lost := 0
	c.fail = func(_ int, path string) (int, bool) {
		if path == "/v1/import/events" && lost < 3 {
			lost++
			return http.StatusInternalServerError, true
		}
		return 0, true
	}
	j := newJob(t, plainMapping, write(t, "a.csv", "at,who,what\n"+numbered(5000)))
	j.must(t, c)
	checkNumbered(t, c, 5000)
}

func TestInterruptedImportGoesOnBehindWhatIsStored(t *testing.T) {
	c := newCollector(t)
	file := write(t, "a.csv", "at,who,what\nx,u,bad\n"+numbered(9000))
	j := newJob(t, plainMapping, file)
	c.fail = func(call int, path string) (int, bool) {
		if len(c.mu.events) >= 4000 {
			return http.StatusServiceUnavailable, false
		}
		return 0, true
	}
	j.GiveUp = 1
	if _, err := j.run(t, c); err == nil {
		t.Fatal("the import ended although nobody answers")
	}
	c.fail = nil
	sum := j.must(t, c)
	if sum.Resumed != 4000 || sum.Accepted != 9000 || sum.Refused != 1 || len(c.mu.letters) != 1 {
		t.Errorf("summary %+v, %d letters", sum, len(c.mu.letters))
	}
	checkNumbered(t, c, 9000)
	// And once more, after its end.
	sum = j.must(t, c)
	if sum.Resumed != 9000 || len(c.mu.ends) != 1 || len(c.mu.letters) != 1 {
		t.Errorf("again: summary %+v, %d ends, %d letters", sum, len(c.mu.ends), len(c.mu.letters))
	}
	checkNumbered(t, c, 9000)
	// Other work under the same name begins anew.
	j.AsIs = true
	if sum = j.must(t, c); sum.Resumed != 0 {
		t.Errorf("other work: summary %+v", sum)
	}
}

func TestTooManyBadRowsStop(t *testing.T) {
	c := newCollector(t)
	j := newJob(t, plainMapping, write(t, "a.csv", "at,who,what\n1,u,x\nx,u,x\nx,u,x\nx,u,x\n"))
	j.MaxBad = 2
	if _, err := j.run(t, c); !errors.Is(err, ErrTooMany) || len(c.mu.events) != 0 {
		t.Errorf("error %v, %d events", err, len(c.mu.events))
	}
	j.MaxBad = 4
	if _, err := j.run(t, c); err != nil {
		t.Errorf("three bad rows of at most four: %v", err)
	}
}

func TestMissingColumnNamesTheNearest(t *testing.T) {
	c := newCollector(t)
	j := newJob(t, plainMapping, write(t, "a.csv", "at,whom,what\n1,u,x\n"))
	_, err := j.run(t, c)
	if _, ok := errors.AsType[*MappingError](err); !ok || !strings.Contains(err.Error(), `did you mean "whom"`) {
		t.Errorf("error %v", err)
	}
}

func TestCancelledImportStops(t *testing.T) {
	c := newCollector(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.fail = func(int, string) (int, bool) {
		cancel() // once it is on its way
		return http.StatusServiceUnavailable, false
	}
	j := newJob(t, plainMapping, write(t, "a.csv", "at,who,what\n1,u,x\n"))
	j.GiveUp = time.Hour
	if _, err := Run(ctx, j.Config, j.deps(c)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// numbered are rows whose names are their numbers, in the order of time.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,u%d,n%d\n", i/3, i%7, i)
	}
	return b.String()
}

func checkNumbered(t *testing.T, c *collector, n int) {
	t.Helper()
	if len(c.mu.events) != n {
		t.Fatalf("%d events, want %d", len(c.mu.events), n)
	}
	for i, e := range c.mu.events {
		if e.Name != fmt.Sprintf("n%d", i) {
			t.Fatalf("event %d is %s", i, e.Name)
		}
	}
}
