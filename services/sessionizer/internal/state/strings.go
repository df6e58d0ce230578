package state

import "strings"

// Strings keeps each text once and numbers it. The number 0 is the empty text.
type Strings struct {
	ids   map[string]uint32
	texts []string
	bytes int
}

// ID numbers a text. The text may alias a buffer: it is copied when it is new.
func (s *Strings) ID(text string) uint32 {
	if text == "" {
		return 0
	}
	if id, ok := s.ids[text]; ok {
		return id
	}
	if s.ids == nil {
		s.ids = map[string]uint32{}
		s.texts = []string{""}
	}
	text = strings.Clone(text)
	id := uint32(len(s.texts))
	s.ids[text] = id
	s.texts = append(s.texts, text)
	s.bytes += len(text) + 48
	return id
}

// Text is the text of a number that ID gave.
func (s *Strings) Text(id uint32) string {
	if id == 0 {
		return ""
	}
	return s.texts[id]
}

// Len is how many texts there are.
func (s *Strings) Len() int { return len(s.texts) }

// Bytes is about what they take.
func (s *Strings) Bytes() int { return s.bytes }
