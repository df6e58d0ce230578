package loader_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/services/loader"
)

func TestValidateNamesAllThatIsWrong(t *testing.T) {
	c := loader.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatalf("the default: %v", err)
	}
	c.Lanes, c.Lane, c.MaxRows, c.FlushEvery, c.ClickHouse.Addr = 2, []int{2}, 0, 0, "nowhere"
	err := c.Validate()
	for _, want := range []string{"loader.lane: 2", "max_rows", "intervals", `"nowhere"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate says %v, which lacks %s", err, want)
		}
	}
}

func TestStopLeavesNothingBehind(t *testing.T) {
	s := newStage(t, 2)
	before := goleak.IgnoreCurrent()
	l, err := loader.New(s.c, loader.Deps{Log: zap.NewNop(), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s.stop(l) // before Start
	l, err = loader.New(s.c, loader.Deps{Log: zap.NewNop(), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stop(l)
	s.stop(l)
	goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read.func1"),
		goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
		goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write"))
}
