package main

import (
	"cmp"
	"time"

	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/mailauth"
	"github.com/streampost/streampost/adapters/smtp"
	"github.com/streampost/streampost/domain/authres"
)

// verified are the actions by their names in the configuration.
var verified = map[string]authres.Action{"accept": authres.Accept, "junk": authres.Junk, "refuse": authres.Refuse, "later": authres.Later}

// results is the name of this server in Authentication-Results.
func (c *core) results() string { return cmp.Or(c.cfg.SMTP.Verify.ID, c.hostname()) }

// lookupTime is how long one name server has for one answer while a client waits.
const lookupTime = 2 * time.Second

// verifier makes what finds out who messages are from; nil where nothing is to be verified, or nobody can be asked.
func (s *server) verifier() (smtp.Verifier, error) {
	cfg := s.cfg.SMTP.Verify
	if !cfg.Enabled {
		return nil, nil
	}
	resolver, err := dns.New(dns.Config{Servers: s.cfg.Outbound.Resolvers, Timeout: lookupTime})
	if err != nil {
		s.log.Warn("mail from other servers is not verified", "error", err)
		return nil, nil
	}
	return mailauth.New(mailauth.Config{
		Resolver: resolver, ID: s.results(), Logger: s.log.With("part", "verify"),
		Policy: mailauth.Policy{Reject: verified[cfg.Reject], Quarantine: verified[cfg.Quarantine], SPFFail: verified[cfg.SPFFail], TempError: verified[cfg.TempError]},
		Limits: mailauth.Limits{Time: cfg.Time},
		Count:  s.metrics.Verified, Decided: s.metrics.Decided,
	})
}
