package rules

import (
	"slices"
	"strings"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// Predicate is a condition on one event: every term must hold. The empty one holds for every event.
type Predicate []Term

// Term holds if the field equals one of the values, JSON types included. Terms are sorted by field.
type Term struct {
	Field  string
	Values []event.Value
}

// Match says whether the predicate holds for an event.
func (p Predicate) Match(e *touchpoint.Event) bool {
	for _, t := range p {
		if !slices.Contains(t.Values, event.Field(e, t.Field)) {
			return false
		}
	}
	return true
}

// OnStepOnly says whether the predicate looks at nothing but the step.
func (p Predicate) OnStepOnly() bool {
	return len(p) == 0 || len(p) == 1 && p[0].Field == "step"
}

// Equal says whether two predicates are the same condition, written in the same order of values.
func (p Predicate) Equal(q Predicate) bool {
	return slices.EqualFunc(p, q, func(a, b Term) bool { return a.Field == b.Field && slices.Equal(a.Values, b.Values) })
}

var topFields = []string{
	"step", "project", "source", "message_id", "name", "channel", "anonymous_id", "user_id", "occurred_at", "received_at",
}

// knownField says whether a dotted path can name a field at all.
func knownField(path string) bool {
	for _, prefix := range []string{"context.", "commerce.", "properties."} {
		if strings.HasPrefix(path, prefix) && len(path) > len(prefix) {
			return true
		}
	}
	return slices.Contains(topFields, path)
}
