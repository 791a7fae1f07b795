package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// loadSettings sets fs from the command line, the environment and the YAML file
// that the setting config names. A flag wins over the environment, and that over
// the file. A name that fs does not have is an error wherever it stands. The
// result tells which settings were given at all.
func loadSettings(fs *flag.FlagSet, args, env []string) (given map[string]bool, err error) {
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	given = make(map[string]bool)
	note := func(f *flag.Flag) { given[f.Name] = true }
	fs.Visit(note)
	if err := fromEnvironment(fs, env, given); err != nil {
		return nil, err
	}
	fs.Visit(note)
	if name := fs.Lookup("config").Value.String(); name != "" {
		if err := fromFile(fs, name, given); err != nil {
			return nil, err
		}
	}
	fs.Visit(note)
	return given, nil
}

const envPrefix = "CONFGATE_"

func envName(setting string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// serviceVariable fits what Kubernetes puts into the environment of every
// container beside a service of the name confgate. It is not meant for us.
var serviceVariable = regexp.MustCompile(`^CONFGATE_(SERVICE_(HOST|PORT)|PORT)(_|$)`)

// fromEnvironment sets what is not given yet. An empty variable counts as none.
func fromEnvironment(fs *flag.FlagSet, env []string, given map[string]bool) error {
	settings := make(map[string]string)
	fs.VisitAll(func(f *flag.Flag) { settings[envName(f.Name)] = f.Name })
	for _, entry := range slices.Sorted(slices.Values(env)) {
		variable, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(variable, envPrefix) || serviceVariable.MatchString(variable) {
			continue
		}
		name, known := settings[variable]
		switch {
		case !known:
			return fmt.Errorf("environment: %s is no setting", variable)
		case value == "" || given[name]:
			continue
		}
		if err := fs.Set(name, value); err != nil {
			return fmt.Errorf("environment: %s: %w", variable, err)
		}
	}
	return nil
}

// fromFile sets what is not given yet: the file is one YAML mapping from names of
// settings to a value, or to a list of values.
func fromFile(fs *flag.FlagSet, name string, given map[string]bool) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if doc.IsZero() || len(doc.Content) == 0 {
		return nil // empty, or nothing but comments
	}
	if err := fromMapping(fs, doc.Content[0], given); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func fromMapping(fs *flag.FlagSet, m *yaml.Node, given map[string]bool) error {
	if m.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: must be name: value", m.Line)
	}
	lines := make(map[string]int)
	for i := 0; i < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		name := key.Value
		switch {
		case name == tenantsKey: // readTenants reads it, at the start and again later
			given[name] = true
			continue
		case fs.Lookup(name) == nil:
			return fmt.Errorf("line %d: %q is no setting", key.Line, name)
		case name == "config":
			return fmt.Errorf("line %d: a file cannot name another", key.Line)
		case lines[name] != 0:
			return fmt.Errorf("line %d: %s stands in line %d already", key.Line, name, lines[name])
		}
		lines[name] = key.Line
		values, err := scalars(value)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", value.Line, name, err)
		}
		for _, v := range values {
			if given[name] {
				break
			}
			if err := fs.Set(name, v); err != nil {
				return fmt.Errorf("line %d: %s: %w", value.Line, name, err)
			}
		}
	}
	return nil
}

// scalars takes a value as it is written: what it means is the setting's business.
func scalars(n *yaml.Node) ([]string, error) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	var values []string
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return nil, errors.New("must be a value, or a list of values")
		}
		values = append(values, n.Value)
	}
	return values, nil
}

// writeSettings writes the help for every setting, under its heading, one line
// each: the flag, what it does, its default, its variable.
func writeSettings(w io.Writer, fs *flag.FlagSet) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, g := range settingGroups {
		fmt.Fprintf(t, "\n%s\n", g.title)
		for _, name := range g.names {
			f := fs.Lookup(name)
			value, usage := describe(f)
			fmt.Fprintf(t, "  --%s %s\t%s\t%s\n", name, value, usage, envName(name))
		}
	}
	_ = t.Flush() // nobody is there to read it if this fails
}

// describe gives the word for a setting's value, and what the setting does with
// its default.
func describe(f *flag.Flag) (value, usage string) {
	value, usage = flag.UnquoteUsage(f)
	usage = strings.TrimPrefix(usage, value+": ")
	if f.DefValue != "" && f.DefValue != "false" {
		usage += fmt.Sprintf(" (default %s)", strings.ToLower(f.DefValue))
	}
	return value, usage
}
