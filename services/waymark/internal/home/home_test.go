package home_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waymark-analytics/waymark/services/waymark/internal/home"
)

func open(t *testing.T, dir string) *home.Home {
	t.Helper()
	h, err := home.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestStateIsKeptAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	h := open(t, dir)
	if !h.New || h.WriteKey == "" || h.ImportKey == "" || h.WriteKey == h.ImportKey {
		t.Fatalf("new folder: %+v", h)
	}
	h.Partitions = 3
	want := h.State
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(h.Path("installation.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("state file: %v, %v", info, err)
	}
	if again := open(t, dir); again.New || again.State != want {
		t.Fatalf("second start: %+v, want %+v", again, want)
	}
}

func TestSecondInstanceIsToldOfTheFirst(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := home.Open(dir)
	if err == nil || !strings.Contains(err.Error(), "in use by another waymark (process ") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("second Open: %v", err)
	}
}

func TestFolderThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, "/proc/nowhere"} {
		if _, err := home.Open(dir); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open(%s): %v", dir, err)
		}
	}
}

func TestDamagedStateIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "installation.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := home.Open(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("Open: %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "{" {
		t.Fatalf("state is now %q", data)
	}
}

func TestPorts(t *testing.T) {
	h := open(t, t.TempDir())
	any1, err := h.Choose(t.Context(), 0)
	if err != nil || any1.Collector == any1.Kafka {
		t.Fatalf("free ports: %+v, %v", any1, err)
	}
	own, err := h.Choose(t.Context(), -1)
	if err != nil || own.Metrics != own.Collector+5 || h.PortBase != own.Collector {
		t.Fatalf("own ports: %+v, %v", own, err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	if _, err := h.Choose(t.Context(), port-3); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "is taken") {
		t.Fatalf("taken port: %v", err)
	}
	if _, err := h.Choose(t.Context(), 65533); err == nil {
		t.Fatal("ports above 65535 accepted")
	}
}
