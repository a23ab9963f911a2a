package smtp

import (
	"context"
	"errors"
	"time"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// exchange is one SASL exchange (RFC 4422) as go-smtp runs it.
type exchange struct {
	*sasl.Exchange
	session *session
}

// Next is what go-smtp calls with each response.
func (x *exchange) Next(response []byte) ([]byte, bool, error) {
	s := x.session
	if fault := s.conn.fault; fault != nil { // What the client sent is no response at all.
		return nil, false, s.refuseLogin(x.Mechanism, x.Named, fault)
	}
	challenge, done, err := x.Exchange.Next(s.server.ctx, response)
	if done {
		ctx, cancel := s.work()
		defer cancel()
		err = s.admit(ctx, x.Mechanism, x.Identity())
	}
	if err != nil {
		return nil, false, s.refuseLogin(x.Mechanism, x.Named, err)
	}
	return challenge, done, nil
}

// AuthMechanisms is what EHLO offers.
func (s *session) AuthMechanisms() []string {
	if s.server.kind != Submission || !s.mayAuth() || s.who.Account != "" {
		return nil
	}
	return s.server.mechanisms.Offered(s.peer())
}

// peer is the client as package sasl wants to know it.
func (s *session) peer() sasl.Client {
	return sasl.Client{Source: s.conn.Source(), TLS: s.tls, Certificate: s.conn.Certificate()}
}

// mayAuth keeps passwords off the open network (RFC 4954 section 4, RFC 8314 section 3).
func (s *session) mayAuth() bool {
	return s.tls != nil || s.server.cfg.PlaintextOnLoopback && s.conn.Local()
}

// Auth begins an exchange.
func (s *session) Auth(name string) (gosasl.Server, error) {
	switch {
	case s.conn.over.Load(): // What a client sends in one packet is no way to more guesses, and waits for none of them.
		return nil, s.answer(errAuthTooMany)
	case s.server.kind != Submission:
		return nil, s.answer(reply(502, 5, 5, 1, "AUTH is not offered here"))
	case !s.mayAuth():
		return nil, s.answer(errAuthNeedsTLS)
	case s.transaction() != nil:
		return nil, s.answer(errAuthInMail) // RFC 4954 section 4.
	case s.who.Account != "":
		return nil, s.answer(errAuthDone)
	}
	begun, err := s.server.mechanisms.Begin(name, s.peer())
	if err != nil {
		return nil, s.answer(errAuthMechanism)
	}
	return &exchange{begun, s}, nil
}

// admit makes the session the user's. Errors: domain.Denied when the password was changed in this moment.
func (s *session) admit(ctx context.Context, mechanism string, who door.Identity) error {
	leave, err := s.server.cfg.Directory.Enter(ctx, who, func() {
		s.revoked.Store(true)
		s.conn.Revoke()
	})
	if err != nil {
		return err
	}
	s.who, s.leave = who, leave
	s.failures = 0
	s.log.Info("logged in", "mechanism", mechanism, "by", who.By(), "login", who.Login)
	if f := s.server.cfg.Metrics.Login; f != nil {
		f(true)
	}
	return nil
}

// valid says whether the login still holds, and ends the connection when it does not.
func (s *session) valid() bool {
	if !s.revoked.Load() {
		return true
	}
	s.conn.hangUp()
	return false
}

// refuseLogin slows guessing down and ends the connection after a few tries. An error of ours is no guess.
func (s *session) refuseLogin(mechanism, login string, err error) error {
	if f := s.server.cfg.Metrics.Login; f != nil {
		f(false)
	}
	if err == door.ErrSessions {
		s.log.Warn("login refused", "mechanism", mechanism, "login", netline.ForLog(login), "error", err)
		s.conn.hangUp()
		return s.answer(errAuthSessions)
	}
	if domain.Is(err, domain.TooLarge) {
		s.log.Warn("login put off", "mechanism", mechanism, "login", netline.ForLog(login), "error", err)
		return reply(454, 4, 7, 0, "Too many failed logins, try again later")
	}
	if err == sasl.ErrSyntax {
		err = errAuthSyntax
	}
	var malformed *gosmtp.SMTPError
	if !errors.As(err, &malformed) && !domain.Is(err, domain.Denied) {
		s.log.Error("login could not be checked", "mechanism", mechanism, "error", err)
		return reply(454, 4, 7, 0, "Temporary authentication failure") // RFC 4954 section 6.
	}
	s.log.Warn("login refused", "mechanism", mechanism, "login", netline.ForLog(login), "error", err)
	s.pause(s.server.cfg.Limits.AuthDelay << s.failures)
	if s.failures++; s.failures >= s.server.cfg.Limits.AuthFailures {
		s.conn.hangUp()
		return s.answer(errAuthTooMany)
	}
	if malformed != nil {
		return s.answer(malformed)
	}
	return s.answer(errAuthFailed)
}

// pause waits, unless the server is given up meanwhile.
func (s *session) pause(d time.Duration) {
	ctx, cancel := context.WithTimeout(s.server.ctx, d)
	defer cancel()
	<-ctx.Done()
}
