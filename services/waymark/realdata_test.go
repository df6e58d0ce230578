package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// realShop is real data of a shop with the numbers that it must give, counted independently.
type realShop struct {
	project, file, timeColumn, mapping string
	want                               shopNumbers
}

type shopNumbers struct {
	Events, Persons, Sessions, Carts, Abandoned int64
	Buy, Straight                               string // reached, step by step
}

var shops = []realShop{
	{
		project: "merch", file: "google-merch-store-20160801/events.csv.gz", timeColumn: "event_time",
		mapping: `
project: merch
time: event_time
anonymous_id: visitor_id
name: event_type
names:
  product_click: Product Viewed
  product_view: Product Viewed
  quickview_click: Product Viewed
  add_to_cart: Product Added
  remove_from_cart: Product Removed
  checkout_info: Checkout Started
  checkout_payment: Checkout Started
  checkout_review: Checkout Started
  purchase: Order Completed
`,
		want: shopNumbers{13006, 1569, 1687, 131, 101, "443 131 48 30", "443 131 30"},
	},
	{
		project: "taobao", file: "taobao-userbehavior/events.csv.gz", timeColumn: "timestamp",
		mapping: `
project: taobao
time: timestamp
time_format: unix
user_id: user_id
name: behavior_type
names: {pv: Product Viewed, cart: Product Added, buy: Order Completed, fav: Product Added to Wishlist}
`,
		want: shopNumbers{84287, 814, 14096, 2713, 2520, "13347 2099 0 0", "13347 2099 163"},
	},
}

const shopRules = `
funnels:
  - {name: buy, steps: [view, cart_add, checkout, purchase]}
  - {name: straight, steps: [view, cart_add, purchase]}
`

const shopQuery = `
SELECT
    (SELECT count() FROM waymark.events WHERE project = {p:String}) AS Events,
    (SELECT uniqExact(person) FROM waymark.events WHERE project = {p:String}) AS Persons,
    (SELECT count() FROM waymark.sessions WHERE project = {p:String}) AS Sessions,
    (SELECT countIf(cart_adds > 0) FROM waymark.sessions WHERE project = {p:String}) AS Carts,
    (SELECT countIf(abandoned) FROM waymark.sessions WHERE project = {p:String}) AS Abandoned,
    (SELECT arrayStringConcat(arrayMap(x -> toString(x.2), arraySort(groupArray((step_no, n)))), ' ')
        FROM (SELECT step_no, sum(reached) AS n FROM waymark.funnel_steps WHERE project = {p:String} AND funnel = 'buy' GROUP BY step_no)) AS Buy,
    (SELECT arrayStringConcat(arrayMap(x -> toString(x.2), arraySort(groupArray((step_no, n)))), ' ')
        FROM (SELECT step_no, sum(reached) AS n FROM waymark.funnel_steps WHERE project = {p:String} AND funnel = 'straight' GROUP BY step_no)) AS Straight`

// The main job: real shops' histories give the right numbers, whatever the number of partitions and the order of the rows, also
// when everything is sent twice, and after a restart.
func TestRealShopsGiveTheRightNumbers(t *testing.T) {
	needEngine(t)
	data, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "data"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Skipf("the shops' data are not here: %v", err)
	}
	config := filepath.Join(t.TempDir(), "waymark.yaml")
	write(t, config, shopRules)
	for _, c := range []struct {
		name       string
		partitions string
		shuffled   bool
	}{{"1 partition", "1", false}, {"3 partitions", "3", true}, {"16 partitions", "16", false}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			args := []string{"up", "--dir", dir, "--port-base", "0", "--partitions", c.partitions, "--config", config}
			if kafka := os.Getenv("WAYMARK_KAFKA"); strings.Contains(kafka, ":") {
				args = append(args, "--kafka", kafka, "--set", fmt.Sprintf("kafka.prefix=shops%d-", time.Now().UnixNano()%1e10))
			}
			p := launch(t, nil, args...)
			e := p.up(dir)
			bring := func() {
				for _, s := range shops {
					file, mapping := filepath.Join(data, s.file), filepath.Join(t.TempDir(), s.project+".yaml")
					write(t, mapping, s.mapping)
					if c.shuffled {
						file = shuffle(t, file, s.timeColumn)
					}
					status, out, errs := call(t, "import", file, "--mapping", mapping, "--endpoints", dir, "--wait", "--import-id", s.project)
					if status != 0 {
						t.Fatalf("import: status %d: %s%s", status, out, errs)
					}
				}
			}
			bring()
			right(t, e, "after the import")
			asWindowFunnel(t, e)
			bring() // with the same ids: changes nothing
			right(t, e, "after the second import")
			p.signal(syscall.SIGINT)
			if status, said := p.ends(); status != 0 {
				t.Fatalf("status %d:\n%s", status, said)
			}
			p = launch(t, nil, args...)
			right(t, p.up(dir), "after a restart")
		})
	}
}

func right(t *testing.T, e endpoints.Endpoints, when string) {
	t.Helper()
	for _, s := range shops {
		rows, err := ask.Rows[shopNumbers](t.Context(), &ask.Client{URL: e.ClickHouseHTTP}, shopQuery, map[string]string{"p": s.project})
		if err != nil {
			t.Fatal(err)
		}
		if rows[0] != s.want {
			t.Errorf("%s, %s:\n got %+v\nwant %+v", s.project, when, rows[0], s.want)
		}
	}
}

// windowFunnel sorts events of one time by step, so it gets times that no two events of a session share.
const windowFunnelQuery = `
WITH ranked AS (
    SELECT session_id, step, toUInt64(toUnixTimestamp64Milli(occurred_at) * 2048
        + row_number() OVER (PARTITION BY session_id, occurred_at ORDER BY message_id, user_id, anonymous_id) - 1) AS at
    FROM waymark.events
    WHERE project = {p:String} AND session_id IN (SELECT session_id FROM waymark.sessions WHERE project = {p:String} AND NOT runaway AND NOT bot)
)
SELECT
    concat(countIf(buy >= 1), ' ', countIf(buy >= 2), ' ', countIf(buy >= 3), ' ', countIf(buy >= 4)) AS Buy,
    concat(countIf(straight >= 1), ' ', countIf(straight >= 2), ' ', countIf(straight >= 3)) AS Straight
FROM (
    SELECT
        windowFunnel(1000000000000000)(at, step = 'view', step = 'cart_add', step = 'checkout', step = 'purchase') AS buy,
        windowFunnel(1000000000000000)(at, step = 'view', step = 'cart_add', step = 'purchase') AS straight
    FROM ranked
    GROUP BY session_id
)`

// asWindowFunnel compares the stored funnels with ClickHouse's own over the events.
func asWindowFunnel(t *testing.T, e endpoints.Endpoints) {
	t.Helper()
	type funnels struct{ Buy, Straight string }
	for _, s := range shops {
		rows, err := ask.Rows[funnels](t.Context(), &ask.Client{URL: e.ClickHouseHTTP}, windowFunnelQuery, map[string]string{"p": s.project})
		if err != nil {
			t.Fatal(err)
		}
		if want := (funnels{s.want.Buy, s.want.Straight}); rows[0] != want {
			t.Errorf("%s: windowFunnel over the events gives %+v, the stored funnels %+v", s.project, rows[0], want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shuffle writes the rows of a file in another order, the same each time, in which rows of one time keep theirs.
func shuffle(t *testing.T, path, timeColumn string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(unzipped).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := -1
	for i, name := range rows[0] {
		if name == timeColumn {
			column = i
		}
	}
	places := rand.New(rand.NewPCG(7, 7)).Perm(len(rows) - 1)
	var ordered [][]string
	byTime := map[string][][]string{}
	for _, row := range rows[1:] {
		byTime[row[column]] = append(byTime[row[column]], row)
	}
	for _, place := range places { // where the permutation puts any row of a time, the next one of that time goes
		at := rows[1+place][column]
		ordered = append(ordered, byTime[at][0])
		byTime[at] = byTime[at][1:]
	}
	out := filepath.Join(t.TempDir(), "shuffled.csv")
	g, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(g)
	if err := w.WriteAll(append(rows[:1:1], ordered...)); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}
