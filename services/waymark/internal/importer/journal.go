package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// journal remembers how far an import has been acknowledged, so that a run that was cut off goes on without writing a row twice.
type journal struct {
	path string // "" keeps nothing

	Work    string           `json:"work"`    // hash of the installation and of all that decides rows and order: another one begins anew
	Begun   bool             `json:"begun"`   // offsets hold the end of every partition before the first row
	Rejects int64            `json:"rejects"` // refused rows sent to the dead letters
	Rows    int64            `json:"rows"`    // sorted rows acknowledged
	Refused int64            `json:"refused"` // of them, refused by the collector
	End     bool             `json:"end"`     // the end markers are written
	Offsets map[string]int64 `json:"offsets"` // by partition, what a reader must have passed to have all of it
}

// openJournal reads the journal of an import in the folder; "" is none. Each work of an import has a journal of its own: the same
// file may go into several projects. One that is unreadable begins anew.
func openJournal(dir, id, work string) (*journal, error) {
	j := &journal{Work: work}
	if dir == "" {
		return j, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal of the import: %w", err)
	}
	j.path = filepath.Join(dir, fileName(id)+"-"+work[:12]+".json")
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal of the import: %w", err)
	}
	read := &journal{}
	if json.Unmarshal(text, read) != nil || read.Work != work {
		return j, nil
	}
	read.path = j.path
	return read, nil
}

func (j *journal) save() error {
	if j.path == "" {
		return nil
	}
	text, err := json.Marshal(j)
	if err == nil {
		err = endpoints.WriteFile(j.path, text)
	}
	if err != nil {
		return fmt.Errorf("journal of the import: %w", err)
	}
	return nil
}

// passed remembers offsets that a reader must have passed.
func (j *journal) passed(offsets map[string]int64) {
	if j.Offsets == nil {
		j.Offsets = map[string]int64{}
	}
	for partition, offset := range offsets {
		j.Offsets[partition] = max(j.Offsets[partition], offset)
	}
}

// fileName keeps the id of an import readable and harmless as the name of a file.
func fileName(id string) string {
	out := []byte(id)
	changed := false
	for i, c := range out {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			out[i], changed = '_', true
		}
	}
	if changed || len(out) > 100 {
		return string(out[:min(len(out), 100)]) + "-" + hashOf(id)[:16]
	}
	return string(out)
}
