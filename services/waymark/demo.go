package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
	"github.com/waymark-analytics/waymark/services/waymark/internal/importer"
	"github.com/waymark-analytics/waymark/services/waymark/internal/shop"
)

type demoCmd struct {
	Dir     string  `type:"path" placeholder:"DIR" help:"Folder of the installation (waymark-demo; with --once one that goes again). A second start on it goes on."`
	Once    bool    `help:"End after the figures; status 0 only if all of them equal the truth."`
	Persons int     `default:"6000" placeholder:"N" help:"People of the shop's past."`
	Days    int     `default:"7" placeholder:"D" help:"Days of the shop's past."`
	Seed    uint64  `default:"1" placeholder:"N" help:"Another seed, another shop."`
	Rate    float64 `default:"5" placeholder:"EV/S" help:"Live traffic afterwards; 0: none."`
	upFlags
}

func (demoCmd) Help() string {
	return `Runs everything on this machine and a simulated shop on it: a week of its past, with late and repeated events, programs, orders that
are reported twice and a planted drop-off; then a little live traffic. Prints the funnel and the abandoned carts, and compares every
figure with the truth, which the simulator works out by a program of its own.

Ctrl-C stops; a second start on the folder goes on where it was.

Examples:
  waymark demo
  waymark demo --once          a check of this machine: status 0 only if every figure equals the truth
  waymark demo --dir ./shop --persons 50000 --days 30 --rate 50`
}

// demoState is what a second start on the folder must know of the shop.
type demoState struct {
	Seed    uint64    `json:"seed"`
	Persons int       `json:"persons"`
	Days    int       `json:"days"`
	Until   time.Time `json:"until"`
}

// Run is the demonstration.
func (c *demoCmd) Run(ctx context.Context, std *stdio) (err error) {
	dir := c.Dir
	switch {
	case dir == "" && c.Once:
		if dir, err = os.MkdirTemp("", "waymark-demo-"); err != nil {
			return fmt.Errorf("folder of the demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	case dir == "":
		dir = "waymark-demo"
	}
	style := styleOf(std)
	fmt.Fprintf(std.Err, "%sWaymark%s  starting broker, database and services in %s\n", style.bold, style.plain, dir)
	began := time.Now()
	in, err := c.start(ctx, dir, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Stop(ctx)) }()
	d := &demo{cmd: c, in: in, std: std, style: style, client: &ask.Client{URL: in.Endpoints.ClickHouseHTTP}}
	d.project = d.projectOfKey()
	if err := d.open(); err != nil {
		return err
	}
	fmt.Fprintf(std.Err, "%sup after %.1f s%s; now %d days of a shop with %s people\n", style.dim, time.Since(began).Seconds(), style.plain,
		d.state.Days, thousands(int64(d.state.Persons)))
	if err := d.past(ctx); err != nil {
		return stopped(ctx, err)
	}
	wrong, err := d.figures(ctx)
	if err != nil {
		return stopped(ctx, err)
	}
	if c.Once {
		return wrong
	}
	d.next()
	if err := d.live(ctx); err != nil {
		return err
	}
	fmt.Fprintf(std.Err, "\nwaymark: stopping; the next start goes on: waymark demo --dir %s\n", dir)
	return wrong
}

// stopped tells an interruption from a failure.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; a second start on the folder goes on")
	}
	return err
}

type demo struct {
	cmd     *demoCmd
	in      *installation
	std     *stdio
	style   style
	client  *ask.Client
	project string
	state   demoState
	truth   shop.Truth
}

// projectOfKey is the project that the write key writes to.
func (d *demo) projectOfKey() string {
	for _, p := range d.in.projects() {
		for _, s := range p.Sources {
			if s.WriteKey.Reveal() == d.in.Endpoints.WriteKey {
				return p.Name
			}
		}
	}
	return defaultProject
}

// open makes or finds the shop of this folder.
func (d *demo) open() error {
	path := d.in.home.Path("demo.json")
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &d.state)
	}
	if errors.Is(err, fs.ErrNotExist) {
		d.state = demoState{Seed: d.cmd.Seed, Persons: d.cmd.Persons, Days: d.cmd.Days, Until: time.Now().UTC().Truncate(15 * time.Minute)}
		if err = d.config().Validate(); err != nil {
			return usagef("%w", err)
		}
		if text, err = json.Marshal(d.state); err == nil {
			err = endpoints.WriteFile(path, append(text, '\n'))
		}
	}
	if err != nil {
		return fmt.Errorf("shop of the demo: %w", err)
	}
	return nil
}

func (d *demo) config() shop.Config {
	cfg := shop.DefaultConfig()
	cfg.Seed, cfg.Persons, cfg.Days, cfg.Until, cfg.Project = d.state.Seed, d.state.Persons, d.state.Days, d.state.Until, d.project
	// A quarter of the days before the end, in whole quarters of an hour: so the roll-ups tell before from after.
	from := cfg.Until.Add(-time.Duration(cfg.Days) * 6 * time.Hour)
	cfg.Drop = &shop.Drop{Step: "purchase", Device: "mobile", From: from, Factor: 0.35}
	return cfg
}

// past imports the shop's past, in the order of its arrival.
func (d *demo) past(ctx context.Context) (err error) {
	traffic, err := shop.Make(d.config())
	if err != nil {
		return err
	}
	d.truth = traffic.Truth()
	file := d.in.home.Path("demo.ndjson")
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	if err := writeTraffic(traffic, file, d.std); err != nil {
		return err
	}
	show := newProgress(d.std)
	defer show.end()
	e := d.in.Endpoints
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() { // a part that cannot go on ends the wait for it
		select {
		case err := <-d.in.Failed():
			cancel(err)
		case <-done:
		}
	}()
	_, err = importer.Run(ctx, importer.Config{
		Files: []string{file}, Format: importer.Events, AsIs: true, Wait: true, MaxBad: 1, GiveUp: time.Minute,
		Journals: d.in.home.Path("imports"), TempDir: d.in.home.Dir,
	}, importer.Deps{
		Find: func() (importer.Target, error) {
			return importer.Target{Collector: e.Collector, ClickHouse: e.ClickHouseHTTP, ImportKey: e.ImportKey}, nil
		},
		HTTP: &http.Client{Transport: transport}, Now: time.Now,
		Progress: func(phase importer.Phase, n, of int64) {
			switch phase {
			case importer.Reading: // of a file of our own, in a moment
			case importer.Sending:
				show.show("streaming", n, of, "events")
			case importer.Waiting:
				show.show("counting", n, of, "records")
			}
		},
		Notice: func(text string) { show.line("%s", text) },
		Bad:    func(b importer.Bad) { show.line("%s:%d: %s: %s", b.File, b.Line, b.Reason, b.Detail) },
	})
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// figures prints the funnel and compares every figure with the truth; wrong names those that differ.
func (d *demo) figures(ctx context.Context) (wrong, err error) {
	params := map[string]string{"funnel": "buy", "project": d.project, "from": "0", "to": strconv.FormatInt(d.state.Until.UnixMilli(), 10)}
	rows, err := ask.Rows[funnelRow](ctx, d.client, funnelQuery, params)
	if err != nil {
		return nil, err
	}
	carts, err := ask.Rows[cartRow](ctx, d.client, cartQuery, params)
	if err != nil {
		return nil, err
	}
	if len(rows) > 0 && len(carts) > 0 {
		d.bars(rows)
		fmt.Fprintf(d.std.Out, "  cart abandonment %s%s%s: %s of %s sessions with a cart\n\n", d.style.bold, percent(carts[0].Abandoned, carts[0].Carts),
			d.style.plain, thousands(carts[0].Abandoned), thousands(carts[0].Carts))
	}
	if err := d.dropped(ctx); err != nil {
		return nil, err
	}
	told, err := d.told(ctx, rows, carts)
	if err != nil {
		return nil, err
	}
	var differ []string
	for _, f := range told {
		if f.told != f.truth {
			differ = append(differ, fmt.Sprintf("%s: %d, in truth %d", f.name, f.told, f.truth))
		}
	}
	if len(differ) > 0 {
		fmt.Fprintf(d.std.Out, "  checked against the simulator's truth: %sNOT equal%s\n    %s\n", d.style.red, d.style.plain, strings.Join(differ, "\n    "))
		return fmt.Errorf("%d of %d figures differ from the simulator's truth", len(differ), len(told)), nil
	}
	fmt.Fprintf(d.std.Out, "  checked against the simulator's truth: %sequal%s (%d figures; %s events, %s sent twice, %s sessions, %s of programs)\n",
		d.style.green, d.style.plain, len(told), thousands(int64(d.truth.Applied)), thousands(int64(d.truth.Again)),
		thousands(int64(d.truth.Sessions)), thousands(int64(d.truth.Bot+d.truth.Runaway)))
	return nil, nil
}

// bars draws the funnel.
func (d *demo) bars(rows []funnelRow) {
	const width = 36
	first := max(rows[0].Reached, 1)
	fmt.Fprintf(d.std.Out, "\n  %sFunnel buy%s, by session\n\n", d.style.bold, d.style.plain)
	before := int64(0)
	for _, r := range rows {
		n := int(r.Reached * width / first)
		share := ""
		if before > 0 {
			share = "  " + percent(r.Reached, before) + " of the step before"
		}
		fmt.Fprintf(d.std.Out, "  %-10s %s%s%s%s  %s%s\n", r.Step, d.style.cyan, strings.Repeat(d.style.full, n), d.style.plain,
			strings.Repeat(" ", width-n), padLeft(thousands(r.Reached), 7), share)
		before = r.Reached
	}
	fmt.Fprintln(d.std.Out)
}

const dropQuery = `
SELECT step_no, sumIf(reached, bucket < fromUnixTimestamp64Milli({at:Int64})) AS before,
    sumIf(reached, bucket >= fromUnixTimestamp64Milli({at:Int64})) AS after
FROM waymark.funnel_steps
WHERE project = {project:String} AND funnel = 'buy' AND device = {device:String} AND bucket < fromUnixTimestamp64Milli({to:Int64})
GROUP BY step_no ORDER BY step_no`

type dropRow struct {
	StepNo int   `json:"step_no"`
	Before int64 `json:"before"`
	After  int64 `json:"after"`
}

func (d *demo) dropRows(ctx context.Context) ([]dropRow, error) {
	return ask.Rows[dropRow](ctx, d.client, dropQuery, map[string]string{
		"project": d.project, "device": d.truth.Drop.Device, "at": strconv.FormatInt(d.truth.Drop.From, 10),
		"to": strconv.FormatInt(d.state.Until.UnixMilli(), 10),
	})
}

// dropped shows the planted drop-off.
func (d *demo) dropped(ctx context.Context) error {
	rows, err := d.dropRows(ctx)
	if err != nil || len(rows) < 4 {
		return err
	}
	checkout, purchase := rows[2], rows[3]
	fmt.Fprintf(d.std.Out, "  planted drop-off: since %s, checkout -> purchase on %s fell from %s to %s%s%s\n",
		time.UnixMilli(d.truth.Drop.From).UTC().Format("Mon 02 Jan 15:04 UTC"), d.truth.Drop.Device,
		percent(purchase.Before, checkout.Before), d.style.red, percent(purchase.After, checkout.After), d.style.plain)
	return nil
}

type figure struct {
	name        string
	told, truth int64
}

const toldQuery = `
SELECT (SELECT count() FROM waymark.events WHERE project = {project:String} AND occurred_at < fromUnixTimestamp64Milli({to:Int64})) AS all_events,
    (SELECT uniqExact(person) FROM waymark.events WHERE project = {project:String} AND occurred_at < fromUnixTimestamp64Milli({to:Int64})) AS all_persons,
    count() AS sessions, countIf(events = 1) AS single, countIf(bot) AS bots, countIf(runaway) AS runaways,
    sumIf(orders, NOT bot AND NOT runaway) AS orders, toInt64(sumIf(revenue['EUR'], NOT bot AND NOT runaway)) AS revenue
FROM waymark.sessions
WHERE project = {project:String} AND started_at < fromUnixTimestamp64Milli({to:Int64})`

// told is every figure of the views beside its truth.
func (d *demo) told(ctx context.Context, funnel []funnelRow, carts []cartRow) ([]figure, error) {
	type row struct {
		Events   int64 `json:"all_events"`
		Persons  int64 `json:"all_persons"`
		Sessions int64 `json:"sessions"`
		Single   int64 `json:"single"`
		Bots     int64 `json:"bots"`
		Runaways int64 `json:"runaways"`
		Orders   int64 `json:"orders"`
		Revenue  int64 `json:"revenue"`
	}
	rows, err := ask.Rows[row](ctx, d.client, toldQuery, map[string]string{"project": d.project, "to": strconv.FormatInt(d.state.Until.UnixMilli(), 10)})
	if err != nil {
		return nil, err
	}
	var r row
	if len(rows) > 0 {
		r = rows[0]
	}
	if len(carts) == 0 {
		carts = []cartRow{{}}
	}
	t := d.truth
	out := []figure{
		{"events", r.Events, int64(t.Applied)},
		{"persons", r.Persons, int64(t.Persons)},
		{"sessions", r.Sessions, int64(t.Sessions)},
		{"sessions of one event", r.Single, int64(t.Single)},
		{"sessions of programs", r.Bots, int64(t.Bot)},
		{"runaway sessions", r.Runaways, int64(t.Runaway)},
		{"orders", r.Orders, int64(t.Orders)},
		{"revenue", r.Revenue, t.Revenue},
		{"sessions with a cart", carts[0].Carts, int64(t.WithCart)},
		{"abandoned", carts[0].Abandoned, int64(t.Abandoned)},
	}
	reached := make([]int64, len(t.Funnel)) // a step that nobody reached has no row
	for _, r := range funnel {
		if r.StepNo >= 1 && r.StepNo <= len(reached) {
			reached[r.StepNo-1] = r.Reached
		}
	}
	for k, n := range t.Funnel {
		out = append(out, figure{fmt.Sprintf("funnel step %d", k+1), reached[k], int64(n)})
	}
	drops, err := d.dropRows(ctx)
	if err != nil {
		return nil, err
	}
	var before, after [4]int64
	for _, r := range drops {
		if r.StepNo >= 1 && r.StepNo <= len(before) {
			before[r.StepNo-1], after[r.StepNo-1] = r.Before, r.After
		}
	}
	for k := range before {
		out = append(out, figure{fmt.Sprintf("funnel step %d before the drop-off", k+1), before[k], int64(t.Drop.Before[k])},
			figure{fmt.Sprintf("funnel step %d after the drop-off", k+1), after[k], int64(t.Drop.After[k])})
	}
	return out, nil
}

// next says where to look now.
func (d *demo) next() {
	file := filepath.Join(d.in.home.Dir, endpoints.Name)
	e := d.in.Endpoints
	fmt.Fprintf(d.std.Out, `
  %[1]sWhere to look next%[2]s
    the funnel        %[10]s funnel buy --project %[3]s --endpoints %[4]s
    by device, SQL    curl '%[5]s/?query=SELECT+device,step,sum(reached)+FROM+waymark.funnel_steps+GROUP+BY+ALL+ORDER+BY+ALL+FORMAT+PrettyCompact'
    who is here now   curl '%[5]s/?query=SELECT+person,device,country,events,steps+FROM+waymark.sessions_open+FORMAT+PrettyCompact'
    send an event     curl -u %[6]s: %[7]s/v1/track -d '{"userId": "me", "event": "Product Viewed", "properties": {"product_id": "sku-1"}}'
    status, metrics   %[8]s   %[9]s/metrics

`, d.style.bold, d.style.plain, d.project, file, e.ClickHouseHTTP, e.WriteKey, e.Collector, e.Console, e.Metrics, os.Args[0])
}

// live sends a little traffic until the context ends or a part cannot go on.
func (d *demo) live(ctx context.Context) error {
	if d.cmd.Rate <= 0 {
		fmt.Fprintln(d.std.Err, "Ctrl-C stops.")
		return d.in.wait(ctx)
	}
	start := time.Now()
	cfg := shop.DefaultConfig()
	cfg.Seed, cfg.Project, cfg.Prefix = uint64(start.UnixNano()), d.project, "live"
	l, err := shop.NewLive(cfg, start, d.cmd.Rate)
	if err != nil {
		return usagef("%w", err)
	}
	fmt.Fprintf(d.std.Err, "live traffic of about %v events/s goes on; Ctrl-C stops\n", d.cmd.Rate)
	s := &sender{http: &http.Client{Timeout: 30 * time.Second}, giveUp: time.Minute, find: func() (string, string, error) {
		return d.in.Endpoints.Collector, d.in.Endpoints.WriteKey, nil
	}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := stream(ctx, l, s)
		ended <- err
	}()
	select {
	case err = <-ended:
	case err = <-d.in.Failed():
		cancel()
		err = errors.Join(err, <-ended)
	}
	s.http.CloseIdleConnections()
	return err
}

// style is how text looks: on a terminal in colours, elsewhere plain.
type style struct{ bold, dim, cyan, green, red, plain, full string }

func styleOf(std *stdio) style {
	if !std.Terminal || !outIsTerminal(std.Out) {
		return style{full: "#"}
	}
	return style{bold: "\x1b[1m", dim: "\x1b[2m", cyan: "\x1b[36m", green: "\x1b[32m", red: "\x1b[31m", plain: "\x1b[0m", full: "\u2588"}
}

func outIsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}
