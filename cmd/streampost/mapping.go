package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections/outgoing"
	"github.com/streampost/streampost/projections/parking"
)

// MappingCmd looks after all mappings of recipients.
type MappingCmd struct {
	List    MappingListCmd    `cmd:"" help:"List mappings."`
	Show    MappingShowCmd    `cmd:"" help:"Show what is made of mail for an address or a domain."`
	Sources MappingSourcesCmd `cmd:"" help:"Show what leads to an address or a domain."`
	Test    MappingTestCmd    `cmd:"" help:"Tell where mail for an address goes, and on which way."`
	Add     MappingAddCmd     `cmd:"" help:"Add a mapping of any kind."`
	Rm      MappingRmCmd      `cmd:"" help:"Remove a mapping of any kind."`
	Fix     MappingFixCmd     `cmd:"" help:"Put a mapping in the place of one that makes a loop."`
}

const mappingKinds = "alias,group,forward,address,domain,domainAlias,regex,error"

// mappingsOf reads all mappings that a query selects.
func (c *client) mappingsOf(env *Env, pairs ...string) (all []rewriting.Mapping, err error) {
	next := ""
	for {
		var page webadmin.MappingPage
		if err := c.call(env, http.MethodGet, path("mappings")+query(append(slices.Clone(pairs), "limit", "10000", "next", next)...), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Mappings...)
		if next = page.Next; next == "" {
			return all, nil
		}
	}
}

// addMappings adds mappings, in portions of which each is added as a whole.
func (c *client) addMappings(env *Env, add []rewriting.Mapping) error {
	for some := range slices.Chunk(add, rewriting.MaxChange) {
		if err := c.call(env, http.MethodPost, path("mappings"), webadmin.NewMappings{Add: some}, nil); err != nil {
			return err
		}
	}
	return nil
}

// removeMappings removes mappings that have to be there, likewise.
func (c *client) removeMappings(env *Env, remove []rewriting.Mapping) error {
	for some := range slices.Chunk(remove, rewriting.MaxChange) {
		if err := c.call(env, http.MethodPost, path("mappings", "change"), webadmin.MappingChange{Remove: some, Strict: true}, nil); err != nil {
			return err
		}
	}
	return nil
}

// add adds one mapping for each target.
func addTargets(g *Globals, env *Env, kind event.MappingKind, source string, targets ...string) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var add []rewriting.Mapping
	for _, to := range targets {
		add = append(add, rewriting.Mapping{Source: source, Kind: kind, Target: to})
	}
	return server.addMappings(env, add)
}

// removeTargets removes the mappings of a source to targets, or all of the kind where none is named.
func removeTargets(g *Globals, env *Env, kind event.MappingKind, source string, targets ...string) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var remove []rewriting.Mapping
	for _, to := range targets {
		remove = append(remove, rewriting.Mapping{Source: source, Kind: kind, Target: to})
	}
	if len(targets) == 0 {
		if remove, err = server.mappingsOf(env, "source", source, "kind", string(kind)); err != nil {
			return err
		}
		if len(remove) == 0 {
			return &exitError{exitFailed, fmt.Errorf("%s has no mapping of kind %s", source, kind)}
		}
	}
	return server.removeMappings(env, remove)
}

// listMappings prints those that a query selects.
func listMappings(g *Globals, env *Env, asJSON bool, pairs ...string) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	all, err := server.mappingsOf(env, pairs...)
	if err != nil {
		return err
	}
	if asJSON {
		if all == nil {
			all = []rewriting.Mapping{}
		}
		return env.json(all)
	}
	var rows [][]string
	for _, m := range all {
		rows = append(rows, []string{m.Source, string(m.Kind), m.Target})
	}
	return env.table("SOURCE KIND TARGET", rows)
}

// MappingListCmd lists.
type MappingListCmd struct {
	Kind   string `enum:",${mappingKinds}" default:"" placeholder:"KIND" help:"Only this kind: ${mappingKinds}."`
	Domain string `placeholder:"DOMAIN" help:"Only of sources in this domain."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*MappingListCmd) Help() string {
	return `In order of source, kind and target. A source @example.org stands for the addresses of the domain.

Examples:

  streampost mapping list
  streampost mapping list --kind regex
  streampost mapping list --domain example.org --json`
}

// Run prints the list.
func (c *MappingListCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "kind", c.Kind, "domain", c.Domain)
}

// MappingShowCmd shows one direction.
type MappingShowCmd struct {
	Source named `arg:"" help:"Address, or @ and a domain."`
	JSON   bool  `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*MappingShowCmd) Help() string {
	return `One step only: mapping test follows all of them.

Examples:

  streampost mapping show team@example.org
  streampost mapping show @example.org --json`
}

// Run prints the list.
func (c *MappingShowCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "source", string(c.Source))
}

// MappingSourcesCmd shows the other direction.
type MappingSourcesCmd struct {
	Target named `arg:"" help:"Address, or @ and a domain."`
	JSON   bool  `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*MappingSourcesCmd) Help() string {
	return `Groups whose member an address is, its aliases, who forwards to it. Expressions are not looked at.

Examples:

  streampost mapping sources alice@example.org
  streampost mapping sources @example.org`
}

// Run prints the list.
func (c *MappingSourcesCmd) Run(g *Globals, env *Env) error {
	return listMappings(g, env, c.JSON, "target", string(c.Target))
}

// MappingTestCmd resolves.
type MappingTestCmd struct {
	Address named `arg:"" help:"Address."`
	JSON    bool  `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*MappingTestCmd) Help() string {
	return `What the server would do with mail for the address, as a tree of steps. The exit code is 4 when the steps go round in a loop, and when nobody would get the mail.

Examples:

  streampost mapping test team@example.org
  streampost mapping test typo@example.org --json`
}

// Run prints the tree.
func (c *MappingTestCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var r webadmin.Resolved
	if err := server.call(env, http.MethodGet, path("mappings", "resolve", string(c.Address)), nil, &r); err != nil {
		return err
	}
	if c.JSON {
		err = env.json(r)
	} else {
		tree := &branch{label: r.Address}
		for _, to := range r.Recipients {
			where := "leaves for " + to.Address
			if to.Account != "" {
				where = "mailbox of " + to.Address
			}
			if to.Detail != "" {
				where += ", detail " + to.Detail
			}
			tree.grow(to.Path, where)
		}
		for _, to := range r.Nowhere {
			where := "there is no such user"
			if to.Refusal != "" {
				where = "refused: " + to.Refusal
			}
			tree.grow(to.Path, where)
		}
		if r.Fault != nil {
			tree.grow(r.Fault.Path, string(r.Fault.Reason))
		}
		tree.print(env, 0)
	}
	if err == nil && len(r.Recipients) == 0 {
		return &exitError{exitFound, nil}
	}
	return err
}

// branch is a step with those that follow it.
type branch struct {
	label string
	end   string
	next  []*branch
}

func (b *branch) grow(steps []rewriting.Step, end string) {
	at := b
	for _, s := range steps {
		label := string(s.Kind) + " " + s.To
		i := slices.IndexFunc(at.next, func(n *branch) bool { return n.label == label })
		if i < 0 {
			i = len(at.next)
			at.next = append(at.next, &branch{label: label})
		}
		at = at.next[i]
	}
	at.end = end
}

func (b *branch) print(env *Env, depth int) {
	line := strings.Repeat("  ", depth) + b.label
	if b.end != "" {
		line += ": " + b.end
	}
	env.printf("%s\n", line)
	for _, n := range b.next {
		n.print(env, depth+1)
	}
}

// MappingAddCmd adds.
type MappingAddCmd struct {
	Source named  `arg:"" help:"Address, or @ and a domain."`
	Target named  `arg:"" help:"Address, domain, expression or refusal, by the kind."`
	Kind   string `required:"" enum:"${mappingKinds}" placeholder:"KIND" help:"One of ${mappingKinds}."`
}

// Help teaches.
func (*MappingAddCmd) Help() string {
	return `A change that would make a loop is refused, with its path.

address      mail for SOURCE goes to the address TARGET; of a source @example.org, mail for whom nobody has there (catch-all)
domain       mail for @example.org goes to the same local parts in the domain TARGET, which may be elsewhere
domainAlias  the same, to a domain that is local: domain alias add
regex        EXPRESSION:REPLACEMENT, in RE2 syntax over the whole address, in any case; ${1} is what the first group matched
error        the answer to RCPT: a code, an enhanced code and a text
alias, group, forward have commands of their own

Examples:

  streampost mapping add --kind address old@example.org alice@example.org
  streampost mapping add --kind address @example.org info@example.org
  streampost mapping add --kind domain @example.net example.org
  streampost mapping add --kind error left@example.org '551 5.1.6 Write to left@example.net'
  streampost mapping add --kind regex @example.org '(.*)\.old@example\.org:${1}@example.org'`
}

// Run sends the request.
func (c *MappingAddCmd) Run(g *Globals, env *Env) error {
	return addTargets(g, env, event.MappingKind(c.Kind), string(c.Source), string(c.Target))
}

// MappingRmCmd removes.
type MappingRmCmd struct {
	Source named  `arg:"" help:"Address, or @ and a domain."`
	Target string `arg:"" optional:"" help:"Target as mapping show prints it; all of the kind if absent."`
	Kind   string `required:"" enum:"${mappingKinds}" placeholder:"KIND" help:"One of ${mappingKinds}."`
}

// Help teaches.
func (*MappingRmCmd) Help() string {
	return `Examples:

  streampost mapping rm --kind address @example.org
  streampost mapping rm --kind regex @example.org '(.*)\.old@example\.org:${1}@example.org'`
}

// Run sends the request.
func (c *MappingRmCmd) Run(g *Globals, env *Env) error {
	var targets []string
	if c.Target != "" {
		targets = []string{c.Target}
	}
	return removeTargets(g, env, event.MappingKind(c.Kind), string(c.Source), targets...)
}

// MappingFixCmd replaces.
type MappingFixCmd struct {
	Source  named    `arg:"" help:"Address, or @ and a domain."`
	Old     named    `arg:"" help:"Target of the mapping that is wrong, as mapping show prints it."`
	New     string   `arg:"" optional:"" help:"Target in its place; none if absent: the mapping is removed."`
	Kind    string   `enum:"${mappingKinds}" default:"regex" placeholder:"KIND" help:"One of ${mappingKinds} (${default})."`
	Check   []string `placeholder:"ADDRESS" help:"Do it only if mail for these addresses comes to an end then; may be repeated."`
	Redrive bool     `help:"Then process again what is parked in rrt-error, and wait until it is."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*MappingFixCmd) Help() string {
	return `Expressions of whole domains are the only mappings that can make a loop, and they show it when there is mail. Such mail is parked in the repository rrt-error, with the path of the loop, which mapping test tells as well. Both changes happen at once, or nothing; with --redrive parked mail then goes its new way.

Examples:

  streampost mapping test zoe.old@example.org
  streampost mapping fix @example.net '(.*)\.new@example\.net:${1}.old@example.org' '(.*)\.new@example\.net:${1}@example.com' --check zoe.old@example.org --redrive
  streampost mapping fix @example.net '(.*)\.new@example\.net:${1}.old@example.org' --check zoe.old@example.org`
}

// Run sends the request.
func (c *MappingFixCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	kind := event.MappingKind(c.Kind)
	change := webadmin.MappingChange{Remove: []rewriting.Mapping{{Source: string(c.Source), Kind: kind, Target: string(c.Old)}}, Strict: true, Check: c.Check}
	if c.New != "" {
		change.Add = []rewriting.Mapping{{Source: string(c.Source), Kind: kind, Target: c.New}}
	}
	if err := server.call(env, http.MethodPost, path("mappings", "change"), change, nil); err != nil {
		return err
	}
	if !c.JSON {
		env.printf("the mapping is corrected\n")
	} else if !c.Redrive {
		return env.json(change)
	}
	if !c.Redrive {
		return nil
	}
	parked := ParkedSelection{Repository: outgoing.RewritingErrors, All: true, Detached: c.Detached, JSON: c.JSON}
	return parked.run(g, env, webadmin.TaskReprocessAll, "processed again", func(*parking.Order) {})
}

// MemberFile is addresses from a file.
type MemberFile struct {
	From string `placeholder:"FILE" help:"Read addresses from a file, one a line; - is standard input."`
}

// read gives what stands in the file, and what was given before it.
func (f *MemberFile) read(env *Env, given []string) ([]string, error) {
	if f.From == "" {
		return given, nil
	}
	in := env.Stdin
	if f.From != "-" {
		file, err := os.Open(f.From)
		if err != nil {
			return nil, usage("%w", err)
		}
		defer file.Close()
		in = file
	}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		switch text := strings.TrimSpace(lines.Text()); {
		case text == "" || strings.HasPrefix(text, "#"):
		case len(given) >= rewriting.MaxTargets:
			return nil, usage("line %s: at most %d addresses", strconv.Itoa(n), rewriting.MaxTargets)
		default:
			given = append(given, text)
		}
	}
	return given, lines.Err()
}
