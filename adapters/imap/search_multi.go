package imap

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// MULTISEARCH (RFC 7377): the command ESEARCH, which searches several mailboxes. Its answers say which mailbox they are about and hold UIDs.

func init() {
	register(spec{name: "ESEARCH", states: loggedIn, numbered: true, run: runESearch, capabilities: []string{"MULTISEARCH"}})
}

// runESearch is ESEARCH (RFC 7377 section 2.1).
func runESearch(ctx context.Context, c *conn, cmd *command) error {
	r := searchRequest{tag: cmd.tag, uid: true, extended: true, all: true}
	d := cmd.dec
	if !d.ExpectSP() {
		return d.Err()
	}
	filters, ok := sources(d, c.server.namespaces)
	if !ok || !r.parseReturn(c, d) {
		return d.Err()
	}
	if r.update && c.sel == nil { // section 2.2: only a search while a mailbox is selected can be kept up to date.
		return wire.Syntaxf("no mailbox is selected, so no search is kept up to date")
	}
	p := searchParser{c: c, d: d, sel: c.sel}
	// Only when the selected mailbox is the only one do the names that a session has for messages mean something (section 2.1), and can its "$" be set
	// (section 2.1: SAVE).
	alone := !slices.ContainsFunc(filters, func(f mailboxFilter) bool { return f.kind != "SELECTED" })
	if !alone {
		p.sel = nil
		if r.save {
			return wire.Syntaxf("only a search of the selected mailbox can be saved")
		}
	} else if c.sel == nil {
		return wire.Syntaxf("no mailbox is selected")
	}
	if err := r.parseProgram(&p); err != nil {
		return err
	}
	if alone {
		return c.searchSelected(ctx, &r)
	}
	c.enableBySearch(r.key)
	if r.update { // RFC 5267 section 4.3.1. What happens in other mailboxes, NOTIFY tells.
		c.refuseUpdates(r.tag)
	}
	found, err := c.mailboxesOf(ctx, filters)
	if err != nil {
		return err
	}
	var f finder
	for _, m := range found {
		if err := c.admitted(); err != nil {
			return err
		}
		if f.c == nil || f.owner.id != m.owner.id { // what the index answers is of one account.
			f = finder{c: c, key: r.key, owner: m.owner}
		}
		rows, err := f.in(ctx, m.id, m.uids)
		if domain.Is(err, domain.NotFound) && f.gone { // deleted meanwhile
			continue
		}
		if domain.Is(err, domain.Unavailable) {
			if err = c.passOver(ctx, m.owner, err); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if r.relevancy {
			if r.scores, err = c.score(ctx, m.owner, m.id, rows, r.key); err != nil {
				return err
			}
		}
		c.sendFound(&r, m.source, rows)
	}
	return nil
}

// sources reads "IN", mailboxes and scope-options (RFC 7377 section 2.2), if they come next; without them the selected mailbox is meant.
func sources(d *wire.Decoder, n Namespaces) (filters []mailboxFilter, ok bool) {
	if !d.Follows("IN ") {
		return []mailboxFilter{{kind: "SELECTED"}}, d.Err() == nil
	}
	var name string
	if !d.ExpectName(&name) || !d.ExpectSP() {
		return nil, false
	}
	if !d.ExpectList(func() bool {
		if len(filters) > 0 && d.Next('(') { // section 2.2: no scope-option is defined.
			return d.Fail(wire.Syntaxf("unknown scope option"))
		}
		var f mailboxFilter
		ok := f.expect(d, n)
		filters = append(filters, f)
		return ok
	}) {
		return nil, false
	}
	return filters, (len(filters) > 0 || d.Fail(wire.Syntaxf("ESEARCH names at least one mailbox"))) && d.ExpectSP()
}

// source is a mailbox as the answer names it.
type source struct {
	name     string
	validity uint32
}

// searched is a mailbox to look through.
type searched struct {
	source
	owner owner
	id    domain.MailboxID
	uids  []domain.UID // nil means all; the session's view of the selected mailbox
}

// mailboxesOf finds mailboxes, each once, whatever names it (RFC 7377 section 2.2). Names of none, and of such as may not be read, are passed over. Mailboxes
// of others are meant when they are selected or named.
func (c *conn) mailboxesOf(ctx context.Context, filters []mailboxFilter) (found []searched, err error) {
	var subscribed map[string]bool
	selected := c.selectedID()
	if err := c.view(ctx, func(s *account.State) error {
		subscribed = maps.Clone(s.Subscribed)
		found, err = c.searchedIn(c.self(), s, func(m *account.Mailbox) bool {
			return slices.ContainsFunc(filters, func(f mailboxFilter) bool { return f.matches(s, m, selected) })
		})
		return err
	}); err != nil {
		return nil, err
	}
	owners, err := c.searchedOwners(ctx, filters)
	if err != nil {
		return nil, err
	}
	for _, o := range owners {
		var more []searched
		var tooMany error
		if err := c.passOver(ctx, o, c.viewOf(ctx, o, func(s *account.State) error {
			more, tooMany = c.searchedIn(o, s, func(m *account.Mailbox) bool {
				return slices.ContainsFunc(filters, func(f mailboxFilter) bool {
					if f.kind == "SELECTED" {
						return c.hasSelected(o, m.ID)
					}
					// RFC 7377 section 2.2: what LIST hides is found by its own name only.
					return (f.kind == "MAILBOXES" || c.rights(o, m)&account.MayLookup != 0) && f.covers(o.prefix+m.Name, subscribed)
				})
			})
			return nil
		})); err != nil || tooMany != nil {
			return nil, cmp.Or(err, tooMany)
		}
		found = append(found, more...)
	}
	if len(found) > c.server.limits.Mailboxes {
		return nil, c.tooManyMailboxes()
	}
	return found, nil
}

// searchedOwners gives the others whose mailboxes may be meant.
func (c *conn) searchedOwners(ctx context.Context, filters []mailboxFilter) (owners []owner, err error) {
	if slices.ContainsFunc(filters, func(f mailboxFilter) bool { return f.names != nil || f.kind == "SUBSCRIBED" }) && !c.without[aclName] {
		if owners, _, err = c.sharers(ctx); err != nil {
			return nil, err
		}
	}
	if c.sel != nil && c.foreign(c.sel.owner) && !slices.Contains(owners, c.sel.owner) {
		owners = append(owners, c.sel.owner)
	}
	return owners, nil
}

// searchedIn gives the mailboxes of an account that are meant. It runs inside a View.
func (c *conn) searchedIn(o owner, s *account.State, meant func(*account.Mailbox) bool) (found []searched, err error) {
	for _, m := range s.Sorted() {
		if !meant(m) || c.readable(s, o, m.ID) == nil {
			continue
		}
		if len(found) == c.server.limits.Mailboxes {
			return nil, c.tooManyMailboxes()
		}
		here := searched{source: source{o.prefix + m.Name, m.UIDValidity}, owner: o, id: m.ID}
		if c.hasSelected(o, m.ID) {
			here.uids = c.sel.uids
		}
		found = append(found, here)
	}
	return found, nil
}

// hasSelected tells whether a mailbox is the selected one.
func (c *conn) hasSelected(o owner, id domain.MailboxID) bool {
	return c.sel != nil && c.sel.owner.id == o.id && c.sel.mailbox == id
}

func (c *conn) tooManyMailboxes() error {
	return coded("LIMIT", domain.Errorf(domain.TooLarge, "a search looks through at most %d mailboxes", c.server.limits.Mailboxes))
}

// searchSelected answers an ESEARCH of the selected mailbox.
func (c *conn) searchSelected(ctx context.Context, r *searchRequest) error {
	found, err := c.mailboxesOf(ctx, []mailboxFilter{{kind: "SELECTED"}})
	if err != nil {
		return err
	}
	if len(found) > 0 {
		r.in = &found[0].source
	}
	return c.answerSearch(ctx, r, nil)
}

// sendFound writes the ESEARCH response about one mailbox. There is none where nothing is found, whatever is asked for (RFC 7377 section 2.1).
func (c *conn) sendFound(r *searchRequest, in source, found []account.Message) {
	if len(found) == 0 {
		return
	}
	c.enc.Raw("* ESEARCH (TAG ").String(r.tag).Raw(" MAILBOX ").Mailbox(in.name).Raw(" UIDVALIDITY ").Number(uint64(in.validity)).Byte(')')
	c.sendResults(r, found)
}
