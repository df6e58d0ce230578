package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/waymark-analytics/waymark/pkg/lifecycle"
)

func TestStopRunsBackwardsOnceAndPastFailures(t *testing.T) {
	s := lifecycle.New(zaptest.NewLogger(t))
	var order []string
	broken := errors.New("broken")
	for _, name := range []string{"a", "b", "c"} {
		s.Push(name, func(context.Context) error {
			order = append(order, name)
			if name == "b" {
				return broken
			}
			return nil
		})
	}
	err := s.Stop(t.Context())
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "stop b") {
		t.Fatalf("Stop = %v; want the failure of b", err)
	}
	if want := []string{"c", "b", "a"}; !slices.Equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
	if err := s.Stop(t.Context()); err != nil || len(order) != 3 {
		t.Fatalf("second Stop = %v after %v; want nothing to do", err, order)
	}
}
