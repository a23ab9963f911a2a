package main

import (
	"context"
	"crypto/tls"

	"github.com/streampost/streampost/adapters/oidc"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections/door"
)

// gossip is how nodes tell each other about failed logins; nil for who only looks at the log.
func (c *core) gossip(ctx context.Context) (door.Gossip, error) {
	if c.inspecting {
		return nil, nil
	}
	gossip, err := c.streams.Gossip(ctx, "logins")
	if err != nil {
		return nil, err
	}
	c.group.Start(lifecycle.Part{Name: "gossip", Stop: gossip.Close})
	return gossip, nil
}

func (c *core) loginSamples() []metrics.Sample {
	s := c.directory.LoginStats()
	return metrics.Logins(s.Waited, s.PutOff, s.Blocked, s.Remembered, s.Sent, s.Heard, s.Lost, s.Sessions, s.Refused)
}

// openIssuer prepares for access tokens, without asking the issuer anything.
func (s *server) openIssuer(context.Context) error {
	cfg := s.cfg.Logins.OIDC
	if cfg.Issuer == "" {
		return nil
	}
	c := oidc.Config{
		Issuer: cfg.Issuer, Audience: cfg.Audience, Algorithms: cfg.Algorithms, Claim: cfg.Claim, Domain: cfg.Domain, Scope: cfg.Scope,
		Skew: cfg.Skew, Refresh: cfg.Refresh, Keep: cfg.Keep, Timeout: cfg.Timeout,
	}
	if cfg.CA != "" {
		roots, err := authorities("logins.oidc.ca", cfg.CA)
		if err != nil {
			return err
		}
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	issuer, err := oidc.New(c)
	if err != nil {
		return err
	}
	s.issuer = issuer
	s.metrics.Scrape(func() []metrics.Sample { return metrics.Issuer(issuer.Stats()) })
	s.group.Start(lifecycle.Part{Name: "tokens", Stop: func(context.Context) error {
		issuer.Close()
		return nil
	}})
	return nil
}

// tokens is nil where no access tokens are taken.
func (s *server) tokens() sasl.Tokens {
	if s.issuer == nil {
		return nil
	}
	return s.issuer
}
