package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
	"github.com/waymark-analytics/waymark/services/waymark/internal/importer"
	"github.com/waymark-analytics/waymark/services/waymark/internal/shop"
)

type simulateCmd struct {
	Seed       uint64        `default:"1" placeholder:"N" help:"Same seed and flags, same events."`
	Persons    int           `placeholder:"N" help:"People who come (1000 without --events)."`
	Events     int           `placeholder:"N" help:"About so many events, instead of --persons."`
	Days       int           `default:"7" placeholder:"D" help:"Days of traffic before --until."`
	Until      string        `placeholder:"TIME" help:"No event is later (RFC 3339); default: the last full quarter of an hour."`
	Rate       float64       `placeholder:"EV/S" help:"Live: events as time passes, so many a second on average, until Ctrl-C or --for."`
	For        time.Duration `placeholder:"10m" help:"End live traffic after this time."`
	Project    string        `default:"shop" placeholder:"NAME" help:"Project of the events in a file."`
	Prefix     string        `default:"shop" placeholder:"TEXT" help:"Beginning of all ids."`
	Late       float64       `default:"0.02" placeholder:"SHARE" help:"Events that arrive minutes to hours late."`
	TooLate    float64       `name:"too-late" default:"0" placeholder:"SHARE" help:"People one of whose events arrives too late to count; needs import --as-is."`
	Duplicates float64       `default:"0.01" placeholder:"SHARE" help:"Events that are sent twice."`
	Bots       float64       `default:"0.004" placeholder:"SHARE" help:"People who are programs."`
	Drop       string        `placeholder:"STEP,..." help:"Plant a drop-off, as in purchase,device=mobile,from=2026-11-20T12:00:00Z,factor=0.3; steps: cart_add, checkout, payment, purchase."`
	Endpoints  string        `type:"path" placeholder:"FILE" help:"Send over HTTP, as Segment's senders do, to this installation."`
	WriteKey   string        `placeholder:"KEY" help:"Key to send with; default: the one in the endpoints file."`
	Output     string        `short:"o" type:"path" placeholder:"FILE" help:"Write a file for import --format event instead; - is standard output."`
	Truth      string        `type:"path" placeholder:"FILE" help:"Write the truth about the traffic, as JSON."`
}

func (simulateCmd) Help() string {
	return `Makes the traffic of a shop, of which every figure is known: people on several devices and channels by a daily curve, who look, fill
carts, drop off, buy and return; late and repeated events; programs; orders reported twice; pauses right at the border of a session.

The truth is worked out by a program of its own, which sorts all events in memory: sessions by a gap of 30 minutes, the funnel view,
cart_add, checkout, purchase, carts and those abandoned, orders, duplicates.

Examples:
  waymark simulate --persons 5000 --days 14 -o shop.ndjson --truth truth.json
  waymark import shop.ndjson --format event --endpoints ./data/endpoints.json --wait
  waymark simulate --rate 50 --endpoints ./data/endpoints.json
  waymark simulate --events 100000 --drop purchase,device=mobile,factor=0.3,from=2026-11-20T00:00:00Z -o drop.ndjson --truth truth.json

A file is in the order of arrival, with the times of receipt; sent over HTTP, everything is received now.`
}

// Run makes the traffic and sends or writes it.
func (c *simulateCmd) Run(ctx context.Context, std *stdio) error {
	cfg, err := c.config(time.Now())
	if err != nil {
		return err
	}
	live := c.Rate > 0
	switch {
	case c.Rate < 0 || c.Rate > 100_000:
		return usagef("--rate %v: expected up to 100000 events a second", c.Rate)
	case (c.Endpoints == "") == (c.Output == ""):
		return usagef("where to? --endpoints DIR/endpoints.json sends to a running installation, -o FILE writes a file")
	case live && c.Endpoints == "":
		return usagef("--rate needs --endpoints: live traffic is sent, not written")
	}
	var traffic *shop.Traffic
	if live {
		traffic, err = c.live(ctx, cfg, std)
	} else if traffic, err = shop.Make(cfg); err == nil {
		err = c.history(ctx, traffic, std)
	}
	if err != nil {
		return err
	}
	return c.writeTruth(traffic)
}

func (c *simulateCmd) config(now time.Time) (shop.Config, error) {
	cfg := shop.Config{
		Seed: c.Seed, Project: c.Project, Prefix: c.Prefix, Persons: c.Persons, Events: c.Events, Days: c.Days,
		Late: c.Late, TooLate: c.TooLate, Duplicates: c.Duplicates, Bots: c.Bots, Until: now.UTC().Truncate(15 * time.Minute),
	}
	if cfg.Persons == 0 && cfg.Events == 0 {
		cfg.Persons = 1000
	}
	if c.Until != "" {
		t, err := time.Parse(time.RFC3339, c.Until)
		if err != nil {
			return cfg, usagef("--until %s: expected a time as 2026-11-20T12:00:00Z", c.Until)
		}
		cfg.Until = t
	}
	if c.Drop != "" {
		d, err := parseDrop(c.Drop, cfg)
		if err != nil {
			return cfg, err
		}
		cfg.Drop = d
	}
	if err := cfg.Validate(); err != nil {
		return cfg, usagef("%w", err)
	}
	return cfg, nil
}

// parseDrop reads STEP,device=D,from=TIME,factor=F; without a time it begins a quarter of the days before the end.
func parseDrop(text string, cfg shop.Config) (*shop.Drop, error) {
	d := &shop.Drop{Factor: 0.5, From: cfg.Until.Add(-time.Duration(cfg.Days) * 6 * time.Hour)}
	for i, part := range strings.Split(text, ",") {
		key, value, given := strings.Cut(part, "=")
		if i == 0 && !given {
			key, value = "step", part
		}
		var err error
		switch key {
		case "step":
			d.Step = value
		case "device":
			d.Device = value
		case "from":
			d.From, err = time.Parse(time.RFC3339, value)
		case "factor":
			d.Factor, err = strconv.ParseFloat(value, 64)
		default:
			err = errors.New("unknown: expected step, device, from and factor")
		}
		if err != nil {
			return nil, usagef("--drop %s: %s: %w", text, part, err)
		}
	}
	return d, nil
}

// history sends or writes traffic that is over.
func (c *simulateCmd) history(ctx context.Context, traffic *shop.Traffic, std *stdio) error {
	if c.Output != "" {
		if err := writeTraffic(traffic, c.Output, std); err != nil {
			return err
		}
		fmt.Fprintf(std.Err, "%s events of %s people\n", thousands(int64(len(traffic.Events))), thousands(int64(traffic.Persons)))
		return nil
	}
	s := c.sender()
	show := newProgress(std)
	defer show.end()
	for i := 0; i < len(traffic.Events); i += sendAtOnce {
		to := min(i+sendAtOnce, len(traffic.Events))
		if err := s.send(ctx, traffic, i, to); err != nil {
			return err
		}
		show.show("sending", int64(to), int64(len(traffic.Events)), "events")
	}
	show.end()
	fmt.Fprintf(std.Err, "sent %s events of %s people\n", thousands(int64(len(traffic.Events))), thousands(int64(traffic.Persons)))
	return nil
}

// live sends traffic as it happens, until the context ends or the time is over.
func (c *simulateCmd) live(ctx context.Context, cfg shop.Config, std *stdio) (*shop.Traffic, error) {
	start := time.Now()
	if cfg.Prefix == "shop" { // every run has people of its own
		cfg.Prefix = "live" + strconv.FormatInt(start.Unix(), 36) + "-"
	}
	l, err := shop.NewLive(cfg, start, c.Rate)
	if err != nil {
		return nil, err
	}
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	fmt.Fprintf(std.Err, "sending about %v events/s; Ctrl-C ends\n", c.Rate)
	sent, err := stream(ctx, l, c.sender())
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(std.Err, "sent %s events in %v\n", thousands(int64(sent)), time.Since(start).Round(time.Second))
	l.Sent.Events = l.Sent.Events[:sent]
	return l.Sent, nil
}

// stream sends live traffic until the context ends, and returns how many of its events were sent.
func stream(ctx context.Context, l *shop.Live, s *sender) (sent int, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, to := l.Due(time.Now())
		for sent < to {
			end := min(sent+sendAtOnce, to)
			if err := s.send(ctx, l.Sent, sent, end); err != nil {
				if ctx.Err() != nil {
					return sent, nil
				}
				return sent, err
			}
			sent = end
		}
		select {
		case <-ctx.Done():
			return sent, nil
		case <-tick.C:
		}
	}
}

func (c *simulateCmd) writeTruth(traffic *shop.Traffic) error {
	if c.Truth == "" {
		return nil
	}
	text, err := json.MarshalIndent(traffic.Truth(), "", "  ")
	if err == nil {
		err = os.WriteFile(c.Truth, append(text, '\n'), 0o644) //nolint:gosec // no secret
	}
	if err != nil {
		return fmt.Errorf("write truth: %w", err)
	}
	return nil
}

// writeTraffic writes a file in the form of import --format event.
func writeTraffic(traffic *shop.Traffic, path string, std *stdio) (err error) {
	out := std.Out
	if filepath.Base(path) != "-" {
		f, err := os.Create(path)
		if err != nil {
			return fmt.Errorf("write traffic: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	w := bufio.NewWriterSize(out, 1<<16)
	var line []byte
	for i := range traffic.Events {
		line = append(importer.AppendEvent(line[:0], traffic.Event(i)), '\n')
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write traffic: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write traffic: %w", err)
	}
	return nil
}

// sendAtOnce is how many events go into one batch: well below what a batch may have in bytes.
const sendAtOnce = 500

// sender sends batches as Segment's senders do. A batch that is not taken is sent again.
type sender struct {
	http   *http.Client
	find   func() (url, key string, err error)
	giveUp time.Duration
	body   bytes.Buffer
}

func (c *simulateCmd) sender() *sender {
	return &sender{http: &http.Client{Timeout: 30 * time.Second}, giveUp: 5 * time.Minute, find: func() (string, string, error) {
		e, err := endpoints.Read(c.Endpoints)
		if err != nil {
			return "", "", err
		}
		key := e.WriteKey
		if c.WriteKey != "" {
			key = c.WriteKey
		}
		return e.Collector, key, nil
	}}
}

func (s *sender) send(ctx context.Context, traffic *shop.Traffic, from, to int) error {
	s.body.Reset()
	s.body.WriteString(`{"batch":[`)
	for i := from; i < to; i++ {
		if i > from {
			s.body.WriteByte(',')
		}
		text, err := traffic.Message(i)
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		s.body.Write(text)
	}
	s.body.WriteString(`]}`)
	began, pause := time.Now(), 100*time.Millisecond
	for {
		again, err := s.post(ctx)
		if err == nil {
			return nil
		}
		if !again || ctx.Err() != nil || time.Since(began) > s.giveUp {
			return fmt.Errorf("send %d events: %w", to-from, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // the caller asked for it
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// post sends the batch once; again says that it may be taken another time.
func (s *sender) post(ctx context.Context) (again bool, err error) {
	url, key, err := s.find()
	if err != nil {
		return true, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/batch", bytes.NewReader(s.body.Bytes()))
	if err != nil {
		return false, fmt.Errorf("collector: %w", err)
	}
	req.SetBasicAuth(key, "")
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return true, fmt.Errorf("collector: %w", err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode == http.StatusOK {
		return false, nil
	}
	again = resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
	return again, fmt.Errorf("collector answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
}
