package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
	"github.com/waymark-analytics/waymark/services/waymark/internal/importer"
)

type importCmd struct {
	Files     []string      `arg:"" name:"file" type:"path" help:"Files, plain, gz or zst (Parquet: as it is)."`
	Mapping   string        `type:"path" placeholder:"M.yaml" help:"Which column is what; see below. Not needed for --format event."`
	Format    string        `placeholder:"FORM" help:"csv, ndjson, parquet or event (normalised events, one JSON object a line); default: the mapping's, else by the file's ending."`
	AsIs      bool          `help:"Send the rows in the order of the files instead of sorting them by time."`
	NoEnd     bool          `help:"Send no end marker: live traffic of the project goes on."`
	Wait      bool          `help:"Return when all that follows from the rows can be queried."`
	ImportID  string        `name:"import-id" placeholder:"ID" help:"Name of this import, of which message ids are made; default: a hash of the files' content."`
	MaxBad    int64         `name:"max-bad" default:"-1" placeholder:"N" help:"Stop with status 1 after N refused rows (default: no limit)."`
	GiveUp    time.Duration `name:"give-up" default:"5m" placeholder:"5m" help:"How long to wait for an installation that does not answer."`
	Collector string        `placeholder:"URL" help:"Address of the collector, with --config; default: where the configuration lets it listen."`
	askFlags
	JSON bool `name:"json" help:"Print what came of it as one JSON object."`
}

func (importCmd) Help() string {
	return `Brings history from files into an installation: exactly once, in the order of time, and as often as you like. Importing the same
files again, after an interruption or after the end, changes nothing. A row that is no event is refused alone, with its line and
the reason (also in the view "refused").

A mapping for a CSV file with the columns when,who,what,sku,paid:

  project: shop                 # made if it is new
  time: when
  time_format: unix             # rfc3339 (default), unix, unix_ms, or a Go layout as in 2006-01-02 15:04:05
  user_id: who                  # and/or anonymous_id
  name: what
  names: {pv: Product Viewed, cart: Product Added, buy: Order Completed}    # other values keep their name
  fields: {commerce.product_id: sku, commerce.revenue: paid}
  currency: EUR                 # paid holds decimals: 19.99

Further keys: message_id, time_zone, where (column: value or list; other rows are left out), format, delimiter. All columns that
are not named become properties.

Examples:
  waymark import shop.csv.gz --mapping shop.yaml --endpoints ./data/endpoints.json --wait
  waymark import 2026-*.ndjson.zst --mapping app.yaml --endpoints ./data/endpoints.json --no-end
  waymark import events.ndjson --format event --endpoints ./data/endpoints.json --wait
  waymark export --project shop --endpoints A/endpoints.json -o - | waymark import /dev/stdin --format event --endpoints B/endpoints.json

Status: 0 every row is stored, or refused and counted; 1 it could not be finished: run the same again, it goes on; 2 wrong usage.`
}

// badShown is how many refused rows are printed one by one.
const badShown = 20

// Run imports the files.
func (c *importCmd) Run(ctx context.Context, std *stdio) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	find, journals, err := c.target(std)
	if err != nil {
		return err
	}
	cfg.Journals = journals
	show := newProgress(std)
	defer show.end()
	shown := 0
	units := map[importer.Phase]string{importer.Reading: "bytes", importer.Sending: "rows", importer.Waiting: "records"}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	sum, err := importer.Run(ctx, cfg, importer.Deps{
		Find: find, HTTP: &http.Client{Transport: transport}, Now: time.Now,
		Progress: func(phase importer.Phase, done, of int64) { show.show(string(phase), done, of, units[phase]) },
		Notice:   func(text string) { show.line("waymark: %s", text) },
		Bad: func(b importer.Bad) {
			if shown++; shown <= badShown {
				show.line("%s:%d: %s: %s", b.File, b.Line, b.Reason, b.Detail)
			} else if shown == badShown+1 {
				show.line("further refused rows are only counted here; the view \"refused\" has them all")
			}
		},
	})
	show.end()
	if _, ok := errors.AsType[*importer.MappingError](err); ok {
		return usagef("the mapping does not fit: %w", err)
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted: run the same again, it goes on where it was")
	}
	c.report(std, sum, err)
	return err
}

// config is what to import, as far as the flags and the mapping say.
func (c *importCmd) config() (importer.Config, error) {
	cfg := importer.Config{
		Files: c.Files, Format: c.Format, AsIs: c.AsIs, NoEnd: c.NoEnd, Wait: c.Wait, ImportID: c.ImportID, MaxBad: c.MaxBad, GiveUp: c.GiveUp,
	}
	forms := []string{importer.CSV, importer.NDJSON, importer.Parquet, importer.Events}
	switch {
	case c.Format != "" && !slices.Contains(forms, c.Format):
		return cfg, usagef("--format %s: expected %s%s", c.Format, strings.Join(forms, ", "), rules.Nearest(c.Format, forms))
	case c.Format == importer.Events && c.Mapping != "":
		return cfg, usagef("--format event needs no mapping: leave --mapping out")
	case c.Format != importer.Events && c.Mapping == "":
		return cfg, usagef("which column is what? --mapping M.yaml says it (waymark import --help shows one), or --format event for normalised events")
	case len(c.ImportID) > 200:
		return cfg, usagef("--import-id: has %d bytes, at most 200 are possible", len(c.ImportID))
	}
	for _, name := range c.Files {
		if info, err := os.Stat(name); err != nil {
			return cfg, usagef("%w", err)
		} else if info.IsDir() {
			return cfg, usagef("%s is a folder: name the files in it", name)
		}
	}
	if c.Mapping == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(c.Mapping)
	if err != nil {
		return cfg, usagef("%w", err)
	}
	if cfg.Mapping, err = importer.ParseMapping(text); err != nil {
		return cfg, usagef("mapping %s:\n%w", c.Mapping, err)
	}
	return cfg, nil
}

// target finds the installation, anew at each call, and the folder for journals.
func (c *importCmd) target(std *stdio) (find func() (importer.Target, error), journals string, err error) {
	switch {
	case c.Endpoints != "" && c.Config != "":
		return nil, "", usagef("--endpoints and --config both name an installation: give one")
	case c.Endpoints != "":
		dir := filepath.Dir(c.Endpoints)
		if info, err := os.Stat(c.Endpoints); err == nil && info.IsDir() {
			dir = c.Endpoints
		}
		return func() (importer.Target, error) {
			e, err := endpoints.Read(c.Endpoints)
			if err != nil {
				return importer.Target{}, err
			}
			return importer.Target{Collector: e.Collector, ClickHouse: e.ClickHouseHTTP, ImportKey: e.ImportKey}, nil
		}, filepath.Join(dir, "imports"), nil
	case c.Config != "":
		conf, err := c.load(std)
		if err != nil {
			return nil, "", err
		}
		address := c.Collector
		if address == "" {
			host, port, err := net.SplitHostPort(conf.Collector.Listen)
			if err != nil {
				return nil, "", usagef("collector.listen: %w", err)
			}
			if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
				host = "127.0.0.1"
			}
			address = "http://" + net.JoinHostPort(host, port)
		}
		if conf.ImportKey == "" {
			return nil, "", usagef("import_key is not set in %s: the collector takes imports only with it", c.Config)
		}
		t := importer.Target{
			Collector: strings.TrimRight(address, "/"), ClickHouse: conf.ClickHouse.HTTP, ImportKey: conf.ImportKey.Reveal(),
			User: conf.ClickHouse.User, Password: conf.ClickHouse.Password.Reveal(),
		}
		return func() (importer.Target, error) { return t, nil }, "", nil
	}
	return nil, "", usagef("which installation? --endpoints DIR/endpoints.json of a running \"waymark up\", or --config FILE")
}

// report says what came of the import.
func (c *importCmd) report(std *stdio, sum importer.Summary, failed error) {
	took := time.Duration(sum.Took) * time.Millisecond
	fmt.Fprintf(std.Err, "import %s into %s: %s rows, %s stored", sum.ImportID, strings.Join(sum.Projects, ", "), thousands(sum.Rows), thousands(sum.Accepted))
	if sum.Resumed > 0 {
		fmt.Fprintf(std.Err, " (%s of them before)", thousands(sum.Resumed))
	}
	if sum.Left > 0 {
		fmt.Fprintf(std.Err, ", %s left out by where", thousands(sum.Left))
	}
	fmt.Fprintf(std.Err, ", %s refused", thousands(sum.Refused))
	writeReasons(std.Err, sum.Reasons)
	fmt.Fprintf(std.Err, ", in %.1f s", took.Seconds())
	if fresh := sum.Accepted - sum.Resumed; fresh > 0 && took > 0 {
		fmt.Fprintf(std.Err, " (%s rows/s)", thousands(int64(float64(fresh)/took.Seconds())))
	}
	fmt.Fprintln(std.Err)
	if sum.Kept > 0 {
		fmt.Fprintf(std.Err, "%s values that should be numbers are none; they are kept as properties\n", thousands(sum.Kept))
	}
	if c.JSON && failed == nil {
		_ = json.NewEncoder(std.Out).Encode(sum)
	}
}

func writeReasons(out io.Writer, reasons map[string]int64) {
	if len(reasons) == 0 {
		return
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(reasons[reason]), reason))
	}
	fmt.Fprintf(out, " (%s)", strings.Join(parts, ", "))
}
