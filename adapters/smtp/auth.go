package smtp

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/xdg-go/scram"
)

// mechanism is one SASL exchange (RFC 4422). response is nil at the beginning if the client sent no initial response.
type mechanism func(response []byte) (challenge []byte, done bool, err error)

// Next is sasl.Server.
func (m mechanism) Next(response []byte) ([]byte, bool, error) { return m(response) }

// mechanisms in the order in which clients should prefer them. LOGIN is an expired draft that old clients and scanners still need.
var mechanisms = []string{"SCRAM-SHA-256", sasl.Plain, sasl.Login}

// AuthMechanisms is what EHLO offers.
func (s *session) AuthMechanisms() []string {
	if s.server.kind != Submission || !s.mayAuth() || s.who.Account != "" {
		return nil
	}
	return mechanisms
}

// mayAuth keeps passwords off the open network (RFC 4954 section 4, RFC 8314 section 3).
func (s *session) mayAuth() bool {
	return s.tls != nil || s.server.cfg.PlaintextOnLoopback && s.conn.Local()
}

// Auth begins an exchange.
func (s *session) Auth(name string) (sasl.Server, error) {
	switch {
	case s.server.kind != Submission:
		return nil, s.answer(reply(502, 5, 5, 1, "AUTH is not offered here"))
	case !s.mayAuth():
		return nil, s.answer(errAuthNeedsTLS)
	case s.transaction() != nil:
		return nil, s.answer(errAuthInMail) // RFC 4954 section 4.
	case s.who.Account != "":
		return nil, s.answer(errAuthDone)
	}
	switch name {
	case sasl.Plain:
		return mechanism(s.plain), nil
	case sasl.Login:
		return s.login(), nil
	case "SCRAM-SHA-256":
		return s.scram()
	}
	return nil, s.answer(errAuthMechanism)
}

// plain is RFC 4616.
func (s *session) plain(response []byte) ([]byte, bool, error) {
	if response == nil {
		return nil, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, false, s.refuseLogin("PLAIN", "", errAuthSyntax)
	}
	identity, login, password := string(parts[0]), string(parts[1]), string(parts[2])
	return s.password("PLAIN", identity, login, password)
}

func (s *session) password(mechanism, identity, login, password string) ([]byte, bool, error) {
	if identity != "" && !strings.EqualFold(identity, login) { // Nobody may act for somebody else.
		return nil, false, s.refuseLogin(mechanism, login, domain.Errorf(domain.Denied, "another authorization identity"))
	}
	ctx, cancel := s.work()
	defer cancel()
	who, err := s.server.cfg.Directory.Authenticate(ctx, login, password)
	if err != nil {
		return nil, false, s.refuseLogin(mechanism, login, err)
	}
	s.admit(mechanism, who)
	return nil, true, nil
}

// login is draft-murchison-sasl-login: two prompts.
func (s *session) login() mechanism {
	var user *string
	return func(response []byte) ([]byte, bool, error) {
		switch {
		case user == nil && response == nil:
			return []byte("Username:"), false, nil
		case user == nil:
			name := string(response)
			user = &name
			return []byte("Password:"), false, nil
		}
		return s.password("LOGIN", "", *user, string(response))
	}
}

// scram is RFC 7677. Channel binding is not offered.
func (s *session) scram() (mechanism, error) {
	const name = "SCRAM-SHA-256"
	var who door.Identity
	var failed error
	server, err := scram.SHA256.NewServer(func(login string) (scram.StoredCredentials, error) {
		ctx, cancel := s.work()
		defer cancel()
		identity, keys, err := s.server.cfg.Directory.Scram(ctx, login)
		if err != nil {
			failed = err
			return scram.StoredCredentials{}, err
		}
		who = identity
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: int(keys.Iterations)},
			StoredKey:  keys.StoredKey, ServerKey: keys.ServerKey,
		}, nil
	})
	if err != nil {
		return nil, s.answer(domain.Wrap(domain.Internal, err, "beginning a SCRAM exchange"))
	}
	exchange := server.NewConversation()
	return func(response []byte) ([]byte, bool, error) {
		switch {
		case response == nil:
			return nil, false, nil
		case exchange.Valid(): // The client has acknowledged the server's signature (RFC 4954 section 4).
			s.admit(name, who)
			return nil, true, nil
		}
		challenge, err := exchange.Step(string(response))
		login := exchange.Username()
		switch {
		case failed != nil:
			return nil, false, s.refuseLogin(name, login, failed)
		case err != nil:
			return nil, false, s.refuseLogin(name, login, domain.Wrap(domain.Denied, err, "checking a SCRAM message"))
		case exchange.Done() && (!exchange.Valid() || who.Account == ""),
			exchange.AuthzID() != "" && !strings.EqualFold(exchange.AuthzID(), login):
			return nil, false, s.refuseLogin(name, login, domain.Errorf(domain.Denied, "not permitted"))
		}
		return []byte(challenge), false, nil
	}, nil
}

func (s *session) admit(mechanism string, who door.Identity) {
	s.who = who
	s.failures = 0
	s.log.Info("logged in", "mechanism", mechanism, "login", who.Login)
	if f := s.server.cfg.Metrics.Login; f != nil {
		f(true)
	}
}

// refuseLogin slows guessing down and ends the connection after a few tries. An error of ours is no guess.
func (s *session) refuseLogin(mechanism, login string, err error) error {
	if f := s.server.cfg.Metrics.Login; f != nil {
		f(false)
	}
	if err != error(errAuthSyntax) && !domain.Is(err, domain.Denied) {
		s.log.Error("login could not be checked", "mechanism", mechanism, "error", err)
		return reply(454, 4, 7, 0, "Temporary authentication failure") // RFC 4954 section 6.
	}
	s.log.Warn("login refused", "mechanism", mechanism, "login", oneLine(login), "error", err)
	s.pause(s.server.cfg.Limits.AuthDelay << s.failures)
	if s.failures++; s.failures >= s.server.cfg.Limits.AuthFailures {
		s.conn.hangUp()
		return s.answer(errAuthTooMany)
	}
	if err == error(errAuthSyntax) {
		return s.answer(errAuthSyntax)
	}
	return s.answer(errAuthFailed)
}

// pause waits, unless the server is given up meanwhile.
func (s *session) pause(d time.Duration) {
	ctx, cancel := context.WithTimeout(s.server.ctx, d)
	defer cancel()
	<-ctx.Done()
}
