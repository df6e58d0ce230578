package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Examples:
  source <(waymark completion bash)                                        # this shell
  waymark completion zsh  > "${fpath[1]}/_waymark"                         # zsh, once
  waymark completion fish > ~/.config/fish/completions/waymark.fish        # fish, once

For bash in every shell, put the first line into ~/.bashrc.`
}

// Run writes the script for the commands and flags of this binary.
func (c *completionCmd) Run(app *kong.Kong, std *stdio) error {
	commands := completions(app.Model)
	switch c.Shell {
	case "bash":
		return completeBash(std.Out, commands)
	case "zsh":
		return completeZsh(std.Out, commands)
	default:
		return completeFish(std.Out, commands)
	}
}

// completion is what can follow one command.
type completion struct {
	name, help string
	flags      []completionFlag
	values     []string // of its arguments, where they are from a list
}

type completionFlag struct {
	name, help string
	value      bool // a value follows
	path       bool // which is a file
	values     []string
}

func completions(model *kong.Application) []completion {
	var out []completion
	for _, node := range model.Children {
		if node.Hidden {
			continue
		}
		c := completion{name: node.Name, help: firstSentence(node.Help)}
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				c.flags = append(c.flags, completionFlag{
					name: "--" + f.Name, help: firstSentence(f.Help), value: !f.IsBool(), values: enum(f.Value),
					path: f.Tag.Type == "path" || f.Tag.Type == "existingfile" || f.Tag.Type == "existingdir",
				})
			}
		}
		for _, arg := range node.Positional {
			c.values = append(c.values, enum(arg)...)
		}
		out = append(out, c)
	}
	return out
}

func enum(v *kong.Value) []string {
	var out []string
	for value := range strings.SplitSeq(v.Enum, ",") {
		if value = strings.TrimSpace(value); value != "" {
			out = append(out, value)
		}
	}
	return out
}

func firstSentence(s string) string {
	s, _, _ = strings.Cut(s, ". ")
	s, _, _ = strings.Cut(s, ": ")
	return strings.NewReplacer("'", "", "`", "", "[", "(", "]", ")", ":", "", "\\", "", "$", "").Replace(strings.TrimSuffix(s, "."))
}

func names(commands []completion) string {
	var out []string
	for _, c := range commands {
		out = append(out, c.name)
	}
	return strings.Join(out, " ")
}

func completeBash(w io.Writer, commands []completion) error {
	var b strings.Builder
	b.WriteString(`_waymark() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '` + names(commands) + ` --help' -- "$cur"))
    return
  fi
  case "${COMP_WORDS[1]} $prev" in
`)
	for _, c := range commands {
		for _, f := range c.flags {
			if len(f.values) > 0 {
				fmt.Fprintf(&b, "    '%s %s') words='%s' ;;\n", c.name, f.name, strings.Join(f.values, " "))
			} else if f.value {
				fmt.Fprintf(&b, "    '%s %s') COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", c.name, f.name)
			}
		}
	}
	b.WriteString("    *) case \"${COMP_WORDS[1]}\" in\n")
	for _, c := range commands {
		words := append([]string{}, c.values...)
		for _, f := range c.flags {
			words = append(words, f.name)
		}
		fmt.Fprintf(&b, "      %s) words='%s' ;;\n", c.name, strings.Join(words, " "))
	}
	b.WriteString(`    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _waymark waymark
`)
	_, err := io.WriteString(w, b.String())
	return err
}

func completeZsh(w io.Writer, commands []completion) error {
	var b strings.Builder
	b.WriteString("#compdef waymark\n_waymark() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "      '%s:%s'\n", c.name, c.help)
	}
	b.WriteString("    )\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "    %s) _arguments", c.name)
		for _, f := range c.flags {
			b.WriteString(" \\\n      '" + f.name + "[" + f.help + "]")
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(&b, ":value:(%s)", strings.Join(f.values, " "))
			case f.path:
				b.WriteString(":file:_files")
			case f.value:
				b.WriteString(":value:")
			}
			b.WriteString("'")
		}
		if len(c.values) > 0 {
			fmt.Fprintf(&b, " \\\n      '*:value:(%s)'", strings.Join(c.values, " "))
		} else {
			b.WriteString(" \\\n      '*:file:_files'")
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("  esac\n}\nif [ \"$funcstack[1]\" = _waymark ]; then _waymark \"$@\"; else compdef _waymark waymark; fi\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func completeFish(w io.Writer, commands []completion) error {
	var b strings.Builder
	b.WriteString("complete -c waymark -f -n __fish_use_subcommand -l help -d 'Explain'\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "complete -c waymark -f -n __fish_use_subcommand -a %s -d '%s'\n", c.name, c.help)
		for _, f := range c.flags {
			fmt.Fprintf(&b, "complete -c waymark -n '__fish_seen_subcommand_from %s' -l %s -d '%s'", c.name, strings.TrimPrefix(f.name, "--"), f.help)
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(&b, " -x -a '%s'", strings.Join(f.values, " "))
			case f.path:
				b.WriteString(" -r -F")
			case f.value:
				b.WriteString(" -x")
			}
			b.WriteString("\n")
		}
		if len(c.values) > 0 {
			fmt.Fprintf(&b, "complete -c waymark -f -n '__fish_seen_subcommand_from %s' -a '%s'\n", c.name, strings.Join(c.values, " "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
