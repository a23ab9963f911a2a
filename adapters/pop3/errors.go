package pop3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
)

// refusal is an -ERR with a response code (RFC 2449 section 8, RFC 3206); the code may be empty.
type refusal struct {
	code, text string
	senseless  bool // the command is not one of this protocol, or not now: clients may send a few of them
	closing    bool // the connection ends with it
}

func (r *refusal) Error() string { return r.text }

func refused(code, format string, args ...any) *refusal {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}

// senseless refuses a command that breaks the grammar, or comes at the wrong time.
func senseless(format string, args ...any) *refusal {
	return &refusal{text: fmt.Sprintf(format, args...), senseless: true}
}

// errQuit ends a session that has said goodbye.
var errQuit = errors.New("quit")

// errSlow ends a connection that has not logged in in time.
var errSlow = &refusal{code: "SYS/TEMP", text: "no login came in time", closing: true}

// kinds is the one table from an error's kind to its response code: SYS/TEMP when a retry may help, SYS/PERM when an operator must (RFC 3206
// section 4), none when the client can do something else.
var kinds = map[domain.Kind]string{
	domain.Internal:    "SYS/PERM",
	domain.Corrupt:     "SYS/PERM",
	domain.Erased:      "SYS/PERM",
	domain.TooLarge:    "SYS/TEMP", // too many logins wait already
	domain.Conflict:    "SYS/TEMP",
	domain.Unavailable: "SYS/TEMP",
}

// blame turns an error into a refusal. What is not the client's fault is logged.
func (c *conn) blame(command string, err error) *refusal {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = domain.Wrap(domain.Unavailable, err, "the server is too busy")
	}
	kind := domain.KindOf(err)
	answer := &refusal{code: kinds[kind], text: "internal error", closing: kind == domain.Erased}
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
