package httpapi

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/services/collector/internal/agent"
	"github.com/waymark-analytics/waymark/services/collector/internal/intake"
	"github.com/waymark-analytics/waymark/services/collector/internal/segment"
)

// Source is one sender of a project.
type Source struct {
	Project  string
	Name     string
	Kind     string // web, app, server, or another channel of semantics.md, section 1
	WriteKey string
}

// Staff says which events of a project come from its own staff, monitors and load tests: they count as bots.
type Staff struct {
	Agents   []string // parts of user agents, case ignored
	Networks []string // addresses or networks, as 192.0.2.7 or 192.0.2.0/24
	Headers  []string // "Name", or "Name: value", of the request
}

// Config is what the API needs to know.
type Config struct {
	Sources    []Source
	Projects   []string // known besides those of the sources
	ImportKey  string   // "" turns the importer's endpoints off
	AnyProject bool     // the import key may name any project
	Staff      map[string]Staff

	MaxBatchBytes   int64 // of a body, decompressed
	MaxImportBytes  int64 // of a body of the importer
	MaxBatchEvents  int
	MaxImportEvents int

	RatePerKey float64 // events per second and key; 0 is no limit
	RateBurst  int     // events at once; at least MaxBatchEvents

	ClientAddressHeader string // set by a proxy in front, such as X-Forwarded-For; "" trusts none
	CookieDays          int    // how long the pixel's cookie lives; 0 sets none
}

// Deps is what the API works with.
type Deps struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	Gatherer prometheus.Gatherer // nil: no /metrics
	Rules    func(project string) *rules.Rules
	Now      func() time.Time
	Intake   *intake.Log
	Budget   *intake.Budget
	Locate   func(ctx context.Context, project, messageID string) (Receipt, error)
}

// API answers requests. It is safe for concurrent use.
type API struct {
	cfg      Config
	deps     Deps
	metrics  *metrics
	keys     map[string]*source
	projects map[string]bool
	agents   *agent.Cache
	open     atomic.Bool // requests are taken
	workers  sync.Pool   // of *worker
	health   http.Handler
}

// source is a Source with what is worked out for it once.
type source struct {
	Source
	channel string
	limit   *rate.Limiter // nil: none
	staff   *staff
}

// New makes the API. It takes requests from Open on.
func New(cfg Config, deps Deps) (*API, error) {
	a := &API{
		cfg: cfg, deps: deps, metrics: newMetrics(deps.Registry),
		keys: map[string]*source{}, projects: map[string]bool{}, agents: agent.New(4096),
	}
	var problems []error
	for _, name := range cfg.Projects {
		a.projects[name] = true
	}
	groups := map[string]*staff{}
	for project, s := range cfg.Staff {
		compiled, err := compile(s)
		if err != nil {
			problems = append(problems, err)
		}
		groups[project] = compiled
	}
	for _, s := range cfg.Sources {
		own := &source{Source: s, channel: segment.ChannelOf(s.Kind), staff: groups[s.Project]}
		if own.staff == nil {
			own.staff = &staff{}
		}
		if cfg.RatePerKey > 0 {
			own.limit = rate.NewLimiter(rate.Limit(cfg.RatePerKey), max(cfg.RateBurst, cfg.MaxBatchEvents))
		}
		a.keys[s.WriteKey] = own
		a.projects[s.Project] = true
	}
	a.workers.New = func() any { return a.newWorker() }
	a.health = http.NotFoundHandler()
	if deps.Gatherer != nil {
		a.health = promhttp.HandlerFor(deps.Gatherer, promhttp.HandlerOpts{})
	}
	return a, errors.Join(problems...)
}

// Open begins to take requests.
func (a *API) Open() { a.open.Store(true) }

// Shut ends it: what comes is answered 503, and /readyz says so.
func (a *API) Shut() { a.open.Store(false) }

// messages are the endpoints of messages: what each call is, and the label of its metrics.
var messages = map[string]struct {
	kind  segment.Kind
	label string
}{
	"track": {segment.Track, "track"}, "t": {segment.Track, "track"},
	"identify": {segment.Identify, "identify"}, "i": {segment.Identify, "identify"},
	"page": {segment.Page, "page"}, "p": {segment.Page, "page"},
	"screen": {segment.Screen, "screen"}, "s": {segment.Screen, "screen"},
	"alias": {segment.Alias, "alias"}, "a": {segment.Alias, "alias"},
	"group": {segment.Group, "group"}, "g": {segment.Group, "group"},
	"batch": {segment.Any, "batch"}, "b": {segment.Any, "batch"}, "import": {segment.Any, "batch"},
}

// ServeHTTP finds the endpoint: by the path alone, with and without a slash at its end, never by content type.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimRight(r.URL.Path, "/")
	name, v1 := strings.CutPrefix(path, "/v1/")
	if m, ok := messages[name]; v1 && ok {
		a.endpoint(w, r, m.label, http.MethodPost, true, func() *answer { return a.messages(r, w, m.kind) })
		return
	}
	switch {
	case path == "/healthz":
		_, _ = w.Write([]byte("ok\n"))
	case path == "/readyz":
		a.ready(w)
	case path == "/metrics":
		a.health.ServeHTTP(w, r)
	case path == "/p.gif":
		a.endpoint(w, r, "pixel", http.MethodGet, true, func() *answer { return a.pixel(r) })
	case path == "/v1/m": // what browsers say of themselves: nothing of the customers'
		a.endpoint(w, r, "other", http.MethodPost, true, func() *answer { return &answer{body: success} })
	case strings.HasPrefix(path, "/v1/projects/") && strings.HasSuffix(path, "/settings"):
		key := strings.TrimSuffix(strings.TrimPrefix(path, "/v1/projects/"), "/settings")
		a.endpoint(w, r, "settings", http.MethodGet, true, func() *answer { return a.settings(r, key) })
	case path == "/v1/receipts" || strings.HasPrefix(path, "/v1/receipts/"):
		a.endpoint(w, r, "receipts", http.MethodGet, false, func() *answer { return a.receipt(r) })
	case path == "/v1/import/events":
		a.endpoint(w, r, "import", http.MethodPost, false, func() *answer {
			query := r.URL.Query()
			since, err := readSince(query.Get("since"))
			if err != nil {
				return refuse(http.StatusBadRequest, err.Error())
			}
			return a.importer(r, w, func(w *worker, body []byte) *answer {
				return a.importEvents(r, w, body, query.Get("offsets") == "1", since)
			})
		})
	case path == "/v1/import/offsets":
		a.endpoint(w, r, "import", http.MethodGet, false, func() *answer {
			w := a.worker()
			defer w.done()
			return a.importOffsets(r, w)
		})
	case path == "/v1/import/vocabulary":
		a.endpoint(w, r, "import", http.MethodGet, false, func() *answer { return a.vocabulary(r) })
	case path == "/v1/import/rejects":
		a.endpoint(w, r, "import", http.MethodPost, false, func() *answer { return a.importer(r, w, a.importRejects) })
	case path == "/v1/import/end":
		a.endpoint(w, r, "import", http.MethodPost, false, func() *answer { return a.importer(r, w, a.importEnd) })
	default:
		a.endpoint(w, r, "other", r.Method, true, func() *answer {
			return refuse(http.StatusNotFound, "there is no "+path+" here: events go to POST /v1/batch, or /v1/track, identify, page, screen, alias, group")
		})
	}
}

// endpoint answers one request: its preflight, its method, and what comes of it.
func (a *API) endpoint(w http.ResponseWriter, r *http.Request, label, method string, crossOrigin bool, handle func() *answer) {
	began := a.deps.Now()
	if crossOrigin {
		allowOrigin(w.Header(), r)
	}
	var ans *answer
	switch {
	case crossOrigin && r.Method == http.MethodOptions:
		ans = preflight(w.Header(), r)
	case r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead):
		w.Header().Set("Allow", method)
		ans = refuse(http.StatusMethodNotAllowed, r.URL.Path+" takes "+method)
	case !a.open.Load() && label != "other" && label != "settings":
		ans = later(http.StatusServiceUnavailable, time.Second, "the collector is starting or stopping")
	default:
		ans = handle()
	}
	ans.write(w)
	a.metrics.request(label, ans.code(), a.deps.Now().Sub(began))
}

func (a *API) ready(w http.ResponseWriter) {
	err := a.deps.Intake.Ready()
	if !a.open.Load() {
		err = errors.New("the collector is starting or stopping")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// key finds the write key of a request: the user of Basic authorization, else that of the body, else that of the query.
func key(r *http.Request, inBody string) string {
	if user, _, ok := r.BasicAuth(); ok && user != "" {
		return user
	}
	if inBody != "" {
		return inBody
	}
	if r.URL.RawQuery == "" {
		return ""
	}
	query := r.URL.Query()
	if k := query.Get("writeKey"); k != "" {
		return k
	}
	return query.Get("key")
}

func (a *API) isImportKey(key string) bool {
	return a.cfg.ImportKey != "" && subtle.ConstantTimeCompare([]byte(key), []byte(a.cfg.ImportKey)) == 1
}

// clientAddress is where a request comes from, as far as that can be trusted.
func (a *API) clientAddress(r *http.Request) netip.Addr {
	if name := a.cfg.ClientAddressHeader; name != "" {
		values := r.Header.Values(name)
		if len(values) > 0 {
			list := strings.Split(values[len(values)-1], ",")
			if addr, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1])); err == nil {
				return addr.Unmap()
			}
		}
	}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return at.Addr().Unmap()
	}
	return netip.Addr{}
}
