package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// Rows in any order within the lateness, every request sent twice: the numbers of real shops stay what they are.
func TestRealShopsInOtherOrderAndTwice(t *testing.T) {
	needEngine(t)
	data := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(data); err != nil {
		t.Skipf("the shops' data are not here: %v", err)
	}
	config := filepath.Join(t.TempDir(), "waymark.yaml")
	write(t, config, shopRules)
	dir := t.TempDir()
	p := launch(t, nil, "up", "--dir", dir, "--port-base", "0", "--partitions", "3", "--config", config)
	e := p.up(dir)
	twice := e
	twice.Collector = sendTwice(t, e.Collector).URL
	through := filepath.Join(t.TempDir(), endpoints.Name)
	if err := twice.Write(through); err != nil {
		t.Fatal(err)
	}
	for _, s := range shops {
		mapping := filepath.Join(t.TempDir(), s.project+".yaml")
		write(t, mapping, s.mapping)
		mustCall(t, "import", lateWithin(t, filepath.Join(data, s.file), s.timeColumn, 24*time.Hour), "--as-is",
			"--mapping", mapping, "--endpoints", through, "--wait")
	}
	right(t, e, "as it is, late within a day, every request twice")
}

// sendTwice passes requests on; those with events it sends two times.
func sendTwice(t *testing.T, to string) *httptest.Server {
	t.Helper()
	client := &http.Client{Timeout: time.Minute}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		times := 1
		if r.URL.Path == "/v1/import/events" {
			times = 2
		}
		for n := range times {
			query := r.URL.Query()
			query.Del("since") // else the second one would find the first in the log
			req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.Path+"?"+query.Encode(), bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = r.Header.Clone()
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			answer, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if n == times-1 {
				w.WriteHeader(resp.StatusCode)
				_, _ = w.Write(answer)
			}
		}
	}))
	t.Cleanup(proxy.Close)
	return proxy
}

// lateWithin writes the rows of a file so that each is late by up to a time, the same one for rows of one time.
func lateWithin(t *testing.T, path, timeColumn string, most time.Duration) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(unzipped).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := slices.Index(rows[0], timeColumn)
	arrives := func(row []string) int64 {
		text := row[column]
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			seconds, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				t.Fatalf("time %q", text)
			}
			at = time.Unix(seconds, 0)
		}
		return at.UnixMilli() + int64(xxhash.Sum64String(text)%uint64(most.Milliseconds()))
	}
	slices.SortStableFunc(rows[1:], func(a, b []string) int { return int(arrives(a) - arrives(b)) })
	out := filepath.Join(t.TempDir(), "late.csv")
	g, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := csv.NewWriter(g).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}
