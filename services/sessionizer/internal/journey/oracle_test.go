package journey_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/keyhash"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/facts"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
	"github.com/waymark-analytics/waymark/services/sessionizer/internal/journey"
)

// oracleDriver generates event sets and prints, for each, its events and the rows of the reference model. Ids are made plain: who
// has a user id loses the anonymous one, so that nobody is linked.
const oracleDriver = `
import argparse, sys
sys.path.insert(0, sys.argv[1])
import gen, journey
sys.stdout.reconfigure(encoding="utf-8", newline="\n")
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    args = argparse.Namespace(seed=seed, persons=25 + seed % 30, lateness="24h", too_late=0.02 if seed % 3 == 0 else 0.0, project="p%d" % seed)
    events = []
    for e in gen.generate(args):
        e = dict(e)
        e["anonymous_id"], e["user_id"] = journey.real_id(e["anonymous_id"]), journey.real_id(e["user_id"])
        if e["user_id"]:
            e["anonymous_id"] = ""
        if e["anonymous_id"] or e["user_id"]:
            events.append(e)
    for e in events:
        print("E" + journey.canonical(e))
    for r in journey.run(events):
        if r["kind"] not in ("link", "totals"):
            print("R" + journey.canonical(r))
    print(".")
`

type oracleSet struct {
	events []*touchpoint.Event
	rows   []string
}

// oracleSets runs the reference model; the test skips where it is absent.
func oracleSets(t *testing.T, from, to int, each func(seed int, s oracleSet)) {
	t.Helper()
	dir, err := filepath.Abs("../../../../../shared/oracle")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "journey.py"))
	}
	if err != nil {
		t.Skipf("the reference model is not beside the repository: %v", err)
	}
	if err := exec.CommandContext(t.Context(), "python3", "-c", "import yaml").Run(); err != nil {
		t.Skipf("the reference model needs python3 with PyYAML: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", oracleDriver, dir, fmt.Sprint(from), fmt.Sprint(to))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	var s oracleSet
	seed := from
	for lines.Scan() {
		switch line := lines.Bytes(); line[0] {
		case 'E':
			s.events = append(s.events, oracleEvent(t, line[1:]))
		case 'R':
			s.rows = append(s.rows, string(line[1:]))
		default:
			each(seed, s)
			s = oracleSet{}
			seed++
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("reference model: %v", err)
	}
	if seed != to {
		t.Fatalf("the reference model gave %d sets, want %d", seed-from, to-from)
	}
}

func oracleEvent(t *testing.T, line []byte) *touchpoint.Event {
	t.Helper()
	var in struct {
		Project, Source, MessageID, Name, Step, Channel string
		AnonymousID, UserID                             string
		OccurredAt, ReceivedAt                          int64
		Commerce                                        map[string]any
		Context                                         struct {
			Path, Referrer, Device, Browser, Country, AppVersion string
			Campaign                                             struct{ Name, Source, Medium string }
			Bot                                                  bool
		}
	}
	// encoding/json matches names without regard to case but not to underscores.
	plain := bytes.NewBuffer(nil)
	inKey := false
	for i, c := range line {
		if c == '"' {
			inKey = !inKey
		}
		if c == '_' && inKey && isKey(line, i) {
			continue
		}
		plain.WriteByte(c)
	}
	d := json.NewDecoder(plain)
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		t.Fatalf("event of the reference model: %v\n%s", err, line)
	}
	e := &touchpoint.Event{
		Project: in.Project, Source: in.Source, MessageId: in.MessageID, Name: in.Name, Step: in.Step, Channel: in.Channel,
		AnonymousId: in.AnonymousID, UserId: in.UserID, OccurredAt: in.OccurredAt, ReceivedAt: in.ReceivedAt, Path: in.Context.Path,
		Referrer: in.Context.Referrer, Device: in.Context.Device, Browser: in.Context.Browser, Country: in.Context.Country,
		AppVersion: in.Context.AppVersion, Campaign: in.Context.Campaign.Name, CampaignSource: in.Context.Campaign.Source,
		CampaignMedium: in.Context.Campaign.Medium, Bot: in.Context.Bot,
	}
	e.Revenue, e.Price, e.Quantity = whole(in.Commerce["revenue"]), whole(in.Commerce["price"]), whole(in.Commerce["quantity"])
	e.Currency, _ = in.Commerce["currency"].(string)
	e.OrderId, _ = in.Commerce["orderid"].(string)
	e.CartId, _ = in.Commerce["cartid"].(string)
	e.ProductId, _ = in.Commerce["productid"].(string)
	list, _ := in.Commerce["products"].([]any)
	for _, item := range list {
		p, _ := item.(map[string]any)
		l := &touchpoint.Product{Price: whole(p["price"]), Quantity: whole(p["quantity"])}
		l.ProductId, _ = p["productid"].(string)
		l.Currency, _ = p["currency"].(string)
		e.Products = append(e.Products, l)
	}
	return e
}

func whole(v any) *int64 {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	i, err := n.Int64()
	if err != nil {
		return nil
	}
	return &i
}

// isKey says whether the underscore at i stands in the key of an object rather than in a value.
func isKey(line []byte, i int) bool {
	end := bytes.IndexByte(line[i:], '"')
	return end >= 0 && i+end+1 < len(line) && line[i+end+1] == ':'
}

// tally is what a reader of the facts ends with.
type tally struct {
	t        testing.TB
	sessions map[string]int // row -> sum of signs
	others   map[string]int // rows of funnels, stages and carts
	verdicts map[int64]uint32
	session  map[int64]event.Hash // by offset
	next     int64
}

func newTally(t testing.TB) *tally {
	return &tally{t: t, sessions: map[string]int{}, others: map[string]int{}, verdicts: map[int64]uint32{}, session: map[int64]event.Hash{}}
}

func (y *tally) take(frames []*facts.Frame) {
	for i, f := range frames {
		if f.Part == 0 {
			if f.From != y.next {
				y.t.Fatalf("a frame begins at %d, the one before ended at %d", f.From, y.next)
			}
			if int64(len(f.Verdicts)) != f.To-f.From {
				y.t.Fatalf("frame [%d,%d) has %d verdicts", f.From, f.To, len(f.Verdicts))
			}
			for k, v := range f.Verdicts {
				y.verdicts[f.From+int64(k)] = min(v, facts.VerdictSession)
				if v >= facts.VerdictSession {
					y.session[f.From+int64(k)] = event.Hash(f.SessionIds[16*(v-facts.VerdictSession):][:16])
				}
			}
			y.next = f.To
		}
		if f.Last != (i == len(frames)-1) {
			y.t.Fatalf("part %d of %d says last=%v", i, len(frames), f.Last)
		}
		for _, s := range f.Sessions {
			y.sessions[sessionLine(y.t, s)] += int(s.Sign)
		}
		for _, e := range f.Entrants {
			y.others[entrantLine(y.t, f.Funnels[e.Funnel], e)] += int(e.Sign)
		}
		for _, c := range f.Transitions {
			y.others[transitionLine(y.t, c)] += int(c.Sign)
		}
		for _, c := range f.Carts {
			y.others[cartLine(y.t, c)] += int(c.Sign)
		}
		for _, m := range f.Moves {
			y.session[m.Offset] = event.Hash(m.SessionId)
		}
	}
}

// rows are the surviving rows; a sum that is neither 0 nor 1 is an error.
func (y *tally) rows() []string {
	var out []string
	for _, set := range []map[string]int{y.sessions, y.others} {
		for row, n := range set {
			switch n {
			case 0:
			case 1:
				out = append(out, row)
			default:
				y.t.Errorf("a row has the sum %d: %s", n, row)
			}
		}
	}
	return out
}

func line(t testing.TB, v any) string {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// sessionLine is the row as the reference model writes it.
func sessionLine(t testing.TB, s *facts.Session) string {
	steps := [][2]any{}
	for i, name := range s.Steps {
		steps = append(steps, [2]any{name, s.StepTimes[i]})
	}
	funnels, revenue := map[string]uint32{}, map[string]int64{}
	for i, name := range s.FurthestFunnels {
		funnels[name] = s.FurthestSteps[i]
	}
	for i, c := range s.RevenueCurrencies {
		revenue[c] = s.RevenueAmounts[i]
	}
	flags := s.Flags
	if flags == nil {
		flags = []string{}
	}
	return line(t, map[string]any{
		"kind": "session", "project": s.Project, "person": s.Person, "number": s.Number, "new": s.Number == 1,
		"session_id": hex.EncodeToString(s.SessionId), "started_at": s.StartedAt, "ended_at": s.EndedAt, "duration": s.EndedAt - s.StartedAt,
		"events": s.Events, "bounce": s.Events == 1, "page_views": s.PageViews, "entry_page": s.EntryPage, "exit_page": s.ExitPage,
		"referrer": s.Referrer, "campaign": s.Campaign, "campaign_source": s.CampaignSource, "campaign_medium": s.CampaignMedium,
		"channel": s.Channel, "device": s.Device, "browser": s.Browser, "country": s.Country, "app_version": s.AppVersion, "steps": steps,
		"funnels": funnels, "adds": s.CartAdds, "removes": s.CartRemoves, "orders": s.Orders, "revenue": revenue,
		"stage_start": s.StageStart, "stage_end": s.StageEnd, "flags": flags, "version": s.RuleVersion,
	})
}

func entrantLine(t testing.TB, def *facts.FunnelDef, e *facts.Entrant) string {
	optional := map[string]int64{}
	for i, k := range e.OptionalSteps {
		optional[def.Steps[k].Name] = e.OptionalAt[i]
	}
	return line(t, map[string]any{
		"kind": "funnel", "project": def.Project, "funnel": def.Name, "scope": def.Scope, "person": e.Person,
		"session_id": hex.EncodeToString(e.SessionId), "reached": e.Furthest, "at": e.At, "optional": optional,
	})
}

func transitionLine(t testing.TB, c *facts.Transition) string {
	texts := func(list []string) []string {
		if list == nil {
			return []string{}
		}
		return list
	}
	return line(t, map[string]any{
		"kind": "transition", "project": c.Project, "person": c.Person, "journey": c.Journey, "seq": c.Seq, "from": c.FromStage, "to": c.ToStage,
		"at": c.At, "rule": c.Rule, "version": c.RuleVersion, "evidence": texts(c.Evidence), "dwell": c.Dwell, "skipped": texts(c.Skipped),
	})
}

func cartLine(t testing.TB, c *facts.Cart) string {
	items := []map[string]any{}
	for _, i := range c.Items {
		items = append(items, map[string]any{"product_id": i.ProductId, "quantity": i.Quantity, "price": i.Price, "currency": i.Currency})
	}
	return line(t, map[string]any{
		"kind": "cart", "project": c.Project, "person": c.Person, "cart": hex.EncodeToString(c.Cart), "cart_id": c.CartId, "version": c.Change,
		"opened_at": c.OpenedAt, "state": c.State, "at": c.At, "cause": c.Cause, "currency": c.Currency, "returned_at": c.ReturnedAt,
		"value": c.Value, "items": items,
	})
}

// run feeds the events, in the order given, to n partitions, cuts at random and ends with end markers.
func run(t testing.TB, events []*touchpoint.Event, n int, r *rand.Rand, rule *rules.Rules) *tally {
	t.Helper()
	sum := newTally(t)
	projects := map[string]bool{}
	logs := make([][]*touchpoint.Event, n)
	for _, e := range events {
		projects[e.Project] = true
		at := keyhash.Partition(e.Project, event.Person(e), n)
		logs[at] = append(logs[at], e)
	}
	for i, log := range logs {
		y := newTally(t)
		y.sessions, y.others = sum.sessions, sum.others
		saved := map[string][]byte{}
		p := journey.New(journey.Config{Partition: int32(i), Rules: func(string) *rules.Rules { return rule }})
		for _, e := range log {
			apply(t, p, e)
			if r.IntN(50) == 0 {
				y.take(p.Cut())
			}
			if r.IntN(500) == 0 {
				y.take(p.Cut())
				p = restored(t, p, saved, rule)
			}
		}
		for name := range projects {
			end(t, p, name)
		}
		y.take(p.Cut())
		check(t, y, log)
	}
	return sum
}

// at is a broker's clock that stands still: no time passes between two records.
const at = int64(4_000_000_000_000)

func apply(t testing.TB, p *journey.Partition, e *touchpoint.Event) {
	t.Helper()
	value, err := e.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(journey.Record{Offset: p.Next(), Time: at, Key: []byte(event.Person(e)), Value: value}); err != nil {
		t.Fatal(err)
	}
}

func end(t testing.TB, p *journey.Partition, project string) {
	t.Helper()
	c := touchpoint.Control{Kind: &touchpoint.Control_End_{End: &touchpoint.Control_End{Project: project}}}
	value, err := c.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(journey.Record{Offset: p.Next(), Time: at, Value: value}); err != nil {
		t.Fatal(err)
	}
}

// restored is the partition made anew from a checkpoint; saved is what a compacted topic would hold of it.
func restored(t testing.TB, p *journey.Partition, saved map[string][]byte, rule *rules.Rules) *journey.Partition {
	t.Helper()
	p.Checkpoint(func(key, value []byte) { saved[string(key)] = bytes.Clone(value) })
	q := journey.New(journey.Config{Rules: func(string) *rules.Rules { return rule }})
	for key, value := range saved {
		if err := q.Restore([]byte(key), value); err != nil {
			t.Fatal(err)
		}
	}
	h, n := p.Hash()
	if h2, n2 := q.Hash(); h != h2 || n != n2 || p.Next() != q.Next() {
		t.Fatalf("restored to %d, hash %x/%d; want %d, %x/%d", q.Next(), h2, n2, p.Next(), h, n)
	}
	return q
}

// check compares the verdicts with the sessions: each event of a session names it, and it is as long as the row says.
func check(t testing.TB, y *tally, log []*touchpoint.Event) {
	t.Helper()
	counts := map[string]int{}
	for offset, id := range y.session {
		if y.verdicts[offset] == facts.VerdictSession {
			counts[id.String()]++
		}
	}
	for row, n := range y.sessions {
		var s struct {
			SessionID string `json:"session_id"`
			Events    int    `json:"events"`
		}
		if err := json.Unmarshal([]byte(row), &s); err != nil {
			t.Fatal(err)
		}
		if have, ok := counts[s.SessionID]; ok && n == 1 && have != s.Events {
			t.Errorf("session %s has %d events, %d verdicts name it", s.SessionID, s.Events, have)
		}
	}
	if len(y.verdicts) < len(log) {
		t.Errorf("%d verdicts for %d events", len(y.verdicts), len(log))
	}
}

func diff(t *testing.T, what string, got, want []string) {
	t.Helper()
	g, w := map[string]bool{}, map[string]bool{}
	for _, r := range got {
		g[r] = true
	}
	for _, r := range want {
		w[r] = true
	}
	shown := 0
	for _, r := range slices.Sorted(maps.Keys(w)) {
		if !g[r] && shown < 6 {
			t.Errorf("%s: missing %s", what, r)
			shown++
		}
	}
	for _, r := range slices.Sorted(maps.Keys(g)) {
		if !w[r] && shown < 12 {
			t.Errorf("%s: not wanted %s", what, r)
			shown++
		}
	}
}

func TestRowsEqualTheReferenceModel(t *testing.T) {
	sets := 200
	if testing.Short() {
		sets = 20
	}
	events := 0
	oracleSets(t, 1, 1+sets, func(seed int, s oracleSet) {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		events += len(s.events)
		rule := rules.Default()
		partitions := []int{1, 3, 16}
		if seed > 20 {
			partitions = partitions[seed%3:][:1] // one by one: the model is slow, and so is the race detector
		}
		for _, n := range partitions {
			got := run(t, s.events, n, r, rule).rows()
			diff(t, fmt.Sprintf("seed %d, %d partitions", seed, n), got, s.rows)
		}
		if t.Failed() {
			t.FailNow()
		}
	})
	t.Logf("%d sets, %d events", sets, events)
}
