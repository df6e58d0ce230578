//go:build unix

package collector_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/collector"
)

// senders are the programs in scripts/senders.
const senders = "../../scripts/senders"

// miss skips a test whose tool is missing, or fails it where senders are required.
func miss(t *testing.T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv("WAYMARK_SENDERS") == "required" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// tool finds a program by the first of its names, or skips.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	if testing.Short() || os.Getenv("WAYMARK_SENDERS") == "off" {
		t.Skip("real senders are left out: -short, or WAYMARK_SENDERS=off")
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	miss(t, "no %s is installed", strings.Join(names, ", nor "))
	return ""
}

// run runs a program to its end, with all that it starts in a group of its own that ends with it.
func run(t *testing.T, dir string, name string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd.CombinedOutput()
}

// installed returns a folder with the files of a sender and what install has put beside them. It is kept from one test run to
// the next, under a name that changes with the files.
func installed(t *testing.T, sender string, install func(dir string) ([]byte, error)) string {
	t.Helper()
	cache := os.Getenv("WAYMARK_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			miss(t, "no folder for the libraries of senders: %v", err)
		}
		cache = filepath.Join(user, "waymark")
	}
	hash := sha256.New()
	var files []string
	err := filepath.WalkDir(filepath.Join(senders, sender), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
			content, err := os.ReadFile(path)
			fmt.Fprintf(hash, "%s %d ", filepath.Base(path), len(content))
			hash.Write(content)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatalf("read sender %s: %v", sender, err)
	}
	dir := filepath.Join(cache, "senders", sender+"-"+hex.EncodeToString(hash.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	part := fmt.Sprintf("%s.part.%d", dir, os.Getpid())
	defer func() { _ = os.RemoveAll(part) }()
	if err := os.MkdirAll(part, 0o755); err != nil {
		t.Fatalf("make folder for sender %s: %v", sender, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(part, filepath.Base(file)), content, 0o644)
		}
		if err != nil {
			t.Fatalf("copy sender %s: %v", sender, err)
		}
	}
	if out, err := install(part); err != nil {
		miss(t, "the libraries of sender %s cannot be fetched: %v\n%s", sender, err, out)
	}
	if err := os.Rename(part, dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		t.Fatalf("keep sender %s: %v", sender, err)
	}
	return dir
}

func nodeFolder(t *testing.T) string {
	npm := tool(t, "npm")
	return installed(t, "node", func(dir string) ([]byte, error) {
		return run(t, dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	})
}

// realTime gives a collector the wall clock, by which senders stamp their events.
func realTime(_ *collector.Config, d *collector.Deps) { d.Now = time.Now }

func TestRealSenders(t *testing.T) {
	for _, c := range []struct {
		name    string
		library string // what the events' context says of it
		send    func(t *testing.T) (dir string, command []string)
	}{
		{"analytics-node", `"version":"3.1.0"`, func(t *testing.T) (string, []string) {
			return nodeFolder(t), []string{tool(t, "node"), "analytics-node.mjs"}
		}},
		{"rudder-sdk-node", `"version":"3.0.13"`, func(t *testing.T) (string, []string) {
			return nodeFolder(t), []string{tool(t, "node"), "rudder-sdk-node.mjs"}
		}},
		{"analytics-python", `"version":"2.4.0"`, func(t *testing.T) (string, []string) {
			python := tool(t, "python3")
			dir := installed(t, "python", func(dir string) ([]byte, error) {
				return run(t, dir, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", "libraries", "-r", "requirements.txt")
			})
			return dir, []string{"env", "PYTHONPATH=libraries", python, "send.py"}
		}},
		{"analytics-go", "analytics-go", func(t *testing.T) (string, []string) {
			dir := installed(t, "go", func(dir string) ([]byte, error) {
				return run(t, dir, tool(t, "go"), "build", "-o", "send", ".")
			})
			return dir, []string{"./send"}
		}},
		{"analytics-java", "analytics-java", func(t *testing.T) (string, []string) {
			java, mvn := tool(t, "java"), tool(t, "mvn")
			dir := installed(t, "java", func(dir string) ([]byte, error) {
				return run(t, dir, mvn, "-q", "-B", "-Dstyle.color=never", "dependency:copy-dependencies", "-DoutputDirectory=jars")
			})
			return dir, []string{java, "-cp", "jars/*", "Send.java"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, command := c.send(t)
			r := start(t, 3, realTime)
			args := append(command[1:], r.url, serverKey, "u-"+c.name)
			if out, err := run(t, dir, command[0], args...); err != nil {
				t.Fatalf("%v: %v\n%s", command, err, out)
			}
			r.wantJourney("u-"+c.name, "backend", c.library)
			if n := len(r.events()); n != 5 {
				t.Errorf("%d events, want 5", n)
			}
		})
	}
}

// wantJourney checks the small journey that every sender sends, event by event.
func (r *rig) wantJourney(user, source, library string) {
	r.t.Helper()
	byName := map[string]*touchpoint.Event{}
	seen := map[string]bool{}
	for _, e := range r.events() {
		if e.UserId != user || e.Name == "Beacon" {
			continue
		}
		e.Properties, e.Context = compact(e.Properties), compact(e.Context)
		if byName[e.Name] != nil || seen[e.MessageId] || e.MessageId == "" {
			r.t.Errorf("%s comes twice, or without a message id of its own: %v", e.Name, e)
		}
		byName[e.Name], seen[e.MessageId] = e, true
		if age := time.Since(time.UnixMilli(e.OccurredAt)); age < 0 || age > 5*time.Minute || e.OccurredAt > e.ReceivedAt || len(e.Flags) > 0 {
			r.t.Errorf("%s occurred %v ago: %v", e.Name, age, e)
		}
		if e.Source != source || e.Project != "shop" || !strings.Contains(string(e.Context), library) {
			r.t.Errorf("%s is from %s of %s, context %s; want %s, library %s", e.Name, e.Source, e.Project, e.Context, source, library)
		}
	}
	check := func(name, step string, ok func(e *touchpoint.Event) bool) {
		r.t.Helper()
		if e := byName[name]; e == nil {
			r.t.Errorf("%s did not come", name)
		} else if e.Step != step || !ok(e) {
			r.t.Errorf("%s is %v", name, e)
		}
	}
	is := func(n *int64, want int64) bool { return n != nil && *n == want }
	check("Identified", "", func(e *touchpoint.Event) bool {
		return e.AnonymousId == "anonymous-"+user && strings.Contains(string(e.Properties), `"plan":"basic"`)
	})
	check("Page Viewed", "", func(e *touchpoint.Event) bool {
		return e.AnonymousId == "anonymous-"+user && e.Path == "/home" && e.Url != "" && strings.Contains(string(e.Properties), `"name":"Home"`)
	})
	check("Product Viewed", "view", func(e *touchpoint.Event) bool {
		return e.ProductId == "p1" && string(e.Properties) == `{"colour":"red"}`
	})
	check("Product Added", "cart_add", func(e *touchpoint.Event) bool {
		return e.ProductId == "p1" && is(e.Price, 1999) && is(e.Quantity, 2) && e.Currency == "EUR" && e.CartId == "c1" && len(e.Properties) == 0
	})
	check("Order Completed", "purchase", func(e *touchpoint.Event) bool {
		return e.OrderId == "o1" && is(e.Revenue, 3998) && e.Currency == "EUR" && len(e.Products) == 1 && e.Products[0].ProductId == "p1" &&
			is(e.Products[0].Price, 1999) && is(e.Products[0].Quantity, 2) && len(e.Properties) == 0
	})
	if letters := r.letters(); len(letters) > 0 {
		r.t.Errorf("refused: %v", letters)
	}
}

// compact is an object without the spaces that some senders put between key and value.
func compact(object []byte) []byte { return bytes.ReplaceAll(object, []byte(`": `), []byte(`":`)) }

// The browser library runs in a real browser, on a page of another origin than the collector.
func TestRealBrowser(t *testing.T) {
	chromium := tool(t, "chromium", "chromium-browser", "google-chrome")
	for _, way := range []string{"single", "batch"} {
		t.Run(way, func(t *testing.T) {
			sdk := filepath.Join(nodeFolder(t), "node_modules/@segment/analytics-next/dist/umd")
			r := start(t, 3, realTime)
			done := make(chan string, 1)
			pages := http.NewServeMux()
			tell := func(what string) http.HandlerFunc {
				return func(w http.ResponseWriter, req *http.Request) {
					w.WriteHeader(http.StatusNoContent)
					select {
					case done <- what + req.URL.RawQuery:
					default:
					}
				}
			}
			pages.HandleFunc("/done", tell(""))
			pages.HandleFunc("/failed", tell("failed: "))
			pages.Handle("/sdk/", http.StripPrefix("/sdk/", http.FileServer(http.Dir(sdk))))
			pages.Handle("/", http.FileServer(http.Dir(filepath.Join(senders, "browser"))))
			site := httptest.NewServer(pages)
			defer site.Close()

			query := url.Values{"collector": {r.url}, "key": {webKey}, "user": {"u-" + way}}
			want := 6
			if way == "batch" {
				query.Set("batch", "1")
				want = 5
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			args := []string{
				"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
				"--disable-component-update", "--remote-debugging-port=0", "--user-data-dir=" + filepath.Join(t.TempDir(), "profile"), site.URL + "/?" + query.Encode(),
			}
			cmd := exec.CommandContext(ctx, chromium, args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
			var said strings.Builder
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatalf("start %s: %v", chromium, err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			var problem string
			select {
			case problem = <-done:
			case err := <-ended:
				ended <- err
				problem = fmt.Sprintf("the browser ended: %v", err)
			}
			if problem == "" {
				until(t, fmt.Sprintf("%d events in the log", want), func() bool { return r.gauge("waymark_collector_records_acked_total") >= float64(want) })
			}
			cancel()
			killed := <-ended
			if problem != "" {
				t.Fatalf("%s; the browser: %v\n%s", problem, killed, said.String())
			}
			r.wantJourney("u-"+way, "site", "analytics.js")
			names := map[string]bool{}
			for _, e := range r.events() {
				names[e.Name] = true
				if e.Name == "Beacon" {
					continue
				}
				// A headless browser says so, and is no person.
				if !e.Bot || e.Device != "desktop" || e.Browser == "" || e.Channel != "web" || !strings.HasPrefix(e.Url, site.URL) {
					t.Errorf("%s: bot %v, device %q, browser %q, channel %q, url %q", e.Name, e.Bot, e.Device, e.Browser, e.Channel, e.Url)
				}
			}
			if len(names) != want || (way == "single") != names["Beacon"] {
				t.Errorf("events %v", names)
			}
		})
	}
}

// Under pressure a sender is asked to come again, and everything arrives.
func TestRealSenderComesAgain(t *testing.T) {
	for _, c := range []struct {
		status int
		change func(c *collector.Config)
	}{
		{http.StatusTooManyRequests, func(c *collector.Config) { c.RatePerKey, c.MaxBatchEvents = 5, 5 }},
		{http.StatusServiceUnavailable, func(c *collector.Config) { c.AckWithin = 300 * time.Millisecond }},
	} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			node, dir := tool(t, "node"), nodeFolder(t)
			r := start(t, 1, realTime, func(cfg *collector.Config, _ *collector.Deps) { c.change(cfg) })
			refusals := fmt.Sprintf(`waymark_collector_requests_total{code="%d",endpoint="batch"}`, c.status)
			var over atomic.Bool
			if c.status == http.StatusServiceUnavailable {
				stop := r.refuseProduce(kerr.NotEnoughReplicas)
				go func() {
					defer stop()
					for !over.Load() && sum(r.quietMetrics(), refusals) < 2 {
						select {
						case <-t.Context().Done():
							return
						case <-time.After(20 * time.Millisecond):
						}
					}
				}()
			}
			out, err := run(t, dir, node, "analytics-node.mjs", r.url, serverKey, "u", "12")
			over.Store(true)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := sum(r.do(http.MethodGet, "/metrics", "").body, refusals); n == 0 {
				t.Errorf("no request was answered %d", c.status)
			}
			var positions []string
			for _, e := range r.events() {
				positions = append(positions, string(e.Properties))
			}
			slices.Sort(positions)
			if positions = slices.Compact(positions); len(positions) != 12 {
				t.Errorf("%d different events arrived, want 12: %v", len(positions), positions)
			}
		})
	}
}

// quietMetrics is /metrics, or nothing where it cannot be had.
func (r *rig) quietMetrics() string {
	families, err := r.reg.Gather()
	if err != nil {
		return ""
	}
	var out strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(&out, "%s{%s} %v\n", f.GetName(), strings.Join(labels, ","), m.GetCounter().GetValue())
		}
	}
	return out.String()
}
