package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// upFlags are the flags of "up" that "demo" has too.
type upFlags struct {
	configFlags
	PortBase   int    `default:"-1" placeholder:"N" help:"Take consecutive ports from N; 0: any free ones, others at each start. Without it the folder keeps the ports of its first start."`
	Partitions int    `placeholder:"N" help:"Partitions of the log: fixed at the first start of a folder (4 without this flag)."`
	Kafka      string `placeholder:"HOST:PORT" help:"Use this Kafka instead of the embedded one; several with commas."`
	ClickHouse string `name:"clickhouse" placeholder:"HOST:PORT" help:"Use this ClickHouse (native protocol) instead of one of its own; user, password and HTTP address come from the configuration."`
	Offline    bool   `help:"Never fetch the embedded ClickHouse engine: it must be in the cache, or in WAYMARK_ENGINE."`
}

type upCmd struct {
	Dir string `required:"" type:"path" placeholder:"DIR" help:"Folder of the installation, made if absent. A restart on it goes on where it was."`
	upFlags
}

func (upCmd) Help() string {
	return `Runs everything on this machine, on loopback: a broker and a ClickHouse engine, the collector that takes events, the sessionizer
that makes sessions and funnels of them, and the loader that puts them into tables. Without a configuration there is one project,
"default", with one web source.

When everything answers, it writes DIR/endpoints.json (readable for you alone): the addresses, the key to write with, the key to
import with. At a clean stop the file goes. Ctrl-C stops; a second Ctrl-C kills, which loses nothing that was acknowledged.

Examples:
  waymark up --dir ./data
  waymark up --dir ./data --port-base 9000 --config waymark.yaml
  waymark up --dir ./data --kafka broker:9092 --clickhouse db:9000

The embedded broker is for one machine and moderate load: an installation that must not fail uses --kafka, or "waymark run".

Then:
  waymark import FILE --mapping M.yaml --endpoints ./data/endpoints.json --wait
  waymark funnel buy --endpoints ./data/endpoints.json`
}

// Run runs the installation until the context ends or a part of it cannot go on.
func (c *upCmd) Run(ctx context.Context, std *stdio) error {
	in, err := c.start(ctx, c.Dir, std)
	if err != nil {
		return err
	}
	in.banner(std)
	if err = in.wait(ctx); err == nil {
		fmt.Fprintln(std.Err, "waymark: stopping; once more kills")
	}
	err = errors.Join(err, in.Stop(ctx))
	if err == nil {
		fmt.Fprintf(std.Err, "waymark: stopped; the next start goes on: waymark up --dir %s\n", c.Dir)
	}
	return err
}

// banner says where everything is and what to do next.
func (in *installation) banner(std *stdio) {
	e, file := in.Endpoints, filepath.Join(in.home.Dir, endpoints.Name)
	fmt.Fprintf(std.Err, `
Waymark is up in %[1]s (%[2]d partitions)

  collector   %[3]s   write key %[4]s
  SQL         %[5]s   native %[6]s
  kafka       %[7]s
  status      %[8]s   metrics %[9]s/metrics
  log         %[10]s

Send an event:    curl -u %[4]s: %[3]s/v1/track -d '{"userId": "u1", "event": "Product Viewed", "properties": {"product_id": "p1"}}'
Ask in SQL:       curl '%[5]s/?query=SELECT+*+FROM+waymark.sessions_open+FORMAT+Vertical'
Bring history:    waymark import FILE --mapping M.yaml --endpoints %[11]s --wait
See the funnel:   waymark funnel buy --endpoints %[11]s

Ctrl-C stops.
`, in.home.Dir, in.home.Partitions, e.Collector, e.WriteKey, e.ClickHouseHTTP, e.ClickHouseNative, e.Kafka, e.Console, e.Metrics,
		in.home.Path(logName), file)
}
