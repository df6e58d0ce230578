package journey_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

var update = flag.Bool("update", false, "write what the cases give into testdata")

// TestCases runs testdata/*.txt. A case is a headline, a script and what it gives:
//
//	== an event between two sessions makes them one
//	10:00 x view path=/a
//	11:00 x purchase
//	10:30 x cart_add
//	end
//	-- gives
//	session x #1 10:00-11:00 events=3 ...
//
// A line of a script is a time ([DAY+]HH:MM[:SS[.mmm]] of 2026-03-01), a person (an anonymous id, or u:ID), a step (- for none)
// and fields; or `end`, the end marker; or `clock TIME`, which lets the watermark come to that time; or `rules YAML`.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for i, c := range strings.Split(string(text), "== ") {
			if i == 0 {
				out.WriteString(c)
				continue
			}
			title, body, _ := strings.Cut(c, "\n")
			script, want, _ := strings.Cut(body, "-- gives\n")
			t.Run(strings.ReplaceAll(title, " ", "-"), func(t *testing.T) {
				got := play(t, script, shown[filepath.Base(file)])
				fmt.Fprintf(&out, "== %s\n%s-- gives\n%s\n", title, script, got)
				if !*update && got != strings.TrimSuffix(want, "\n") {
					t.Errorf("%s\ngives\n%swant\n%s", script, got, want)
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

var caseDay = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func caseTime(t *testing.T, text string) int64 {
	t.Helper()
	days, clock, ok := strings.Cut(text, "+")
	if !ok {
		days, clock = "0", text
	}
	n, err := strconv.Atoi(days)
	if err != nil {
		t.Fatalf("time %q: %v", text, err)
	}
	for _, layout := range []string{"15:04", "15:04:05", "15:04:05.000"} {
		if at, err := time.Parse(layout, clock); err == nil {
			return caseDay.AddDate(0, 0, n).Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute +
				time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())).UnixMilli()
		}
	}
	t.Fatalf("time %q: expected [DAY+]HH:MM[:SS[.mmm]]", text)
	return 0
}

func showTime(ms int64) string {
	at := time.UnixMilli(ms).UTC()
	text := strings.TrimSuffix(at.Format("15:04:05.000"), ":00.000")
	text = strings.TrimSuffix(text, ".000")
	if days := int(at.Sub(caseDay).Hours()) / 24; days != 0 {
		text = fmt.Sprintf("%d+%s", days, text)
	}
	return text
}

// shown are the rows that the cases of a file are about.
var shown = map[string][]string{
	"sessions.txt": {"session"},
	"funnels.txt":  {"entrant"},
	"stages.txt":   {"stage"},
	"carts.txt":    {"cart"},
}

func play(t *testing.T, script string, kinds []string) string {
	t.Helper()
	rule := rules.Default()
	lines := strings.Split(strings.TrimSpace(script), "\n")
	if text, ok := strings.CutPrefix(lines[0], "rules "); ok {
		rule = parse(t, text)
		lines = lines[1:]
	}
	p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rule }})
	now, latest := at, int64(0)
	for i, line := range lines {
		f := strings.Fields(line)
		switch f[0] {
		case "end":
			end(t, p, "shop")
		case "clock":
			now += caseTime(t, f[1]) - (latest - rule.Slack.Milliseconds()) // nothing has arrived meanwhile
			if err := p.Apply(journey.Record{Offset: p.Next(), Time: now}); err != nil {
				t.Fatal(err)
			}
		default:
			e := caseEvent(t, i, f)
			latest = max(latest, e.OccurredAt)
			apply(t, p, e)
		}
	}
	rows := map[string]int{}
	var verdicts []string
	for _, frame := range p.Cut() {
		for _, s := range frame.Sessions {
			rows[showSession(s)] += int(s.Sign)
		}
		for _, c := range frame.Transitions {
			rows[showTransition(c)] += int(c.Sign)
		}
		for _, c := range frame.Carts {
			rows[showCart(c)] += int(c.Sign)
		}
		for _, e := range frame.Entrants {
			rows[showEntrant(frame.Funnels[e.Funnel], e)] += int(e.Sign)
		}
		for i, v := range frame.Verdicts {
			if name, ok := map[uint32]string{1: "duplicate", 2: "too_late", 5: "passive"}[v]; ok {
				verdicts = append(verdicts, fmt.Sprintf("line %d is %s", i+1, name))
			}
		}
	}
	var out []string
	for row, n := range rows {
		if kind, _, _ := strings.Cut(row, " "); n != 0 && slices.Contains(kinds, kind) {
			out = append(out, row)
		}
		if n != 0 && n != 1 {
			t.Errorf("a row has the sum %d: %s", n, row)
		}
	}
	slices.Sort(out)
	return strings.Join(append(out, verdicts...), "\n") + "\n"
}

func caseEvent(t *testing.T, i int, f []string) *touchpoint.Event {
	t.Helper()
	when := caseTime(t, f[0])
	e := &touchpoint.Event{
		Project: "shop", Source: "web", MessageId: fmt.Sprintf("m%03d", i), Name: "Page Viewed", OccurredAt: when, ReceivedAt: when,
	}
	if user, ok := strings.CutPrefix(f[1], "u:"); ok {
		e.UserId = user
	} else {
		e.AnonymousId = f[1]
	}
	if f[2] != "-" {
		e.Step, e.Name = f[2], f[2]
	}
	for _, field := range f[3:] {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "id":
			e.MessageId = value
		case "path":
			e.Path = value
		case "referrer":
			e.Referrer = value
		case "campaign":
			e.Campaign = value
		case "medium":
			e.CampaignMedium = value
		case "device":
			e.Device = value
		case "country":
			e.Country = value
		case "channel":
			e.Channel = value
		case "product":
			e.ProductId = value
		case "cart":
			e.CartId = value
		case "quantity", "price":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if key == "price" {
				e.Price = &n
			} else {
				e.Quantity = &n
			}
		case "currency":
			e.Currency = value
		case "order":
			e.OrderId = value
		case "anon":
			e.AnonymousId = value
		case "flag":
			e.Flags = append(e.Flags, value)
		case "bot":
			e.Bot = true
		case "revenue":
			n, err := strconv.ParseInt(strings.TrimRight(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			e.Revenue, e.Currency = &n, strings.TrimLeft(value, "0123456789")
		default:
			t.Fatalf("field %q", field)
		}
	}
	return e
}

func showSession(s *facts.Session) string {
	var b strings.Builder
	fmt.Fprintf(&b, "session %s #%d %s-%s events=%d", strings.TrimPrefix(s.Person, "a:"), s.Number, showTime(s.StartedAt), showTime(s.EndedAt), s.Events)
	put := func(key string, value any, shown bool) {
		if shown {
			fmt.Fprintf(&b, " %s=%v", key, value)
		}
	}
	put("views", s.PageViews, s.PageViews > 0)
	put("entry", s.EntryPage, s.EntryPage != "")
	put("exit", s.ExitPage, s.ExitPage != "")
	put("referrer", s.Referrer, s.Referrer != "")
	put("campaign", s.Campaign, s.Campaign != "")
	put("medium", s.CampaignMedium, s.CampaignMedium != "")
	put("channel", s.Channel, s.Channel != "")
	put("device", s.Device, s.Device != "")
	put("country", s.Country, s.Country != "")
	var steps []string
	for i, step := range s.Steps {
		steps = append(steps, step+"@"+showTime(s.StepTimes[i]))
	}
	put("steps", strings.Join(steps, ","), len(steps) > 0)
	for i, name := range s.FurthestFunnels {
		put("furthest."+name, s.FurthestSteps[i], s.FurthestSteps[i] > 0)
	}
	put("stage", s.StageStart+">"+s.StageEnd, true)
	put("adds", s.CartAdds, s.CartAdds > 0)
	put("removes", s.CartRemoves, s.CartRemoves > 0)
	put("abandoned", true, s.Abandoned)
	put("orders", s.Orders, s.Orders > 0)
	for i, c := range s.RevenueCurrencies {
		put("revenue", fmt.Sprint(s.RevenueAmounts[i], c), true)
	}
	put("flags", strings.Join(s.Flags, ","), len(s.Flags) > 0)
	return b.String()
}

func showEntrant(def *facts.FunnelDef, e *facts.Entrant) string {
	var b strings.Builder
	whose := "person"
	if len(e.SessionId) > 0 {
		whose = "session " + hex.EncodeToString(e.SessionId)[:6]
	}
	fmt.Fprintf(&b, "entrant %s of %s, %s: reached %d at", strings.TrimPrefix(e.Person, "a:"), def.Name, whose, e.Furthest)
	for _, ms := range e.At {
		b.WriteString(" " + showTime(ms))
	}
	for i, k := range e.OptionalSteps {
		fmt.Fprintf(&b, ", %s %s", def.Steps[k].Name, showTime(e.OptionalAt[i]))
	}
	return b.String()
}

func showTransition(c *facts.Transition) string {
	text := fmt.Sprintf("stage %s #%d journey %d: %s>%s at %s by %s (%s) after %v", strings.TrimPrefix(c.Person, "a:"), c.Seq, c.Journey, c.FromStage,
		c.ToStage, showTime(c.At), c.Rule, strings.Join(c.Evidence, ","), time.Duration(c.Dwell)*time.Millisecond)
	if len(c.Skipped) > 0 {
		text += " skipping " + strings.Join(c.Skipped, ",")
	}
	return text
}

func showCart(c *facts.Cart) string {
	text := fmt.Sprintf("cart %s %q v%d %s at %s by %s value=%d%s", strings.TrimPrefix(c.Person, "a:"), c.CartId, c.Change, c.State, showTime(c.At), c.Cause,
		c.Value, c.Currency)
	for _, i := range c.Items {
		text += fmt.Sprintf(" %dx%s", i.Quantity, i.ProductId)
	}
	if c.ReturnedAt != nil {
		text += " returned=" + showTime(*c.ReturnedAt)
	}
	return text
}

func TestGapsAndRepeatsInTheLogAreRefused(t *testing.T) {
	p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rules.Default() }})
	if err := p.Apply(journey.Record{Offset: 0, Time: at}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []journey.Record{
		{Offset: 0, Time: at}, {Offset: 2, Time: at}, {Offset: 1, Time: at, Key: []byte("a:x"), Value: []byte{0xff}}, {Offset: 1, Time: at, Value: []byte{0x0a}},
	} {
		if err := p.Apply(r); err == nil {
			t.Errorf("record %+v was taken", r)
		}
	}
	if p.Next() != 1 {
		t.Fatalf("a refused record moved the position to %d", p.Next())
	}
}

// FuzzRestore wants: a partition or an error, whatever a checkpoint record holds; never a panic or endless work.
func FuzzRestore(f *testing.F) {
	p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rules.Default() }})
	for i, step := range []string{"view", "compare", "purchase"} {
		n := int64(5)
		e := &touchpoint.Event{
			Project: "shop", MessageId: fmt.Sprintf("m-%04d", i), Step: step, UserId: "u", AnonymousId: "x", OccurredAt: int64(i) * 4_000_000,
			Device: "phone", Campaign: "c", OrderId: "o", Revenue: &n, Currency: "EUR",
		}
		value, err := e.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		if err := p.Apply(journey.Record{Offset: int64(i), Time: at, Key: []byte(event.Person(e)), Value: value}); err != nil {
			f.Fatal(err)
		}
	}
	p.Discard()
	p.Checkpoint(func(key, value []byte) { f.Add(slices.Clone(key), slices.Clone(value)) })
	f.Fuzz(func(_ *testing.T, key, value []byte) {
		p := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rules.Default() }})
		if p.Restore(key, value) == nil {
			_ = p.Apply(journey.Record{Offset: p.Next(), Time: at})
		}
	})
}
