package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// progress shows how far something is: on a terminal as one line that is redrawn, elsewhere as a line every ten seconds. It is
// one goroutine's.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	began    time.Time // of the phase
	from     int64     // where it began
	phase    string
	shown    time.Time
	drawn    bool
	redraw   time.Duration
	lineEach time.Duration
}

func newProgress(std *stdio) *progress {
	return &progress{out: std.Err, terminal: std.Terminal, now: time.Now, redraw: 100 * time.Millisecond, lineEach: 10 * time.Second}
}

const barWidth = 30

// show says that done of so many units are done. The last call of a phase has done == of.
func (p *progress) show(phase string, done, of int64, unit string) {
	now := p.now()
	if phase != p.phase {
		p.phase, p.began, p.from = phase, now, done
		p.shown = now
		if p.terminal {
			p.shown = time.Time{}
		}
	}
	last := done >= of
	wait := p.lineEach
	if p.terminal {
		wait = p.redraw
	}
	if now.Sub(p.shown) < wait && (!last || !p.terminal) {
		return
	}
	p.shown = now
	share := 1.0
	if of > 0 {
		share = min(float64(done)/float64(of), 1)
	}
	text := fmt.Sprintf("%3.0f%%  %s of %s %s", 100*share, amount(done, unit), amount(of, unit), plainUnit(unit))
	if took := now.Sub(p.began).Seconds(); took > 0.2 && done > p.from {
		text += fmt.Sprintf("  %s/s", amount(int64(float64(done-p.from)/took), unit))
	}
	if !p.terminal {
		fmt.Fprintf(p.out, "%s: %s\n", phase, strings.TrimSpace(text))
		return
	}
	full := int(share * barWidth)
	fmt.Fprintf(p.out, "\r\x1b[K%-9s \x1b[36m%s\x1b[2m%s\x1b[0m %s", phase, strings.Repeat("\u2588", full), strings.Repeat("\u2591", barWidth-full), text)
	p.drawn = true
	if last {
		p.end()
	}
}

// end leaves the line as it is and goes to the next one.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprintln(p.out)
		p.drawn = false
	}
}

// line prints a message above the progress.
func (p *progress) line(format string, args ...any) {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
	fmt.Fprintf(p.out, format+"\n", args...)
	if p.terminal {
		p.shown = time.Time{} // draw it again soon
	}
}

func amount(n int64, unit string) string {
	if unit != "bytes" {
		return thousands(n)
	}
	f := float64(n)
	for _, u := range []string{"B", "kB", "MB", "GB"} {
		if f < 1000 {
			return fmt.Sprintf("%.3g %s", f, u)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.4g TB", f)
}

func plainUnit(unit string) string {
	if unit == "bytes" {
		return ""
	}
	return unit
}

// thousands writes a number with commas.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// padLeft fills a text up with spaces on the left, by its characters.
func padLeft(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))) + text
}
