// Package rules holds what a project's numbers mean: settings, vocabulary, stage model and funnels, as laid down in
// docs/semantics.md. A Rules value is immutable once made and safe for concurrent use.
package rules

import (
	"time"

	"github.com/waymark-analytics/waymark/pkg/event"
)

// Rules is one version of a project's rules. The keys of its YAML form are the fields in snake case.
type Rules struct {
	Version    string
	Identity   Identity
	Session    Session
	Split      Split
	Referrer   Referrer
	Slack      time.Duration
	Lateness   time.Duration
	Patience   time.Duration
	Recovery   time.Duration
	Vocabulary map[string][]string
	Passive    []string
	StageModel StageModel
	Funnels    []Funnel

	steps   map[string]string // plain event name -> step
	passive map[string]bool
	zone    *time.Location
}

// Identity bounds how anonymous ids become users.
type Identity struct {
	Adopt        time.Duration
	MaxUsers     int
	MaxAnonymous int
}

// Session says when a session ends and when it is flagged.
type Session struct {
	Gap       time.Duration
	MaxEvents int
	MaxLength time.Duration
}

// Split turns on further ends of a session.
type Split struct {
	Campaign bool
	Midnight bool
	TimeZone string
}

// Referrer lists hosts that count as no referrer, they and those under them.
type Referrer struct {
	Exclude []string
}

// StageModel is an ordered list of stages and the rules that lead to them.
type StageModel struct {
	Name    string
	Version int
	Lapse   time.Duration
	Stages  []string
	Rules   []StageRule
}

// StageRule leads to a stage when an event completes it.
type StageRule struct {
	ID      string
	To      string
	When    Predicate
	Count   int           // of matches in the journey; 1 where not given
	Within  time.Duration // the last Count matches span at most this; 0 is no bound
	After   string        // stage held before, or a further one; "" is any
	Regress bool
}

// Scope is whose events a funnel looks at.
type Scope string

// The scopes.
const (
	SessionScope Scope = "session"
	PersonScope  Scope = "person"
)

// Mode is how the steps of a funnel follow each other.
type Mode string

// The modes.
const (
	Ordered Mode = "ordered" // other events may lie between
	Strict  Mode = "strict"  // none may
	Any     Mode = "any"     // any order: how many match inside one window
)

// Funnel is a named list of steps.
type Funnel struct {
	Name    string
	Scope   Scope
	Steps   []FunnelStep
	Window  time.Duration // from the first step, inclusive; 0 is none
	Mode    Mode
	Exclude []Exclusion
	Hold    string // dotted field that all steps of a chain share, or ""
}

// FunnelStep is one step: a predicate with a name.
type FunnelStep struct {
	Name     string
	When     Predicate
	Optional bool
}

// Exclusion ends the chains that stand between two required steps.
type Exclusion struct {
	When     Predicate
	From, To int // indices among the required steps
}

// Step is the canonical step of an event name, or "".
func (r *Rules) Step(name string) string { return r.steps[event.Plain(name)] }

// IsPassive says whether a step happens to a person rather than being done by one.
func (r *Rules) IsPassive(step string) bool { return r.passive[step] }

// Zone is the project's time zone.
func (r *Rules) Zone() *time.Location { return r.zone }

// Required are the steps of the funnel that are not optional, as indices into Steps.
func (f *Funnel) Required() []int {
	var out []int
	for i, s := range f.Steps {
		if !s.Optional {
			out = append(out, i)
		}
	}
	return out
}

// CartPatience is the time from a person's last act to the abandonment of a cart: never before it is at risk.
func (r *Rules) CartPatience() time.Duration { return max(r.Patience, r.Session.Gap) }
