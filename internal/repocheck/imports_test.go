package repocheck

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// pure are the packages whose results follow from their arguments alone: the same events give the same numbers on every
// machine, at every time, however often they are read.
var pure = []string{
	"pkg/event", "pkg/rules", "pkg/keyhash", "pkg/topic", "pkg/money",
	"services/sessionizer/internal/journey", "services/sessionizer/internal/state",
}

// adapters are the packages of pkg that reach out: to a broker, an engine, the process, the configuration.
var adapters = []string{
	"pkg/kafka", "pkg/chdb", "pkg/chengine", "pkg/config", "pkg/lifecycle", "pkg/telemetry", "pkg/webhook",
}

// A ban is one rule: who may not import what, and why.
type ban struct {
	who  func(dir string) bool
	what func(imported string) bool
	why  string
}

func under(prefixes ...string) func(string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
	}
}

func not(f func(string) bool) func(string) bool { return func(s string) bool { return !f(s) } }

func all(fs ...func(string) bool) func(string) bool {
	return func(s string) bool {
		return !slices.ContainsFunc(fs, func(f func(string) bool) bool { return !f(s) })
	}
}

func anyOf(names ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(names, s) }
}

// service is the service a package belongs to, or "".
func service(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) < 2 || parts[0] != "services" {
		return ""
	}
	return parts[1]
}

func forTests(dir string) bool {
	return strings.HasSuffix(path.Base(dir), "test") && strings.HasPrefix(dir, "pkg/") || under("services/internal/e2e", "internal/repocheck")(dir)
}

var bans = []ban{
	{
		under("schemas"), under("pkg", "services", "internal"),
		"schemas is what is on the wire and in the tables: other programs read it without ours",
	},
	{
		under("pkg"), under("services"),
		"imports go one way, from services to pkg: a package two services share knows neither",
	},
	{
		all(under("pkg"), not(under(adapters...)), not(forTests)), under(adapters...),
		"a leaf of pkg holds no connection: what needs one belongs into an adapter",
	},
	{
		all(under(adapters...), not(forTests)), under(adapters...),
		"adapters do not know each other: each can be replaced alone",
	},
	{
		under(pure...), all(under("github.com/twmb", "github.com/ClickHouse", "go.uber.org/zap", "net", "database/sql"), not(under("net/url", "net/netip"))),
		"a pure package does no I/O and does not log: its result is a function of its arguments, which replay rests on",
	},
	{
		under(pure...), under("os", "math/rand", "math/rand/v2", "crypto/rand", "github.com/google/uuid", "sync/atomic", "context"),
		"a pure package has no randomness, no files, no goroutines: a replay must give the same",
	},
	{
		not(under("pkg/chdb", "pkg/chengine", "services/internal/e2e")), under("github.com/ClickHouse"),
		"pkg/chdb alone speaks to ClickHouse: settings that exactly-once rests on are set in one place",
	},
	{
		not(under("pkg/chengine")), under("github.com/ebitengine/purego"),
		"pkg/chengine alone loads a foreign library: only its re-executed child may crash with it",
	},
	{
		not(under("services/waymark")), under("github.com/alecthomas/kong"),
		"services can be embedded: only the commands know a command line",
	},
	{
		not(under("pkg/rules", "pkg/config", "pkg/topic", "services/waymark", "services/sessionizer/internal/drain", "internal/repocheck")), under("gopkg.in/yaml.v3"),
		"files that people write are read in one place, which names line, key and the nearest known key",
	},
}

// TestImportsKeepTheirDirection checks production code; tests may reach further, but not into another service.
func TestImportsKeepTheirDirection(t *testing.T) {
	for _, p := range tree(t) {
		for _, f := range p.files {
			if f.test {
				continue
			}
			for _, imported := range f.imports() {
				for _, b := range bans {
					if b.who(p.dir) && b.what(imported) && imported != p.dir {
						t.Errorf("%s imports %s: %s", f.name, imported, b.why)
					}
				}
			}
		}
	}
}

// TestPurePackagesStayPureThroughTheirImports follows the imports within the module: a pure package may use pure ones and
// schemas only.
func TestPurePackagesStayPureThroughTheirImports(t *testing.T) {
	for _, p := range tree(t) {
		if !under(pure...)(p.dir) {
			continue
		}
		for _, f := range p.files {
			for _, imported := range f.imports() {
				ours := under("pkg", "services", "internal")(imported)
				if !f.test && ours && !under(pure...)(imported) {
					t.Errorf("%s imports %s, which is not among the pure packages", f.name, imported)
				}
			}
		}
	}
}

func TestPurePackagesAskNoClock(t *testing.T) {
	for _, p := range tree(t) {
		if !under(pure...)(p.dir) {
			continue
		}
		for _, f := range p.files {
			if f.test {
				continue
			}
			for _, place := range f.uses("time", "Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick") {
				t.Errorf("%s: time is a record's: a pure package that asks a clock gives another result at the next replay", place)
			}
		}
	}
}

// TestServicesKnowNothingOfEachOther also looks at tests: what joins services is services/waymark and the end-to-end tests.
func TestServicesKnowNothingOfEachOther(t *testing.T) {
	for _, p := range tree(t) {
		own := service(p.dir)
		if own == "" || own == "waymark" || own == "internal" {
			continue
		}
		for _, f := range p.files {
			for _, imported := range f.imports() {
				if other := service(imported); other != "" && other != own && other != "internal" {
					t.Errorf("%s imports %s: services meet in Kafka and ClickHouse only; services/waymark puts them together", f.name, imported)
				}
			}
		}
	}
}

// TestTestPackagesStayOutOfTheProduct keeps test brokers, engines and fault scripts out of the binary.
func TestTestPackagesStayOutOfTheProduct(t *testing.T) {
	for _, p := range tree(t) {
		if forTests(p.dir) {
			continue
		}
		for _, f := range p.files {
			for _, imported := range f.imports() {
				if !f.test && (forTests(imported) || imported == "testing") {
					t.Errorf("%s imports %s: only tests, test packages and e2e may", f.name, imported)
				}
			}
		}
	}
}

// TestEveryRuleHasSomethingToHold finds rules that name a package which is gone.
func TestEveryRuleHasSomethingToHold(t *testing.T) {
	dirs := map[string]bool{}
	for _, p := range tree(t) {
		dirs[p.dir] = true
	}
	planned := anyOf("pkg/chdb", "pkg/webhook") // not there yet
	for _, dir := range slices.Concat(pure, adapters) {
		if !dirs[dir] && !planned(dir) {
			t.Errorf("%s is named in a rule but is no package; packages of pkg: %v", dir, slices.DeleteFunc(slices.Sorted(maps.Keys(dirs)), not(under("pkg"))))
		}
	}
	for dir := range dirs {
		if under("pkg")(dir) && !under(slices.Concat(pure, adapters)...)(dir) && !forTests(dir) {
			t.Errorf("%s is neither among the pure packages nor among the adapters: say which it is", dir)
		}
	}
}
