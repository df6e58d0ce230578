// Package lifecycle stops a process in the reverse order of its start: each resource registers how it is given back as soon as
// it exists, so that a start that fails half way takes the same path down as an orderly stop.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Stack holds the steps of a stop, last registered first to run. It is safe for concurrent use.
type Stack struct {
	log *zap.Logger
	mu  struct {
		sync.Mutex
		steps []step
	}
}

type step struct {
	name string
	stop func(context.Context) error
}

// New makes an empty stack.
func New(log *zap.Logger) *Stack { return &Stack{log: log} }

// Push registers the stop of something that exists from now on. A stop must return soon after its context is done.
func (s *Stack) Push(name string, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.steps = append(s.mu.steps, step{name, stop})
}

// Stop runs all steps, the last registered first, and joins their errors; one that fails does not keep the others from running.
// Every step runs once, however often Stop is called.
func (s *Stack) Stop(ctx context.Context) error {
	var problems []error
	for {
		s.mu.Lock()
		n := len(s.mu.steps)
		if n == 0 {
			s.mu.Unlock()
			return errors.Join(problems...)
		}
		last := s.mu.steps[n-1]
		s.mu.steps = s.mu.steps[:n-1]
		s.mu.Unlock()

		began := time.Now()
		err := last.stop(ctx)
		s.log.Debug("stopped", zap.String("part", last.name), zap.Duration("took", time.Since(began)), zap.Error(err))
		if err != nil {
			problems = append(problems, fmt.Errorf("stop %s: %w", last.name, err))
		}
	}
}
