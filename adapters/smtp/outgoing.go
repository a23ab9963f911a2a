package smtp

import (
	"slices"
	"strings"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/outgoing"
)

// leaves tells whether a recipient that is not here may have mail from this client by the queue: only users who logged in send to others.
func (s *session) leaves(a delivery.Address) bool {
	return s.server.kind == Submission && s.server.cfg.Queue != nil && s.who.Account != "" && !s.local(a) &&
		!strings.EqualFold(a.Domain, s.server.cfg.Hostname)
}

func wantsSuccess(opts *gosmtp.RcptOptions) bool {
	return slices.Contains(opts.Notify, gosmtp.DSNNotifySuccess)
}

// outgoing is the message for those of its recipients who get it by one of the queue's targets.
func (m *received) outgoing(to target) *outgoing.Mail {
	mail := m.mail()
	mail.Final = to.parked == ""
	if to.account != "" { // It was to be added already. As it was then, so that it is known again: it does not leave, and nobody asks for a signature.
		mail.Unclear, mail.Sign = true, false
	}
	if to.passed != "" {
		m.reroute(mail, to)
	}
	named := make(map[outgoing.Recipient]bool, len(m.share(to).dues))
	for _, p := range m.share(to).dues { // Two groups may have the same member.
		if r := p.of.leaving(p.to); !named[r] {
			named[r] = true
			m.address(mail, r)
		}
	}
	return mail
}

// address adds a recipient.
func (m *received) address(mail *outgoing.Mail, r outgoing.Recipient) {
	mail.Recipients = append(mail.Recipients, r)
	mail.UTF8 = mail.UTF8 || m.utf8 && !r.Address.IsASCII()
}

// mail is the message as the queue takes it, for nobody yet. Many programs say SMTPUTF8 of all mail, and many servers do not know it.
func (m *received) mail() *outgoing.Mail {
	mail := &outgoing.Mail{
		Transfer: m.id, MessageID: m.stored.Summary.Envelope.MessageID, Login: m.who.Login, Sender: m.sender, Blob: m.stored.Blob, Sign: m.who.Login != "",
		Skip: int64(len(delivery.ReturnPath(m.sender))), // RFC 5321 section 4.4: a message that travels has no Return-Path.
		UTF8: m.utf8 && (m.wide || !m.sender.IsASCII()), Return: string(m.envelope.Return), EnvelopeID: m.envelope.EnvelopeID, TLS: m.demand(),
	}
	if mail.Return == string(gosmtp.DSNReturnHeaders) {
		mail.Return = "HDRS"
	}
	return mail
}

// demand is what the sender demands of the way, see queue.Entry.
func (m *received) demand() string {
	switch {
	case m.envelope.RequireTLS:
		return queue.TLSRequired // RFC 8689 section 4.1: whatever the header says.
	case m.lax:
		return queue.TLSOptional
	}
	return ""
}

// leaving is a recipient as the queue serves it, by an address that mappings may have put in the place of its own. RFC 3461 section 5.2.7.1: all that the sender has asked
// for goes on with the message, and so does the address as the sender knows it.
func (r *recipient) leaving(to delivery.Address) outgoing.Recipient {
	out := outgoing.Recipient{Address: to}
	for _, n := range r.options.Notify {
		out.Notify |= notifications[n]
	}
	switch {
	case r.options.OriginalRecipient != "":
		out.Original = strings.ToLower(string(r.options.OriginalRecipientType)) + ";" + r.options.OriginalRecipient
	case to == r.address:
	case r.address.IsASCII():
		out.Original = "rfc822;" + r.address.String()
	default:
		out.Original = "utf-8;" + r.address.String() // RFC 6533 section 3.
	}
	return out
}

var notifications = map[gosmtp.DSNNotify]queue.Notify{
	gosmtp.DSNNotifySuccess: queue.OnSuccess, gosmtp.DSNNotifyFailure: queue.OnFailure, gosmtp.DSNNotifyDelayed: queue.OnDelay, gosmtp.DSNNotifyNever: queue.Never,
}

// mayClaim checks who the message says it is from (RFC 6409 section 6.1), where that is configured. Of several From fields another program may show another
// than the first (RFC 5322 section 3.6 allows one), and of one that cannot be read whatever it likes.
func (s *session) mayClaim(in *delivery.Reader, e *message.Envelope) error {
	if s.server.kind != Submission || !s.server.cfg.CheckFrom {
		return nil
	}
	from, sender := in.Origins()
	if from > 1 || sender > 1 || from == 1 && !named(e.From) || sender == 1 && !named(e.Sender) {
		return errFromSyntax
	}
	ctx, cancel := s.work()
	defer cancel()
	for _, a := range slices.Concat(e.From, e.Sender) {
		if a.Mailbox == "" || a.Host == "" {
			continue // the name of a group
		}
		id, _, err := s.resolve(ctx, delivery.Address{Local: a.Mailbox, Domain: a.Host})
		switch {
		case domain.Is(err, domain.NotFound) || err == nil && id != s.who.Account:
			return errFromForeign
		case err != nil:
			return err
		}
	}
	return nil
}

// named tells whether a list has a whole address.
func named(list []message.Address) bool {
	return slices.ContainsFunc(list, func(a message.Address) bool { return a.Mailbox != "" && a.Host != "" })
}
