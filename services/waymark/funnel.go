package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// askFlags are the flags of commands that need a running installation.
type askFlags struct {
	Endpoints string `type:"path" placeholder:"FILE" help:"DIR/endpoints.json of a running \"waymark up\"."`
	configFlags
}

// client reaches the installation's ClickHouse.
func (f askFlags) client(std *stdio) (*ask.Client, error) {
	switch {
	case f.Endpoints != "" && f.Config != "":
		return nil, usagef("--endpoints and --config both name an installation: give one")
	case f.Endpoints != "":
		e, err := endpoints.Read(f.Endpoints)
		if err != nil {
			return nil, usagef("%w", err)
		}
		return &ask.Client{URL: e.ClickHouseHTTP}, nil
	case f.Config != "":
		c, err := f.load(std)
		if err != nil {
			return nil, err
		}
		return askConfigured(c), nil
	}
	return nil, usagef("which installation? --endpoints DIR/endpoints.json of a running \"waymark up\", or --config FILE")
}

type funnelCmd struct {
	Name    string `arg:"" help:"Name of the funnel, as in the configuration: buy is built in."`
	Project string `placeholder:"NAME" help:"Project; needed where several have the funnel."`
	From    string `placeholder:"TIME" help:"Entrants who started at or after this time (2026-11-01, or 2026-11-01T10:00:00Z; in quarters of an hour, UTC)."`
	To      string `placeholder:"TIME" help:"Entrants who started before this time."`
	askFlags
	JSON bool `name:"json" help:"Print one object a line, keys as the columns of the view funnel_steps."`
}

func (funnelCmd) Help() string {
	return `Prints how many entrants (sessions, or persons) reached each step of a funnel, the share of the step before and of all, how many
sessions with a cart were abandoned, and how final the numbers are: an open session can still go on.

Examples:
  waymark funnel buy --endpoints ./data/endpoints.json
  waymark funnel buy --endpoints ./data/endpoints.json --project shop --from 2026-11-01 --to 2026-12-01
  waymark funnel buy --config waymark.yaml --project shop --json

The same in SQL, from any client:
  SELECT step_no, step, sum(reached) FROM waymark.funnel_steps WHERE project = 'shop' AND funnel = 'buy' GROUP BY ALL ORDER BY step_no

Segments (channel, device, country, campaign, app_version) are columns of that view; docs/contract.md explains them all.`
}

// funnelRow is one step, all segments together.
type funnelRow struct {
	Project   string  `json:"project"`
	Funnel    string  `json:"funnel"`
	Scope     string  `json:"scope"`
	StepNo    int     `json:"step_no"`
	Step      string  `json:"step"`
	Reached   int64   `json:"reached"`
	Entrants  int64   `json:"entrants"`
	Optional  bool    `json:"optional"`
	Open      int64   `json:"open"`
	Mature    float64 `json:"mature"`
	Watermark *int64  `json:"watermark"` // ms; null: not known yet
}

// cartRow is how the sessions with a cart ended.
type cartRow struct {
	Carts     int64 `json:"carts"`
	Abandoned int64 `json:"abandoned"`
}

const funnelQuery = `
SELECT project, funnel, scope, step_no, any(s.step) AS step, sum(s.reached) AS reached, sum(s.entrants) AS entrants,
    any(s.optional) AS optional, sum(s.open) AS open, if(entrants + open = 0, 1., entrants / (entrants + open)) AS mature,
    toUnixTimestamp64Milli(min(s.watermark)) AS watermark
FROM waymark.funnel_steps AS s
WHERE funnel = {funnel:String} AND ({project:String} = '' OR project = {project:String})
    AND bucket >= fromUnixTimestamp64Milli({from:Int64}) AND bucket < fromUnixTimestamp64Milli({to:Int64})
GROUP BY project, funnel, scope, step_no
ORDER BY project, scope, step_no`

// Flagged sessions are in no funnel; so they are not in the carts beside it.
const cartQuery = `
SELECT countIf(cart_adds > 0) AS carts, countIf(cart_adds > 0 AND abandoned) AS abandoned
FROM waymark.sessions
WHERE project = {project:String} AND NOT bot AND NOT runaway
    AND started_at >= fromUnixTimestamp64Milli({from:Int64}) AND started_at < fromUnixTimestamp64Milli({to:Int64})`

// Run asks, and prints the answer.
func (c *funnelCmd) Run(ctx context.Context, std *stdio) error {
	client, err := c.client(std)
	if err != nil {
		return err
	}
	from, err := boundary("--from", c.From, 0)
	if err != nil {
		return err
	}
	to, err := boundary("--to", c.To, 253402300799999) // 9999-12-31
	if err != nil {
		return err
	}
	params := map[string]string{"funnel": c.Name, "project": c.Project, "from": fmt.Sprint(from), "to": fmt.Sprint(to)}
	rows, err := ask.Rows[funnelRow](ctx, client, funnelQuery, params)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return c.nothing(ctx, client)
	}
	var projects []string
	for _, r := range rows {
		if len(projects) == 0 || projects[len(projects)-1] != r.Project {
			projects = append(projects, r.Project)
		}
	}
	if c.JSON {
		enc := json.NewEncoder(std.Out)
		enc.SetEscapeHTML(false)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	if len(projects) > 1 {
		return usagef("several projects have the funnel %s: choose with --project: %s", c.Name, strings.Join(projects, ", "))
	}
	params["project"] = rows[0].Project
	carts, err := ask.Rows[cartRow](ctx, client, cartQuery, params)
	if err != nil {
		return err
	}
	return printFunnel(std.Out, rows, carts[0])
}

// nothing explains why there are no numbers.
func (c *funnelCmd) nothing(ctx context.Context, client *ask.Client) error {
	rows, err := ask.Rows[struct {
		Project string `json:"project"`
		Funnel  string `json:"funnel"`
	}](ctx, client, "SELECT DISTINCT project, funnel FROM waymark.funnel_steps ORDER BY ALL LIMIT 1000", nil)
	if err != nil {
		return err
	}
	var funnels, projects []string
	for _, r := range rows {
		funnels = append(funnels, r.Funnel)
		projects = append(projects, r.Project)
		if r.Funnel == c.Name && c.Project == "" {
			return fmt.Errorf("nobody entered funnel %s between --from and --to", c.Name)
		}
	}
	hint := rules.Nearest(c.Name, funnels)
	if c.Project != "" && hint == "" {
		hint = rules.Nearest(c.Project, projects)
	}
	return fmt.Errorf("no numbers for funnel %q%s: nobody entered it yet, or there is no such funnel or project%s", c.Name, of(c.Project), hint)
}

func of(project string) string {
	if project == "" {
		return ""
	}
	return fmt.Sprintf(" of project %q", project)
}

// boundary reads a time of a flag, in ms.
func boundary(flag, text string, absent int64) (int64, error) {
	if text == "" {
		return absent, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, usagef("%s: %q is no time: expected 2026-11-01 or 2026-11-01T10:00:00Z", flag, text)
}

// printFunnel writes the table and what stands under it. REQUIRES: rows of one project, sorted by scope and step.
func printFunnel(w io.Writer, rows []funnelRow, carts cartRow) error {
	var b strings.Builder
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Scope == rows[0].Scope {
			n++
		}
		funnelTable(&b, rows[:n])
		rows = rows[n:]
	}
	if carts.Carts > 0 {
		fmt.Fprintf(&b, "\n%d sessions with a cart, %d abandoned (%s)\n", carts.Carts, carts.Abandoned, percent(carts.Abandoned, carts.Carts))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func funnelTable(b *strings.Builder, rows []funnelRow) {
	first := rows[0]
	fmt.Fprintf(b, "Funnel %s of project %s, by %s\n\n", first.Funnel, first.Project, first.Scope)
	names, width := make([]string, len(rows)), len("step")
	for i, r := range rows {
		names[i] = fmt.Sprintf("%d %s", r.StepNo, r.Step)
		if r.Optional {
			names[i] += " (optional)"
		}
		width = max(width, utf8.RuneCountInString(names[i]))
	}
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "%-*s\treached\tof the step before\tof all\t\n", width, "step")
	before := first.Reached
	for i, r := range rows {
		name := fmt.Sprintf("%-*s", width, names[i])
		step := percent(r.Reached, before)
		if r.StepNo == 1 {
			step = ""
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t\n", name, r.Reached, step, percent(r.Reached, first.Reached))
		if !r.Optional {
			before = r.Reached
		}
	}
	_ = tw.Flush() // a strings.Builder takes everything
	switch {
	case first.Open > 0:
		fmt.Fprintf(b, "\n%d more can still change: %.1f %% of the numbers are final", first.Open, 100*first.Mature)
	default:
		fmt.Fprint(b, "\nAll numbers are final")
	}
	if first.Watermark != nil {
		fmt.Fprintf(b, ", complete up to %s", time.UnixMilli(*first.Watermark).UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	b.WriteString(".\n")
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}
