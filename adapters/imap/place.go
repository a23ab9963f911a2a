package imap

import (
	"context"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
	"golang.org/x/text/unicode/norm"
)

// Mailboxes of others (RFC 2342). Under the name "Other Users/bob@example.org/Work" a session reaches the mailbox "Work" of bob's account, and under
// "Shared Folders/sales@example.org/INBOX" that of an account which belongs to a group. What it may do there is decided on the owner's state, by the
// access control list of each mailbox (RFC 4314).
//
// A name leads to another account only if that has given the user, or anyone, a right: of everybody else nothing is looked at, so that neither the answer
// nor the time that it takes tells whether there is such a user.

// Namespaces are the prefixes of the names of others' mailboxes. Each ends in "/".
type Namespaces struct {
	Others string // of users; default "Other Users/"
	Shared string // of accounts that belong to a group; default "Shared Folders/"
}

func (n Namespaces) withDefaults() Namespaces {
	fill(&n.Others, "Other Users/")
	fill(&n.Shared, "Shared Folders/")
	return n
}

// of gives the prefix of all names of an account's mailboxes.
func (n Namespaces) of(a door.Account) string {
	if a.Shared {
		return n.Shared + a.Login + "/"
	}
	return n.Others + a.Login + "/"
}

// canonical gives the form in which names are compared, of names in these namespaces too: "Other Users/bob@example.org/inbox" is bob's INBOX
// (RFC 9051 section 5.1).
func (n Namespaces) canonical(name string) string {
	name = account.CanonicalName(name)
	for _, prefix := range []string{n.Others, n.Shared} {
		if rest, is := below(name, prefix); is {
			if login, local := cutLogin(rest); local != "" {
				return prefix + login + "/" + account.CanonicalName(local)
			}
		}
	}
	return name
}

// owner is an account whose mailboxes a session reaches.
type owner struct {
	id     domain.AccountID
	prefix string // of the names of its mailboxes; empty for the session's own account
}

// place is a mailbox by its name, whether it exists or not.
type place struct {
	owner        // nobody, without an id, where no account is to be seen
	name  string // as the owner calls it
}

// full is the mailbox's name as the session calls it.
func (p place) full() string { return p.prefix + account.CanonicalName(p.name) }

func (c *conn) self() owner { return owner{id: c.id} }

// foreign tells whether an account is not the session's own.
func (c *conn) foreign(o owner) bool { return o.id != c.id }

// whose finds out to whom a mailbox of a name would belong. A mailbox of one's own is found by its name whatever that is, since it may be older than the
// namespace.
func (c *conn) whose(ctx context.Context, name string) (place, error) {
	mine := place{c.self(), name}
	shared := norm.NFC.String(name)
	rest, others := below(shared, c.server.namespaces.Others)
	if !others {
		var group bool
		if rest, group = below(shared, c.server.namespaces.Shared); !group {
			return mine, nil
		}
	}
	if c.without[aclName] {
		return mine, nil
	}
	own := false
	if err := c.view(ctx, func(s *account.State) error {
		_, own = s.Mailbox(name)
		return nil
	}); err != nil || own {
		return mine, err
	}
	login, name := cutLogin(rest)
	if name == "" { // which is above mailboxes and none itself
		return place{}, nil
	}
	found, err := c.sharer(ctx, login)
	if err != nil || !strings.HasPrefix(shared+"/", c.server.namespaces.of(found)) {
		return place{name: name}, err
	}
	return place{owner{found.ID, c.server.namespaces.of(found)}, name}, nil
}

// below cuts the prefix of a namespace off a name. Of the namespace's own name, which no new mailbox gets, nothing is left.
func below(name, prefix string) (rest string, is bool) {
	if name+"/" == prefix {
		return "", true
	}
	return strings.CutPrefix(name, prefix)
}

// whoseNow is whose for a command that shows what may just have been changed through another node.
func (c *conn) whoseNow(ctx context.Context, name string) (place, error) {
	at, err := c.whose(ctx, name)
	if err == nil && at.id != "" && c.foreign(at.owner) {
		err = c.freshOf(ctx, at.owner)
	}
	return at, err
}

// cutLogin divides what follows a prefix into a login and the name of a mailbox. A login may have "/" before its "@".
func cutLogin(rest string) (login, name string) {
	at := max(strings.IndexByte(rest, '@'), 0)
	host, name, _ := strings.Cut(rest[at:], "/")
	return rest[:at] + host, name
}

// sharer gives the account of a login if that has given the user rights; the zero Account if it has not, or does not exist.
func (c *conn) sharer(ctx context.Context, login string) (door.Account, error) {
	owners, unsure := c.accounts.Sharing(ctx, c.id)
	found, err := c.directory.Lookup(ctx, login)
	switch {
	case err == nil && found.Login == login && slices.Contains(owners, found.ID):
		return found, nil
	case unsure != nil:
		return door.Account{}, unsure
	case domain.Is(err, domain.Unavailable):
		return door.Account{}, err
	}
	return door.Account{}, nil
}

// sharers gives the accounts that have given the user rights. While not all are known, it gives those that are: one's own mail does not wait for others'.
func (c *conn) sharers(ctx context.Context) (found []owner, all bool, err error) {
	ids, unsure := c.accounts.Sharing(ctx, c.id)
	if unsure != nil {
		c.log.Warn("mailboxes of others may be missing from a list", "account", c.id, "error", unsure)
	}
	all = unsure == nil
	for _, id := range ids[:min(len(ids), c.server.limits.Owners)] {
		of, err := c.directory.Lookup(ctx, string(id))
		switch {
		case err == nil:
			found = append(found, owner{id, c.server.namespaces.of(of)})
		case !domain.Is(err, domain.NotFound) && !domain.Is(err, domain.Erased):
			all = false
			if err := c.passOver(ctx, owner{id: id}, err); err != nil {
				return nil, false, err
			}
		}
	}
	return found, all, nil
}

// rights gives what the user may do with a mailbox of an account. It runs inside a View.
func (c *conn) rights(o owner, m *account.Mailbox) account.Rights {
	if c.foreign(o) {
		return m.Rights(c.id)
	}
	return account.AllRights
}

// reach finds a mailbox on which the user needs rights. It runs inside a View. Errors: account.ErrNoMailbox, domain.Denied.
func (c *conn) reach(s *account.State, p place, needed account.Rights) (*account.Mailbox, error) {
	if c.foreign(p.owner) {
		return s.Shared(p.name, c.id, needed)
	}
	if m, ok := s.Mailbox(p.name); ok {
		return m, nil
	}
	return nil, account.ErrNoMailbox
}

// viewOf looks at an account, see door.Accounts.View. Others' that are gone have no mailboxes.
func (c *conn) viewOf(ctx context.Context, o owner, f func(*account.State) error) error {
	if o.id == "" {
		return account.ErrNoMailbox
	}
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	return c.unlessGone(o, c.accounts.View(ctx, o.id, f))
}

// freshOf is fresh of one account. Others' that are gone show nothing.
func (c *conn) freshOf(ctx context.Context, o owner) error {
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	err := c.accounts.Fresh(ctx, o.id)
	if c.foreign(o) && (domain.Is(err, domain.NotFound) || domain.Is(err, domain.Erased)) {
		return nil
	}
	return err
}

// passOver logs and hides what is wrong with somebody else's account, for commands about many: what is in the others is not refused for that. It shows itself
// to whoever has selected a mailbox there, and to commands that run out of time.
func (c *conn) passOver(ctx context.Context, o owner, err error) error {
	if err == nil || err == account.ErrNoMailbox && c.foreign(o) { // erased meanwhile
		return nil
	}
	if ctx.Err() != nil || !c.foreign(o) || c.sel != nil && c.sel.owner.id == o.id {
		return err
	}
	c.log.Warn("mailboxes of another account may be missing from an answer", "account", c.id, "owner", o.id, "error", err)
	return nil
}

// unlessGone hides that somebody else's account was erased, which would end a session of its own.
func (c *conn) unlessGone(o owner, err error) error {
	if c.foreign(o) && domain.Is(err, domain.Erased) {
		return account.ErrNoMailbox
	}
	return err
}

// inSelected looks at the selected mailbox. Error: domain.NotFound, also when it may no longer be read.
func (c *conn) inSelected(ctx context.Context, f func(*account.State, *account.Mailbox) error) error {
	return c.ifGone(c.viewOf(ctx, c.sel.owner, func(s *account.State) error {
		m := c.readable(s, c.sel.owner, c.sel.mailbox)
		if m == nil {
			return account.ErrNoMailbox
		}
		return f(s, m)
	}))
}

// readable finds a mailbox that is there and that the user may read; else nil. It runs inside a View.
func (c *conn) readable(s *account.State, o owner, id domain.MailboxID) *account.Mailbox {
	if m := s.Mailboxes[id]; m != nil && c.rights(o, m)&account.MayRead != 0 {
		return m
	}
	return nil
}

// as gives a command to an account in the user's name.
func (c *conn) as(o owner, wish account.Command) account.Command {
	if c.foreign(o) {
		return account.As{Actor: c.id, Command: wish}
	}
	return wish
}

// doOf changes an account, see door.Accounts.Do.
func (c *conn) doOf(ctx context.Context, o owner, wish account.Command) (door.Outcome, error) {
	return c.doOn(ctx, o, func(*account.State) (account.Command, error) { return wish, nil })
}

// doOn changes an account with a command that is made on the state on which it is decided, see door.Accounts.DoOn.
func (c *conn) doOn(ctx context.Context, o owner, f func(*account.State) (account.Command, error)) (done door.Outcome, err error) {
	if o.id == "" {
		return done, account.ErrNoMailbox
	}
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	c.waiting(func() {
		done, err = c.accounts.DoOn(ctx, o.id, "imap:"+c.login, func(s *account.State) (account.Command, error) {
			wish, err := f(s)
			return c.as(o, wish), err
		})
	})
	c.did(o, done.Events)
	return done, c.unlessGone(o, err)
}
