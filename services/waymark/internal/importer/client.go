package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Target is where an installation answers now.
type Target struct {
	Collector  string // URL
	ClickHouse string // URL of its HTTP interface, "" if it is not known
	ImportKey  string
	User       string // of ClickHouse, "" for none
	Password   string
}

// client speaks with an installation that may be down for a while or come back at other addresses: whatever can be sent again
// is, until giveUp has passed without an answer.
type client struct {
	http   *http.Client
	find   func() (Target, error)
	giveUp time.Duration
	pause  time.Duration // between two tries, at first
	notice func(text string)
}

// permanent is an answer that stays the same however often the request is sent.
type permanent struct{ error }

func (e permanent) Unwrap() error { return e.error }

// try calls f until it does not fail for a passing reason. Of a passing failure it says so, once.
func (c *client) try(ctx context.Context, what string, f func(ctx context.Context, t Target) error) error {
	began := time.Now()
	wait := c.pause
	said := false
	for {
		t, err := c.find()
		if err == nil {
			err = f(ctx, t)
		}
		var final permanent
		var key wrongKey
		switch {
		case err == nil:
			if said {
				c.notice("going on")
			}
			return nil
		case ctx.Err() != nil:
			return ctx.Err() //nolint:wrapcheck // the caller asked for it
		case errors.As(err, &final):
			return fmt.Errorf("%s: %w", what, final.error)
		case errors.As(err, &key) && time.Since(began) > min(keyPatience, c.giveUp):
			return fmt.Errorf("%s: %w", what, key.error)
		case time.Since(began) > c.giveUp:
			return fmt.Errorf("%s: given up after %v: %w", what, c.giveUp, err)
		}
		if !said && time.Since(began) > time.Second {
			c.notice(fmt.Sprintf("waiting up to %v: %v", c.giveUp, err))
			said = true
		}
		pause := wait
		if later, ok := errors.AsType[retryAfter](err); ok {
			pause = max(pause, min(later.after, 10*time.Second))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// wrongKey is believed only after a while: the port may be another installation's by now, and the file be written anew soon.
type wrongKey struct{ error }

func (e wrongKey) Unwrap() error { return e.error }

const keyPatience = 20 * time.Second

type retryAfter struct {
	error
	after time.Duration
}

func (e retryAfter) Unwrap() error { return e.error }

// call sends a request to the collector, again and again, and decodes the answer.
func (c *client) call(ctx context.Context, method, path string, body []byte, answer any) error {
	return c.try(ctx, method+" "+path, func(ctx context.Context, t Target) error { return c.once(ctx, t, method, path, body, answer) })
}

// once sends a request to the collector and decodes the answer.
func (c *client) once(ctx context.Context, t Target, method, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, t.Collector+path, bytes.NewReader(body))
	if err != nil {
		return permanent{err}
	}
	req.SetBasicAuth(t.ImportKey, "")
	text, err := c.answer(req)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("no readable answer: %w", err)
	}
	return nil
}

// answer is the body of a 200. What is not, fails: for good, or to be sent again.
func (c *client) answer(req *http.Request) ([]byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("half an answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return text, nil
	}
	err = fmt.Errorf("answer %s: %s", resp.Status, strings.TrimSpace(string(text[:min(len(text), 500)])))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge:
		if bytes.Contains(text, []byte(`"success":false`)) {
			return nil, permanent{err}
		}
	case http.StatusUnauthorized:
		return nil, wrongKey{err}
	}
	// Anything else may come from somebody who got the port of a server that is on its way back.
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return nil, retryAfter{err, time.Duration(seconds) * time.Second}
}

// query asks ClickHouse once and returns the rows of the answer, each its columns as texts.
func (c *client) query(ctx context.Context, t Target, sql string, params map[string]string) ([][]string, error) {
	if t.ClickHouse == "" {
		return nil, permanent{errors.New("the address of ClickHouse is not known")}
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	values := url.Values{"query": {sql + " FORMAT TSV"}}
	for name, value := range params {
		values.Set("param_"+name, value)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.ClickHouse+"/?"+values.Encode(), nil)
	if err != nil {
		return nil, permanent{err}
	}
	req.Close = true // an open connection would delay the stop of the embedded engine
	if t.User != "" {
		req.SetBasicAuth(t.User, t.Password)
	}
	text, err := c.answer(req)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		if line != "" {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows, nil
}
