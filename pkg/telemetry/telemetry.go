// Package telemetry is how a process tells of itself: its logger, its metrics, and the small HTTP server that shows them. There
// is no global state: two of each may live in one process.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Levels and Formats are what NewLogger takes.
var (
	Levels  = []string{"debug", "info", "warn", "error"}
	Formats = []string{"console", "json"}
)

// NewLogger makes a logger that writes lines to w: "console" for people, "json" for programs.
func NewLogger(w io.Writer, level, format string) (*zap.Logger, error) {
	least, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %q is none of %v", level, Levels)
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.ISO8601TimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	var enc zapcore.Encoder
	switch format {
	case "json":
		enc = zapcore.NewJSONEncoder(ec)
	case "console":
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		enc = zapcore.NewConsoleEncoder(ec)
	default:
		return nil, fmt.Errorf("log.format: %q is none of %v", format, Formats)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), least)), nil
}

// NewRegistry makes a registry with the metrics of the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// Link is a line of the status page.
type Link struct{ Name, Value, URL string }

// Server answers /metrics, /healthz, /readyz and a status page on one or several addresses.
type Server struct {
	listeners []net.Listener
	http      *http.Server
	serving   sync.WaitGroup
}

// Page is what the status page shows, and whether the process is ready.
type Page struct {
	Title string
	Links func() []Link
	Ready func() error // nil: ready
}

// Listen binds the addresses; nothing is answered before Start.
func Listen(ctx context.Context, reg *prometheus.Registry, page Page, addrs ...string) (*Server, error) {
	s := &Server{}
	for _, addr := range addrs {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			for _, open := range s.listeners {
				_ = open.Close()
			}
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		s.listeners = append(s.listeners, ln)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := page.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_ = statusPage.Execute(w, struct {
			Title string
			Links []Link
		}{page.Title, page.Links()})
	})
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return s, nil
}

// Addrs are the bound addresses, in the order given to Listen.
func (s *Server) Addrs() []string {
	var out []string
	for _, ln := range s.listeners {
		out = append(out, ln.Addr().String())
	}
	return out
}

// Start answers from now on.
func (s *Server) Start() {
	for _, ln := range s.listeners {
		s.serving.Go(func() { _ = s.http.Serve(ln) }) // ends with Stop
	}
}

// Stop closes the listeners and waits for the requests in hand. It is safe before Start.
func (s *Server) Stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	for _, ln := range s.listeners { // those that were never served
		if cerr := ln.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	s.serving.Wait()
	return err
}

var statusPage = template.Must(template.New("status").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:44rem;padding:0 1rem}td{padding:.2rem 1rem .2rem 0}code{word-break:break-all}</style>
</head><body><h1>{{.Title}}</h1><table>
{{range .Links}}<tr><td>{{.Name}}</td><td>{{if .URL}}<a href="{{.URL}}">{{.Value}}</a>{{else}}<code>{{.Value}}</code>{{end}}</td></tr>
{{end}}</table></body></html>
`))
