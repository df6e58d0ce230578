package owner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// worker is one member of the group. What it holds lives in a session: after an error or an unknown outcome the session is
// dropped with its client and state, and another one restores.
type worker struct {
	owner  *Owner
	number int
	log    *zap.Logger
}

// run keeps a session going until stopping is done. Everything on the network ends with alive.
func (w *worker) run(stopping, alive context.Context) {
	pause := w.owner.config.Rebuild
	for stopping.Err() == nil {
		s, err := newSession(alive, w)
		if err == nil {
			err = s.run(stopping)
			s.close()
			if s.commits > 0 {
				pause = w.owner.config.Rebuild
			}
		}
		if stopping.Err() != nil {
			if err != nil {
				w.log.Warn("last commit failed: the next start does it", zap.Error(err))
			}
			return
		}
		if isDivergence(err) {
			w.log.Error("worker stops", zap.Error(err))
			w.owner.fail(err)
			return
		}
		w.owner.metrics.rebuilds.Inc()
		w.log.Warn("worker is built anew", zap.Duration("pause", pause), zap.Error(err))
		select {
		case <-stopping.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*w.owner.config.Rebuild)
	}
}

// groupFault says what an error of the group's or the producer's state means for the worker.
func groupFault(err error) error {
	switch {
	case errors.Is(err, kerr.FencedInstanceID):
		return diverged("another process took over the group membership of this one: the instance name must be its own for each process: %w", err)
	case errors.Is(err, kgo.ErrClientClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	default:
		return fmt.Errorf("group session: %w", err)
	}
}
