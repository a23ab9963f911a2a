package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	appendData["UTF8"] = dataForm{"UTF8=ACCEPT", receiveUTF8}
}

// receiveUTF8 is a message with UTF-8 in its header, "UTF8 (~{n}...)" (RFC 6855 section 4).
func receiveUTF8(ctx context.Context, u *uploads, d *wire.Decoder, add *account.AddMessage) error {
	l := expectUTF8(d)
	if l == nil {
		return d.Err()
	}
	if err := u.c.acceptsUTF8(); err != nil {
		return err
	}
	if err := u.take(ctx, l, add); err != nil {
		return err
	}
	d.ExpectSpecial(')')
	return d.Err()
}

// expectUTF8 reads up to the literal8 in parentheses.
func expectUTF8(d *wire.Decoder) *wire.Literal {
	if !d.ExpectSP() || !d.ExpectSpecial('(') {
		return nil
	}
	l := d.ExpectLiteral()
	if l != nil && !l.Binary {
		d.Fail(wire.Syntaxf("UTF8 takes a literal8, ~{n}"))
		return nil
	}
	return l
}

// acceptsUTF8 refuses what needs ENABLE UTF8=ACCEPT or IMAP4rev2 (RFC 6855 section 3).
func (c *conn) acceptsUTF8() error {
	if c.utf8 {
		return nil
	}
	return domain.Errorf(domain.Invalid, "ENABLE UTF8=ACCEPT first")
}
