package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
	"github.com/waymark-analytics/waymark/services/waymark/internal/shop"
)

// startUp starts an installation of its own and waits until it answers.
func startUp(t *testing.T, dir string) (*program, endpoints.Endpoints) {
	t.Helper()
	p := launch(t, nil, "up", "--dir", dir, "--port-base", "0")
	return p, p.up(dir)
}

// mustCall runs a command that must succeed.
func mustCall(t *testing.T, args ...string) (out string) {
	t.Helper()
	status, out, errs := call(t, args...)
	if status != 0 {
		t.Fatalf("%s: status %d:\n%s%s", strings.Join(args, " "), status, out, errs)
	}
	return out
}

const truthQuery = `
SELECT (SELECT count() FROM waymark.events WHERE project = {p:String}) AS applied,
    (SELECT count() FROM waymark.events_too_late WHERE project = {p:String}) AS too_late,
    (SELECT uniqExact(person) FROM waymark.events WHERE project = {p:String}) AS all_persons,
    count() AS all_sessions, countIf(events = 1) AS single, countIf(bot) AS bots, countIf(runaway) AS runaways,
    countIf(cart_adds > 0 AND NOT bot AND NOT runaway) AS carts, countIf(abandoned AND NOT bot AND NOT runaway) AS lost,
    sumIf(orders, NOT bot AND NOT runaway) AS all_orders, toInt64(sumIf(revenue['EUR'], NOT bot AND NOT runaway)) AS all_revenue,
    (SELECT sumIf(reached, step_no = 1) FROM waymark.funnel_steps WHERE project = {p:String} AND funnel = 'buy') AS views,
    (SELECT sumIf(reached, step_no = 2) FROM waymark.funnel_steps WHERE project = {p:String} AND funnel = 'buy') AS adds,
    (SELECT sumIf(reached, step_no = 3) FROM waymark.funnel_steps WHERE project = {p:String} AND funnel = 'buy') AS checkouts,
    (SELECT sumIf(reached, step_no = 4) FROM waymark.funnel_steps WHERE project = {p:String} AND funnel = 'buy') AS purchases
FROM waymark.sessions WHERE project = {p:String}`

type truthRow struct {
	Applied   int   `json:"applied"`
	TooLate   int   `json:"too_late"`
	Persons   int   `json:"all_persons"`
	Sessions  int   `json:"all_sessions"`
	Single    int   `json:"single"`
	Bots      int   `json:"bots"`
	Runaways  int   `json:"runaways"`
	Carts     int   `json:"carts"`
	Lost      int   `json:"lost"`
	Orders    int   `json:"all_orders"`
	Revenue   int64 `json:"all_revenue"`
	Views     int   `json:"views"`
	Adds      int   `json:"adds"`
	Checkouts int   `json:"checkouts"`
	Purchases int   `json:"purchases"`
}

// equalsTruth compares a project's views with a simulator's truth file.
func equalsTruth(t *testing.T, e endpoints.Endpoints, project, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var truth shop.Truth
	if err := json.Unmarshal(text, &truth); err != nil {
		t.Fatal(err)
	}
	rows, err := ask.Rows[truthRow](t.Context(), &ask.Client{URL: e.ClickHouseHTTP}, truthQuery, map[string]string{"p": project})
	if err != nil {
		t.Fatal(err)
	}
	want := truthRow{
		truth.Applied, truth.TooLate, truth.Persons, truth.Sessions, truth.Single, truth.Bot, truth.Runaway, truth.WithCart, truth.Abandoned,
		truth.Orders, truth.Revenue, truth.Funnel[0], truth.Funnel[1], truth.Funnel[2], truth.Funnel[3],
	}
	if rows[0] != want {
		t.Errorf("project %s:\n got %+v\nwant %+v", project, rows[0], want)
	}
}

// Traffic sent as senders do, exported and imported elsewhere gives the same events and sessions, and both are the truth.
func TestExportedEventsGiveTheSameRows(t *testing.T) {
	needEngine(t)
	first, second, files := t.TempDir(), t.TempDir(), t.TempDir()
	_, a := startUp(t, first)
	truth, exported := filepath.Join(files, "truth.json"), filepath.Join(files, "events.ndjson")
	mustCall(t, "simulate", "--seed", "5", "--persons", "400", "--days", "3", "--endpoints", first, "--truth", truth)
	// An import without rows closes what is open.
	write(t, filepath.Join(files, "none.csv"), "at,who,what\n")
	write(t, filepath.Join(files, "none.yaml"), "project: default\ntime: at\nuser_id: who\nname: what\n")
	mustCall(t, "import", filepath.Join(files, "none.csv"), "--mapping", filepath.Join(files, "none.yaml"), "--endpoints", first, "--wait")
	equalsTruth(t, a, "default", truth)

	mustCall(t, "export", "--endpoints", first, "-o", exported)
	_, b := startUp(t, second)
	mustCall(t, "import", exported, "--format", "event", "--endpoints", second, "--wait")
	equalsTruth(t, b, "default", truth)
	for _, view := range []string{"events", "sessions"} {
		query := "SELECT count() AS n, toString(sum(sipHash64(*))) AS hash FROM (SELECT * FROM waymark." + view + ")"
		type sum struct {
			N    int64  `json:"n"`
			Hash string `json:"hash"`
		}
		x, err := ask.Rows[sum](t.Context(), &ask.Client{URL: a.ClickHouseHTTP}, query, nil)
		if err != nil {
			t.Fatal(err)
		}
		y, err := ask.Rows[sum](t.Context(), &ask.Client{URL: b.ClickHouseHTTP}, query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if x[0] != y[0] || x[0].N == 0 {
			t.Errorf("%s: %+v was exported, %+v came of the import", view, x[0], y[0])
		}
	}
	table := mustCall(t, "export", "--endpoints", first, "--format", "csv")
	if lines := strings.Count(table, "\n"); lines < 1000 || !strings.HasPrefix(table, "project,source,message_id,person,") {
		t.Errorf("the table has %d lines and begins with %.60s", lines, table)
	}
}

// Events that arrive out of order, twice, or too late are judged as they should be where the order of arrival is kept; sorted by
// time, none is too late.
func TestArrivalOrderDecidesWhatIsTooLate(t *testing.T) {
	needEngine(t)
	dir, files := t.TempDir(), t.TempDir()
	_, e := startUp(t, dir)
	file, truth := filepath.Join(files, "shop.ndjson"), filepath.Join(files, "truth.json")
	mustCall(t, "simulate", "--seed", "9", "--persons", "1500", "--too-late", "0.3", "--late", "0.1", "--project", "late", "-o", file, "--truth", truth)
	mustCall(t, "import", file, "--format", "event", "--as-is", "--endpoints", dir, "--wait")
	equalsTruth(t, e, "late", truth)
}

func TestDemoFiguresEqualTheTruth(t *testing.T) {
	needEngine(t)
	out := mustCall(t, "demo", "--once", "--persons", "700", "--port-base", "0")
	for _, want := range []string{"Funnel buy", "cart abandonment", "planted drop-off", "checked against the simulator's truth: equal"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
}

// The installation is killed again and again, now and then together with the import, which is started anew each time, and once
// more after its end: the numbers are those of an undisturbed run.
func TestImportSurvivesKills(t *testing.T) {
	needEngine(t)
	dir, files := t.TempDir(), t.TempDir()
	file, truth := filepath.Join(files, "shop.ndjson"), filepath.Join(files, "truth.json")
	mustCall(t, "simulate", "--seed", "11", "--persons", "6000", "--too-late", "0.05", "--project", "killed", "-o", file, "--truth", truth)
	bring := []string{"import", file, "--format", "event", "--as-is", "--endpoints", filepath.Join(dir, endpoints.Name), "--wait"}
	server, _ := startUp(t, dir)
	client := launch(t, nil, bring...)
	for round := range 5 {
		if waitEnds(client, time.Duration(300+400*round)*time.Millisecond) {
			client = launch(t, nil, bring...)
		}
		server.signal(syscall.SIGKILL)
		if round%2 == 1 {
			client.signal(syscall.SIGKILL)
			client = launch(t, nil, bring...)
		}
		server, _ = startUp(t, dir)
	}
	if status, said := client.ends(); status != 0 {
		t.Fatalf("import: status %d:\n%s", status, said)
	}
	e, err := endpoints.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	equalsTruth(t, e, "killed", truth)
	mustCall(t, bring...)
	equalsTruth(t, e, "killed", truth)
	rows, err := ask.Rows[struct {
		N int64 `json:"n"`
	}](t.Context(), &ask.Client{URL: e.ClickHouseHTTP}, "SELECT count() AS n FROM waymark.refused", nil)
	if err != nil || rows[0].N != 0 {
		t.Errorf("refused: %v %v", rows, err)
	}
}

// waitEnds waits for a program for a while, and says whether it ended.
func waitEnds(p *program, within time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

func TestImportSaysWhatIsWrongWithItsUse(t *testing.T) {
	dir := t.TempDir()
	data, mapping := filepath.Join(dir, "a.csv"), filepath.Join(dir, "m.yaml")
	write(t, data, "at,who,what\n1,u,x\n")
	write(t, mapping, "project: p\ntime: at\nuser: who\nname: what\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{data}, "--mapping"},
		{[]string{data, "--mapping", mapping, "--endpoints", dir}, `user: unknown key; did you mean "user_id"?`},
		{[]string{data, "--format", "events", "--endpoints", dir}, `--format events`},
		{[]string{data, "--format", "event"}, "--endpoints"},
		{[]string{filepath.Join(dir, "no.csv"), "--format", "event", "--endpoints", dir}, "no.csv"},
		{[]string{dir, "--format", "event", "--endpoints", dir}, "is a folder"},
		{[]string{data, "--format", "event", "--mapping", mapping, "--endpoints", dir}, "needs no mapping"},
	} {
		status, _, errs := call(t, append([]string{"import"}, c.args...)...)
		if status != statusUsage || !strings.Contains(errs, c.want) {
			t.Errorf("import %v: status %d: %s\nwant %s", c.args, status, errs, c.want)
		}
	}
	for _, args := range [][]string{
		{"simulate"},
		{"simulate", "-o", "x", "--drop", "view"},
		{"simulate", "-o", "x", "--until", "now"},
		{"simulate", "-o", "x", "--rate", "5"},
		{"simulate", "--endpoints", dir, "-o", "x"},
	} {
		if status, _, errs := call(t, args...); status != statusUsage {
			t.Errorf("%v: status %d: %s", args, status, errs)
		}
	}
}

func TestProgressIsPlainWithoutTerminal(t *testing.T) {
	var out strings.Builder
	now := time.UnixMilli(0)
	p := newProgress(&stdio{Err: &out})
	p.now = func() time.Time { return now }
	for s := range 31 {
		now = time.UnixMilli(int64(s) * 1000)
		p.show("sending", int64(s*100), 3000, "rows")
	}
	p.end()
	const want = "sending: 33%"
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], want) || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	p = newProgress(&stdio{Err: &out, Terminal: true})
	p.show("sending", 1500, 3000, "rows")
	p.line("a %s", "note")
	p.show("sending", 3000, 3000, "rows")
	if text := out.String(); strings.Count(text, "\r") < 3 || !strings.HasSuffix(text, "3,000 of 3,000 rows\n") || !strings.Contains(text, "a note\n") {
		t.Errorf("%q", fmt.Sprint(text))
	}
}
