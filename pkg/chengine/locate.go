package chengine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/waymark-analytics/waymark/deploy/embedded"
)

// LibraryVariable names the environment variable that holds the path of the engine's library.
const LibraryVariable = "WAYMARK_ENGINE"

// The oldest `clickhouse` program that is used when it stands on the PATH.
const (
	minMajor = 26
	minMinor = 3
)

// ErrNoEngine is in the chain of every error of Locate: there is no engine, and the text says what to do.
var ErrNoEngine = errors.New("no ClickHouse engine")

const orAddress = "or give the address of a ClickHouse server with --clickhouse HOST:PORT"

// Program is an engine found on this machine: a library, or a `clickhouse` program that is run as a server.
type Program struct {
	Path   string
	Server bool
}

// LocateConfig says where to look.
type LocateConfig struct {
	Offline bool   // never fetch
	Cache   string // folder of fetched engines; empty is waymark/engine in the user's cache folder
	Log     *zap.Logger
}

// Locate finds an engine: the library in $WAYMARK_ENGINE, a `clickhouse` program on the PATH that is new enough, the library
// in the cache folder; else it fetches that library with npm, checks it and keeps it there.
func Locate(ctx context.Context, c LocateConfig) (Program, error) {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if path := os.Getenv(LibraryVariable); path != "" {
		abs, err := filepath.Abs(path)
		if err == nil {
			_, err = os.Stat(abs)
		}
		if err != nil {
			return Program{}, fmt.Errorf("%w: %s=%s: %w", ErrNoEngine, LibraryVariable, path, err)
		}
		return Program{Path: abs}, nil
	}
	if path, err := exec.LookPath("clickhouse"); err == nil {
		version, err := programVersion(ctx, path)
		switch {
		case err != nil:
			c.Log.Info("clickhouse program on the PATH left aside", zap.String("path", path), zap.Error(err))
		case !newEnough(version):
			c.Log.Info("clickhouse program on the PATH left aside: too old", zap.String("path", path),
				zap.String("version", version), zap.String("needed", fmt.Sprintf("%d.%d", minMajor, minMinor)))
		default:
			return Program{Path: path, Server: true}, nil
		}
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return Program{}, fmt.Errorf("%w: the embedded one runs on Linux x86-64 only, this is %s/%s; install ClickHouse %d.%d or newer so that `clickhouse` is on the PATH, %s",
			ErrNoEngine, runtime.GOOS, runtime.GOARCH, minMajor, minMinor, orAddress)
	}
	dir := c.Cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Program{}, fmt.Errorf("%w: cache folder: %w; name the library in %s, %s", ErrNoEngine, err, LibraryVariable, orAddress)
		}
		dir = filepath.Join(user, "waymark", "engine")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Program{}, fmt.Errorf("%w: %w", ErrNoEngine, err)
	}
	lib := filepath.Join(dir, embedded.Version, embedded.Library)
	if _, err := os.Stat(lib); err == nil {
		return Program{Path: lib}, nil
	}
	if c.Offline {
		return Program{}, fmt.Errorf("%w: not in %s, and fetching it is forbidden (--offline); start once without it, name the library in %s, %s",
			ErrNoEngine, lib, LibraryVariable, orAddress)
	}
	if err := fetch(ctx, dir, lib, c.Log); err != nil {
		return Program{}, err
	}
	return Program{Path: lib}, nil
}

// fetch brings the library to lib. The file appears there whole and checked, or not at all; two processes may do so at once.
func fetch(ctx context.Context, dir, lib string, log *zap.Logger) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("%w: the embedded one is fetched with npm, which is not installed; install npm, name the library in %s, install ClickHouse %d.%d or newer, %s",
			ErrNoEngine, LibraryVariable, minMajor, minMinor, orAddress)
	}
	if err := os.MkdirAll(filepath.Dir(lib), 0o755); err != nil {
		return fmt.Errorf("%w: %w", ErrNoEngine, err)
	}
	tmp, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoEngine, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	err = errors.Join(
		os.WriteFile(filepath.Join(tmp, "package.json"), embedded.PackageJSON, 0o600),
		os.WriteFile(filepath.Join(tmp, "package-lock.json"), embedded.PackageLock, 0o600))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoEngine, err)
	}
	log.Info("fetching the embedded ClickHouse engine with npm, once: about 180 MB", zap.String("to", lib))
	began := time.Now()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: fetch it with npm ci: %w: %s; check the network and npm's registry, name the library in %s, %s",
			ErrNoEngine, err, lastLines(string(out), 3), LibraryVariable, orAddress)
	}
	got := filepath.Join(tmp, "node_modules", filepath.FromSlash(embedded.Package), embedded.Library)
	sum, err := checksum(got)
	if err != nil {
		return fmt.Errorf("%w: fetched package: %w", ErrNoEngine, err)
	}
	if sum != embedded.SHA256 {
		return fmt.Errorf("%w: the fetched library has the sha256 %s, expected %s; it was not kept", ErrNoEngine, sum, embedded.SHA256)
	}
	if err := os.Rename(got, lib); err != nil {
		return fmt.Errorf("%w: keep the fetched library: %w", ErrNoEngine, err)
	}
	log.Info("embedded ClickHouse engine fetched and checked", zap.Duration("took", time.Since(began)))
	return nil
}

func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("checksum of %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var versionPattern = regexp.MustCompile(`version (\d+\.\d+[.\d]*)`)

func programVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "local", "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("ask %s for its version: answer not understood", path)
	}
	return string(m[1]), nil
}

func newEnough(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major > minMajor || major == minMajor && minor >= minMinor)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
