package smtp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/projections/door"
)

// session is one client between EHLO and its end, or STARTTLS. go-smtp calls its methods one after the other, except that those of the next
// message may come while Data still runs for a BDAT that the client gave up. So Data works on the transaction only, which it takes under the lock.
type session struct {
	server *Server
	smtp   *gosmtp.Conn
	conn   *conn
	log    *slog.Logger
	tls    *tls.ConnectionState // nil without TLS

	who      door.Identity // on submission, once authenticated
	failures int           // of logins
	unknown  int           // refused recipients
	messages atomic.Int64  // accepted or not, for their ids

	mu sync.Mutex
	tx *transaction // from MAIL to the end of the data
}

// transaction is what MAIL and RCPT have gathered (RFC 5321 section 3.3).
type transaction struct {
	who        door.Identity
	sender     delivery.Address
	utf8       bool
	size       int64 // as declared; 0 if it was not
	recipients []recipient
}

type recipient struct {
	given   string // as go-smtp knows it
	address delivery.Address
	target
}

// target is where a copy goes.
type target struct {
	account domain.AccountID
	mailbox string
}

func (s *Server) newSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	w := below(c.Conn())
	w.speak(c.Conn())
	w.SetIdle(s.cfg.Limits.Line.Idle)
	n := &session{server: s, smtp: c, conn: w}
	n.log = s.cfg.Logger.With("conn", w.ID(), "remote", w.RemoteAddr().String())
	if state, ok := c.TLSConnectionState(); ok {
		n.tls = &state
	}
	n.log.Debug("session begins", "helo", oneLine(c.Hostname()), "tls", n.tls != nil)
	return n, nil
}

// Logout ends the session. After STARTTLS the next one begins on the same connection, which until then has nobody to speak for it.
func (s *session) Logout() error {
	s.conn.mouth.Store(nil)
	s.Reset()
	return nil
}

// Reset drops the transaction.
func (s *session) Reset() {
	s.mu.Lock()
	s.tx = nil
	s.mu.Unlock()
}

func (s *session) transaction() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

func (s *session) work() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.server.ctx, s.server.cfg.Limits.Work)
}

// Mail begins a transaction.
func (s *session) Mail(from string, opts *gosmtp.MailOptions) error {
	if s.transaction() != nil {
		return s.answer(errNested) // RFC 5321 section 4.1.4.
	}
	if s.server.kind == Submission && s.who.Account == "" {
		return s.answer(errAuthFirst)
	}
	sender, err := parse(from, opts.UTF8, errSenderSyntax)
	if err != nil {
		return s.answer(err)
	}
	if err := s.mayUse(sender); err != nil {
		return s.answer(err)
	}
	s.mu.Lock()
	s.tx = &transaction{who: s.who, sender: sender, utf8: opts.UTF8, size: opts.Size}
	s.mu.Unlock()
	return nil
}

// parse reads an address that go-smtp has unquoted.
func parse(given string, utf8Allowed bool, malformed error) (delivery.Address, error) {
	if !utf8.ValidString(given) {
		return delivery.Address{}, errUTF8Invalid
	}
	a, err := delivery.Unquoted(given)
	if err != nil {
		return delivery.Address{}, malformed
	}
	if !utf8Allowed && !a.IsASCII() {
		return delivery.Address{}, errNeedsUTF8
	}
	return a, nil
}

// mayUse checks that a user sends under an address of the own account (RFC 6409 section 6.1). The null sender is for receipts and bounces.
func (s *session) mayUse(sender delivery.Address) error {
	if s.server.kind != Submission || sender.IsNull() {
		return nil
	}
	ctx, cancel := s.work()
	defer cancel()
	id, _, err := s.resolve(ctx, sender)
	switch {
	case domain.Is(err, domain.NotFound) || err == nil && id != s.who.Account:
		return errSenderForeign
	case err != nil:
		return err
	}
	return nil
}

// Rcpt adds a recipient, or says why it cannot have mail: what is refused here need not fail after the data.
func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	tx := s.transaction()
	if tx == nil {
		return s.answer(errNoMail)
	}
	address, err := parse(to, tx.utf8, errRcptSyntax)
	if err == nil && address.IsNull() {
		err = errRcptSyntax
	}
	if err != nil {
		return s.answer(err)
	}
	ctx, cancel := s.work()
	defer cancel()
	id, detail, err := s.resolve(ctx, address)
	if domain.Is(err, domain.NotFound) {
		return s.answer(s.strange(address))
	}
	if err != nil {
		return s.answer(err)
	}
	mailbox, err := s.room(ctx, id, detail, tx.size)
	if err != nil {
		return s.answer(err)
	}
	tx.recipients = append(tx.recipients, recipient{to, address, target{id, mailbox}})
	return nil
}

// strange refuses a recipient that does not live here, and the whole connection when it is one too many.
func (s *session) strange(address delivery.Address) error {
	s.log.Info("recipient refused", "recipient", address.String())
	if s.unknown++; s.unknown >= s.server.cfg.Limits.BadRecipients {
		s.conn.hangUp()
		return errRcptTooMany
	}
	switch {
	case s.local(address) != "":
		return errRcptUnknown
	case s.server.kind == Submission:
		return errRemote
	default:
		return errRelay
	}
}

// local gives the spelling under which the directory knows an address's domain; empty for a foreign one. Address literals are foreign.
func (s *session) local(a delivery.Address) string {
	for _, name := range []string{strings.ToLower(a.Domain), a.DomainKey()} {
		if s.server.cfg.Directory.LocalDomain(name) {
			return name
		}
	}
	return ""
}

// resolve finds the account of an address. Errors: domain.NotFound for all that is not here.
func (s *session) resolve(ctx context.Context, a delivery.Address) (domain.AccountID, string, error) {
	host := s.local(a)
	if host == "" {
		return "", "", domain.Errorf(domain.NotFound, "the domain %s is not local", a.Domain)
	}
	id, detail, err := s.server.cfg.Directory.Resolve(ctx, a.Local+"@"+host)
	if domain.Is(err, domain.Invalid) { // No account here can have such a local part.
		return "", "", domain.Errorf(domain.NotFound, "there is no user %s", a)
	}
	return id, detail, err
}

// room finds the mailbox that the message shall go to and checks that the quota has room for one message more. LMTP can answer for each
// recipient after the data, so there it costs nothing to find out then, and the account's state is only looked at for a detail.
func (s *session) room(ctx context.Context, id domain.AccountID, detail string, size int64) (mailbox string, err error) {
	if s.server.kind == LMTP && detail == "" {
		return account.Inbox, nil
	}
	err = s.server.cfg.Accounts.View(ctx, id, func(state *account.State) error {
		mailbox = delivery.Mailbox(state, detail)
		l, used := state.Limits, state.Usage
		if l.Bytes > 0 && used.Bytes+max(size, 1) > l.Bytes || l.Messages > 0 && used.Messages >= l.Messages {
			return domain.Errorf(domain.OverQuota, "the account is full")
		}
		return nil
	})
	return mailbox, err
}
