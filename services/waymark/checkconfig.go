package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/waymark-analytics/waymark/pkg/config"
)

// configFlags are the flags of every command that reads a configuration.
type configFlags struct {
	Config string   `type:"path" placeholder:"FILE" help:"Configuration: one YAML file. Over it goes the environment (WAYMARK_SESSION_GAP for session.gap), over that --set."`
	Set    []string `placeholder:"KEY=VALUE" sep:"none" help:"One value over the file and the environment, as in session.gap=20m; may be repeated."`
}

// load reads the configuration. What is wrong with it is wrong usage.
func (f configFlags) load(std *stdio) (*config.Config, error) {
	c, err := config.Load(config.Origin{File: f.Config, Env: os.Environ(), Set: f.Set})
	if err != nil {
		return nil, usagef("%w", err)
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(std.Err, "waymark: warning: %s\n", w)
	}
	return c, nil
}

type checkConfigCmd struct {
	configFlags
	File  string `arg:"" optional:"" type:"path" help:"Configuration file; the same as --config FILE."`
	Print bool   `help:"Print the effective configuration as YAML: the file, the environment and the flags over the defaults. Secrets are hidden."`
}

func (checkConfigCmd) Help() string {
	return `Reads the file as "up" and "run" would, and prints every problem with its line, its key and the nearest known key: one a
line, on standard error. Nothing is started or changed.

Status: 0 the file is good; 1 it is not; 2 wrong usage, or no such file.

Examples:
  waymark check-config waymark.yaml
  waymark check-config waymark.yaml --print
  WAYMARK_SESSION_GAP=20m waymark check-config waymark.yaml --print

The keys are explained in docs/configuration.md.`
}

// Run checks the file.
func (c *checkConfigCmd) Run(_ context.Context, std *stdio) error {
	file := cmp.Or(c.File, c.Config)
	if file == "" || c.File != "" && c.Config != "" {
		return usagef("check-config takes one file")
	}
	if _, err := os.Stat(file); err != nil {
		return usagef("configuration: %w", err)
	}
	loaded, err := config.Load(config.Origin{File: file, Env: os.Environ(), Set: c.Set})
	if err != nil {
		return listed{err}
	}
	for _, w := range loaded.Warnings {
		fmt.Fprintf(std.Err, "waymark: warning: %s\n", w)
	}
	if c.Print {
		text, err := loaded.YAML()
		if err != nil {
			return fmt.Errorf("print configuration: %w", err)
		}
		_, err = std.Out.Write(text)
		return err
	}
	fmt.Fprintf(std.Out, "%s is good: %d projects\n", file, len(loaded.Projects))
	return nil
}

// listed is an error whose text is a list of problems: it is printed as it is.
type listed struct{ error }

func (l listed) Unwrap() error { return l.error }
