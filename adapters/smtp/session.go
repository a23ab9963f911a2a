package smtp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
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

	who      door.Identity      // on submission, once authenticated
	leave    func()             // counts the login out; nil without one
	revoked  atomic.Bool        // the login is no longer valid
	opinion  *admission.Opinion // of the client, once it is asked for; nil where nobody is to be asked
	met      string             // the name in EHLO of the client that opinion is about
	failures int                // of logins
	unknown  int                // refused recipients
	messages atomic.Int64       // accepted or not, for their ids

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
	envelope   *gosmtp.MailOptions
	apart      map[target]bool // recipients that shall come alone, by all their addresses
	named      map[string]int  // the place of the first of recipients with an address
	copies     int             // of all recipients
	opinion    *admission.Opinion
	asked      admission.Asked
	filter     Filter                // nil: nobody looks at the message
	counted    []*admission.Envelope // what the gate has let come: the message, and its recipients; under the lock
	arrived    atomic.Bool           // the message is here
}

// recipient is an address of RCPT with the places where its mail goes, at least one.
type recipient struct {
	given   string // as go-smtp knows it
	address delivery.Address
	options *gosmtp.RcptOptions
	copies  []leg
}

// leg is where one copy goes, and the address by which the queue brings it there.
type leg struct {
	target
	to delivery.Address
}

// target is where a copy goes: a mailbox, or the queue for all that leaves together, or where an operator finds it.
type target struct {
	account domain.AccountID
	mailbox string
	queue   bool
	sender  string // the rewritten sender of what is sent on, see reroute
	passed  string // for which recipient it is sent on
	parked  string // the cause
	address string // in halves, of one whom the queue serves
}

// remembered is what halves know a leg by: those whom the queue serves one by one, since another message may go to others of them.
func (p *leg) remembered() target {
	to := p.target
	to.sender = ""
	if to.queue {
		to.address = p.to.Key()
	}
	return to
}

func (s *Server) newSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	w := c.Conn().(*conn)
	w.SetIdle(s.cfg.Limits.Line.Idle)
	n := &session{server: s, smtp: c, conn: w}
	n.log = s.cfg.Logger.With("conn", w.ID(), "remote", w.RemoteAddr().String())
	if w.secure != nil {
		state := w.secure.ConnectionState()
		n.tls = &state
	}
	n.log.Debug("session begins", "helo", netline.ForLog(c.Hostname()), "tls", n.tls != nil)
	return n, nil
}

// Logout ends the session. After STARTTLS another one begins on the same connection.
func (s *session) Logout() error {
	s.Reset()
	if s.leave != nil {
		s.leave()
	}
	return nil
}

// Reset drops the transaction.
func (s *session) Reset() {
	s.mu.Lock()
	tx := s.tx
	s.tx = nil
	s.mu.Unlock()
	if tx == nil {
		return
	}
	if tx.filter != nil {
		tx.filter.End()
	}
	s.uncount(tx)
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
	if !s.valid() {
		return s.answer(errRevoked)
	}
	if opts.Size > s.server.cfg.Limits.Content.Message {
		return s.answer(faultReplies[delivery.TooBig]) // RFC 1870 section 6.1.
	}
	sender, err := parse(from, opts.UTF8, errSenderSyntax)
	if err != nil {
		return s.answer(err)
	}
	if err := s.mayUse(sender); err != nil {
		return s.answer(err)
	}
	tx := &transaction{who: s.who, sender: sender, utf8: opts.UTF8, size: opts.Size, envelope: opts, opinion: s.meet()}
	if err := s.paces(tx); err != nil {
		return s.answer(err)
	}
	if err := s.begins(tx); err != nil {
		s.uncount(tx)
		return s.answer(err)
	}
	s.mu.Lock()
	s.tx = tx
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
func (s *session) Rcpt(to string, opts *gosmtp.RcptOptions) error {
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
	if err := s.bars(tx, address); err != nil {
		return s.answer(err)
	}
	name := address.String()
	if s.local(address) {
		name = address.Key()
	}
	before, again := tx.named[name]
	if again && s.server.kind != LMTP && reflect.DeepEqual(tx.recipients[before].options, opts) {
		return nil // who is named twice gets one copy; by LMTP each has an answer after the data (RFC 2033 section 4.2)
	}
	ctx, cancel := s.work()
	defer cancel()
	r := recipient{given: to, address: address, options: opts}
	if err := s.route(ctx, tx, &r); err != nil {
		return s.answer(err)
	}
	if tx.copies+len(r.copies) > s.server.cfg.Limits.Copies {
		return s.answer(errCopies)
	}
	if s.apart(tx, &r) {
		return s.answer(errApart)
	}
	if err := s.admits(tx, address); err != nil {
		return s.answer(err)
	}
	if err := s.passes(tx, address); err != nil {
		return s.answer(err) // It stays counted as long as the message may come, for others.
	}
	if !again {
		if tx.named == nil {
			tx.named = map[string]int{}
		}
		tx.named[name] = len(tx.recipients)
	}
	tx.copies += len(r.copies)
	tx.recipients = append(tx.recipients, r)
	return nil
}

// apart tells whether a recipient has failed beside others and shall come alone, with all who lead to the same mailbox.
func (s *session) apart(tx *transaction, r *recipient) (putOff bool) {
	list := make([]target, len(r.copies))
	for i := range r.copies {
		list[i] = r.copies[i].remembered()
		putOff = putOff || tx.apart[list[i]]
	}
	for _, to := range s.server.halves.putOff(tx.sender.Key(), list) {
		if tx.apart == nil {
			tx.apart = map[target]bool{}
		}
		tx.apart[to], putOff = true, true
	}
	return putOff
}

// strange refuses a recipient that does not live here, and the whole connection when it is one too many.
func (s *session) strange(address delivery.Address) error {
	s.log.Info("recipient refused", "recipient", address.String())
	if s.unknown++; s.unknown >= s.server.cfg.Limits.BadRecipients {
		s.conn.hangUp()
		return errRcptTooMany
	}
	switch {
	case s.local(address):
		return errRcptUnknown
	case s.server.kind == Submission:
		return errRemote
	default:
		return errRelay
	}
}

// local reports whether the directory knows an address's domain. Address literals are foreign.
func (s *session) local(a delivery.Address) bool { return s.server.cfg.Directory.LocalDomain(a.Domain) }

// resolve finds the account of an address. Errors: domain.NotFound for all that is not here.
func (s *session) resolve(ctx context.Context, a delivery.Address) (domain.AccountID, string, error) {
	if strings.EqualFold(a.Local, directory.Postmaster) && strings.EqualFold(a.Domain, s.server.cfg.Hostname) && !s.local(a) {
		return s.server.cfg.Directory.Resolve(ctx, directory.Postmaster) // RFC 5321 section 4.5.1, see dialogue.
	}
	if !s.local(a) {
		return "", "", domain.Errorf(domain.NotFound, "the domain %s is not local", a.Domain)
	}
	id, detail, err := s.server.cfg.Directory.Resolve(ctx, a.Local+"@"+a.Domain)
	if domain.Is(err, domain.Invalid) { // No account here can have such a local part.
		return "", "", domain.Errorf(domain.NotFound, "there is no user %s", a)
	}
	return id, detail, err
}

// room finds the mailbox that the message shall go to and checks that the quota has room for it, as large as it was declared and with what is added on
// top. LMTP can answer for each recipient after the data, so there it costs nothing to find out then, and the account's state is only looked at for a
// detail.
func (s *session) room(ctx context.Context, tx *transaction, r recipient, id domain.AccountID, detail string) (mailbox string, err error) {
	if s.server.kind == LMTP && detail == "" {
		return account.Inbox, nil
	}
	recipients := append(slices.Clip(tx.recipients), r)
	size := tx.size + int64(len(s.fields(tx, s.id(s.messages.Load()+1), recipients).Top))
	err = s.server.cfg.Accounts.View(ctx, id, func(state *account.State) error {
		mailbox = delivery.Mailbox(state, detail)
		return state.Room(account.Limits{Bytes: size, Messages: 1})
	})
	return mailbox, err
}
