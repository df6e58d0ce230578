package segment

import (
	"fmt"

	"github.com/waymark-analytics/waymark/pkg/event"
)

// Fault is why a message is refused: a reason of package event and a sentence for the person who looks into it.
type Fault struct {
	Reason string
	Detail string
	Broken bool // it is no JSON at all: brackets, commas, literals
}

// Error is the reason with its detail.
func (f *Fault) Error() string { return f.Reason + ": " + f.Detail }

func fault(reason, format string, args ...any) *Fault {
	return &Fault{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func badJSON(at int, what string) *Fault {
	f := fault(event.BadJSON, "%s, at byte %d of the event", what, at)
	f.Broken = true
	return f
}
