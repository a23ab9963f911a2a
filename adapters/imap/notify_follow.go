package imap

import (
	"context"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// Whose mailboxes NOTIFY follows (RFC 5465 section 6). An owner whose account cannot be reached holds up nobody: he is passed over and looked for again, after a
// second at first and then after twice as long each time, whether commands come or not.

// followed is another account of whose mailboxes a client wants to hear.
type followed struct {
	owner owner
	watch *door.Watch // which leaves its tokens where that of the session's own account does; nil until the account could be reached
	known map[domain.MailboxID]*knownMailbox
	seen  domain.Tx
	pause pause
}

const (
	firstPause   = time.Second
	longestPause = time.Minute
)

// pause is for how long what has failed is left alone.
type pause struct {
	until time.Time // zero after what went well
	last  time.Duration
}

// failed begins a pause, twice as long as the one before.
func (p *pause) failed() {
	p.last = min(max(2*p.last, firstPause), longestPause)
	p.until = time.Now().Add(p.last)
}

func (p *pause) over() bool { return !time.Now().Before(p.until) }

// again has a token when somebody who could not be reached is to be looked for again; nil when there is nobody.
func (n *notification) again() <-chan time.Time {
	if n == nil {
		return nil
	}
	next := n.finding.until
	for _, f := range n.others {
		if until := f.pause.until; !until.IsZero() && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	if next.IsZero() {
		return nil
	}
	return time.After(time.Until(next))
}

// concernsOthers reports whether a group can be about mailboxes of others at all: "personal" and "inboxes" are the user's own.
func (n *notification) concernsOthers(c *conn) bool {
	return !c.without[aclName] && slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.filter.names != nil || g.filter.kind == "SUBSCRIBED" })
}

// follow begins to watch those others whose mailboxes are asked for and who are not watched yet, and gives what there is to tell of them. It looks for them when
// there may be more than it knows: at first, when somebody has begun to share, when the user's subscriptions have changed, and when not all could be found.
func (n *notification) follow(ctx context.Context, c *conn) (found []notice, err error) {
	if !n.concernsOthers(c) {
		return nil, nil
	}
	if n.sharing == nil {
		n.sharing = c.accounts.WatchSharing(c.id, c.watch)
		n.unlooked = true
	}
	ids, _ := c.accounts.Sharing(ctx, c.id) // Of an error the log hears from sharers.
	if missed := !n.finding.until.IsZero() && n.finding.over(); !n.unlooked && !missed && slices.Equal(ids, n.sharers) {
		return nil, nil
	}
	n.unlooked, n.sharers = false, ids
	owners, all, err := c.sharers(ctx)
	if err != nil {
		return nil, err
	}
	if all {
		n.finding = pause{}
	} else {
		n.finding.failed()
	}
	for _, o := range owners {
		known := slices.ContainsFunc(n.others, func(f *followed) bool { return f.owner.id == o.id })
		if known || !slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.may(o, n.subscribed) }) {
			continue
		}
		f := &followed{owner: o}
		n.others = append(n.others, f)
		more, err := n.look(ctx, c, f)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// look finds what the client has not been told yet of mailboxes of another account. One that was erased has none.
func (n *notification) look(ctx context.Context, c *conn, f *followed) ([]notice, error) {
	if !f.pause.over() {
		return nil, nil
	}
	var found news
	compare := func(s *account.State) error {
		found = n.compareOther(c, s, f)
		if n.begins != nil {
			found.notices = n.begins.tells(found.notices, n.sinceOther(c, s, f.owner))
		}
		return nil
	}
	err := f.begin(ctx, c)
	if err == nil {
		err = c.viewOf(ctx, f.owner, compare)
	}
	if err == account.ErrNoMailbox {
		err = compare(account.New())
	}
	if err != nil {
		f.pause.failed()
		return nil, c.passOver(ctx, f.owner, err)
	}
	f.pause = pause{}
	f.learn(found)
	return found.notices, nil
}

// begin begins to watch the account.
func (f *followed) begin(ctx context.Context, c *conn) (err error) {
	if f.watch == nil {
		ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
		defer cancel()
		f.watch, err = c.accounts.WatchWith(ctx, f.owner.id, c.watch)
	}
	return c.unlessGone(f.owner, err)
}

func (f *followed) learn(of news) {
	if of.known != nil {
		f.known, f.seen = of.known, of.tx
	}
}

// end stops watching others.
func (n *notification) end() {
	if n.sharing != nil {
		n.sharing.Close()
	}
	for _, f := range n.others {
		if f.watch != nil {
			f.watch.Close()
		}
	}
}

// tellOfOthers sends what has happened in mailboxes of other accounts.
func (n *notification) tellOfOthers(ctx context.Context, c *conn) error {
	for _, f := range n.others {
		found, err := n.look(ctx, c, f)
		if err != nil {
			return err
		}
		c.sendNotices(found)
	}
	found, err := n.follow(ctx, c)
	if err != nil {
		return err
	}
	c.sendNotices(found)
	return nil
}
