package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/config"
	"github.com/waymark-analytics/waymark/pkg/rules"
)

func parse(t *testing.T, text string, env, set []string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text), config.Origin{File: "w.yaml", Env: env, Set: set})
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func TestLayersLieOverEachOther(t *testing.T) {
	file := `
session: {gap: 20m}
patience: 50m
kafka: {brokers: [a:1, b:2], prefix: x-}
projects:
  shop:
    session: {max_events: 7}
    sources:
      site: {kind: web, write_key: k1}
      app: {kind: app, write_key: k2}
  other: {session: {gap: 5m}}
  plain:
`
	c := parse(t, file, []string{"WAYMARK_PATIENCE=40m", "WAYMARK_KAFKA_PREFIX=y-", "WAYMARK_LATENESS=2h", "PATH=/bin"},
		[]string{"lateness=3h", "kafka.brokers=c:3, d:4"})
	if got := c.Rules("unknown"); got.Session.Gap != 20*time.Minute || got.Patience != 40*time.Minute || got.Lateness != 3*time.Hour {
		t.Errorf("rules of the installation: gap %v, patience %v, lateness %v", got.Session.Gap, got.Patience, got.Lateness)
	}
	if got := c.Rules("shop"); got.Session.Gap != 20*time.Minute || got.Session.MaxEvents != 7 || got.Lateness != 3*time.Hour {
		t.Errorf("rules of shop: %+v, lateness %v", got.Session, got.Lateness)
	}
	if got := c.Rules("other"); got.Session.Gap != 5*time.Minute || got.Session.MaxEvents != 1000 {
		t.Errorf("rules of other: %+v", got.Session)
	}
	if c.Kafka.Prefix != "y-" || fmt.Sprint(c.Kafka.Brokers) != "[c:3 d:4]" {
		t.Errorf("kafka: %+v", c.Kafka)
	}
	if len(c.Projects) != 3 || c.Projects[0].Name != "shop" || len(c.Projects[0].Sources) != 2 || c.Projects[0].Sources[1].Kind != "app" {
		t.Errorf("projects: %+v", c.Projects)
	}
}

func TestFunnelsShortForm(t *testing.T) {
	c := parse(t, "funnels:\n  - {name: buy, steps: [view, {name: pay, when: {step: [payment, purchase]}}]}\n", nil, nil)
	f := c.Rules("").Funnels
	if len(f) != 1 || f[0].Steps[0].Name != "view" || len(f[0].Steps[0].When) != 1 || len(f[0].Steps[1].When[0].Values) != 2 {
		t.Errorf("funnels: %+v", f)
	}
}

func TestEveryProblemIsNamedWithItsPlace(t *testing.T) {
	file := `sesion: {gap: 1m}
session: {gpa: 1m}
kafka:
  brokers: [nowhere]
  prefx: a
  partitions: 0
projects:
  shop:
    sorces: {}
    session: {gap: never}
    sources:
      a: {kind: wob, write_key: k}
      b: {write_key: k}
      c: {kind: web}
alerts:
  - {name: a, kind: funnel_stp, treshold: 3}
  - {kind: volume, threshold: {belo: 1}}
patience: 1h
patience: 2h
`
	_, err := config.Parse([]byte(file), config.Origin{
		File: "w.yaml", Env: []string{"WAYMARK_SESSION_MAX_EVENTS=many", "WAYMARK_CLICKHOUSE_ADDR=x"}, Set: []string{"sesion.gap=1m", "slack"},
	})
	if err == nil {
		t.Fatal("no problem found")
	}
	for _, want := range []string{
		`w.yaml: line 1, column 1: sesion: unknown key; did you mean "session"?`,
		`w.yaml: line 2, column 11: session.gpa: unknown key; did you mean "gap"?`,
		`w.yaml: line 4, column 12: kafka.brokers: expected host:port, got "nowhere"`,
		`w.yaml: line 5, column 3: kafka.prefx: unknown key; did you mean "prefix"?`,
		`w.yaml: line 6, column 15: kafka.partitions: expected a whole number from 1 to 4096, got "0"`,
		`w.yaml: line 9, column 5: projects.shop.sorces: unknown key; did you mean "sources"?`,
		`w.yaml: projects.shop: line 10, column 20: session.gap: "never" is no duration`,
		`projects.shop.sources.a.kind: "wob" is none of web, app`,
		`shop, source a and shop, source b have the same write_key`,
		`w.yaml: line 14, column 7: projects.shop.sources.c.write_key: missing`,
		`alerts[0].kind: "funnel_stp" is none of`,
		`alerts[0].treshold: unknown key; did you mean "threshold"?`,
		`alerts[1].name: "": every alert needs a name of its own`,
		`alerts[1].threshold.belo: unknown key; did you mean "below"?`,
		`w.yaml: line 19, column 1: patience: given twice, first in line 18`,
		`environment WAYMARK_SESSION_MAX_EVENTS: expected a whole number from 1, got "many"`,
		`environment WAYMARK_CLICKHOUSE_ADDR: expected host:port, got "x"`,
		`flag --set sesion.gap: unknown key; did you mean "session.gap"?`,
		`flag --set slack: expected KEY=VALUE`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("got:\n%v", err)
	}
}

func TestWhatIsNoMapIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"list": "- a", "text": "hello", "broken": "a: [", "two documents": "slack: 1m\n---\nslack: 2m\n",
		"projects list": "projects: [a]", "source text": "projects: {a: {sources: {b: k}}}", "control": "projects: {\"a\\u0001\": }",
		"deep": strings.Repeat("{a: ", 60) + "1" + strings.Repeat("}", 60), "key with colon": "projects: {a: {sources: {b: {write_key: 'x:y'}}}}",
	} {
		if _, err := config.Parse([]byte(text), config.Origin{File: "w.yaml"}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, text := range map[string]string{"empty": "", "comment": "# nothing\n", "null": "~", "null groups": "kafka:\nprojects:\nalerts:\n"} {
		if _, err := config.Parse([]byte(text), config.Origin{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	c := parse(t, "import_key: hush1\nclickhouse: {password: hush2}\nprojects: {shop: {sources: {site: {write_key: hush3}}}}\n", nil, nil)
	out, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(out), fmt.Sprintf("%v %+v %#v %s", c.ImportKey, c.ClickHouse, c.Projects[0].Sources, c.ClickHouse.Password)} {
		if strings.Contains(text, "hush") || !strings.Contains(text, "***") {
			t.Errorf("a secret is not hidden in:\n%s", text)
		}
	}
	if c.ImportKey.Reveal() != "hush1" {
		t.Errorf("Reveal = %q", c.ImportKey.Reveal())
	}
}

func TestPrintedConfigurationMeansTheSame(t *testing.T) {
	file := "session: {gap: 21m}\nfunnels: [{name: f, steps: [view, purchase]}]\nprojects: {shop: {patience: 2h, staff: {agents: [probe], networks: [10.0.0.0/8]}}}\nkafka: {partitions: 3}\n"
	c := parse(t, file, []string{"WAYMARK_SLACK=2m"}, nil)
	out, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again := parse(t, string(out), nil, nil)
	if !reflect.DeepEqual(again.Rules("shop"), c.Rules("shop")) || !reflect.DeepEqual(again.Projects[0].Staff, c.Projects[0].Staff) || again.Kafka.Partitions != 3 || again.Rules("").Slack != 2*time.Minute {
		t.Errorf("printed configuration differs:\n%s", out)
	}
}

func TestEveryScalarKeyCanBeGivenByTheEnvironment(t *testing.T) {
	special := map[string]string{
		"split.campaign": "true", "split.midnight": "true", "split.time_zone": "Europe/Berlin", "kafka.brokers": "h:1,h:2",
		"clickhouse.http": "https://h:1", "clickhouse.compress": "true", "sessionizer.static": "false", "sessionizer.instance": "a", "log.level": "debug", "log.format": "console",
		"version": "7", "stage_model.name": "s", "referrer.exclude": "a.com, b.com", "passive": "", "import_key": "k",
		"clickhouse.user": "u", "clickhouse.password": "p", "kafka.prefix": "p", "kafka.replication": "1",
	}
	for _, key := range config.ScalarKeys() {
		values := []string{special[key]}
		if _, ok := special[key]; !ok {
			values = []string{"5", "5m", "h:1", "65536", "1048576"}
		}
		var err error
		for _, value := range values {
			if _, err = config.Parse(nil, config.Origin{Env: []string{config.EnvName(key) + "=" + value}}); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("%s: %v", config.EnvName(key), err)
		}
	}
}

func TestMistypedVariableIsAWarning(t *testing.T) {
	c := parse(t, "", []string{"WAYMARK_SESION_GAP=1m", "WAYMARK_KAFKA=required", "WAYMARK_PORT_80_TCP_ADDR_OF_SOMETHING_ELSE=1"}, nil)
	if len(c.Warnings) == 0 || !strings.Contains(c.Warnings[0], "WAYMARK_SESSION_GAP") {
		t.Errorf("warnings: %q", c.Warnings)
	}
	for _, w := range c.Warnings {
		if strings.Contains(w, "WAYMARK_KAFKA:") {
			t.Errorf("warned of a variable that means something: %s", w)
		}
	}
}

func TestBuiltInRulesEqualTheReference(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "oracle", "commerce.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("the reference rules are not here: %v", err)
	}
	var want, got map[string]any
	if err := yaml.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	merged, err := rules.Merge()
	if err != nil {
		t.Fatal(err)
	}
	if err := merged.Decode(&got); err != nil {
		t.Fatal(err)
	}
	delete(got, "funnels") // one has them in the short form: compared as rules below
	delete(want, "funnels")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("built-in rules differ:\n%v\nreference:\n%v", got, want)
	}
	c, err := config.Parse(data, config.Origin{File: path})
	if err != nil || !reflect.DeepEqual(c.Rules(""), rules.Default()) {
		t.Errorf("the reference as configuration: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("session: {gap: 20m}\nprojects: {a: {sources: {b: {kind: web, write_key: k}}}}")
	f.Add("alerts: [{name: a, kind: volume}]\nfunnels: [{name: x, steps: [a, b]}]")
	f.Add("a: &x {b: *x}")
	f.Fuzz(func(t *testing.T, text string) {
		// Never a crash; what is accepted can be printed.
		if c, err := config.Parse([]byte(text), config.Origin{}); err == nil {
			if _, err := c.YAML(); err != nil {
				t.Errorf("accepted, but cannot be printed: %v", err)
			}
		}
	})
}
