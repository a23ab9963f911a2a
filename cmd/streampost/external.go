package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/streams"
)

// useExternal connects to a NATS that somebody else runs, if mail is safe there.
func (c *core) useExternal(ctx context.Context, open *streams.Config) error {
	external, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.external, open.Conn = external, external.Conn()
	c.group.Start(lifecycle.Part{Name: "NATS connection", Stop: external.Close})
	if err := c.refuseLocalBlobs(); err != nil {
		return err
	}
	switch d := external.Durability(ctx); {
	case d.Safe:
	case !c.cfg.Streams.AllowUnsynced:
		return &domain.Error{
			Kind: domain.Invalid, Msg: "the external NATS is not known to sync its log before it answers: " + d.String(),
			Hint: "set sync_interval: always in the jetstream section of every server and list their monitoring addresses in streams.monitor, or accept the loss with streams.allow_unsynced",
		}
	default:
		c.log.Warn("MAIL THAT WAS ACCEPTED MAY BE LOST: the external NATS is not known to sync its log before it answers", "found", d.String())
	}
	return nil
}

// dial connects to an external NATS.
func (c *core) dial(ctx context.Context) (*natsd.External, error) {
	cfg := c.cfg.Streams
	external := natsd.ExternalConfig{
		URL: cfg.URL, Credentials: cfg.Credentials, User: cfg.User, Password: cfg.Password.Reveal(), Token: cfg.Token.Reveal(),
		Prefix: cfg.Prefix, Monitor: cfg.Monitor, Logger: c.log,
	}
	if cfg.CA != "" || cfg.Certificate != "" {
		external.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	var err error
	if cfg.CA != "" {
		if external.TLS.RootCAs, err = authorities("streams.ca", cfg.CA); err != nil {
			return nil, err
		}
	}
	if cfg.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(cfg.Certificate, cfg.Key); err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "read streams.certificate and streams.key")
		}
		// It is read again for every connection, so that it may be renewed while we run.
		external.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cfg.Certificate, cfg.Key)
			return &pair, err
		}
	}
	return natsd.Dial(ctx, external)
}

// authorities reads the certificates of authorities from the file that a key of the configuration names.
func authorities(key, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read "+key)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, domain.Errorf(domain.Invalid, "%s: %s holds no PEM certificate", key, file)
	}
	return roots, nil
}
