package managesieve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sieve"
)

// refusal is a NO, or a BYE when it is closing, with a response code (RFC 5804 section 1.3); the code may be empty.
type refusal struct {
	code, text string
	senseless  bool // the command is not one of this protocol, or not now: clients may send a few of them
	closing    bool // the connection ends with it
}

func (r *refusal) Error() string { return r.text }

func refused(code, format string, args ...any) *refusal {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}

func senseless(format string, args ...any) *refusal {
	return &refusal{text: fmt.Sprintf(format, args...), senseless: true}
}

var (
	errLogout = errors.New("logout")
	errSlow   = &refusal{code: "TRYLATER", text: "no login came in time", closing: true}
)

// gone is an error of the connection itself, after which there is nobody to answer.
type gone struct{ error }

// kinds is the one table from an error's kind to its response code.
var kinds = map[domain.Kind]string{
	domain.NotFound:    "NONEXISTENT",
	domain.Exists:      "ALREADYEXISTS",
	domain.OverQuota:   "QUOTA",
	domain.TooLarge:    "QUOTA/MAXSIZE",
	domain.Conflict:    "TRYLATER",
	domain.Unavailable: "TRYLATER",
}

// codes are those of single errors.
var codes = map[error]string{
	account.ErrTooManyScripts: "QUOTA/MAXSCRIPTS",
	account.ErrScriptActive:   "ACTIVE", // RFC 5804 section 2.10.
}

// blame turns an error into a refusal. What is not the client's fault is logged.
func (c *conn) blame(command string, err error) *refusal {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	var wrong *sieve.Error
	if errors.As(err, &wrong) {
		return &refusal{text: wrong.Error()}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = domain.Wrap(domain.Unavailable, err, "the server is too busy")
	}
	kind := domain.KindOf(err)
	answer := &refusal{code: kinds[kind], text: "internal error", closing: kind == domain.Erased}
	if code, special := codes[err]; special {
		answer.code = code
	}
	var classified *domain.Error
	if errors.As(err, &classified) && kind != domain.Internal {
		answer.text = classified.Msg
	}
	switch kind {
	case domain.Internal, domain.Corrupt:
		id := rand.Text()[:8]
		answer.text += " (" + id + ")"
		c.log.Error("command failed", "command", command, "account", c.who.Account, "incident", id, "error", err)
	case domain.Unavailable, domain.Conflict:
		c.log.Warn("command failed", "command", command, "account", c.who.Account, "error", err)
	}
	return answer
}
