package segment

import (
	"bytes"
	"errors"
	"fmt"
)

// Span is where something stands in a body.
type Span struct{ From, To int }

// Body is a body taken apart by its brackets, its values not yet looked at. Texts are as sent, between their quotes and
// unescaped; all of them are slices of the body.
type Body struct {
	WriteKey string
	SentAt   []byte // the raw value, nil if absent
	Context  []byte // the raw value, nil if absent
	HasBatch bool
	Events   []Span // elements of batch
}

// ErrTooMany is the error of a batch with more events than allowed.
var ErrTooMany = errors.New("too many events in one batch")

// Splitter takes bodies apart; it keeps its buffers from one to the next and is not safe for concurrent use.
type Splitter struct {
	stack  []byte
	events []Span
}

// Split finds the members of the object that a body is, and the elements of its batch. Only brackets, quotes, commas and
// colons are looked at: what stands between them is judged event by event, later. An error says that the body cannot be
// read as any number of events, or has more than most. The Body is valid until the next call.
func (p *Splitter) Split(b []byte, most int) (Body, error) {
	p.events = p.events[:0]
	var body Body
	i := blank(b, 0)
	if i == len(b) {
		return body, errors.New("the body is empty")
	}
	if b[i] != '{' {
		return body, errors.New("the body is no JSON object")
	}
	i = blank(b, i+1)
	if i < len(b) && b[i] == '}' {
		return body, behind(b, i+1)
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return body, broken(b, i, "a key")
		}
		end, err := p.skip(b, i)
		if err != nil {
			return body, err
		}
		key := b[i+1 : end-1]
		if i = blank(b, end); i >= len(b) || b[i] != ':' {
			return body, broken(b, i, "a colon")
		}
		i = blank(b, i+1)
		if string(key) == "batch" && i < len(b) && b[i] == '[' {
			if body.HasBatch {
				return body, errors.New("the body has two batches")
			}
			body.HasBatch = true
			end, err = p.elements(b, i, most)
			body.Events = p.events
		} else {
			end, err = p.skip(b, i)
		}
		if err != nil {
			return body, err
		}
		body.note(key, b[i:end])
		i = blank(b, end)
		switch {
		case i < len(b) && b[i] == '}':
			return body, behind(b, i+1)
		case i >= len(b) || b[i] != ',':
			return body, broken(b, i, "a comma or }")
		}
		i = blank(b, i+1)
	}
}

func (b *Body) note(key, value []byte) {
	switch string(key) {
	case "writeKey":
		if len(value) >= 2 && value[0] == '"' {
			b.WriteKey = string(value[1 : len(value)-1])
		}
	case "sentAt":
		b.SentAt = value
	case "context":
		b.Context = value
	}
}

func (p *Splitter) elements(b []byte, i, most int) (int, error) {
	i = blank(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		end, err := p.skip(b, i)
		if err != nil {
			return 0, err
		}
		if len(p.events) == most {
			return 0, fmt.Errorf("%w: more than %d", ErrTooMany, most)
		}
		p.events = append(p.events, Span{i, end})
		i = blank(b, end)
		switch {
		case i < len(b) && b[i] == ']':
			return i + 1, nil
		case i >= len(b) || b[i] != ',':
			return 0, broken(b, i, "a comma or ]")
		}
		i = blank(b, i+1)
	}
}

// skip returns the end of the value at i: the closing bracket or quote that belongs to it, or the end of a bare word.
func (p *Splitter) skip(b []byte, i int) (int, error) {
	p.stack = p.stack[:0]
	for i < len(b) {
		switch c := b[i]; c {
		case '"':
			end := quoted(b, i)
			if end < 0 {
				return 0, broken(b, len(b), "the closing quote of a text")
			}
			i = end
		case '{', '[':
			p.stack = append(p.stack, c+2) // '{'+2 is '}', '['+2 is ']'
			i++
			continue
		case '}', ']':
			n := len(p.stack)
			if n == 0 || p.stack[n-1] != c {
				return 0, broken(b, i, "the right bracket")
			}
			p.stack = p.stack[:n-1]
			i++
		case ',', ':':
			if len(p.stack) == 0 {
				return 0, broken(b, i, "a value")
			}
			i++
			continue
		default:
			i++
			if len(p.stack) > 0 {
				continue
			}
			for i < len(b) && !delimiter[b[i]] {
				i++
			}
		}
		if len(p.stack) == 0 {
			return i, nil
		}
	}
	return 0, broken(b, len(b), "the end of a value")
}

var delimiter = [256]bool{' ': true, '\t': true, '\r': true, '\n': true, ',': true, ':': true, '"': true, '{': true, '}': true, '[': true, ']': true}

// quoted is the end of the string that begins at i, or -1.
func quoted(b []byte, i int) int {
	for i++; ; i++ {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return -1
		}
		i += j
		back := i - 1
		for b[back] == '\\' { // ends at the opening quote
			back--
		}
		if (i-back)%2 == 1 {
			return i + 1
		}
	}
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

func behind(b []byte, i int) error {
	if i = blank(b, i); i < len(b) {
		return fmt.Errorf("something stands behind the JSON object, at byte %d", i)
	}
	return nil
}

func broken(b []byte, i int, want string) error {
	if i >= len(b) {
		return fmt.Errorf("the body ends too early, at byte %d: %s is missing", len(b), want)
	}
	return fmt.Errorf("the body is broken at byte %d: expected %s", i, want)
}
