package endpoints_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

func TestWrittenFileIsReadBackAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), endpoints.Name)
	want := endpoints.Endpoints{Collector: "http://127.0.0.1:1", Kafka: "127.0.0.1:2", WriteKey: "w", ImportKey: "i"}
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		if got, err := endpoints.Read(p); err != nil || got != want {
			t.Fatalf("Read(%s) = %+v, %v; want %+v", p, got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Fatalf("%d files in the folder, want the one", len(entries))
	}
}

func TestMissingFileSaysHowToStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), endpoints.Name)
	_, err := endpoints.Read(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "waymark up --dir") {
		t.Fatalf("Read of no file: %v", err)
	}
	if err := endpoints.Remove(path); err != nil {
		t.Fatalf("Remove of no file: %v", err)
	}
}
