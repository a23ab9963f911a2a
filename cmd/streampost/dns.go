package main

import (
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/zone"
)

// DNSCmd prints and checks records.
type DNSCmd struct {
	Domain named `arg:"" help:"Local domain."`
	Check  bool  `help:"Compare each record with what DNS says."`
	JSON   bool  `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*DNSCmd) Help() string {
	return `All records that a domain needs: MX for mail to it; SPF, DKIM and DMARC so that others believe its mail; MTA-STS and TLS reports; autoconfig and SRV for mail programs. Without --check they are printed as a zone file has them. With it each has a line that says ok, missing, different or unknown (DNS cannot tell now), and the exit code is 4 if one that mail needs is not ok, or any is different.

Examples:

  streampost dns example.org
  streampost dns example.org --check
  streampost dns example.org --check --json`
}

// Run prints the records.
func (c *DNSCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	to := path("domains", string(c.Domain), "dns")
	if c.Check {
		to += "?check=true"
	}
	var all []zone.Checked
	if err := server.call(env, http.MethodGet, to, nil, &all); err != nil {
		return err
	}
	bad := false
	var rows [][]string
	for _, r := range all {
		bad = bad || r.Bad()
		if c.JSON {
			continue
		}
		if !c.Check {
			if r.Note != "" {
				env.printf("; %s\n", r.Note)
			}
			if r.For == "host" || strings.HasPrefix(r.Name, "SELECTOR.") {
				env.printf("; ")
			}
			env.printf("%s\n", r.Line())
			continue
		}
		state := string(r.State)
		if r.Optional && r.State == zone.Missing {
			state = "missing, optional"
		}
		rows = append(rows, []string{r.For, r.Name, r.Type, state, foundText(&r)})
	}
	if c.JSON {
		err = env.json(all)
	} else if c.Check {
		err = env.table("FOR NAME TYPE STATE FOUND", rows)
	}
	if err == nil && bad {
		return &exitError{code: exitFound}
	}
	return err
}

// foundText is what DNS says, or why it is not known. It is text of anybody, which does not steer the terminal.
func foundText(r *zone.Checked) string {
	found := strings.Join(r.Found, "; ")
	if r.Why != "" {
		found = strings.TrimPrefix(found+": "+r.Why, ": ")
	}
	found = strings.ReplaceAll(found, "\t", " ")
	if strings.ContainsFunc(found, func(c rune) bool { return c == utf8.RuneError || !unicode.IsGraphic(c) }) {
		return strconv.QuoteToGraphic(found)
	}
	return found
}
