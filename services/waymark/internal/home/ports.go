package home

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// Ports are the ports of an installation, in the order in which they follow the base.
type Ports struct {
	Collector, ClickHouseHTTP, ClickHouseNative, Kafka, Console, Metrics int
}

var portNames = []string{"collector", "clickhouse_http", "clickhouse_native", "kafka", "console", "metrics"}

func (p *Ports) list() []*int {
	return []*int{&p.Collector, &p.ClickHouseHTTP, &p.ClickHouseNative, &p.Kafka, &p.Console, &p.Metrics}
}

// The first base that is tried where none was chosen, and how far the next ones are: below the range that systems take the
// ports of outgoing connections from, so that a kept port is not lost to one.
const (
	firstBase = 18100
	baseStep  = 10
	lastBase  = 30000
)

// Choose finds the ports. A base of 0 takes free ones, others each time; a base above takes those from it on, and it is an error
// if one is taken; below 0 the folder's own are taken, those of the last start or the first free ones.
func (h *Home) Choose(ctx context.Context, base int) (Ports, error) {
	var p Ports
	switch {
	case base == 0:
		return free(ctx)
	case base > 0:
		if base+len(portNames)-1 > 65535 {
			return p, fmt.Errorf("--port-base %d: the last port would be above 65535", base)
		}
		return from(ctx, base)
	case h.PortBase > 0:
		return from(ctx, h.PortBase)
	}
	for base = firstBase; base < lastBase; base += baseStep {
		p, err := from(ctx, base)
		if err == nil {
			h.PortBase = base
			return p, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return p, err
		}
	}
	return p, fmt.Errorf("no six free ports in a row between %d and %d: choose with --port-base", firstBase, lastBase)
}

func from(ctx context.Context, base int) (Ports, error) {
	var p Ports
	for i, port := range p.list() {
		*port = base + i
		l, err := listen(ctx, *port)
		if err != nil {
			return p, fmt.Errorf("port %d (%s) is taken by another program: stop it, or choose other ports with --port-base N (0: any free ones): %w",
				*port, portNames[i], cause(err))
		}
		if err := l.Close(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// free holds all of them before it lets one go, so that they differ.
func free(ctx context.Context) (Ports, error) {
	var p Ports
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	for _, port := range p.list() {
		l, err := listen(ctx, 0)
		if err != nil {
			return p, fmt.Errorf("no free port: %w", cause(err))
		}
		open = append(open, l)
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func listen(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

func cause(err error) error {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Err
	}
	return err
}
