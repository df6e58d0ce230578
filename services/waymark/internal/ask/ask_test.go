package ask_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
)

func TestRowsAndParameters(t *testing.T) {
	var seen *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "{\"n\":1}\n{\"n\":2}\n")
	}))
	defer s.Close()
	c := &ask.Client{URL: s.URL, User: "u", Password: "p"}
	rows, err := ask.Rows[struct{ N int }](t.Context(), c, "SELECT {x:String}", map[string]string{"x": "a\tb\\"})
	if err != nil || len(rows) != 2 || rows[1].N != 2 {
		t.Fatalf("rows %v, %v", rows, err)
	}
	if got := seen.URL.Query().Get("param_x"); got != `a\tb\\` {
		t.Errorf("parameter %q", got)
	}
	if user, password, _ := seen.BasicAuth(); user != "u" || password != "p" || string(body) != "SELECT {x:String}" {
		t.Errorf("asked as %s:%s: %s", user, password, body)
	}
}

func TestRefusalCarriesTheReason(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Code: 60. Unknown table", http.StatusNotFound)
	}))
	defer s.Close()
	_, err := ask.Rows[struct{}](t.Context(), &ask.Client{URL: s.URL}, "SELECT", nil)
	if !errors.Is(err, ask.ErrRefused) || !strings.Contains(err.Error(), "Unknown table") {
		t.Fatalf("error: %v", err)
	}
}

func TestBrokenAnswerIsAnError(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{\"n\":1}\nCode: 241. Memory limit")
	}))
	defer s.Close()
	if rows, err := ask.Rows[struct{ N int }](t.Context(), &ask.Client{URL: s.URL}, "SELECT", nil); err == nil {
		t.Fatalf("accepted: %v", rows)
	}
}
