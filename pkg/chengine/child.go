package chengine

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// The first argument of a process that is the engine, or that keeps a server on its leash.
const (
	libraryChild = "__clickhouse-engine"
	serverChild  = "__clickhouse-server"
)

// Main must be the first call in main() of a program that starts engines, and in the TestMain of its tests: in a child
// process, where this program was started again to be the engine, it never returns.
func Main() {
	if len(os.Args) < 4 {
		return
	}
	switch os.Args[1] {
	case libraryChild:
		if err := runLibrary(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "clickhouse engine:", err)
			os.Exit(3) //nolint:forbidigo // main's first call, in a process of its own
		}
		os.Exit(0) //nolint:forbidigo // as above
	case serverChild:
		os.Exit(runServer(os.Args[2], os.Args[3:])) //nolint:forbidigo // as above
	}
}

// runServer runs a clickhouse program until standard input ends, which it does when the parent stops or dies.
func runServer(path string, args []string) int {
	cmd := exec.Command(path, args...) //nolint:noctx // it ends when the parent lets go
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "clickhouse server:", err)
		return 3
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}()
	if err := cmd.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "clickhouse server:", err)
		return 1
	}
	return 0
}
