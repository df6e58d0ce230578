package segment

import (
	"bytes"
	"unicode/utf8"

	"github.com/waymark-analytics/waymark/pkg/event"
)

// MaxDepth is how deep the objects and arrays of a message may be nested.
const MaxDepth = 64

// scanner reads JSON text once, checking it as it goes: strict syntax, UTF-8, paired surrogates, no key twice in an object,
// bounded depth. Errors are *Fault.
type scanner struct {
	b     []byte
	i     int
	keyAt int // where the key last read begins, with its quote
	depth int
	keys  [][]byte // of the objects that are open, outermost first
	wide  []wide   // sets of the keys of those open objects that have many
}

// wide takes over from the linear search in keys for the object whose keys begin at base.
type wide struct {
	base int
	set  map[string]struct{}
}

// many is the number of keys from which an object gets a set.
const many = 48

func (s *scanner) reset(b []byte) {
	s.b, s.i, s.depth, s.keys, s.wide = b, 0, 0, s.keys[:0], s.wide[:0]
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// kind is the first byte of the next value: one of { [ " t f n, 0 for a number or anything else.
func (s *scanner) kind() byte {
	s.space()
	if s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case '{', '[', '"', 't', 'f', 'n':
			return c
		}
	}
	return 0
}

// end checks that nothing but space follows.
func (s *scanner) end() error {
	if s.space(); s.i < len(s.b) {
		return badJSON(s.i, "something stands behind the end of the JSON object")
	}
	return nil
}

// value reads one value and returns its bytes.
func (s *scanner) value() ([]byte, error) {
	kind := s.kind()
	from := s.i
	var err error
	switch kind {
	case '{':
		err = s.object(func([]byte) error { _, err := s.value(); return err })
	case '[':
		err = s.array(func() error { _, err := s.value(); return err })
	case '"':
		_, err = s.text()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		err = s.number()
	}
	if err != nil {
		return nil, err
	}
	return s.b[from:s.i], nil
}

// object reads an object: member is called at each value, which it must read. REQUIRES: the next byte is {.
func (s *scanner) object(member func(key []byte) error) error {
	if s.depth++; s.depth > MaxDepth {
		return fault(event.Schema, "nested deeper than %d levels", MaxDepth)
	}
	base := len(s.keys)
	s.i++
	if s.space(); s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		s.depth--
		return nil
	}
	for {
		if s.space(); s.i >= len(s.b) || s.b[s.i] != '"' {
			return badJSON(s.i, "a key is missing")
		}
		at := s.i
		key, err := s.text()
		if err != nil {
			return err
		}
		if bytes.IndexByte(key, '\\') >= 0 {
			key = unquote(nil, key)
		}
		if s.twice(base, key) {
			return fault(event.BadJSON, "the key %q stands twice in one object", clip(key))
		}
		if s.space(); s.i >= len(s.b) || s.b[s.i] != ':' {
			return badJSON(s.i, "a colon is missing")
		}
		s.i++
		s.keyAt = at
		if err := member(key); err != nil {
			return err
		}
		s.space()
		if s.i >= len(s.b) {
			return badJSON(s.i, "an object is not closed")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case '}':
			s.i++
			s.depth--
			s.keys = s.keys[:base]
			if n := len(s.wide); n > 0 && s.wide[n-1].base == base {
				s.wide = s.wide[:n-1]
			}
			return nil
		default:
			return badJSON(s.i, "a comma or } is missing")
		}
	}
}

// key is the key last read, as sent, with its quotes. REQUIRES: no value was read since.
func (s *scanner) key() []byte {
	return s.b[s.keyAt : s.keyAt+1+bytes.LastIndexByte(s.b[s.keyAt:s.i], '"')]
}

// twice says whether the object whose keys begin at base has the key already, and notes it.
func (s *scanner) twice(base int, key []byte) bool {
	if n := len(s.wide); n > 0 && s.wide[n-1].base == base {
		set := s.wide[n-1].set
		before := len(set)
		set[string(key)] = struct{}{}
		return len(set) == before
	}
	for _, k := range s.keys[base:] {
		if string(k) == string(key) {
			return true
		}
	}
	s.keys = append(s.keys, key)
	if len(s.keys)-base == many {
		set := make(map[string]struct{}, 4*many)
		for _, k := range s.keys[base:] {
			set[string(k)] = struct{}{}
		}
		s.wide = append(s.wide, wide{base: base, set: set})
	}
	return false
}

// array reads an array: element is called at each value, which it must read. REQUIRES: the next byte is [.
func (s *scanner) array(element func() error) error {
	if s.depth++; s.depth > MaxDepth {
		return fault(event.Schema, "nested deeper than %d levels", MaxDepth)
	}
	s.i++
	if s.space(); s.i < len(s.b) && s.b[s.i] == ']' {
		s.i++
		s.depth--
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		s.space()
		if s.i >= len(s.b) {
			return badJSON(s.i, "an array is not closed")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case ']':
			s.i++
			s.depth--
			return nil
		default:
			return badJSON(s.i, "a comma or ] is missing")
		}
	}
}

// plain are the bytes that a string may hold as they are and that need no look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads a string and returns what stands between its quotes. REQUIRES: the next byte is a quote.
func (s *scanner) text() ([]byte, error) {
	b := s.b
	from := s.i + 1
	wideRunes := false
	for i := from; i < len(b); {
		c := b[i]
		switch {
		case plain[c]:
			i++
		case c == '"':
			s.i = i + 1
			if wideRunes && !utf8.Valid(b[from:i]) {
				return nil, fault(event.BadJSON, "a text is not valid UTF-8, at byte %d of the event", from)
			}
			return b[from:i], nil
		case c == '\\':
			n, ok := escape(b[i:])
			if !ok {
				return nil, badJSON(i, "an escape in a text is invalid")
			}
			i += n
		case c < 0x20:
			return nil, badJSON(i, "a control character stands in a text unescaped")
		default:
			wideRunes = true
			i++
		}
	}
	return nil, badJSON(len(b), "a text is not closed")
}

// escape is the length of the escape that b begins with; the two halves of a surrogate pair are one.
func escape(b []byte) (int, bool) {
	if len(b) < 2 {
		return 0, false
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, true
	case 'u':
		r, ok := hex4(b[2:])
		switch {
		case !ok || 0xdc00 <= r && r < 0xe000:
			return 0, false
		case 0xd800 <= r && r < 0xdc00:
			if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
				return 0, false
			}
			low, ok := hex4(b[8:])
			return 12, ok && 0xdc00 <= low && low < 0xe000
		}
		return 6, true
	}
	return 0, false
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		return badJSON(s.i, "a value is missing or unknown")
	}
	s.i += len(word)
	return nil
}

func (s *scanner) number() error {
	from, b := s.i, s.b
	i := from
	digits := func() bool {
		start := i
		for i < len(b) && '0' <= b[i] && b[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case !digits():
		return badJSON(from, "a value is missing or unknown")
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return badJSON(from, "a number is incomplete")
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return badJSON(from, "a number is incomplete")
		}
	}
	s.i = i
	return nil
}

// unquote appends what a checked string means, given what stands between its quotes.
func unquote(out, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(out, text...)
		}
		out = append(out, text[:i]...)
		n, _ := escape(text[i:])
		switch c := text[i+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(text[i+2:])
			if n == 12 {
				low, _ := hex4(text[i+8:])
				r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
		text = text[i+n:]
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// ValidObject says whether the bytes are one JSON object by the rules of this package.
func ValidObject(b []byte) bool {
	s := scanner{b: b}
	if s.kind() != '{' {
		return false
	}
	if _, err := s.value(); err != nil {
		return false
	}
	return s.end() == nil
}
