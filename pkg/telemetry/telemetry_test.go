package telemetry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/pkg/telemetry"
)

func TestServerAnswersOnEveryAddress(t *testing.T) {
	notYet := errors.New("restoring")
	ready := notYet
	page := telemetry.Page{
		Title: "Waymark <here>",
		Links: func() []telemetry.Link {
			return []telemetry.Link{{Name: "collector", Value: "http://x", URL: "http://x"}}
		},
		Ready: func() error { return ready },
	}
	s, err := telemetry.Listen(t.Context(), telemetry.NewRegistry(), page, "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	for _, addr := range s.Addrs() {
		for path, want := range map[string]string{"/": "Waymark &lt;here&gt;", "/metrics": "go_goroutines", "/healthz": "ok"} {
			if status, body := get(t, "http://"+addr+path); status != 200 || !strings.Contains(body, want) {
				t.Errorf("%s%s: %d %q; want 200 with %q", addr, path, status, body, want)
			}
		}
		if status, body := get(t, "http://"+addr+"/readyz"); status != 503 || !strings.Contains(body, "restoring") {
			t.Errorf("/readyz: %d %q; want 503 with the cause", status, body)
		}
	}
	ready = nil
	if status, _ := get(t, "http://"+s.Addrs()[0]+"/readyz"); status != 200 {
		t.Errorf("/readyz when ready: %d", status)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("second Stop: %v", err)
	}
}

func TestServerStopsBeforeStart(t *testing.T) {
	s, err := telemetry.Listen(t.Context(), telemetry.NewRegistry(), telemetry.Page{}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLoggerNamesWhatIsWrong(t *testing.T) {
	if _, err := telemetry.NewLogger(io.Discard, "loud", "json"); err == nil || !strings.Contains(err.Error(), `log.level: "loud"`) {
		t.Errorf("level loud: %v", err)
	}
	if _, err := telemetry.NewLogger(io.Discard, "info", "xml"); err == nil || !strings.Contains(err.Error(), `log.format: "xml"`) {
		t.Errorf("format xml: %v", err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}
