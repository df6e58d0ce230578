// Package chengine runs a genuine ClickHouse beside the program, for one machine: the embedded library, or a `clickhouse`
// program, as a child process on loopback. The child ends when the program ends, however it ends; when the child dies, it is
// started again on the same folder and ports. The package finds or fetches the engine too, see Locate. It does not speak to
// the engine: that is package chdb.
package chengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	startTimeout = 60 * time.Second
	lockTimeout  = 30 * time.Second // an engine under load that lost its parent was seen to need 7 s
	retryPause   = 100 * time.Millisecond
	stopGrace    = 15 * time.Second // an open connection alone delays the stop by 5 s
	maxRestarts  = 5                // in a row, none of which stayed up for restartReset
	restartReset = 30 * time.Second
)

// Config describes one engine.
type Config struct {
	Program   Program
	Dir       string // its folder, made if absent; one engine at a time
	TCP, HTTP int    // ports on 127.0.0.1; 0 is a free one, kept over restarts of the child
	// MemoryBytes bounds the engine; 0 is half of what the machine has.
	MemoryBytes int64
	Log         *zap.Logger
}

// Engine is a running engine. It is safe for concurrent use.
type Engine struct {
	c       Config
	self    string
	end     context.CancelFunc // of its life: the child is let go
	done    chan struct{}
	err     error // valid after done
	current struct {
		sync.Mutex
		child *child
	}
}

// Start starts an engine and waits until it answers.
func Start(ctx context.Context, c Config) (*Engine, error) {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "data"), 0o700); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	for _, port := range []*int{&c.TCP, &c.HTTP} {
		if err := claimPort(ctx, port); err != nil {
			return nil, err
		}
	}
	e := &Engine{c: c, self: self, done: make(chan struct{})}
	if err := e.writeConfig(); err != nil {
		return nil, fmt.Errorf("start engine in %s: %w", c.Dir, err)
	}
	first, err := e.start(ctx)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	e.end = end
	go e.supervise(life, first)
	return e, nil
}

// Addr is the address of the native protocol, host:port.
func (e *Engine) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(e.c.TCP)) }

// HTTP is the base URL of the HTTP interface.
func (e *Engine) HTTP() string { return "http://127.0.0.1:" + strconv.Itoa(e.c.HTTP) }

// Done is closed when the engine is gone for good: after Stop, or when it could not be kept up.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Err says why the engine is gone, after Done; nil after Stop.
func (e *Engine) Err() error { return e.err }

// Pid is the process id of the child as it runs now, 0 between two.
func (e *Engine) Pid() int {
	e.current.Lock()
	defer e.current.Unlock()
	if e.current.child == nil {
		return 0
	}
	return e.current.child.cmd.Process.Pid
}

// Stop ends the engine, best after all its clients have closed, and waits for it: for as long as ctx lets it, then it is
// killed, which loses nothing that was acknowledged.
func (e *Engine) Stop(ctx context.Context) error {
	e.end()
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
	}
	e.current.Lock()
	if e.current.child != nil {
		e.current.child.kill()
	}
	e.current.Unlock()
	<-e.done
	return errors.Join(e.err, fmt.Errorf("stop engine in %s: killed: %w", e.c.Dir, ctx.Err()))
}

// supervise starts the child again when it dies. A client of the native port that is killed in the middle of a block can
// take the engine with it.
func (e *Engine) supervise(life context.Context, c *child) {
	defer close(e.done)
	failed := 0
	for {
		began := time.Now()
		select {
		case <-life.Done():
			c.release()
			<-c.done
			return
		case <-c.done:
		}
		e.setChild(nil)
		if time.Since(began) > restartReset {
			failed = 0
		}
		e.c.Log.Warn("clickhouse engine died, starting it again", zap.String("reason", c.reason()))
		for c = nil; c == nil; {
			if failed++; failed > maxRestarts {
				e.err = fmt.Errorf("engine in %s died %d times in a row", e.c.Dir, failed)
				return
			}
			select {
			case <-life.Done():
				return
			case <-time.After(retryPause * time.Duration(failed*failed)):
			}
			var err error
			c, err = e.start(life)
			if err != nil {
				e.c.Log.Warn("clickhouse engine did not come up", zap.Error(err))
			}
		}
	}
}

func (e *Engine) setChild(c *child) {
	e.current.Lock()
	e.current.child = c
	e.current.Unlock()
}

// start starts a child and waits until it answers, and before that until an older engine has let go of the folder.
func (e *Engine) start(ctx context.Context) (*child, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	deadline := time.Now().Add(lockTimeout)
	waiting := false
	for {
		c, err := e.spawn()
		if err != nil {
			return nil, fmt.Errorf("start engine %s: %w", e.c.Program.Path, err)
		}
		e.setChild(c)
		if err = c.ready(ctx, e.HTTP()); err == nil {
			return c, nil
		}
		c.release()
		c.kill()
		<-c.done
		e.setChild(nil)
		reason := c.reason()
		locked := strings.Contains(reason, "Cannot lock file") || strings.Contains(reason, "Another server instance")
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("start engine in %s: not ready in time: %w: %s", e.c.Dir, ctx.Err(), reason)
		case !locked:
			return nil, fmt.Errorf("start engine in %s: it ended at once: %s (more in %s)", e.c.Dir, reason, e.logFile())
		case time.Now().After(deadline):
			return nil, fmt.Errorf("start engine in %s: another engine holds this folder; stop it first", e.c.Dir)
		}
		if !waiting {
			e.c.Log.Info("waiting for the engine before this one to let go of its folder", zap.String("dir", e.c.Dir))
			waiting = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

func (e *Engine) logFile() string { return filepath.Join(e.c.Dir, "engine.log") }

// child is one process.
type child struct {
	cmd   *exec.Cmd
	leash io.Closer // its standard input: when it closes, and so when this process dies, the engine stops
	name  string    // that the engine shows, to know it from another one on the same port
	said  *tail
	done  chan struct{}
}

func (e *Engine) spawn() (*child, error) {
	c := &child{name: fmt.Sprintf("waymark-%d-%d", os.Getpid(), time.Now().UnixNano()), said: &tail{}, done: make(chan struct{})}
	data := filepath.Join(e.c.Dir, "data")
	var args []string
	if e.c.Program.Server {
		args = []string{
			serverChild, e.c.Program.Path, "server", "--config-file", e.configFile(), "--",
			"--path=" + data + "/", "--listen_host=127.0.0.1", "--display_name=" + c.name,
			"--tcp_port=" + strconv.Itoa(e.c.TCP), "--http_port=" + strconv.Itoa(e.c.HTTP),
		}
	} else {
		// Run as clickhouse-local, it opens the listeners and then reads its standard input, which never says anything.
		args = []string{
			libraryChild, e.c.Program.Path, "clickhouse", "--path", data, "--config-file", e.configFile(),
			"--logger.log", e.logFile(), "--log-level", "warning",
			"--listen_host", "127.0.0.1", "--tcp_port", strconv.Itoa(e.c.TCP), "--http_port", strconv.Itoa(e.c.HTTP),
			"--query", "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT * FROM file('-', LineAsString) FORMAT Null",
			"--", "--display_name=" + c.name,
		}
	}
	c.cmd = exec.Command(e.self, args...) //nolint:noctx // it is let go by its standard input, and killed only if that does not help
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = e.c.Dir, c.said, c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in a terminal is for us alone
	var err error
	if c.leash, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func (c *child) release() { _ = c.leash.Close() }

// kill ends the child and, since it leads a group of its own, a server that it runs.
func (c *child) kill() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

// reason is what the child said last, and its status. REQUIRES: the child is done.
func (c *child) reason() string {
	if said := c.said.String(); said != "" {
		return said
	}
	return c.cmd.ProcessState.String()
}

// ready waits until this child, and no other engine on the same port, answers.
func (c *child) ready(ctx context.Context, url string) error {
	// Without keep-alive: an open connection would delay the stop.
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/?query=SELECT+1", http.NoBody)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.Header.Get("X-ClickHouse-Server-Display-Name") == c.name {
				return nil
			}
		}
		select {
		case <-c.done:
			return errors.New("ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// claimPort puts a free port in place of 0, and checks any other.
func claimPort(ctx context.Context, port *int) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(*port)))
	if err != nil {
		return fmt.Errorf("port %d for the ClickHouse engine: %w; choose other ports with --port-base, or 0 for free ones", *port, err)
	}
	*port = l.Addr().(*net.TCPAddr).Port
	return l.Close()
}

// tail keeps the end of what a child wrote.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 2000

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String is the first line of it that names an exception, or all of it, in one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(t.text) {
		if bytes.Contains(line, []byte("Exception")) {
			return string(bytes.TrimSpace(line))
		}
	}
	return strings.Join(strings.Fields(string(t.text)), " ")
}
