package rules_test

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

func parse(t testing.TB, text string) (*rules.Rules, error) {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return rules.Parse(doc.Content[0])
}

func TestDefaultsEqualTheReferenceModel(t *testing.T) {
	text, err := os.ReadFile("../../../shared/oracle/commerce.yaml")
	if err != nil {
		t.Skipf("the reference model is not beside the repository: %v", err)
	}
	// Laid over our own, every key of the other file must change nothing.
	over, err := parse(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	if ours := rules.Default(); !reflect.DeepEqual(ours, over) {
		t.Fatalf("the built-in rules differ from the reference model's:\n%+v\n%+v", ours, over)
	}
}

func TestMapsAreMergedAndListsReplaced(t *testing.T) {
	r, err := parse(t, `
session: {gap: 10m}
vocabulary: {view: [Seen]}
passive: []
funnels: [{name: f, steps: [view, {name: pay, when: {step: [payment, purchase], properties.n: 3}}]}]
`)
	if err != nil {
		t.Fatal(err)
	}
	if r.Session.Gap != 10*time.Minute || r.Session.MaxEvents != 1000 {
		t.Errorf("session = %+v, want the gap replaced and the rest kept", r.Session)
	}
	if r.Step("SEEN") != "view" || r.Step("Product Viewed") != "" || r.Step("add-to-cart") != "cart_add" {
		t.Error("the list of a step is replaced, the other steps stay")
	}
	if r.IsPassive("refund") || len(r.Funnels) != 1 {
		t.Error("lists are replaced")
	}
	pay := r.Funnels[0].Steps[1].When
	for json, want := range map[string]bool{`{"n":3}`: true, `{"n":3.0}`: false, `{"n":"3"}`: false, `{}`: false} {
		if got := pay.Match(&touchpoint.Event{Step: "purchase", Properties: []byte(json)}); got != want {
			t.Errorf("Match(%s) = %v, want %v", json, got, want)
		}
	}
}

func TestProblemsSayWhereAndWhatWasMeant(t *testing.T) {
	for text, want := range map[string]string{
		"session:\n  gapp: 5m":                                           `line 2, column 3: session.gapp: unknown key; did you mean "gap"?`,
		"slack: soon":                                                    `slack: "soon" is no duration`,
		"split: {time_zone: Mars}":                                       `split.time_zone: "Mars" is no time zone`,
		"split: {campaign: maybe}":                                       "split.campaign: expected true or false",
		"funnels: [{name: f, steps: [view]}]":                            "funnels[0].steps: a funnel has 2 to 20 steps, this one has 1",
		"funnels: [{name: f, steps: [a, a]}]":                            `two steps have the name "a"`,
		"funnels: [{name: f, steps: [a, b], mode: some}]":                `funnels[0].mode: "some": expected ordered, strict or any`,
		"funnels: [{name: f, steps: [a, {name: b, when: {stpe: c}}]}]":   `no event has such a field; did you mean "step"?`,
		"funnels: [{name: f, steps: [a, b], exclude: [{from: c}]}]":      `"c" is no required step`,
		"stage_model: {rules: [{id: x, to: decisoin, when: {step: a}}]}": `"decisoin" is no stage of the model; did you mean "decision"?`,
		"identity: {adopt: 31d}":                                         "is more than 30 days",
		"passive: view":                                                  "passive: expected a list",
		"funnels: [{name: f, steps: [a, b]}, {name: f, steps: [a, b]}]":  `two funnels have the name "f"`,
	} {
		_, err := parse(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", text, err, want)
		}
	}
}

// FuzzParse wants: rules or an error, never a panic.
func FuzzParse(f *testing.F) {
	f.Add("session: {gap: 10m}")
	f.Add("funnels: [{name: f, steps: [view, {name: b, when: {step: [a, 1, true]}}], hold: commerce.product_id}]")
	f.Add("a: &x [*x]")
	f.Fuzz(func(t *testing.T, text string) {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 {
			return
		}
		r, err := rules.Parse(doc.Content[0])
		if (r == nil) == (err == nil) {
			t.Fatal("neither rules nor an error")
		}
	})
}
