package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The scripts ask the binary itself: `meridian __complete WORD... CURRENT` prints what CURRENT can be, a candidate a line,
// with a tab and an explanation behind it. Where it prints nothing the shell completes file names.
var completionScripts = map[string]string{
	"bash": `_meridian() {
	local IFS=$'\n'
	COMPREPLY=($(meridian __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _meridian meridian
`,
	"zsh": `#compdef meridian
_meridian() {
	local -a lines described
	lines=("${(@f)$(meridian __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -z "${lines[1]}" ]]; then
		_files
		return
	fi
	local l
	for l in "${lines[@]}"; do
		described+=("${l%%$'\t'*}:${l#*$'\t'}")
	done
	_describe -t values meridian described
}
if [[ "${funcstack[1]}" == _meridian ]]; then _meridian "$@"; else compdef _meridian meridian; fi
`,
	"fish": `function __meridian_complete
	set -l words (commandline -opc)[2..-1]
	meridian __complete $words (commandline -ct) 2>/dev/null
end
complete -c meridian -a '(__meridian_complete)'
`,
}

// runCompletion is `meridian completion`.
func runCompletion(_ context.Context, args []string, e env) error {
	f := newFlags("completion", "bash|zsh|fish", e)
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		f.help()
		return nil
	}
	if len(args) != 1 || completionScripts[args[0]] == "" {
		return &usageError{"completion: name bash, zsh or fish"}
	}
	_, err := io.WriteString(e.stdout, completionScripts[args[0]])
	return err
}

// runComplete prints what the last of the words can be.
func runComplete(ctx context.Context, words []string, e env) error {
	if len(words) == 0 {
		words = []string{""}
	}
	before, current := words[:len(words)-1], words[len(words)-1]
	for _, c := range candidates(ctx, before, current) {
		if strings.HasPrefix(c, current) {
			fmt.Fprintln(e.stdout, c)
		}
	}
	return nil
}

func candidates(ctx context.Context, before []string, current string) []string {
	if len(before) == 0 {
		var out []string
		for _, c := range subcommands() {
			out = append(out, c.name+"\t"+c.help)
		}
		return append(out, "help\tlist the commands")
	}
	if before[0] == "help" {
		return candidates(ctx, nil, current)
	}
	i := slices.IndexFunc(subcommands(), func(c command) bool { return c.name == before[0] })
	if i < 0 {
		return nil
	}
	cmd := subcommands()[i]
	words := pages[cmd.name].words
	ask := []string{"--help"}
	if len(before) > 1 && slices.Contains(words, before[1]) && cmd.name != "workload" && cmd.name != "node" {
		ask = []string{before[1], "--help"}
	}
	var f *flags
	// Help touches nothing, so nothing can go wrong but that there is no such command.
	_ = cmd.run(ctx, ask, env{lookup: func(string) (string, bool) { return "", false }, stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard,
		flagsOf: func(got *flags) { f = got }})
	var out []string
	if f != nil {
		last, _, assigned := strings.Cut(strings.TrimLeft(before[len(before)-1], "-"), "=")
		if fl := f.Lookup(last); fl != nil && strings.HasPrefix(before[len(before)-1], "-") && !assigned && !isBool(fl) {
			return values[last]
		}
		if strings.HasPrefix(current, "-") {
			f.VisitAll(func(fl *flag.Flag) {
				_, usage := flag.UnquoteUsage(fl)
				out = append(out, dashed(fl.Name)+"\t"+usage)
			})
			return out
		}
	}
	if len(before) == 1 {
		return words
	}
	return nil
}
