package imap

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// ACL (RFC 4314) and LIST-MYRIGHTS (RFC 8440). Identifiers are the addresses of accounts, and "anyone"; the log knows accounts by their ids, so an address that
// passes to somebody else takes no rights along. The owner of an account has all rights on its mailboxes, which cannot be taken away.

const aclName = "ACL"

func init() {
	for name, run := range map[string]handler{
		"SETACL": runSetACL, "DELETEACL": runDeleteACL, "GETACL": runGetACL, "LISTRIGHTS": runListRights, "MYRIGHTS": runMyRights,
	} {
		register(spec{name: name, states: loggedIn, run: run, capabilities: []string{aclName}})
	}
	advertise("RIGHTS=texk", whenAuthenticated) // RFC 4314 section 2.2: those that RFC 2086 does not have, in this order.
	advertise("LIST-MYRIGHTS", whenAuthenticated)
	listReturns["MYRIGHTS"] = listReturn{"LIST-MYRIGHTS", func(_ *wire.Decoder, r *listRequest) bool {
		r.extras = append(r.extras, func(c *conn, o owner, m *account.Mailbox) func(*conn, string) {
			rights := c.rights(o, m)
			return func(c *conn, name string) { c.sendMyRights(name, rights) }
		})
		return true
	}}
}

// shownRights writes rights with the obsolete ones that go with them (RFC 4314 section 2.1.1): clients of RFC 2086 know no others.
func shownRights(r account.Rights) string {
	shown := r.String()
	if r&account.MayC != 0 {
		shown += "c"
	}
	if r&account.MayD != 0 {
		shown += "d"
	}
	return shown
}

// administered finds the mailbox whose list a command is about, and whom in the list. The user needs "a".
func (c *conn) administered(ctx context.Context, mailbox, name string) (at place, who account.Identifier, err error) {
	if at, err = c.whose(ctx, mailbox); err != nil {
		return at, who, err
	}
	if err = c.viewOf(ctx, at.owner, func(s *account.State) error {
		_, err := c.reach(s, at, account.MayAdminister)
		return err
	}); err != nil || name == "" {
		return at, who, err
	}
	who, err = c.directory.Identifier(ctx, name)
	return at, who, err
}

// setRights changes an entry of a list. The owner's own is fixed.
func (c *conn) setRights(ctx context.Context, mailbox, name string, mode account.RightsMode, rights account.Rights) error {
	at, who, err := c.administered(ctx, mailbox, name)
	if err != nil {
		return err
	}
	if of, _ := who.Subject(); of == account.Identifier(at.id) {
		return domain.Errorf(domain.Denied, "the owner of a mailbox always has all rights")
	}
	if who == account.Anyone && mode != account.RemoveRights && rights != 0 && !c.server.cfg.Anyone { // RFC 4314 section 3.1: the server may refuse.
		return domain.Errorf(domain.Denied, "only operators give rights to anyone here")
	}
	_, err = c.doOf(ctx, at.owner, account.SetRights{Mailbox: at.name, Identifier: who, Mode: mode, Rights: rights})
	return err
}

// expectIdentifier parses "SP identifier".
func expectIdentifier(d *wire.Decoder, name *string) bool {
	return d.ExpectSP() && d.ExpectAString(name) && (*name != "" && *name != "-" || d.Fail(wire.Syntaxf("an identifier is not empty")))
}

// runSetACL is SETACL (RFC 4314 section 3.1).
func runSetACL(ctx context.Context, c *conn, cmd *command) error {
	var mailbox, name, letters string
	d := cmd.dec
	if !mailboxName(d, &mailbox) || !expectIdentifier(d, &name) || !d.ExpectSP() || !d.ExpectAString(&letters) || !d.ExpectCRLF() {
		return d.Err()
	}
	mode := account.ReplaceRights
	switch {
	case strings.HasPrefix(letters, "+"):
		mode, letters = account.AddRights, letters[1:]
	case strings.HasPrefix(letters, "-"):
		mode, letters = account.RemoveRights, letters[1:]
	}
	rights, err := account.ParseRights(letters)
	if err != nil {
		return wire.Syntaxf("a right is not known") // RFC 4314 section 3.1: BAD.
	}
	return c.setRights(ctx, mailbox, name, mode, rights)
}

// runDeleteACL is DELETEACL (RFC 4314 section 3.2).
func runDeleteACL(ctx context.Context, c *conn, cmd *command) error {
	var mailbox, name string
	if !mailboxName(cmd.dec, &mailbox) || !expectIdentifier(cmd.dec, &name) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	return c.setRights(ctx, mailbox, name, account.ReplaceRights, 0)
}

// runGetACL is GETACL (RFC 4314 section 3.3). The owner comes first.
func runGetACL(ctx context.Context, c *conn, cmd *command) error {
	var mailbox string
	if !mailboxName(cmd.dec, &mailbox) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	at, _, err := c.administered(ctx, mailbox, "")
	if err != nil {
		return err
	}
	var list []account.Entry
	if err := c.viewOf(ctx, at.owner, func(s *account.State) error {
		m, err := c.reach(s, at, account.MayAdminister)
		if err == nil {
			list = append([]account.Entry{{Identifier: account.Identifier(at.id), Rights: account.AllRights}}, m.Entries()...)
		}
		return err
	}); err != nil {
		return err
	}
	for i := range list {
		name, err := c.directory.NameOf(ctx, list[i].Identifier)
		if err != nil {
			return err
		}
		list[i].Identifier = account.Identifier(name)
	}
	slices.SortFunc(list[1:], func(a, b account.Entry) int { return cmp.Compare(a.Identifier, b.Identifier) })
	c.enc.Raw("* ACL ").Mailbox(mailbox)
	for _, e := range list {
		c.enc.SP().AString(string(e.Identifier)).SP().AString(shownRights(e.Rights))
	}
	c.enc.CRLF()
	return nil
}

// runListRights is LISTRIGHTS (RFC 4314 section 3.4): every right can be given alone, and those of RFC 2086 together with what they stand for.
func runListRights(ctx context.Context, c *conn, cmd *command) error {
	var mailbox, name string
	if !mailboxName(cmd.dec, &mailbox) || !expectIdentifier(cmd.dec, &name) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	at, who, err := c.administered(ctx, mailbox, name)
	if err != nil {
		return err
	}
	c.enc.Raw("* LISTRIGHTS ").Mailbox(mailbox).SP().AString(name).SP()
	if of, _ := who.Subject(); of == account.Identifier(at.id) {
		c.enc.AString(shownRights(account.AllRights)).CRLF()
		return nil
	}
	c.enc.Raw(`""`)
	if who == account.Anyone && !c.server.cfg.Anyone { // SETACL refuses to give them any.
		c.enc.CRLF()
		return nil
	}
	for _, letter := range shownRights(account.AllRights) {
		c.enc.SP().Raw(string(letter))
	}
	c.enc.CRLF()
	return nil
}

// runMyRights is MYRIGHTS (RFC 4314 section 3.5), for which any right will do by which one knows of the mailbox (section 4).
func runMyRights(ctx context.Context, c *conn, cmd *command) error {
	var mailbox string
	if !mailboxName(cmd.dec, &mailbox) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	at, err := c.whose(ctx, mailbox)
	if err != nil {
		return err
	}
	var rights account.Rights
	if err := c.viewOf(ctx, at.owner, func(s *account.State) error {
		m, err := c.reach(s, at, 0)
		if err != nil {
			return err
		}
		const known = account.MayLookup | account.MayRead | account.MayInsert | account.MayCreate | account.MayDelete | account.MayAdminister
		if rights = c.rights(at.owner, m); rights&known == 0 {
			return account.ErrNoMailbox
		}
		return nil
	}); err != nil {
		return err
	}
	c.sendMyRights(mailbox, rights)
	return nil
}

func (c *conn) sendMyRights(mailbox string, rights account.Rights) {
	c.enc.Raw("* MYRIGHTS ").Mailbox(mailbox).SP().AString(shownRights(rights)).CRLF()
}
