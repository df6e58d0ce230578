// Package ask puts questions to the contract views over ClickHouse's HTTP interface, which needs no driver and no session.
package ask

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client asks one server. It is safe for concurrent use.
type Client struct {
	URL            string
	User, Password string // empty: none is sent
}

// No connection stays open after its answer: it would delay the stop of the embedded engine.
var client = &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}

// ErrRefused is a question that the server answered with an error of its own.
var ErrRefused = errors.New("clickhouse refuses the query")

// Rows asks and gives each row of the answer as a T. The parameters fill {name:Type} in the query.
func Rows[T any](ctx context.Context, c *Client, query string, params map[string]string) ([]T, error) {
	values := url.Values{
		"default_format": {"JSONEachRow"}, "output_format_json_quote_64bit_integers": {"0"}, "max_execution_time": {"60"},
	}
	for name, value := range params {
		values.Set("param_"+name, escape.Replace(value))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/?"+values.Encode(), strings.NewReader(query))
	if err != nil {
		return nil, fmt.Errorf("ask clickhouse: %w", err)
	}
	if c.User != "" {
		req.SetBasicAuth(c.User, c.Password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask clickhouse: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return nil, fmt.Errorf("%w at %s: %s: %s", ErrRefused, c.URL, resp.Status, strings.TrimSpace(string(said)))
	}
	var out []T
	dec := json.NewDecoder(bufio.NewReader(resp.Body))
	for {
		var row T
		switch err := dec.Decode(&row); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("answer of clickhouse: %w", err)
		}
		out = append(out, row)
	}
}

// escape writes a text as a parameter, which ClickHouse reads in its tab-separated form.
var escape = strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n", "\r", "\\r")
