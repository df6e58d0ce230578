package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/pkg/lifecycle"
	"github.com/waymark-analytics/waymark/pkg/telemetry"
)

// stopTimeout bounds an orderly stop: a checkpoint of every partition has to fit in.
const stopTimeout = time.Minute

// service is what every service of the product is to this package.
type service interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Failed() <-chan error
}

// host is a process that services run in.
type host struct {
	log      *zap.Logger
	registry *prometheus.Registry
	stack    *lifecycle.Stack
	failed   chan error
}

func newHost() *host {
	return &host{
		log: zap.NewNop(), registry: telemetry.NewRegistry(), stack: lifecycle.New(zap.NewNop()),
		failed: make(chan error, 8), // one for each part
	}
}

// launch starts a service, and registers its stop and its failure. The service outlives ctx: it ends by its Stop, in order.
func (h *host) launch(ctx context.Context, name string, s service) error {
	h.stack.Push(name, s.Stop)
	if err := s.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	stopping := make(chan struct{})
	h.stack.Push(name+" watch", func(context.Context) error { close(stopping); return nil })
	go func() {
		select {
		case err, failed := <-s.Failed():
			if failed && err != nil {
				h.failed <- fmt.Errorf("%s: %w", name, err)
			}
		case <-stopping:
		}
	}()
	return nil
}

// Failed tells of a part that cannot go on: the process is to be stopped.
func (h *host) Failed() <-chan error { return h.failed }

// Stop stops everything in order. It is idempotent, and runs to its end although ctx is done: that is why it is called.
func (h *host) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return h.stack.Stop(ctx)
}

// wait returns when the context ends (nil), or with the error of a part that cannot go on.
func (h *host) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-h.failed:
		return err
	}
}
