// Package home is the folder of an installation on one machine: it belongs to one process at a time, and keeps what must be the
// same at the next start: the keys, the ports and the number of partitions.
package home

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

// needBytes is the space on the disk without which a start is refused: the engine and the broker fail in odd ways on a full one.
const needBytes = 256 << 20

// State is what is kept over restarts.
type State struct {
	Partitions int    `json:"partitions"` // fixed at the first start
	PortBase   int    `json:"port_base"`  // of the last start with fixed ports
	WriteKey   string `json:"write_key"`
	ImportKey  string `json:"import_key"`
}

// Home is an open folder. It is not safe for concurrent use.
type Home struct {
	State
	Dir  string // absolute
	New  bool   // made by this start
	lock *os.File
}

// Open takes the folder for this process, made if absent. A folder that another process holds is an error that names it.
func Open(dir string) (*Home, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", dir, err)
	}
	h := &Home{Dir: abs}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("folder %s cannot be made: %w", abs, reason(err))
	}
	if err := h.take(); err != nil {
		return nil, err
	}
	if err := h.load(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// take locks the folder; the kernel lets go of the lock however the process ends.
func (h *Home) take() error {
	path := filepath.Join(h.Dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("folder %s is not writable: %w", h.Dir, reason(err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path) // empty in the moment before the other one has written it
		_ = f.Close()
		return fmt.Errorf("folder %s is in use by another waymark (process %s): stop that one, or take another folder with --dir",
			h.Dir, cmp.Or(strings.TrimSpace(string(holder)), "unknown"))
	}
	h.lock = f
	var disk syscall.Statfs_t
	if err := syscall.Statfs(h.Dir, &disk); err == nil {
		if free := disk.Bavail * uint64(disk.Bsize); free < needBytes {
			return errors.Join(fmt.Errorf("the disk of %s is full: %d MB free, at least %d MB are needed", h.Dir, free>>20, needBytes>>20), h.Close())
		}
	}
	if err := errors.Join(f.Truncate(0), second(f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0))); err != nil {
		return errors.Join(fmt.Errorf("folder %s is not writable: %w", h.Dir, reason(err)), h.Close())
	}
	return nil
}

func second(_ int, err error) error { return err }

// reason is the cause alone, without the operation and the path that a message has named already.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

func (h *Home) stateFile() string { return filepath.Join(h.Dir, "installation.json") }

func (h *Home) load() error {
	data, err := os.ReadFile(h.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		h.New = true
		h.WriteKey, h.ImportKey = "w_"+rand.Text(), "i_"+rand.Text()
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what folder %s keeps: %w", h.Dir, err)
	}
	if err := json.Unmarshal(data, &h.State); err != nil {
		return fmt.Errorf("%s is damaged (%w): it holds the keys and the number of partitions of this installation; restore it", h.stateFile(), err)
	}
	return nil
}

// Save keeps the state for the next start.
func (h *Home) Save() error {
	data, err := json.MarshalIndent(h.State, "", "  ")
	if err != nil {
		return err
	}
	return endpoints.WriteFile(h.stateFile(), append(data, '\n'))
}

// Path is a path in the folder.
func (h *Home) Path(name string) string { return filepath.Join(h.Dir, name) }

// FreeBytes is the free space on the folder's disk.
func (h *Home) FreeBytes() (uint64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(h.Dir, &disk); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", h.Dir, err)
	}
	return disk.Bavail * uint64(disk.Bsize), nil
}

// Close gives the folder back.
func (h *Home) Close() error {
	if h.lock == nil {
		return nil
	}
	err := errors.Join(h.lock.Truncate(0), h.lock.Close())
	h.lock = nil
	return err
}
