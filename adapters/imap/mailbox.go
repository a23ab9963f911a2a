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
	wish := account.CreateMailbox{Name: name, UIDValidity: uint32(c.now())}
	switch len(uses) {
	case 0:
	case 1:
		wish.SpecialUse = uses[0]
	default: // RFC 6154 section 3 lets a server refuse combinations.
		return coded("USEATTR", domain.Errorf(domain.Invalid, "a mailbox has one special use at most"))
	}
	_, err := c.do(ctx, wish)
	if err != nil && len(uses) > 0 && !domain.Is(err, domain.Unavailable) {
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
	_, err := c.do(ctx, account.DeleteMailbox{Name: name})
	return err
}

// runRename is RENAME (RFC 9051 section 6.3.6).
func runRename(ctx context.Context, c *conn, cmd *command) error {
	var from, to string
	if !mailboxName(cmd.dec, &from) || !mailboxName(cmd.dec, &to) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	_, err := c.do(ctx, account.RenameMailbox{From: from, To: to, Now: c.now(), UIDValidity: uint32(c.now())})
	return err
}

// runSubscribe is SUBSCRIBE and UNSUBSCRIBE (RFC 9051 sections 6.3.7 and 6.3.8).
func runSubscribe(ctx context.Context, c *conn, cmd *command) error {
	var name string
	if !mailboxName(cmd.dec, &name) || !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	_, err := c.do(ctx, account.Subscribe{Name: name, On: cmd.name == "SUBSCRIBE"})
	return err
}

// runNamespace is NAMESPACE (RFC 9051 section 6.3.10): personal mailboxes without a prefix, and nobody else's.
func runNamespace(_ context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	c.enc.Raw(`* NAMESPACE (("" "/")) NIL NIL` + "\r\n")
	return nil
}
