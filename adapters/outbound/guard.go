package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/dane"
	"github.com/streampost/streampost/domain/mtasts"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/tlsrpt"
)

// Policies knows what domains demand of hosts for their mail (MTA-STS, RFC 8461). A nil policy means that none is known; the error says that there may be one which cannot be had.
type Policies interface {
	Policy(ctx context.Context, domain string) (*mtasts.Policy, error)
}

// guard is what has to be true of the hosts for an entry before they get it.
type guard struct {
	domain   string
	policy   *mtasts.Policy // nil without one that matters
	problem  error          // why none could be had
	secure   bool           // the exchangers were found by validated answers
	required bool           // the sender demands verified TLS on the whole way (RFC 8689)
	ignored  bool           // the sender prefers that the message arrives (RFC 8689 section 4.1)
}

// guard finds out what the domain of an entry demands.
func (s *Sender) guard(ctx context.Context, e *queue.Entry) *guard {
	g := &guard{domain: e.Domain, required: e.TLS == queue.TLSRequired, ignored: e.TLS == queue.TLSOptional}
	if s.cfg.Policies == nil || g.ignored {
		return g
	}
	if g.policy, g.problem = s.cfg.Policies.Policy(ctx, e.Domain); g.policy != nil && g.policy.Mode == mtasts.None {
		g.policy = nil
	}
	var problem *tlsrpt.Problem
	if errors.As(g.problem, &problem) {
		s.observe(tlsrpt.Session{Policy: tlsrpt.Policy{Kind: tlsrpt.STS, Domain: g.domain}, Failure: problem.Type, Reason: problem.Error()})
	}
	return g
}

// protect tells how the addresses of a host have to be spoken to, or why they cannot be used. What cannot be verified waits: in clear text, or to somebody else, it does not go.
func (s *Sender) protect(ctx context.Context, g *guard, host string, found []target) ([]target, *failure) {
	if g.ignored || len(found) == 0 { // RFC 8460 section 3: of such mail, which reports are, reports say nothing.
		return found, nil
	}
	for i := range found {
		found[i].policy = tlsrpt.Policy{Kind: tlsrpt.NoPolicy, Domain: g.domain}
	}
	published, usable, failed := s.published(ctx, g, host, found)
	switch {
	case failed != nil:
		return nil, failed
	case len(usable) > 0: // RFC 8461 section 2: DANE comes first.
		for i := range found {
			found[i].tls, found[i].tlsa, found[i].policy = Required, usable, tlsrpt.Policy{Kind: tlsrpt.TLSA, Domain: g.domain, Lines: lines(usable)}
			found[i].names = []string{host, g.domain} // RFC 7672 section 3.2.2
		}
		return found, nil
	case published: // RFC 7672 section 2.2: encryption at least.
		for i := range found {
			found[i].tls = Required
		}
	}
	if g.policy != nil {
		if failed := s.obey(g, host, found); failed != nil {
			return nil, failed
		}
	}
	if g.required {
		if !g.secure && g.policy == nil { // RFC 8689 section 4.2.1: whoever forges DNS would choose the host.
			return nil, &failure{queue.Failed, "5.7.30", "the sender demands verified TLS on the whole way, and nothing vouches for the hosts of " + g.domain + ": neither DNSSEC nor MTA-STS"}
		}
		for i := range found {
			found[i].tls, found[i].probe = Verified, false
		}
	}
	return found, nil
}

// obey applies a policy of MTA-STS to a host (RFC 8461 section 5).
func (s *Sender) obey(g *guard, host string, found []target) *failure {
	policy := tlsrpt.Policy{Kind: tlsrpt.STS, Domain: g.domain, Lines: g.policy.Lines(), Hosts: g.policy.MX}
	allowed, enforced := g.policy.Allows(host), g.policy.Mode == mtasts.Enforce
	if !allowed {
		reason := "the host " + host + " is none of those that the policy of " + g.domain + " (MTA-STS) names"
		s.observe(tlsrpt.Session{Policy: policy, Failure: tlsrpt.ValidationFailure, Host: host, Reason: reason})
		if enforced || g.required {
			return &failure{queue.Deferred, "4.7.5", reason}
		}
		for i := range found {
			found[i].policy = tlsrpt.Policy{} // it has been told already
		}
		return nil
	}
	for i := range found {
		found[i].policy = policy
		if enforced {
			found[i].tls = Verified
		} else {
			found[i].probe = true
		}
	}
	return nil
}

// published looks up the certificates of a host, where that means something: by validated answers only, and from hosts whose addresses came so (RFC 7672 section 2.2.2).
func (s *Sender) published(ctx context.Context, g *guard, host string, found []target) (published bool, usable []dane.Record, _ *failure) {
	if !g.secure || !found[0].secure {
		return false, nil, nil
	}
	name := fmt.Sprintf("_%d._tcp.%s", s.cfg.Port, host)
	records, secure, err := s.cfg.Resolver.TLSA(ctx, name)
	if domain.Is(err, domain.NotFound) {
		return false, nil, nil
	}
	if err != nil { // RFC 7672 section 2.1.2: somebody may be hiding them.
		s.observe(tlsrpt.Session{Policy: tlsrpt.Policy{Kind: tlsrpt.TLSA, Domain: g.domain}, Failure: tlsrpt.DNSSECInvalid, Host: host, Reason: err.Error()})
		return false, nil, &failure{queue.Deferred, "4.7.5", "it cannot be told which certificate " + host + " has to have: " + err.Error()}
	}
	if !secure || len(records) == 0 {
		return false, nil, nil
	}
	return true, dane.Usable(records), nil
}

func lines(records []dane.Record) (all []string) {
	for _, r := range records {
		all = append(all, r.String())
	}
	return all
}

func (s *Sender) observe(seen tlsrpt.Session) {
	if seen.Policy.Kind != "" {
		call(s.cfg.Observe, seen)
	}
}

// report tells reports how TLS went with a host. Errors of another kind are nothing that they are about.
func (s *Sender) report(t *target, n *session, err error) {
	seen := tlsrpt.Session{Policy: t.policy, Host: t.host}
	seen.Address, _, _ = net.SplitHostPort(t.address)
	var failed *handshakeError
	switch {
	case errors.As(err, &failed):
		seen.Failure = failureType(failed.err)
	case errors.Is(err, errNoTLS), err == nil && !n.tls:
		seen.Failure, err = tlsrpt.NoSTARTTLS, errNoTLS
	case err != nil:
		return
	case n.doubt != nil:
		seen.Failure, err = failureType(n.doubt), n.doubt
	}
	if err != nil {
		seen.Reason = err.Error()
	}
	s.observe(seen)
}

// failureType tells kinds of failed handshakes apart (RFC 8460 section 4.3).
func failureType(err error) tlsrpt.Type {
	var problem *tlsrpt.Problem
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &problem):
		return problem.Type
	case errors.As(err, &host):
		return tlsrpt.HostMismatch
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsrpt.CertificateExpired
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return tlsrpt.NotTrusted
	}
	return tlsrpt.ValidationFailure
}

// verifyDANE checks a certificate against those that DNS names.
func (n *session) verifyDANE(t *target, state *tls.ConnectionState) error {
	if err := dane.Verify(t.tlsa, state.PeerCertificates, t.names, n.cfg.Clock()); err != nil {
		return &tlsrpt.Problem{Type: tlsrpt.ValidationFailure, Err: err}
	}
	return nil
}

// verify checks a certificate as crypto/tls does, for those who only want to know (RFC 8461 section 5: a policy in testing mode).
func verify(roots *x509.CertPool, state *tls.ConnectionState) error {
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: state.ServerName})
	return err
}
