package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/chengine"
	"github.com/waymark-analytics/waymark/pkg/config"
	"github.com/waymark-analytics/waymark/services/collector"
	"github.com/waymark-analytics/waymark/services/loader"
	"github.com/waymark-analytics/waymark/services/sessionizer"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// asProgram makes the test binary behave as the program, for tests that kill it.
const asProgram = "TEST_AS_PROGRAM"

// programFolder is where a program that tests need is built.
var programFolder string

func TestMain(m *testing.M) {
	chengine.Main()
	if os.Getenv(asProgram) == "1" {
		main()
	}
	var err error
	if programFolder, err = os.MkdirTemp("", "waymark-test-"); err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(programFolder)
	os.Exit(status)
}

// call runs a command in this process.
func call(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, &stdio{Out: &o, Err: &e})
	return status, o.String(), e.String()
}

func TestStatus(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	for path, text := range map[string]string{good: "session: {gap: 20m}\n", bad: "sesion: {gap: 20m}\nlog: {level: loud}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args       []string
		status     int
		out, onErr string // regular expressions
	}{
		{[]string{"version"}, 0, `^waymark `, `^$`},
		{[]string{"version", "--json"}, 0, `^\{"version":`, `^$`},
		{[]string{}, 0, `Usage: waymark`, `^$`},
		{[]string{"--help"}, 0, `Start here`, `^$`},
		{[]string{"nonsense"}, 2, `^$`, `(?s)nonsense.*try: waymark --help`},
		{[]string{"up"}, 2, `^$`, `(?s)--dir.*try: waymark up --help`},
		{[]string{"up", "--dri", "x"}, 2, `^$`, `did you mean "--dir"`},
		{[]string{"run"}, 2, `^$`, `services`},
		{[]string{"run", "kollektor"}, 2, `^$`, `must be one of "collector"`},
		{[]string{"check-config", good}, 0, `is good`, `^$`},
		{[]string{"check-config", "--config", good, "--print"}, 0, `gap: 20m`, `^$`},
		{[]string{"check-config", good, "--set", "session.gap=7m", "--print"}, 0, `gap: 7m`, `^$`},
		{[]string{"check-config", bad}, 1, `^$`, `(?s)^\S+bad.yaml: line 1, column 1: sesion: unknown key; did you mean "session".*\n\S+bad.yaml: line 2, column 14: log.level: "loud"`},
		{[]string{"check-config", filepath.Join(dir, "none.yaml")}, 2, `^$`, `none.yaml`},
		{[]string{"check-config"}, 2, `^$`, `one file`},
		{[]string{"up", "--dir", dir, "--config", bad}, 2, `^$`, `did you mean "session"`},
		{[]string{"funnel", "buy"}, 2, `^$`, `which installation`},
		{[]string{"funnel", "buy", "--endpoints", filepath.Join(dir, "endpoints.json")}, 2, `^$`, `waymark up --dir`},
		{[]string{"completion", "bash"}, 0, `complete .*waymark`, `^$`},
		{[]string{"completion", "tcsh"}, 2, `^$`, `bash`},
	} {
		status, out, errs := call(t, c.args...)
		if status != c.status || !regexp.MustCompile(c.out).MatchString(out) || !regexp.MustCompile(c.onErr).MatchString(errs) {
			t.Errorf("waymark %s: status %d, want %d\nout: %s\nerr: %s", strings.Join(c.args, " "), status, c.status, out, errs)
		}
	}
}

func TestEveryCommandTeaches(t *testing.T) {
	_, top, _ := call(t, "--help")
	for field := range reflect.TypeFor[cli]().Fields() {
		name := regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(field.Name, "$1-$2")
		if given := field.Tag.Get("name"); given != "" {
			name = given
		}
		name = strings.ToLower(name)
		if !regexp.MustCompile(`(?m)^  ` + name + ` `).MatchString(top) {
			t.Errorf("waymark --help does not name %s", name)
		}
		status, help, _ := call(t, name, "--help")
		if status != 0 || !strings.Contains(help, "waymark "+name) || !strings.Contains(help, "Example") {
			t.Errorf("waymark %s --help: status %d, shows no example:\n%s", name, status, help)
		}
	}
}

func TestCompletionsNameCommandsAndFlags(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		_, script, _ := call(t, "completion", shell)
		for _, want := range []string{"check-config", "port-base", "sessionizer"} {
			if !strings.Contains(script, want) {
				t.Errorf("%s: the script lacks %s", shell, want)
			}
		}
	}
}

func TestConfiguredDefaultsAreThoseOfTheServices(t *testing.T) {
	c, err := config.Parse(nil, config.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	k := kafkaConfig(c)
	want := collector.DefaultConfig()
	want.Staff = map[string]collector.Staff{}
	if got := collectorConfig(c, k, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("collector:\n%+v\nits own defaults:\n%+v", got, want)
	}
	if got := loaderConfig(c, k, clickhouseConfig(c)); !reflect.DeepEqual(got, loader.DefaultConfig()) {
		t.Errorf("loader:\n%+v\nits own defaults:\n%+v", got, loader.DefaultConfig())
	}
	if got := sessionizerConfig(c); got != sessionizer.DefaultConfig() {
		t.Errorf("sessionizer:\n%+v\nits own defaults:\n%+v", got, sessionizer.DefaultConfig())
	}
}

func TestFunnelPrintsStepsCartsAndMaturity(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		if strings.Contains(body.String(), "cart_adds") {
			_, _ = w.Write([]byte(`{"carts":131,"abandoned":101}`))
			return
		}
		_, _ = w.Write([]byte(`{"project":"shop","funnel":"buy","scope":"session","step_no":1,"step":"view","reached":400,"entrants":400,"optional":false,"open":100,"mature":0.8,"watermark":1470096000000}
{"project":"shop","funnel":"buy","scope":"session","step_no":2,"step":"search","reached":10,"entrants":400,"optional":true,"open":100,"mature":0.8,"watermark":1470096000000}
{"project":"shop","funnel":"buy","scope":"session","step_no":3,"step":"purchase","reached":30,"entrants":400,"optional":false,"open":100,"mature":0.8,"watermark":1470096000000}
`))
	}))
	defer s.Close()
	path := filepath.Join(t.TempDir(), endpoints.Name)
	if err := (endpoints.Endpoints{ClickHouseHTTP: s.URL}).Write(path); err != nil {
		t.Fatal(err)
	}
	status, out, errs := call(t, "funnel", "buy", "--endpoints", path)
	for _, want := range []string{
		"Funnel buy of project shop, by session", "1 view", "2 search (optional)", "7.5 %", "131 sessions with a cart, 101 abandoned (77.1 %)",
		"100 more can still change: 80.0 % of the numbers are final, complete up to 2016-08-02 00:00:00 UTC.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("missing %q in:\n%s", want, out)
		}
	}
	if status != 0 || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	_, out, _ = call(t, "funnel", "buy", "--endpoints", path, "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var row map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &row); err != nil || len(lines) != 3 || row["step_no"] != 1.0 || row["watermark"] != 1470096000000.0 {
		t.Errorf("--json: %v, %s", err, out)
	}
	if status, _, errs := call(t, "funnel", "buy", "--endpoints", path, "--from", "yesterday"); status != 2 || !strings.Contains(errs, "--from") {
		t.Errorf("--from yesterday: status %d, %s", status, errs)
	}
}

func TestInterruptedContextIsNoSuccess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var e bytes.Buffer
	if status := run(ctx, []string{"up", "--dir", t.TempDir(), "--port-base", "0", "--offline"}, &stdio{Out: &e, Err: &e}); status != 1 {
		t.Errorf("status %d: %s", status, e.String())
	}
}
