package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/waymark-analytics/waymark/deploy/embedded"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print one JSON object."`
}

func (versionCmd) Help() string {
	return `Example:
  waymark version --json

Put its output into every bug report.`
}

// Run prints what this binary is.
func (c *versionCmd) Run(std *stdio) error {
	version, commit := buildVersion()
	facts := struct {
		Version  string `json:"version"`
		Commit   string `json:"commit"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
		Engine   string `json:"engine"`
	}{version, commit, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, embedded.Version}
	if c.JSON {
		return json.NewEncoder(std.Out).Encode(facts)
	}
	fmt.Fprintf(std.Out, "waymark %s\n", facts.Version)
	if facts.Commit != "" {
		fmt.Fprintf(std.Out, "commit   %s\n", facts.Commit)
	}
	fmt.Fprintf(std.Out, "go       %s\nplatform %s\nengine   %s (the embedded ClickHouse that up fetches where there is none)\n", facts.Go, facts.Platform, facts.Engine)
	return nil
}
