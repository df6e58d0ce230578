package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
	"github.com/waymark-analytics/waymark/services/waymark/internal/importer"
)

type exportCmd struct {
	Project string `placeholder:"NAME" help:"Project; needed where there are several."`
	From    string `placeholder:"TIME" help:"Events that occurred at or after this time (2026-11-01, or 2026-11-01T10:00:00Z)."`
	To      string `placeholder:"TIME" help:"Events that occurred before this time."`
	Format  string `default:"event-ndjson" enum:"event-ndjson,csv" help:"event-ndjson, which import --format event takes, or csv: the columns of the view events."`
	Output  string `short:"o" type:"path" placeholder:"FILE" help:"File to write; default: standard output."`
	askFlags
}

func (exportCmd) Help() string {
	return `Writes the applied events of a project in the order of time: normalised, one JSON object a line. What is exported can be imported
again, into another installation too, and gives the same rows: message ids, times of receipt and steps are kept.

Examples:
  waymark export --project shop --endpoints ./data/endpoints.json -o shop.ndjson
  waymark import shop.ndjson --format event --endpoints ./other/endpoints.json --wait
  waymark export --project shop --from 2026-11-01 --to 2026-12-01 --format csv --endpoints ./data/endpoints.json > november.csv

Events that were too late to be applied are in the view events_too_late and not in an export.`
}

// exported is a row of the view events. The numbers that were not sent are told by given.
type exported struct {
	Project        string   `json:"project"`
	Source         string   `json:"source"`
	MessageID      string   `json:"message_id"`
	Name           string   `json:"name"`
	Step           string   `json:"step"`
	Channel        string   `json:"channel"`
	AnonymousID    string   `json:"anonymous_id"`
	UserID         string   `json:"user_id"`
	OccurredAt     int64    `json:"occurred"`
	ReceivedAt     int64    `json:"received"`
	URL            string   `json:"url"`
	Path           string   `json:"path"`
	Title          string   `json:"title"`
	Referrer       string   `json:"referrer"`
	ProductID      string   `json:"product_id"`
	Price          int64    `json:"price"`
	Quantity       int64    `json:"quantity"`
	Currency       string   `json:"currency"`
	CartID         string   `json:"cart_id"`
	OrderID        string   `json:"order_id"`
	Revenue        int64    `json:"revenue"`
	Coupon         string   `json:"coupon"`
	Products       string   `json:"products"`
	Campaign       string   `json:"campaign"`
	CampaignSource string   `json:"campaign_source"`
	CampaignMedium string   `json:"campaign_medium"`
	Device         string   `json:"device"`
	OS             string   `json:"os"`
	Browser        string   `json:"browser"`
	Country        string   `json:"country"`
	AppVersion     string   `json:"app_version"`
	LoadTime       int64    `json:"load_time"`
	Bot            bool     `json:"bot"`
	Given          []string `json:"given"`
	Flags          []string `json:"flags"`
	Properties     string   `json:"properties"`
	Commerce       string   `json:"commerce"`
	Context        string   `json:"context"`
}

// exportColumns are the columns of a CSV file, as they are named in the view.
var exportColumns = []string{
	"project", "source", "message_id", "person", "anonymous_id", "user_id", "session_id", "name", "step", "channel", "occurred_at",
	"received_at", "url", "path", "title", "referrer", "product_id", "price", "quantity", "currency", "cart_id", "order_id", "revenue",
	"coupon", "products", "campaign", "campaign_source", "campaign_medium", "device", "os", "browser", "country", "app_version",
	"load_time", "bot", "flags", "properties", "commerce", "context",
}

// Run writes the events, some hours of them after the other, so that nobody has to hold or sort all of them.
func (c *exportCmd) Run(ctx context.Context, std *stdio) (err error) {
	client, err := c.client(std)
	if err != nil {
		return err
	}
	from, to, err := c.span()
	if err != nil {
		return err
	}
	project, err := c.project(ctx, client)
	if err != nil {
		return err
	}
	params := map[string]string{"project": project, "from": strconv.FormatInt(from, 10), "to": strconv.FormatInt(to, 10)}
	spans, total, err := exportSpans(ctx, client, params, from, to)
	if err != nil {
		return err
	}
	out, finish, err := c.open(std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish(err == nil)) }()
	w := bufio.NewWriterSize(out, 1<<16)
	done := int64(0)
	write := c.writer(w)
	show := newProgress(std)
	defer show.end()
	for _, span := range spans {
		params["from"], params["to"] = strconv.FormatInt(span[0], 10), strconv.FormatInt(span[1], 10)
		n, err := write(ctx, client, params)
		if err != nil {
			return err
		}
		done += n
		if c.Output != "" {
			show.show("exporting", min(done, total), total, "events")
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	show.end()
	fmt.Fprintf(std.Err, "exported %s events of project %s\n", thousands(done), project)
	return nil
}

const (
	hour          = int64(3_600_000)
	eventsAtATime = 50_000
)

// exportSpans cuts the time into spans of whole hours with about as many events as are held at a time.
func exportSpans(ctx context.Context, client *ask.Client, params map[string]string, from, to int64) (spans [][2]int64, total int64, err error) {
	type busy struct {
		Hour   int64 `json:"hour"`
		Events int64 `json:"n"`
	}
	hours, err := ask.Rows[busy](ctx, client, `SELECT intDiv(toUnixTimestamp64Milli(occurred_at), 3600000) AS hour, count() AS n FROM waymark.events
WHERE project = {project:String} AND toUnixTimestamp64Milli(occurred_at) >= {from:Int64} AND toUnixTimestamp64Milli(occurred_at) < {to:Int64}
GROUP BY hour ORDER BY hour`, params)
	if err != nil {
		return nil, 0, err
	}
	held := int64(eventsAtATime)
	for _, h := range hours {
		if held+h.Events > eventsAtATime {
			spans, held = append(spans, [2]int64{max(from, h.Hour*hour), 0}), 0
		}
		held += h.Events
		total += h.Events
		spans[len(spans)-1][1] = min(to, (h.Hour+1)*hour)
	}
	return spans, total, nil
}

func (c *exportCmd) span() (from, to int64, err error) {
	from, to = 0, 253_402_300_800_000
	for _, bound := range []struct {
		flag, text string
		dst        *int64
	}{{"--from", c.From, &from}, {"--to", c.To, &to}} {
		if bound.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, bound.text)
		if err != nil {
			t, err = time.Parse(time.DateOnly, bound.text)
		}
		if err != nil {
			return 0, 0, usagef("%s %s: expected a time as 2026-11-01 or 2026-11-01T10:00:00Z", bound.flag, bound.text)
		}
		*bound.dst = t.UnixMilli()
	}
	return from, to, nil
}

// project is the one asked for, or the only one.
func (c *exportCmd) project(ctx context.Context, client *ask.Client) (string, error) {
	if c.Project != "" {
		return c.Project, nil
	}
	type named struct {
		Project string `json:"project"`
	}
	rows, err := ask.Rows[named](ctx, client, "SELECT DISTINCT project FROM waymark.events ORDER BY project", nil)
	if err != nil {
		return "", err
	}
	switch len(rows) {
	case 0:
		return "", errors.New("there are no events yet")
	case 1:
		return rows[0].Project, nil
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.Project)
	}
	return "", usagef("which project? --project, one of %s", strings.Join(names, ", "))
}

// open is where the export goes. A file gets its name when it is whole.
func (c *exportCmd) open(std *stdio) (out io.Writer, finish func(whole bool) error, err error) {
	if c.Output == "" || filepath.Base(c.Output) == "-" {
		return std.Out, func(bool) error { return nil }, nil
	}
	f, err := os.CreateTemp(filepath.Dir(c.Output), "."+filepath.Base(c.Output)+"-*")
	if err != nil {
		return nil, nil, fmt.Errorf("write export: %w", err)
	}
	return f, func(whole bool) error {
		err := f.Close()
		if whole && err == nil {
			err = os.Rename(f.Name(), c.Output)
		} else {
			_ = os.Remove(f.Name())
		}
		if err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		return nil
	}, nil
}

const exportOrder = ` FROM waymark.events WHERE project = {project:String} AND occurred_at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
AND occurred_at < fromUnixTimestamp64Milli({to:Int64}, 'UTC') ORDER BY occurred_at, message_id, user_id, anonymous_id`

// writer writes the events of a span of time in the format asked for.
func (c *exportCmd) writer(w *bufio.Writer) func(ctx context.Context, client *ask.Client, params map[string]string) (int64, error) {
	if c.Format == "csv" {
		table := csv.NewWriter(w)
		headed := false
		return func(ctx context.Context, client *ask.Client, params map[string]string) (int64, error) {
			query := "SELECT " + strings.Join(exportColumns, ", ") + exportOrder
			rows, err := ask.Rows[map[string]any](ctx, client, query, params)
			if err != nil {
				return 0, err
			}
			if !headed {
				headed = true
				_ = table.Write(exportColumns)
			}
			for _, row := range rows {
				record := make([]string, len(exportColumns))
				for i, column := range exportColumns {
					record[i] = cell(row[column])
				}
				_ = table.Write(record) // the writer remembers its error
			}
			table.Flush()
			return int64(len(rows)), table.Error() //nolint:wrapcheck // names itself
		}
	}
	var line []byte
	return func(ctx context.Context, client *ask.Client, params map[string]string) (int64, error) {
		query := "SELECT *, toUnixTimestamp64Milli(occurred_at) AS occurred, toUnixTimestamp64Milli(received_at) AS received" + exportOrder
		rows, err := ask.Rows[exported](ctx, client, query, params)
		if err != nil {
			return 0, err
		}
		for i := range rows {
			line = append(importer.AppendEvent(line[:0], rows[i].event()), '\n')
			if _, err := w.Write(line); err != nil {
				return 0, fmt.Errorf("write export: %w", err)
			}
		}
		return int64(len(rows)), nil
	}
}

// cell is a value of a row as CSV has it: lists and objects as JSON.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	text, _ := json.Marshal(v) // it was JSON before
	return string(text)
}

// event is the row as it was applied.
func (r *exported) event() *touchpoint.Event {
	e := &touchpoint.Event{
		Project: r.Project, Source: r.Source, MessageId: r.MessageID, Name: r.Name, Step: r.Step, Channel: r.Channel,
		AnonymousId: r.AnonymousID, UserId: r.UserID, OccurredAt: r.OccurredAt, ReceivedAt: r.ReceivedAt, Flags: r.Flags,
		Url: r.URL, Path: r.Path, Title: r.Title, Referrer: r.Referrer,
		Campaign: r.Campaign, CampaignSource: r.CampaignSource, CampaignMedium: r.CampaignMedium,
		Device: r.Device, Os: r.OS, Browser: r.Browser, Country: r.Country, AppVersion: r.AppVersion, Bot: r.Bot,
		ProductId: r.ProductID, CartId: r.CartID, OrderId: r.OrderID, Currency: r.Currency, Coupon: r.Coupon,
		Properties: []byte(r.Properties), Commerce: []byte(r.Commerce), Context: []byte(r.Context),
	}
	for _, name := range r.Given {
		switch name {
		case "price":
			e.Price = &r.Price
		case "quantity":
			e.Quantity = &r.Quantity
		case "revenue":
			e.Revenue = &r.Revenue
		case "load_time":
			e.LoadTime = &r.LoadTime
		}
	}
	if r.Products != "" {
		e.Products = importer.DecodeProducts([]byte(r.Products))
	}
	return e
}
