package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/waymark-analytics/waymark/pkg/event"
	"github.com/waymark-analytics/waymark/pkg/rules"
	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// row is one row of a file: an event, or left out by the mapping, or refused. It is the reader's again after emit returns.
type row struct {
	line    int64
	raw     []byte
	event   *touchpoint.Event // of a refused row as far as it could be read, or nil
	left    bool
	refused *refusal
}

// emit takes the rows of a file in their order.
type emit func(r row) error

var (
	errMore  = errors.New("the row goes on")
	errQuote = errors.New(`a quote where none may be: a field with a quote, a delimiter or an end of line is in quotes, with its own quotes doubled`)
	errOpen  = errors.New("a quote is opened and never closed")
)

// csvRow is the form of one row: its fields are pieces of the text, or of room where quotes had to be removed.
type csvRow struct {
	fields [][]byte
	room   []byte
}

// parse reads the row that text begins with and returns its length, with its end. errMore says that the text ends within the
// row; last, that no more text follows.
func (c *csvRow) parse(text []byte, delimiter byte, last bool) (int, error) {
	c.fields, c.room = c.fields[:0], c.room[:0]
	at := 0
	for {
		if at < len(text) && text[at] == '"' {
			field, next, err := c.quoted(text, at+1, delimiter, last)
			if err != nil {
				return 0, err
			}
			c.fields = append(c.fields, field)
			at = next
		} else {
			end := at
			for end < len(text) && text[end] != delimiter && text[end] != '\n' {
				if text[end] == '"' {
					return 0, errQuote
				}
				end++
			}
			if end == len(text) && !last {
				return 0, errMore
			}
			field := text[at:end]
			if end == len(text) || text[end] == '\n' {
				field = bytes.TrimSuffix(field, []byte{'\r'})
			}
			c.fields = append(c.fields, field)
			at = end
		}
		switch {
		case at == len(text):
			return at, nil
		case text[at] == '\r': // behind a quoted field
			return min(at+2, len(text)), nil
		case text[at] == '\n':
			return at + 1, nil
		}
		at++ // the delimiter
	}
}

// quoted reads a field from behind its opening quote on, to the delimiter or the end of the line behind it.
func (c *csvRow) quoted(text []byte, at int, delimiter byte, last bool) (field []byte, next int, err error) {
	from := len(c.room)
	for {
		n := bytes.IndexByte(text[at:], '"')
		if n < 0 {
			if last {
				return nil, 0, errOpen
			}
			return nil, 0, errMore
		}
		c.room = append(c.room, text[at:at+n]...)
		at += n + 1
		switch rest := text[at:]; {
		case len(rest) == 0 && !last, len(rest) == 1 && rest[0] == '\r' && !last:
			return nil, 0, errMore
		case len(rest) == 0, rest[0] == delimiter, rest[0] == '\n', rest[0] == '\r' && (len(rest) == 1 || rest[1] == '\n'):
			return c.room[from:], at, nil
		case rest[0] == '"':
			c.room = append(c.room, '"')
			at++
		default:
			return nil, 0, errQuote
		}
	}
}

// readCSV reads a file with a header line. A row that is none is refused alone: reading goes on at its second line, so that an
// unclosed quote costs one line and not all that follow.
func readCSV(r io.Reader, p *plan, emit emit) error {
	w := newWindow(r)
	for len(w.rest()) < 3 {
		if grew, err := w.more(); err != nil {
			return err
		} else if !grew {
			break
		}
	}
	if bytes.HasPrefix(w.rest(), []byte("\xEF\xBB\xBF")) {
		w.skip(3)
	}
	var c csvRow
	n, err := nextRow(w, &c, p.m.Delimiter)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("line 1: the header: %w", err)
	}
	header := make([]string, len(c.fields))
	for i, f := range c.fields {
		header[i] = strings.TrimSpace(string(f))
	}
	w.skip(n)
	if header, err = checkHeader(header, p); err != nil {
		return err
	}
	roles := make([][]role, len(header))
	for i, name := range header {
		roles[i] = p.roles[name]
	}
	for {
		n, err := nextRow(w, &c, p.m.Delimiter)
		line := w.line
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errQuote), errors.Is(err, errOpen):
			if err := refuseLine(w, refuse(event.Schema, "%v", err), emit); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		raw := w.rest()[:n]
		trimmed := bytes.TrimRight(raw, "\r\n")
		switch {
		case len(trimmed) == 0:
			w.skip(n)
			continue
		case len(c.fields) != len(header):
			why := refuse(event.Schema, "%d fields, the header has %d", len(c.fields), len(header))
			if err := refuseLine(w, why, emit); err != nil {
				return err
			}
			continue
		}
		out := row{line: line, raw: trimmed}
		if len(trimmed) > event.MaxBytes {
			out.refused = refuse(event.TooLarge, "%d bytes, an event has at most %d", len(trimmed), event.MaxBytes)
		} else {
			p.begin()
			for i, f := range c.fields {
				p.column(header[i], roles[i], value{text: string(f)})
			}
			out.event, out.left, out.refused = p.finish()
		}
		if err := emit(out); err != nil {
			return err
		}
		w.skip(n)
	}
}

// nextRow parses the row at the window and returns its length; it does not move on.
func nextRow(w *window, c *csvRow, delimiter byte) (int, error) {
	for {
		if len(w.rest()) > 0 {
			n, err := c.parse(w.rest(), delimiter, w.end)
			if !errors.Is(err, errMore) {
				return n, err
			}
		}
		grew, err := w.more()
		switch {
		case err != nil:
			return 0, err
		case grew:
		case w.end && len(w.rest()) == 0:
			return 0, io.EOF
		case w.end: // now it is known to be the last row
			return c.parse(w.rest(), delimiter, true)
		default:
			return 0, errOpen
		}
	}
}

// refuseLine refuses the line at the window and moves on behind it.
func refuseLine(w *window, why *refusal, emit emit) error {
	line := w.line
	raw, _, err := w.readLine()
	if err != nil {
		return err
	}
	return emit(row{line: line, raw: bytes.Clone(raw[:min(len(raw), event.MaxBytes)]), refused: why})
}

// checkHeader wants every column that the mapping names, once. Other columns of one name are told apart by a number.
func checkHeader(header []string, p *plan) ([]string, error) {
	var problems []error
	count := map[string]int{}
	out := slices.Clone(header)
	for i, name := range header {
		if count[name]++; count[name] > 1 {
			if len(p.roles[name]) > 0 {
				problems = append(problems, fmt.Errorf("the header has the column %q twice", name))
			}
			out[i] = fmt.Sprintf("%s_%d", name, count[name])
		}
	}
	for _, column := range p.m.columns() {
		if count[column] == 0 {
			problems = append(problems, fmt.Errorf("no column %q in the header%s", column, rules.Nearest(column, header)))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, &MappingError{err}
	}
	return out, nil
}

// MappingError says that a mapping does not fit a file.
type MappingError struct{ error }

func (e *MappingError) Unwrap() error { return e.error }
