package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
)

// ProjectionDigestCmd reads and compares digests.
type ProjectionDigestCmd struct {
	ViewScope
	Compare string `placeholder:"URL|FILE" help:"Compare with another node, by its admin URL, or with what this command printed as JSON."`
	Other   string `name:"compare-token" env:"STREAMPOST_COMPARE_TOKEN" placeholder:"TOKEN" help:"Admin token of the other node; better given in the environment."`
	JSON    bool   `name:"json" help:"Print JSON: every digest, or every disagreement."`
}

// Help teaches.
func (*ProjectionDigestCmd) Help() string {
	return `Every view keeps a digest of each account's rows: a sum that does not depend on order and follows each change of a row. Two nodes that hold the same log have the same digests wherever their views stand at the same position, and reading them looks at no row, so that thousands of mailboxes are compared in a moment.

With --compare the exit code is 4 when digests disagree. Accounts that change just then are asked for again until it is known. With a file, whose node does not answer any more, those that may have changed since it was written are told apart: they are not known to differ. Which rows differ from the log, projection verify tells; projection count compares rows with the digests beside them.

Examples:

  streampost projection digest --account alice@example.org
  streampost projection digest --compare http://mail2.example.org:8000
  streampost projection digest --json > monday.json
  streampost projection digest --compare monday.json --projection mailboxes`
}

// Run reads or compares.
func (c *ProjectionDigestCmd) Run(g *Globals, env *Env) error {
	if err := c.check(); err != nil {
		return err
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	if c.Compare != "" {
		return c.compare(env, server)
	}
	list, err := digestsOf(env, server.client, c.values())
	if err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, d := range list {
		var sum account.Digest
		for _, id := range slices.Sorted(maps.Keys(d.Digests)) {
			if sum += d.Digests[id]; len(c.Account) > 0 {
				rows = append(rows, []string{d.Projection, fmt.Sprint(d.Version), d.Stream, fmt.Sprint(d.Seq), id, d.Digests[id].String()})
			}
		}
		if len(c.Account) == 0 {
			rows = append(rows, []string{d.Projection, fmt.Sprint(d.Version), d.Stream, fmt.Sprint(d.Seq), fmt.Sprint(len(d.Digests)), sum.String()})
		}
	}
	what := "ACCOUNTS"
	if len(c.Account) > 0 {
		what = "ACCOUNT"
	}
	return env.table("PROJECTION VERSION STREAM POSITION "+what+" DIGEST", rows)
}

func digestsOf(ctx context.Context, c *client, scope url.Values) (list []webadmin.Digested, err error) {
	return list, c.call(ctx, http.MethodGet, path("projections", "digests")+"?"+scope.Encode(), nil, &list)
}

// Disagreement is one digest that two nodes have otherwise.
type Disagreement struct {
	Stream     string           `json:"stream"`
	Projection string           `json:"projection"`
	Account    string           `json:"account,omitempty"`
	Mailbox    domain.MailboxID `json:"mailbox,omitempty"`
	Here       account.Digest   `json:"here"`
	There      account.Digest   `json:"there"`
	Open       bool             `json:"open,omitempty"` // the account may have changed between the looks: it is not known to differ
}

// Disagreements is the sum of a comparison.
type Disagreements struct {
	Digests   int            `json:"digests"` // compared
	Differ    int            `json:"differ"`
	Open      int            `json:"open,omitempty"`
	Left      []string       `json:"left,omitempty"` // what could not be compared, and why
	Different []Disagreement `json:"different,omitempty"`
}

func (c *ProjectionDigestCmd) compare(env *Env, here *session) error {
	there, again, err := c.other(env)
	if err != nil {
		return err
	}
	var sum Disagreements
	sum, err = compareDigests(env, func(ctx context.Context, more url.Values) ([]webadmin.Digested, error) {
		q := c.values()
		maps.Copy(q, more)
		return digestsOf(ctx, here.client, q)
	}, there, again)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := env.json(sum); err != nil {
			return err
		}
	} else {
		for _, d := range sum.Different {
			printDisagreement(env, d)
		}
		for _, why := range sum.Left {
			env.printf("not compared: %s\n", why)
		}
		env.printf("%d digests compared, %d differ\n", sum.Digests, sum.Differ)
		if sum.Open > 0 {
			env.printf("%d may differ, or were changed between the looks\n", sum.Open)
		}
	}
	if sum.Differ > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

func printDisagreement(env *Env, d Disagreement) {
	where := d.Stream + " " + d.Projection
	if d.Account != "" {
		where += ", account " + d.Account
	}
	if d.Mailbox != 0 {
		where += fmt.Sprintf(", mailbox %d", d.Mailbox)
	}
	verb := "is"
	if d.Open {
		verb = "may have changed since:"
	}
	env.printf("%s: %s %s here and %s there\n", where, verb, d.Here, d.There)
}

// reading gives digests, of which more parameters may name a part.
type reading func(ctx context.Context, more url.Values) ([]webadmin.Digested, error)

// other gives what to compare with. again says that it can be asked more than once.
func (c *ProjectionDigestCmd) other(env *Env) (there reading, again bool, err error) {
	if strings.Contains(c.Compare, "://") || strings.HasPrefix(c.Compare, "unix:") {
		if c.Other == "" {
			return nil, false, usage("--compare with a URL needs a token: set STREAMPOST_COMPARE_TOKEN")
		}
		node, err := newClient(adminAccess{URL: c.Compare, Token: c.Other})
		if err != nil {
			return nil, false, err
		}
		return func(ctx context.Context, more url.Values) ([]webadmin.Digested, error) {
			q := c.values()
			maps.Copy(q, more)
			return digestsOf(ctx, node, q)
		}, true, nil
	}
	text, err := os.ReadFile(c.Compare)
	if err != nil {
		return nil, false, usage("--compare wants a URL such as http://mail2.example.org:8000, or a file: %w", err.(*fs.PathError).Err)
	}
	var list []webadmin.Digested
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, false, usage("%s is not what projection digest --json prints: %w", c.Compare, err)
	}
	return func(context.Context, url.Values) ([]webadmin.Digested, error) { return list, nil }, false, nil
}

// How often accounts are asked for again that changed between the looks, and the pause before. A view shows an entry after some 50 ms.
const (
	looks     = 10
	lookPause = 300 * time.Millisecond
)

// place names a digest.
type place struct{ stream, projection, account string }

// compareDigests compares two nodes. Views that stand at the same position must agree. Where they do not stand there, because mail goes on, a digest that
// neither side changes from one look to the next is that of one state, once both sides have come beyond what either showed at the first look.
func compareDigests(ctx context.Context, here, there reading, again bool) (sum Disagreements, err error) {
	asked := url.Values{}
	var before, now map[place]pair
	for look := range looks {
		a, err := here(ctx, asked)
		if err != nil {
			return sum, err
		}
		b, err := there(ctx, asked)
		if err != nil {
			return sum, fmt.Errorf("the other node: %w", err)
		}
		var compared int
		var left []string
		now, compared, left = differing(a, b)
		if look == 0 {
			sum.Digests, sum.Left = compared, left
		} else { // a node may show all of a stream where it was asked for some accounts of others
			maps.DeleteFunc(now, func(at place, _ pair) bool { _, was := before[at]; return !was })
		}
		open := false
		for at, p := range now {
			p.proven = p.seqs[0] == p.seqs[1] || before[at].sameAs(p)
			open = open || !p.proven
			now[at] = p
		}
		if !open || !again {
			break
		}
		before = now
		asked = scopeOf(now)
		if err := projections.Pause(ctx, lookPause); err != nil {
			return sum, err
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(now), func(a, b place) int {
		return strings.Compare(a.stream+" "+a.projection+" "+a.account, b.stream+" "+b.projection+" "+b.account)
	}) {
		p := now[at]
		sum.Different = append(sum.Different, Disagreement{Stream: at.stream, Projection: at.projection, Account: at.account, Here: p.digests[0], There: p.digests[1], Open: !p.proven})
		if p.proven {
			sum.Differ++
		} else {
			sum.Open++
		}
	}
	return sum, sum.detail(ctx, here, there, again)
}

// detail adds the mailboxes of accounts whose mailboxes differ.
func (s *Disagreements) detail(ctx context.Context, here, there reading, again bool) error {
	var more []Disagreement
	for _, d := range s.Different {
		more = append(more, d)
		if d.Projection != mailboxes.Name || d.Open || !again || len(more) > shownDifferences {
			continue
		}
		var sides [2]map[domain.MailboxID]account.Digest
		for i, read := range []reading{here, there} {
			list, err := read(ctx, url.Values{"projection": {mailboxes.Name}, "account": {d.Account}, "mailboxes": {"true"}})
			if err != nil {
				return err
			}
			for _, one := range list {
				sides[i] = one.Mailboxes[domain.AccountID(d.Account)]
			}
		}
		for _, found := range (account.Digests{Mailboxes: sides[0]}).Against(account.Digests{Mailboxes: sides[1]}) {
			one := Disagreement{Stream: d.Stream, Projection: d.Projection, Account: d.Account, Mailbox: found.Mailbox}
			if found.One != nil {
				one.Here = *found.One
			}
			if found.Other != nil {
				one.There = *found.Other
			}
			more = append(more, one)
		}
	}
	s.Different = more
	return nil
}

// pair is what two nodes have, here and there.
type pair struct {
	digests [2]account.Digest
	seqs    [2]domain.Seq
	proven  bool
}

// sameAs tells that neither digest changed since an earlier look, beyond which both sides have come.
func (p pair) sameAs(later pair) bool {
	return p.seqs != [2]domain.Seq{} && p.digests == later.digests && min(later.seqs[0], later.seqs[1]) >= max(p.seqs[0], p.seqs[1])
}

// differing gives the digests that two nodes have otherwise, and how many were compared.
func differing(a, b []webadmin.Digested) (found map[place]pair, compared int, left []string) {
	found = map[place]pair{}
	for _, one := range a {
		i := slices.IndexFunc(b, func(o webadmin.Digested) bool { return o.Stream == one.Stream && o.Projection == one.Projection })
		if i < 0 {
			left = append(left, fmt.Sprintf("%s of %s is not there", one.Projection, one.Stream))
			continue
		}
		other := b[i]
		if one.Version != other.Version {
			left = append(left, fmt.Sprintf("%s of %s has version %d here and %d there", one.Projection, one.Stream, one.Version, other.Version))
			continue
		}
		ids := maps.Clone(one.Digests)
		maps.Copy(ids, other.Digests)
		compared += len(ids)
		for id := range ids {
			if here, there := one.Digests[id], other.Digests[id]; here != there {
				found[place{one.Stream, one.Projection, id}] = pair{digests: [2]account.Digest{here, there}, seqs: [2]domain.Seq{one.Seq, other.Seq}}
			}
		}
	}
	return found, compared, left
}

// scopeOf asks for the accounts that are still open, if they are few and all are accounts.
func scopeOf(open map[place]pair) url.Values {
	const few = 100
	accounts := map[string]bool{}
	for at := range open {
		if _, err := domain.ParseAccountID(at.account); err != nil || len(accounts) > few {
			return url.Values{}
		}
		accounts[at.account] = true
	}
	return url.Values{"account": slices.Sorted(maps.Keys(accounts))}
}

// ProjectionCountCmd compares rows with digests.
type ProjectionCountCmd struct {
	ViewScope
	CPU    float64 `name:"cpu" placeholder:"SHARE" help:"Work only in this share of the time, above 0 and at most 1."`
	Repair bool    `help:"Make anew what differs."`
	JSON   bool    `name:"json" help:"Print JSON lines."`
	Detached
}

// Help teaches.
func (*ProjectionCountCmd) Help() string {
	return `The digests of all rows are added up and compared with those that the projector keeps beside them. Neither log nor blobs are read, so this is much faster than projection verify, and finds whatever a disk, a database tool or anything else but the projector did to rows or files. A server does it by itself for every account once a day. The exit code is 4 when something differs.

Examples:

  streampost projection count
  streampost projection count --cpu 0.25 --repair
  streampost projection count --projection counters --domain example.org`
}

// Run counts.
func (c *ProjectionCountCmd) Run(g *Globals, env *Env) error {
	if err := c.check(); err != nil {
		return err
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	work := c.work()
	work.CPU, work.Repair = c.CPU, c.Repair
	var sum webadmin.Counted
	if err := server.views(env, c.Detached, "projection-count", &c.ViewScope, work, shown(env, c.JSON, func(m *webadmin.Miscount) {
		env.printf("%s\n", projections.Miscount(*m))
	}), &sum); err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d rows counted, %d digests differ\n", sum.Rows, sum.Miscounts)
		if c.Repair && sum.Miscounts > 0 {
			env.printf("%d accounts and generations are made anew\n", sum.Repaired)
		}
	}
	if sum.Miscounts > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}
