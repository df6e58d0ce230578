// Package event says what an event means: which ids are real, whose it is, how events are ordered, what its fields are
// called. It is pure; the form of an event is touchpoint.Event.
package event

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/waymark-analytics/waymark/schemas/touchpoint"
)

// MaxBytes is the largest event accepted, as sent.
const MaxBytes = 32 << 10

// Reasons for which an event is refused, alone. They are labels of metrics and values of the view `refused`.
const (
	NoIdentity   = "no_identity"
	BadTimestamp = "bad_timestamp"
	TooLarge     = "too_large"
	BadJSON      = "bad_json"
	UnknownType  = "unknown_type"
	MissingEvent = "missing_event"
	Schema       = "schema"
)

// Clamped is the flag of an event whose time was later than its receipt.
const Clamped = "clamped"

var placeholders = map[string]bool{
	"": true, "null": true, "undefined": true, "none": true, "nil": true, "nan": true, "0": true, "-1": true,
	"anonymous": true, "guest": true, "unknown": true, "true": true, "false": true, "[object object]": true,
	"00000000000000000000000000000000": true, "00000000-0000-0000-0000-000000000000": true,
}

// ID returns an id as sent, or "" if it is a placeholder for none.
func ID(sent string) string {
	if len(sent) > 64 && len(strings.Trim(sent, " \t\r\n")) > 36 {
		return sent
	}
	if placeholders[asciiLower(strings.Trim(sent, " \t\r\n"))] {
		return ""
	}
	return sent
}

// Plain is the form in which event names are compared: ASCII lower case, each run of space, _ and - one _.
func Plain(name string) string {
	b := make([]byte, 0, len(name))
	run := false
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == ' ' || c == '_' || c == '-':
			if !run {
				b = append(b, '_')
			}
			run = true
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		run = false
		b = append(b, c)
	}
	return string(b)
}

func asciiLower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// Person is whose an event is as it alone tells: "u:" and the user id, else "a:" and the anonymous id, else "".
func Person(e *touchpoint.Event) string {
	switch {
	case e.UserId != "":
		return "u:" + e.UserId
	case e.AnonymousId != "":
		return "a:" + e.AnonymousId
	}
	return ""
}

// Compare orders the events of a project: by time, message id, user id and anonymous id, texts by their bytes.
func Compare(a, b *touchpoint.Event) int {
	return cmp.Or(
		cmp.Compare(a.OccurredAt, b.OccurredAt),
		strings.Compare(a.MessageId, b.MessageId),
		strings.Compare(a.UserId, b.UserId),
		strings.Compare(a.AnonymousId, b.AnonymousId),
	)
}

// Hash is the product's hash of a tuple of texts: the first 16 bytes of SHA-256 over each one's length in bytes, ":" and
// its bytes. Times are decimal milliseconds. It is shown as 32 hex digits.
type Hash [16]byte

// String is the hash as lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashOf hashes the fields in their order.
func HashOf(fields ...string) Hash {
	var room [256]byte
	b := room[:0]
	for _, f := range fields {
		b = strconv.AppendInt(b, int64(len(f)), 10)
		b = append(b, ':')
		b = append(b, f...)
	}
	sum := sha256.Sum256(b)
	return Hash(sum[:16])
}

// SessionID is the id of the session whose first event is this one: of the project, its time and its message id.
func SessionID(project string, occurredAt int64, messageID string) Hash {
	return HashOf(project, strconv.FormatInt(occurredAt, 10), messageID)
}
