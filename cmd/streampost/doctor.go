package main

import (
	"net/http"

	"github.com/streampost/streampost/adapters/webadmin"
)

// DoctorCmd looks for what is wrong or risky.
type DoctorCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DoctorCmd) Help() string {
	return `It looks at durability (is the log synced before every answer?), views, blobs, permissions, disk space, the certificate, the clock, and mappings that lead nowhere. The exit code is 4 when something is a problem.

Examples:

  streampost doctor
  streampost doctor --json`
}

// Run prints the findings.
func (c *DoctorCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var findings []webadmin.Finding
	if err := server.call(env, http.MethodGet, path("doctor"), nil, &findings); err != nil {
		return err
	}
	if c.JSON {
		if err := env.json(findings); err != nil {
			return err
		}
	}
	problems := 0
	for _, f := range findings {
		if f.Status == "problem" {
			problems++
		}
		if c.JSON {
			continue
		}
		env.printf("%-8s %-12s %s\n", f.Status, f.Check, f.Found)
		if f.Hint != "" {
			env.printf("%22s-> %s\n", "", f.Hint)
		}
	}
	if problems > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}
