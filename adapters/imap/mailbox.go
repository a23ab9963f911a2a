package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	register(spec{name: "CREATE", states: loggedIn, run: runCreate})
	register(spec{name: "DELETE", states: loggedIn, run: runDelete})
	register(spec{name: "RENAME", states: loggedIn, run: runRename})
	register(spec{name: "SUBSCRIBE", states: loggedIn, run: runSubscribe})
	register(spec{name: "UNSUBSCRIBE", states: loggedIn, run: runSubscribe})
	register(spec{name: "NAMESPACE", states: loggedIn, run: runNamespace, capabilities: []string{"NAMESPACE"}})
	advertise("CREATE-SPECIAL-USE", whenAuthenticated)
}

// mailboxName parses "SP mailbox".
func mailboxName(d *wire.Decoder, name *string) bool { return d.ExpectSP() && d.ExpectMailbox(name) }

// runCreate is CREATE (RFC 9051 section 6.3.4) with the USE parameter of RFC 6154 section 3.
func runCreate(ctx context.Context, c *conn, cmd *command) error {
	var name string
	var uses []string
	d := cmd.dec
	if !mailboxName(d, &name) {
		return d.Err()
	}
	if d.SP() && !d.ExpectList(func() bool {
		var parameter string
		if !d.ExpectName(&parameter) {
			return false
		}
		if parameter != "USE" { // RFC 4466 section 2.2: an unknown parameter is an error.
			return d.Fail(wire.Syntaxf("CREATE has no parameter %s", parameter))
		}
		return d.ExpectSP() && (d.FlagList(&uses) || d.ExpectSpecial('('))
	}) || !d.ExpectCRLF() {
		return d.Err()
	}
	at, err := c.whose(ctx, name)
	if err != nil {
		return err
	}
	if at.id == "" {
		return account.ErrMayNotCreate
	}
	wish := account.CreateMailbox{Name: at.name, UIDValidity: uint32(c.now())}
	switch len(uses) {
	case 0:
	case 1:
		wish.SpecialUse = uses[0]
	default: // RFC 6154 section 3 lets a server refuse combinations.
		return coded("USEATTR", domain.Errorf(domain.Invalid, "a mailbox has one special use at most"))
	}
	done, err := c.doOf(ctx, at.owner, wish)
	if err == nil {
		cmd.ok(c.created(at.owner, done.Events), "")
	}
	if err != nil && len(uses) > 0 && !c.foreign(at.owner) && !domain.Is(err, domain.Unavailable) {
		if c.view(ctx, func(s *account.State) error {
			_, err := account.Decide(s, account.CreateMailbox{Name: name})
			return err
		}) == nil { // without the special use it would be possible.
			return coded("USEATTR", err)
		}
	}
	return err
}

// runDelete is DELETE (RFC 9051 section 6.3.5).
func runDelete(ctx context.Context, c *conn, cmd *command) error {
	var name string
	if !mailboxName(cmd.dec, &name) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	at, err := c.whose(ctx, name)
	if err == nil {
		_, err = c.doOf(ctx, at.owner, account.DeleteMailbox{Name: at.name})
	}
	return err
}

// runRename is RENAME (RFC 9051 section 6.3.6).
func runRename(ctx context.Context, c *conn, cmd *command) error {
	var from, to string
	if !mailboxName(cmd.dec, &from) || !mailboxName(cmd.dec, &to) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	source, err := c.whose(ctx, from)
	if err != nil {
		return err
	}
	target, err := c.whose(ctx, to)
	switch {
	case err != nil:
		return err
	case source.id != target.id: // A mailbox and the numbers of its messages belong to one account's log.
		return domain.Errorf(domain.Invalid, "a mailbox cannot be renamed into another account: copy its messages")
	}
	_, err = c.doOf(ctx, source.owner, account.RenameMailbox{From: source.name, To: target.name, Now: c.now(), UIDValidity: uint32(c.now())})
	return err
}

// runSubscribe is SUBSCRIBE and UNSUBSCRIBE (RFC 9051 sections 6.3.7 and 6.3.8).
func runSubscribe(ctx context.Context, c *conn, cmd *command) error {
	var name string
	if !mailboxName(cmd.dec, &name) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	at, err := c.whose(ctx, name)
	if err != nil {
		return err
	}
	if at.id != "" {
		name = at.full() // in its one spelling, as LIST shows it
	}
	_, err = c.do(ctx, account.Subscribe{Name: name, On: cmd.name == "SUBSCRIBE"})
	return err
}

// runNamespace is NAMESPACE (RFC 9051 section 6.3.10): personal mailboxes without a prefix, and those of others below theirs.
func runNamespace(_ context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	c.enc.Raw(`* NAMESPACE (("" "/"))`)
	for _, prefix := range []string{c.server.namespaces.Others, c.server.namespaces.Shared} {
		if c.without[aclName] {
			c.enc.Raw(" NIL")
		} else {
			c.enc.Raw(" ((").String(prefix).Raw(` "/"))`)
		}
	}
	c.enc.CRLF()
	return nil
}
