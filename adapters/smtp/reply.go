package smtp

import (
	"errors"
	"strings"
	"syscall"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/projections/filing"
)

func reply(code int, class, subject, detail int, text string) *gosmtp.SMTPError {
	return &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.EnhancedCode{class, subject, detail}, Message: text}
}

// Refusals that are no errors of anything but the client. Codes are those of RFC 5321 section 4.2.3 and the registry of RFC 5248.
var (
	errBareLine      = reply(500, 5, 5, 2, "A line ends with CRLF and has no other CR or LF, RFC 5321 section 2.3.8")
	errLongLine      = reply(500, 5, 5, 2, "The line is too long") // RFC 5321 section 4.5.3.1.9.
	errNoParameters  = reply(501, 5, 5, 4, "STARTTLS has no parameters")
	errNested        = reply(503, 5, 5, 1, "One message at a time: MAIL was given already")
	errNoMail        = reply(503, 5, 5, 1, "MAIL and RCPT come first")
	errAuthFirst     = reply(530, 5, 7, 0, "Authentication required") // RFC 4954 section 6.
	errAuthInMail    = reply(503, 5, 5, 1, "AUTH is not possible during a mail transaction")
	errAuthNeedsTLS  = reply(538, 5, 7, 11, "Encryption required: use STARTTLS first") // RFC 4954 section 6.
	errAuthMechanism = reply(504, 5, 5, 4, "Unknown authentication mechanism")
	errAuthDone      = reply(503, 5, 5, 1, "Already authenticated")
	errAuthSyntax    = reply(501, 5, 5, 2, "Malformed authentication exchange")
	errAuthLong      = reply(500, 5, 5, 6, "The line of the authentication exchange is too long") // RFC 4954 section 6.
	errAuthSessions  = reply(421, 4, 7, 0, "Too many sessions of this account, close some and try again later")
	errAuthFailed    = reply(535, 5, 7, 8, "Authentication failed")
	errRevoked       = reply(421, 4, 7, 0, "The login is no longer valid: log in again")
	errAuthTooMany   = reply(421, 4, 7, 0, "Too many failed logins")
	errSenderSyntax  = reply(553, 5, 1, 7, "The sender's address is malformed")
	errSenderForeign = reply(553, 5, 7, 1, "This sender address does not belong to your account")
	errFromForeign   = reply(550, 5, 7, 1, "From or Sender has an address that does not belong to your account")
	errFromSyntax    = reply(550, 5, 6, 0, "From and Sender have to be there once at most, with an address that can be read")
	errRcptSyntax    = reply(553, 5, 1, 3, "The recipient's address is malformed")
	errRcptUnknown   = reply(550, 5, 1, 1, "No such user here")
	errRcptTooMany   = reply(421, 4, 7, 0, "Too many unknown recipients")
	errNotSent       = reply(550, 5, 7, 1, "This address has sent no message that this report could be about (BATV)")
	errRelay         = reply(550, 5, 7, 1, "Relaying denied: the recipient is not local")
	errRemote        = reply(550, 5, 4, 4, "Remote delivery is not configured: the recipient is not local")
	errNeedsUTF8     = reply(553, 5, 6, 7, "An address outside ASCII needs the SMTPUTF8 parameter") // RFC 6531 section 3.5.
	errUTF8Invalid   = reply(553, 5, 6, 7, "The address is not UTF-8")
	errBrokenOff     = reply(451, 4, 4, 2, "The transfer was broken off")
	errStorage       = reply(452, 4, 3, 1, "Insufficient system storage")                                                  // RFC 5321 section 4.2.3, RFC 3463 section 3.4.
	errApart         = reply(452, 4, 5, 3, "This recipient needs a transaction of its own: send again without the others") // RFC 5321 section 4.5.3.1.10.
	errCopies        = reply(452, 4, 5, 3, "The message has too many recipients: send it to the others separately")        // RFC 5321 section 4.5.3.1.10.
	errNoForward     = reply(550, 5, 7, 1, "Mail for this recipient is sent on, and this server sends nothing")
	errEntangled     = reply(550, 5, 4, 6, "Mail for this recipient goes round in a loop") // RFC 3463 section 3.5: routing loop detected.
	errNoReport      = reply(550, 5, 7, 1, "Only reports are taken for this recipient")
	errPartial       = reply(451, 4, 3, 0, "Some recipients could not be served: send again, nobody gets the message twice")
)

// faultReplies is what a broken message is told.
var faultReplies = map[delivery.Fault]*gosmtp.SMTPError{
	delivery.BareLine:  reply(550, 5, 6, 11, "The message contains a bare CR or LF, RFC 5321 section 2.3.8"),
	delivery.TooBig:    reply(552, 5, 3, 4, "The message is too big"),
	delivery.BigHeader: reply(552, 5, 3, 4, "The message header is too big"),
	delivery.LongLine:  reply(554, 5, 6, 0, "The message has a line that is too long"),
	delivery.Loop:      reply(554, 5, 4, 6, "Too many hops: the message goes round in a loop"),
}

// kindReplies is the one table from kinds of error to replies. OverQuota has a second answer, see answer.
var kindReplies = map[domain.Kind]*gosmtp.SMTPError{
	domain.Internal:    reply(451, 4, 3, 0, "Internal error"),
	domain.Invalid:     reply(554, 5, 6, 0, "The message is not acceptable"),
	domain.NotFound:    errRcptUnknown,
	domain.Exists:      reply(451, 4, 3, 0, "Internal error"),
	domain.Denied:      reply(550, 5, 7, 1, "Not permitted"),
	domain.OverQuota:   reply(552, 5, 2, 2, "The mailbox is full"),
	domain.TooLarge:    reply(552, 5, 3, 4, "The message is too big"),
	domain.Conflict:    reply(451, 4, 3, 0, "The mailbox is busy, try again later"),
	domain.Unavailable: reply(451, 4, 3, 0, "Temporarily unavailable, try again later"),
	domain.Corrupt:     reply(451, 4, 3, 0, "Internal error"),
	domain.Erased:      errRcptUnknown,
}

var errFullForNow = reply(452, 4, 2, 2, "The mailbox is full, try again later")

// answer turns any error into the reply that the client gets, and logs it if it is a fault of ours.
func (s *session) answer(err error) error {
	if ours(err) {
		s.log.Error("request failed", "error", err, "kind", domain.KindOf(err).String())
	}
	return s.translate(err)
}

// ours tells faults that an operator must hear of from refusals. They show the client the connection's id, by which the log line is found.
func ours(err error) bool {
	var r *gosmtp.SMTPError
	var refused *filing.Refused
	if errors.As(err, &r) || errors.As(err, &refused) {
		return false
	}
	switch domain.KindOf(err) {
	case domain.Internal, domain.Exists, domain.Corrupt, domain.Unavailable, domain.Conflict:
		return true
	}
	return false
}

// maxReason bounds the text of a refusal, so that its line is one of SMTP (RFC 5321 section 4.5.3.1.5).
const maxReason = 400

// reason makes the reason of a refusal fit for a reply, which is one line of ASCII here (RFC 5429 section 2.2.1 lets a server say something else instead).
func reason(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return "The recipient's filter refuses the message"
	}
	return text[:min(len(text), maxReason)]
}

// translate is answer for an error that was logged already.
func (s *session) translate(err error) error {
	var r *gosmtp.SMTPError
	var refused *filing.Refused
	if errors.As(err, &refused) {
		r = reply(550, 5, 7, 1, reason(refused.Reason))
	} else if !errors.As(err, &r) {
		kind := domain.KindOf(err)
		if r = kindReplies[kind]; kind == domain.OverQuota && s.server.cfg.QuotaTemporary {
			r = errFullForNow
		}
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			r = errStorage
		}
		if ours(err) {
			r = &gosmtp.SMTPError{Code: r.Code, EnhancedCode: r.EnhancedCode, Message: r.Message + " [" + s.conn.ID() + "]"}
		}
	}
	if count := s.server.cfg.Metrics.Refused; count != nil {
		count(r.Code)
	}
	return r
}
