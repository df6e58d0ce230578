// Package contractdoc writes docs/contract.md from the definitions of the contract views, so that the page cannot differ from
// what the server says about them. `go generate ./pkg/chdb/contractdoc` does it; a test compares.
package contractdoc

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waymark-analytics/waymark/schemas"
)

//go:generate go test -run TestContractPageIsCurrent -update .

// View is a contract view as its SQL describes it.
type View struct {
	Name    string
	Comment string
	Columns []Column
}

// Column is one of its columns.
type Column struct {
	Name, Type, Comment string
}

// Views reads the definitions in the binary, sorted by name.
func Views() ([]View, error) {
	paths, err := fs.Glob(schemas.ClickHouse, "clickhouse/contract/*.sql")
	if err != nil {
		return nil, fmt.Errorf("views in the binary: %w", err)
	}
	var out []View
	for _, path := range paths {
		sql, err := schemas.ClickHouse.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("views in the binary: %w", err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".sql")
		view := View{Name: name}
		for line := range strings.Lines(string(sql)) {
			line = strings.TrimSpace(line)
			comment, ok := strings.CutPrefix(line, "COMMENT ")
			if ok {
				view.Comment = text(comment)
				continue
			}
			if !strings.HasPrefix(line, "`") || len(view.Comment) > 0 {
				continue
			}
			column, rest, _ := strings.Cut(line[1:], "` ")
			kind, comment, ok := strings.Cut(rest, " COMMENT ")
			if !ok {
				return nil, fmt.Errorf("view %s: column %s has no comment", name, column)
			}
			view.Columns = append(view.Columns, Column{Name: column, Type: kind, Comment: text(strings.TrimSuffix(comment, ","))})
		}
		if view.Comment == "" || len(view.Columns) == 0 {
			return nil, fmt.Errorf("view %s: no comment or no columns", name)
		}
		out = append(out, view)
	}
	slices.SortFunc(out, func(a, b View) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// text is the content of an SQL text literal.
func text(literal string) string {
	return strings.ReplaceAll(strings.Trim(literal, "'"), `\'`, "'")
}

// Page is docs/contract.md.
func Page() (string, error) {
	views, err := Views()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(`# The contract views

These views in the database ` + "`waymark`" + ` are what others may rely on: BI tools, notebooks, the console, alerts. The tables behind
them are not. This page is made from their definitions.

- Plain ` + "`count()` and `sum()`" + ` are right: no FINAL, no sign to multiply, corrections included.
- Every view has a column ` + "`project`" + `, so that a row policy can hold tenants apart.
- Times are UTC. Money is in minor units of its currency, durations are in milliseconds.
- An absent text is empty, an absent time is NULL.
- A column or a view may be added at any time. What would break a query gets a new name.

`)
	for _, v := range views {
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", v.Name, v.Name, v.Comment)
	}
	for _, v := range views {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n| column | type | what |\n|---|---|---|\n", v.Name, strings.ToUpper(v.Comment[:1])+v.Comment[1:])
		for _, c := range v.Columns {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", c.Name, c.Type, c.Comment)
		}
	}
	return b.String(), nil
}
