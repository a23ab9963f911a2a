package imap

import (
	"context"
	"crypto/rand"
	"errors"
	"syscall"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
)

// kinds is the one table from an error's kind to the response code of a NO (RFC 5530 section 3, RFC 9051 section 7.1).
var kinds = map[domain.Kind]string{
	domain.Internal:    "SERVERBUG",
	domain.Invalid:     "CANNOT",
	domain.NotFound:    "NONEXISTENT",
	domain.Exists:      "ALREADYEXISTS",
	domain.Denied:      "NOPERM",
	domain.OverQuota:   "OVERQUOTA",
	domain.TooLarge:    "LIMIT",
	domain.Conflict:    "INUSE",
	domain.Unavailable: "UNAVAILABLE",
	domain.Corrupt:     "CORRUPTION",
	domain.Erased:      "CONTACTADMIN",
}

// codedError is an error with a response code that says more than its kind.
type codedError struct {
	code string
	error
}

func (e *codedError) Unwrap() error { return e.error }

// coded gives an error another response code than its kind's.
func coded(code string, err error) error { return &codedError{code, err} }

// orCreate says with TRYCREATE that the target mailbox is what does not exist (RFC 9051 section 6.3.12, 6.4.7).
func orCreate(err error) error {
	if domain.Is(err, domain.NotFound) {
		return coded("TRYCREATE", err)
	}
	return err
}

// noRoom reports whether an error is that of a full disk.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// blame turns an error into an answer. What is not the client's fault is logged.
func (c *conn) blame(cmd *command, err error) (status, code, text string) {
	var grammar *wire.SyntaxError
	if errors.As(err, &grammar) {
		return "BAD", grammar.Code, grammar.Text
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = domain.Wrap(domain.Unavailable, err, "the server is too busy")
	}
	kind := domain.KindOf(err)
	code, text = kinds[kind], "internal error"
	var known *domain.Error
	if errors.As(err, &known) && kind != domain.Internal {
		text = known.Msg
	}
	if noRoom(err) {
		text = "there is no room on the server's disk" // which is not the user's quota
	}
	switch kind {
	case domain.Internal, domain.Corrupt:
		id := rand.Text()[:8]
		text += " [" + id + "]"
		c.log.Error("command failed", "command", cmd.name, "account", c.id, "incident", id, "error", err)
	case domain.Unavailable, domain.Conflict:
		c.log.Warn("command failed", "command", cmd.name, "account", c.id, "error", err)
	}
	var special *codedError
	if errors.As(err, &special) {
		code = special.code
	}
	return "NO", code, text
}
