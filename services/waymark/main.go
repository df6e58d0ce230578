// Command waymark is the whole product in one binary: every service, and the commands around them. This package composes
// services and speaks with people; it decides nothing about what numbers mean.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/waymark-analytics/waymark/pkg/chengine"
)

// cli is the root of the commands: one field each, the command's own file has the rest.
type cli struct {
	Demo        demoCmd        `cmd:"" group:"start" help:"Run everything and a simulated shop; check every figure."`
	Up          upCmd          `cmd:"" group:"start" help:"Run everything on this machine."`
	Run         runCmd         `cmd:"" group:"operate" help:"Run services against a real Kafka and ClickHouse."`
	Import      importCmd      `cmd:"" group:"data" help:"Bring history from files: CSV, NDJSON, Parquet."`
	Export      exportCmd      `cmd:"" group:"data" help:"Write events in the form that import takes."`
	Simulate    simulateCmd    `cmd:"" group:"data" help:"Make the traffic of a shop, of which every figure is known."`
	Funnel      funnelCmd      `cmd:"" group:"ask" help:"Print a funnel: who reached which step."`
	Migrate     migrateCmd     `cmd:"" group:"operate" help:"Make or upgrade the tables and the topics of an installation."`
	CheckConfig checkConfigCmd `cmd:"" group:"operate" help:"Check a configuration file, and say what it comes to."`
	Version     versionCmd     `cmd:"" group:"operate" help:"Print the version of this binary and of what it embeds."`
	Completion  completionCmd  `cmd:"" group:"operate" help:"Print the completion script of a shell."`
}

// stdio is where a command writes: results to Out, progress and messages to Err.
type stdio struct {
	Out, Err io.Writer
	Terminal bool // Err is a terminal: progress may redraw its line
}

// Exit statuses. A wrong answer (a failed check) is a failure too.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2
)

// usageError is an error of the caller: wrong flags, wrong configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef makes the error of a wrong call: status 2.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	chengine.Main() // in the engine's child process it never returns
	ctx, stop := notifyContext(context.Background())
	status := run(ctx, os.Args[1:], &stdio{Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stderr)})
	stop()
	os.Exit(status)
}

// run is the program: arguments in, exit status out.
func run(ctx context.Context, args []string, std *stdio) int {
	var root cli
	exited, status := false, statusDone
	parser, err := kong.New(&root,
		kong.Name("waymark"),
		kong.Description(describe),
		kong.Writers(std.Out, std.Err),
		kong.Exit(func(code int) { exited, status = true, code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "start", Title: "Start here:"},
			{Key: "data", Title: "Data in and out:"},
			{Key: "ask", Title: "Ask:"},
			{Key: "operate", Title: "Operate:"},
		}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if err != nil {
		return report(std, fmt.Errorf("commands of this binary: %w", err))
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited { // --help has been printed
		return status
	}
	if err != nil {
		return report(std, usageError{fmt.Errorf("%w\n%s", err, hint(err))})
	}
	return report(std, parsed.Run(parser))
}

// report prints the error, if there is one, and gives the status that it means.
func report(std *stdio, err error) int {
	if err == nil {
		return statusDone
	}
	if list, ok := errors.AsType[listed](err); ok {
		fmt.Fprintln(std.Err, list)
		return statusFailed
	}
	fmt.Fprintf(std.Err, "waymark: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return statusUsage
	}
	return statusFailed
}

// hint says where the usage of what was called wrongly is explained.
func hint(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			return fmt.Sprintf("try: waymark %s --help", node.Path())
		}
	}
	return "try: waymark --help"
}

// notifyContext ends the context at the first signal, for an orderly stop; the second one kills.
func notifyContext(parent context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup it stays ignored
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(parent, signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// isTerminal says whether a person may be watching: a character device, but not the null device.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err == nil && !os.SameFile(info, null)
}

// buildVersion is the version and the commit that the binary was built from.
func buildVersion() (version, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	version = strings.TrimPrefix(info.Main.Version, "v")
	if version == "" {
		version = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return version, commit
}

const describe = `Waymark turns the events of shops, apps and sites into sessions, funnels and carts that are exactly right.

One command runs all of it on this machine:

  waymark demo              a simulated shop, its funnel, and a check of every figure against the truth
  waymark up --dir ./data   the same without the traffic: send events, then ask in SQL

Status: 0 done; 1 failed, or the answer is bad; 2 wrong usage or configuration.
Each command explains itself: waymark COMMAND --help.`
