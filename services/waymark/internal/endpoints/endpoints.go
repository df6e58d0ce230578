// Package endpoints is the file that tells clients where a running installation answers and which keys it takes. It is written
// when everything answers and removed at a clean stop; after a crash it may name addresses that nobody answers at.
package endpoints

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Name is the file's name in an installation's folder.
const Name = "endpoints.json"

// Endpoints is the content of the file. URLs have no slash at the end.
type Endpoints struct {
	Collector        string `json:"collector"`         // URL of the HTTP API for events
	ClickHouseHTTP   string `json:"clickhouse_http"`   // URL; read queries need no password on loopback
	ClickHouseNative string `json:"clickhouse_native"` // host:port
	Kafka            string `json:"kafka"`             // host:port, several with commas
	Console          string `json:"console"`           // URL for a browser
	Metrics          string `json:"metrics"`           // URL of the Prometheus metrics
	WriteKey         string `json:"write_key"`         // of the first web source
	ImportKey        string `json:"import_key"`        // writes to every project
}

// Read reads the file at path; of a folder it reads the file in it.
func Read(path string) (Endpoints, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, Name)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Endpoints{}, fmt.Errorf("%s: no such file: nothing runs there (start it with: waymark up --dir %s): %w", path, filepath.Dir(path), fs.ErrNotExist)
	}
	if err != nil {
		return Endpoints{}, fmt.Errorf("read endpoints: %w", err)
	}
	var e Endpoints
	if err := json.Unmarshal(data, &e); err != nil {
		return Endpoints{}, fmt.Errorf("%s: no endpoints file: %w", path, err)
	}
	return e, nil
}

// Write puts the file at path, readable for its owner only. Readers see the old file or the new one, never a part.
func (e Endpoints) Write(path string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("encode endpoints: %w", err)
	}
	return WriteFile(path, buf.Bytes())
}

// WriteFile replaces the file at path by data in one step, readable for its owner only.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Remove removes the file at path; that there is none is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove endpoints: %w", err)
	}
	return nil
}
