package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waymark-analytics/waymark/pkg/chengine"
	"github.com/waymark-analytics/waymark/services/waymark/internal/ask"
	"github.com/waymark-analytics/waymark/services/waymark/internal/endpoints"
)

var client = &http.Client{Timeout: 20 * time.Second}

// program is a waymark process of its own.
type program struct {
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{}
	said output
}

type output struct {
	sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.Lock()
	defer o.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.Lock()
	defer o.Unlock()
	return o.text.String()
}

// binary is the program: this test binary, or one that is built without the race detector.
var binary = sync.OnceValues(func() (string, error) {
	if !raceEnabled {
		return os.Executable()
	}
	path := filepath.Join(programFolder, "waymark")
	if said, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, said)
	}
	return path, nil
})

// launch starts the program; it is killed with the test.
func launch(t testing.TB, env []string, args ...string) *program {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.signal(syscall.SIGKILL) })
	return p
}

func (p *program) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s)
	if s == syscall.SIGKILL {
		<-p.done
	}
}

// ends waits for the program, and gives its status and what it said.
func (p *program) ends() (status int, said string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(90 * time.Second):
		p.t.Fatalf("the program does not end; it said:\n%s", p.said.String())
	}
	return p.cmd.ProcessState.ExitCode(), p.said.String()
}

// up waits until the program has announced itself.
func (p *program) up(dir string) endpoints.Endpoints {
	p.t.Helper()
	path := filepath.Join(dir, endpoints.Name)
	var e endpoints.Endpoints
	p.eventually(2*time.Minute, "endpoints.json", func() error {
		select {
		case <-p.done:
			p.t.Fatalf("the program ended:\n%s", p.said.String())
		default:
		}
		var err error
		e, err = endpoints.Read(path)
		return err
	})
	return e
}

func (p *program) eventually(within time.Duration, what string, try func() error) {
	p.t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: %v; the program said:\n%s", what, err, p.said.String())
		}
		<-time.After(50 * time.Millisecond)
	}
}

// send posts a batch of count events of one session, with message ids from first on.
func (p *program) send(e endpoints.Endpoints, first, count int) {
	p.t.Helper()
	type event struct {
		Type      string `json:"type"`
		Event     string `json:"event"`
		UserID    string `json:"userId"`
		MessageID string `json:"messageId"`
	}
	var batch struct {
		Batch []event `json:"batch"`
	}
	for i := range count {
		batch.Batch = append(batch.Batch, event{"track", "Product Viewed", fmt.Sprintf("u%d", (first+i)%7), fmt.Sprintf("m%d", first+i)})
	}
	body, err := json.Marshal(batch)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, e.Collector+"/v1/batch", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.SetBasicAuth(e.WriteKey, "")
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatalf("send: %v", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("send: %s", resp.Status)
	}
}

// stored waits until the views show so many events of so many persons, and no more.
func (p *program) stored(e endpoints.Endpoints, events, persons int64) {
	p.t.Helper()
	type counts struct{ Events, Distinct, Persons, Open int64 }
	p.eventually(30*time.Second, "events in the views", func() error {
		rows, err := ask.Rows[counts](p.t.Context(), &ask.Client{URL: e.ClickHouseHTTP}, `
			SELECT count() AS events, uniqExact(message_id) AS distinct, uniqExact(person) AS persons,
				(SELECT sum(events) FROM waymark.sessions_open WHERE project = 'default') AS open
			FROM waymark.events WHERE project = 'default'`, nil)
		if err != nil {
			return err
		}
		if want := (counts{events, events, persons, events}); rows[0] != want {
			return fmt.Errorf("the views show %+v, want %+v", rows[0], want)
		}
		return nil
	})
}

// needEngine skips a test that needs one.
func needEngine(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole installation")
	}
	if _, err := chengine.Locate(t.Context(), chengine.LocateConfig{}); err != nil {
		if os.Getenv("WAYMARK_ENGINE_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func TestUpGoesOnAfterStopAndKill(t *testing.T) {
	needEngine(t)
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, endpoints.Name)

	p := launch(t, nil, "up", "--dir", dir, "--port-base", "0", "--partitions", "3")
	e := p.up(dir)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("endpoints.json: %v, %v; want mode 0600", info, err)
	}
	for _, url := range []string{e.Console + "/", e.Metrics + "/metrics", e.Collector + "/healthz", e.Collector + "/readyz", e.ClickHouseHTTP + "/ping"} {
		p.eventually(5*time.Second, url, func() error { return answers(t, url) })
	}
	p.send(e, 0, 40)
	p.stored(e, 40, 7)

	p.signal(syscall.SIGINT)
	if status, said := p.ends(); status != 0 || !strings.Contains(said, "stopped; the next start goes on") {
		t.Fatalf("after SIGINT: status %d:\n%s", status, said)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("endpoints.json after a clean stop: %v", err)
	}

	p = launch(t, nil, "up", "--dir", dir, "--port-base", "0")
	again := p.up(dir)
	if again.WriteKey != e.WriteKey || again.ImportKey != e.ImportKey {
		t.Fatal("the keys changed over a restart")
	}
	p.stored(again, 40, 7)
	p.send(again, 30, 40) // ten of them again
	p.stored(again, 70, 7)

	for range 2 {
		p.send(again, 0, 70) // all of them once more, and no time to work on it
		p.signal(syscall.SIGKILL)
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("endpoints.json after a kill: %v", err)
		}
		p = launch(t, nil, "up", "--dir", dir, "--port-base", "0")
		p.eventually(time.Minute, "an endpoints.json of its own", func() error {
			if now, err := endpoints.Read(path); err != nil || now == again {
				return errors.New("not yet")
			}
			return nil
		})
		again = p.up(dir)
		p.stored(again, 70, 7)
	}
	p.send(again, 70, 5)
	p.stored(again, 75, 7)
	p.signal(syscall.SIGTERM)
	if status, said := p.ends(); status != 0 {
		t.Fatalf("after SIGTERM: status %d:\n%s", status, said)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func answers(t *testing.T, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// What a person meets when a start cannot succeed: one line that says what to do.
func TestUpSaysInOneLineWhyItCannotStart(t *testing.T) {
	taken := listen(t)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		says   string
	}{
		"taken port":     {nil, []string{"--dir", t.TempDir(), "--port-base", strconv.Itoa(port)}, 1, "is taken by another program"},
		"no folder":      {nil, []string{"--dir", filepath.Join(file, "x"), "--port-base", "0"}, 1, "cannot be made"},
		"missing engine": {[]string{"WAYMARK_ENGINE=/nowhere/lib.so"}, []string{"--dir", t.TempDir(), "--port-base", "0"}, 1, "no ClickHouse engine"},
		"no clickhouse":  {nil, []string{"--dir", t.TempDir(), "--port-base", "0", "--clickhouse", "127.0.0.1:1"}, 1, "127.0.0.1:1"},
		"too many":       {nil, []string{"--dir", t.TempDir(), "--port-base", "0", "--partitions", "5000"}, 2, "from 1 to 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, c.env, append([]string{"up"}, c.args...)...)
			status, said := p.ends()
			lines := strings.Split(strings.TrimSpace(said), "\n")
			if status != c.status || len(lines) != 1 || !strings.HasPrefix(said, "waymark: ") || !strings.Contains(said, c.says) {
				t.Errorf("status %d, want %d and one line with %q:\n%s", status, c.status, c.says, said)
			}
		})
	}
}

func TestSecondInstanceAndOtherPartitionsAreRefused(t *testing.T) {
	needEngine(t)
	dir := t.TempDir()
	p := launch(t, nil, "up", "--dir", dir, "--port-base", "0", "--partitions", "2")
	p.up(dir)
	status, said := launch(t, nil, "up", "--dir", dir).ends()
	if status != 1 || strings.Count(strings.TrimSpace(said), "\n") != 0 || !strings.Contains(said, fmt.Sprintf("process %d", p.cmd.Process.Pid)) {
		t.Errorf("second instance: status %d:\n%s", status, said)
	}
	p.signal(syscall.SIGKILL)
	status, said = launch(t, nil, "up", "--dir", dir, "--partitions", "3").ends()
	if status != 2 || !strings.Contains(said, "made with 2 partitions") {
		t.Errorf("other number of partitions: status %d:\n%s", status, said)
	}
}
