// Package collector takes events from senders over HTTP and writes them to Kafka. It promises that an event answered with 200
// is in the log, acknowledged by all in-sync replicas, or among the refused with its reason; resends are taken out later, by
// message id. It keeps no state but what is under way, bounded in bytes.
//
// Stop order: not ready, stop taking requests, finish those in hand, flush to Kafka, close.
package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/services/collector/internal/httpapi"
	"github.com/waymark-analytics/waymark/services/collector/internal/intake"
)

// Deps is what a collector works with.
type Deps struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	Gatherer prometheus.Gatherer               // of /metrics; nil: the Registry, where it is one
	Rules    func(project string) *rules.Rules // the default rules for unknown projects
	Now      func() time.Time                  // nil: the wall clock
	// Locate finds an event for its receipt, or answers ErrUnknown. Nil: receipts answer 501.
	Locate func(ctx context.Context, project, messageID string) (Receipt, error)
}

// Service is a collector.
type Service struct {
	log      *zap.Logger
	intake   *intake.Log
	api      *httpapi.API
	server   *http.Server
	listener net.Listener
	failed   chan error

	stop struct {
		sync.Once
		err error
	}
	mu struct {
		sync.Mutex
		started bool
	}
	served sync.WaitGroup
}

// New checks the configuration and binds the port; requests are answered from Start on.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err //nolint:wrapcheck // names its keys itself
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Gatherer == nil {
		deps.Gatherer, _ = deps.Registry.(prometheus.Gatherer)
	}
	log := deps.Log.Named("collector")
	listener, err := net.Listen("tcp", cfg.Listen) //nolint:noctx // does not block
	if err != nil {
		return nil, fmt.Errorf("collector.listen %s: %w", cfg.Listen, err)
	}
	budget := intake.NewBudget(cfg.MaxInFlightBytes)
	in, err := intake.Open(intake.Config{Kafka: cfg.Kafka, AckWithin: cfg.AckWithin}, budget, log, deps.Registry)
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("collector: %w", err)
	}
	api, err := httpapi.New(httpapi.Config{
		Sources: cfg.Sources, Projects: cfg.Projects, ImportKey: cfg.ImportKey, AnyProject: cfg.AnyProject, Staff: cfg.Staff,
		MaxBatchBytes: cfg.MaxBatchBytes, MaxImportBytes: cfg.MaxImportBytes,
		MaxBatchEvents: cfg.MaxBatchEvents, MaxImportEvents: cfg.MaxImportEvents,
		RatePerKey: cfg.RatePerKey, RateBurst: cfg.RateBurst,
		ClientAddressHeader: cfg.ClientAddressHeader, CookieDays: cfg.CookieDays,
	}, httpapi.Deps{
		Log: log, Registry: deps.Registry, Gatherer: deps.Gatherer, Rules: deps.Rules, Now: deps.Now,
		Intake: in, Budget: budget, Locate: deps.Locate,
	})
	if err != nil {
		_ = listener.Close()
		in.Kill()
		return nil, fmt.Errorf("collector: %w", err)
	}
	return &Service{
		log: log, intake: in, api: api, listener: listener, failed: make(chan error, 1),
		server: &http.Server{
			Handler:           api,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      cfg.AckWithin + 60*time.Second,
			IdleTimeout:       120 * time.Second,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          zap.NewStdLog(log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
		},
	}, nil
}

// Addr is the address that the collector listens on, with the real port.
func (s *Service) Addr() string { return s.listener.Addr().String() }

// Failed yields an error if the collector cannot go on.
func (s *Service) Failed() <-chan error { return s.failed }

// Start reads the number of partitions from the broker, where the topics must exist, and begins to answer.
func (s *Service) Start(ctx context.Context) error {
	if err := s.intake.Connect(ctx); err != nil {
		return fmt.Errorf("start collector: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.started = true
	s.api.Open()
	s.served.Go(func() {
		if err := s.server.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve on %s: %w", s.Addr(), err)
		}
	})
	s.log.Info("collector listens", zap.String("addr", s.Addr()), zap.Int("partitions", s.intake.Partitions()))
	return nil
}

// Stop ends the service in the order at the top of this file. What cannot end within ctx is cut off.
func (s *Service) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		s.api.Shut()
		s.mu.Lock()
		started := s.mu.started
		s.mu.Unlock()
		var problems []error
		if started {
			if err := s.server.Shutdown(ctx); err != nil {
				problems = append(problems, fmt.Errorf("finish requests: %w", err), s.server.Close())
			}
			s.served.Wait()
		} else {
			problems = append(problems, s.listener.Close())
		}
		problems = append(problems, s.intake.Close(ctx))
		if err := errors.Join(problems...); err != nil {
			s.stop.err = fmt.Errorf("stop collector: %w", err)
		}
	})
	return s.stop.err
}
