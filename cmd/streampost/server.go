package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/streampost/streampost/adapters/gate"
	"github.com/streampost/streampost/adapters/imap"
	"github.com/streampost/streampost/adapters/managesieve"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/oidc"
	"github.com/streampost/streampost/adapters/pop3"
	"github.com/streampost/streampost/adapters/smtp"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/memory"
)

// server is a core with its listeners.
type server struct {
	*core
	tls           *tls.Config
	issuer        *oidc.Issuer // nil without logins.oidc
	porter        *gate.Gate
	sockets       []*socket
	maildrops     *pop3.Maildrops
	demoPasswords map[string]string
}

// socket is an open listener and what it is for.
type socket struct {
	net.Listener
	protocol string
	implicit bool // TLS from the first octet
	loopback bool
}

// newServer takes the data directory and the sockets first, so that a second process or a port in use is found before anything else happens.
// Clients that come early wait in the kernel's queue until start.
func newServer(ctx context.Context, cfg *config.Config, log *slog.Logger) (*server, error) {
	c, err := newCore(cfg, log)
	if err != nil {
		return nil, err
	}
	s := &server{core: c}
	s.group.Start(lifecycle.Part{Name: "memory", Run: func(ctx context.Context) error { return memory.Keep(ctx, health.NewLoad().Now) }})
	for _, step := range []func(context.Context) error{s.listen, c.open, s.certificate, s.openIssuer, s.openGate} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// listen opens every socket.
func (s *server) listen(ctx context.Context) error {
	s.group.Start(lifecycle.Part{Name: "sockets", Stop: func(context.Context) error {
		for _, l := range s.sockets {
			_ = l.Close() // most are closed already by who served them
		}
		return nil
	}})
	for _, group := range []struct {
		protocol  string
		implicit  bool
		addresses []string
	}{
		{"imap", false, s.cfg.IMAP.Listen},
		{"imap", true, s.cfg.IMAP.ListenTLS},
		{"pop3", false, s.cfg.POP3.Listen},
		{"pop3", true, s.cfg.POP3.ListenTLS},
		{"sieve", false, s.cfg.ManageSieve.Listen},
		{"smtp", false, s.cfg.SMTP.Listen},
		{"submission", false, s.cfg.Submission.Listen},
		{"submission", true, s.cfg.Submission.ListenTLS},
		{"lmtp", false, s.cfg.LMTP.Listen},
		{"admin", false, s.cfg.Admin.Listen},
	} {
		for _, address := range group.addresses {
			l, err := netline.Listen(ctx, config.Shift(address, s.cfg.PortOffset))
			if err != nil {
				return err
			}
			s.sockets = append(s.sockets, &socket{l, group.protocol, group.implicit, isLoopback(l.Addr())})
		}
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback() // what is not TCP is a Unix socket
}

// certificate loads the configured certificate, or makes one.
func (s *server) certificate(context.Context) error {
	var cert *netline.Certificate
	var err error
	if s.cfg.TLS.Certificate != "" {
		cert, err = netline.LoadCertificate(s.cfg.TLS.Certificate, s.cfg.TLS.Key)
	} else {
		cert, err = netline.SelfSigned(s.data.join("tls"), s.hostname(), "localhost", "127.0.0.1", "::1")
	}
	if err != nil {
		return err
	}
	oldest := uint16(tls.VersionTLS12)
	if s.cfg.TLS.MinVersion == "1.3" {
		oldest = tls.VersionTLS13
	}
	s.tls = cert.Config(oldest)
	s.group.Start(lifecycle.Part{Name: "certificate", Run: func(ctx context.Context) error { return s.reload(ctx, cert) }})
	return nil
}

// reload reads the certificate again at each SIGHUP, as programs that renew certificates send it.
func (s *server) reload(ctx context.Context, cert *netline.Certificate) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			if err := cert.Reload(); err != nil {
				s.log.Error("the certificate stays as it is", "err", err)
			} else {
				s.log.Info("the certificate was read again", "fingerprint", cert.Fingerprint())
			}
		}
	}
}

// service is what every protocol's server has.
type service interface {
	Serve(ctx context.Context, l net.Listener, implicitTLS bool) error
	Shutdown(ctx context.Context) error
}

// start serves every socket. The admin door begins first and ends last, so that a supervisor can watch the others drain.
func (s *server) start(ctx context.Context) error {
	if err := s.startAdmin(); err != nil {
		return err
	}
	s.maildrops = pop3.NewMaildrops(s.cfg.POP3.LoginDelay)
	makers := map[string]func(loopback bool) (service, error){"imap": s.imap, "pop3": s.pop3, "sieve": s.managesieve, "smtp": s.smtp, "submission": s.submission, "lmtp": s.lmtp}
	made := map[string]service{}
	var parts []lifecycle.Part
	for _, l := range s.sockets {
		make, found := makers[l.protocol]
		if !found {
			continue // the admin door
		}
		name := l.protocol
		if !l.loopback {
			name += " for the network" // logins without TLS are decided for a server, not for a socket
		}
		if made[name] == nil {
			served, err := make(l.loopback)
			if err != nil {
				return err
			}
			made[name] = served
			parts = append(parts, lifecycle.Part{Name: name, Stop: served.Shutdown})
		}
		served := made[name]
		parts = append(parts, lifecycle.Part{Name: name + " on " + l.Addr().String(), Run: func(ctx context.Context) error { return served.Serve(ctx, l.Listener, l.implicit) }})
	}
	s.group.Start(parts...)
	return s.failover()
}

func (s *server) startAdmin() error {
	token, err := s.token()
	if err != nil {
		return err
	}
	door, err := s.admin(token, s.listing)
	if err != nil {
		return err
	}
	for _, l := range s.sockets {
		if l.protocol != "admin" {
			continue
		}
		if err := s.data.writeJSON(adminFile, adminAccess{adminURL(l.Addr()), token}); err != nil {
			return err
		}
		s.group.Start(lifecycle.Part{Name: "admin on " + l.Addr().String(), Run: func(context.Context) error { return door.Serve(l.Listener) }, Stop: door.Shutdown})
	}
	return nil
}

func adminURL(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "unix:" + a.String()
	}
	if tcp.IP.IsUnspecified() {
		_, port, _ := net.SplitHostPort(a.String())
		return "http://127.0.0.1:" + port
	}
	return "http://" + a.String()
}

// listing is what status shows of the sockets.
func (s *server) listing() []webadmin.Listener {
	var all []webadmin.Listener
	for _, l := range s.sockets {
		shown := webadmin.Listener{Protocol: l.protocol, Address: l.Addr().String(), TLS: "starttls"}
		switch {
		case l.implicit:
			shown.TLS = "implicit"
		case l.protocol == "admin":
			shown.TLS = "none"
		}
		all = append(all, shown)
	}
	return all
}

func (s *server) imap(loopback bool) (service, error) {
	cfg := s.cfg.IMAP
	var clients []imap.ClientRule
	for _, text := range cfg.Clients {
		rule, err := config.ParseClientRule(text)
		if err != nil {
			return nil, err
		}
		clients = append(clients, imap.ClientRule(rule))
	}
	node := ""
	if s.nodes != nil && s.cfg.Cluster.Sessions == "follow" {
		node = s.nats.Name()
	}
	return imap.New(imap.Config{
		Node:              node,
		Accounts:          s.accounts,
		Directory:         s.directory,
		Index:             s.searchIndex(),
		Extracts:          s.extracted(),
		Tables:            s.tables,
		TLS:               s.tls,
		AllowInsecureAuth: loopback && cfg.PlaintextOnLoopback,
		Tokens:            s.tokens(),
		Limits:            imapLimits(cfg.Limits),
		Proxies:           networks(cfg.Proxies),
		Without:           cfg.Without,
		Namespaces:        imap.Namespaces{Others: cfg.Namespaces.Others, Shared: cfg.Namespaces.Shared},
		Anyone:            cfg.Anyone,
		Clients:           clients,
		MessageLimit:      imap.MessageLimit{Messages: cfg.MessageLimit, Saved: cfg.SaveLimit, Enforced: cfg.EnforcedLimit},
		Admins:            cfg.Admins,
		Version:           version(),
		Logger:            s.log.With("protocol", "imap"),
		Metrics:           s.metrics.Protocol("imap"),
	})
}

func (s *server) pop3(loopback bool) (service, error) {
	cfg := s.cfg.POP3
	return pop3.New(pop3.Config{
		Accounts:          s.accounts,
		Directory:         s.directory,
		Maildrops:         s.maildrops,
		TLS:               s.tls,
		Tokens:            s.tokens(),
		AllowInsecureAuth: loopback && cfg.PlaintextOnLoopback,
		Limits:            pop3Limits(cfg.Limits),
		Proxies:           networks(cfg.Proxies),
		Version:           version(),
		Logger:            s.log.With("protocol", "pop3"),
		Metrics:           s.metrics.Protocol("pop3"),
	})
}

func (s *server) managesieve(loopback bool) (service, error) {
	cfg := s.cfg.ManageSieve
	return managesieve.New(managesieve.Config{
		Accounts:          s.accounts,
		Directory:         s.directory,
		TLS:               s.tls,
		Tokens:            s.tokens(),
		AllowInsecureAuth: loopback && cfg.PlaintextOnLoopback,
		Limits:            manageSieveLimits(cfg.Limits),
		Proxies:           networks(cfg.Proxies),
		Version:           version(),
		Logger:            s.log.With("protocol", "managesieve"),
		Metrics:           s.metrics.Protocol("managesieve"),
	})
}

func (s *server) smtp(bool) (service, error) {
	verifier, err := s.verifier()
	if err != nil {
		return nil, err
	}
	filter, err := s.filter()
	if err != nil {
		return nil, err
	}
	return s.mail(smtp.MX, s.cfg.SMTP.Limits, s.cfg.SMTP.Proxies, func(c *smtp.Config) {
		c.QuotaTemporary, c.Verifier, c.Trusted, c.Spool = s.cfg.SMTP.QuotaTemporary, verifier, networks(s.cfg.SMTP.Verify.Trusted), s.data.join("spool")
		c.InMemory = int64(s.cfg.SMTP.Verify.Memory)
		c.Gate, c.Filter = s.porter, filter
	})
}

func (s *server) submission(bool) (service, error) {
	return s.mail(smtp.Submission, s.cfg.Submission.Limits, s.cfg.Submission.Proxies, func(c *smtp.Config) {
		c.PlaintextOnLoopback, c.Tokens, c.CheckFrom = s.cfg.Submission.PlaintextOnLoopback, s.tokens(), s.cfg.Submission.CheckFrom
		c.Results, c.Gate = s.results(), s.porter
	})
}

func (s *server) lmtp(bool) (service, error) {
	return s.mail(smtp.LMTP, s.cfg.LMTP.Limits, s.cfg.LMTP.Proxies, func(c *smtp.Config) { c.QuotaTemporary = s.cfg.LMTP.QuotaTemporary })
}

func (s *server) mail(kind smtp.Kind, limits config.SMTPLimits, proxies []string, more func(*smtp.Config)) (service, error) {
	counts := s.metrics.Protocol(kind.String())
	cfg := smtp.Config{
		Accounts:  s.accounts,
		Directory: s.directory,
		Filer:     s.filer,
		Pipeline:  s.processes(kind),
		Hostname:  s.hostname(),
		TLS:       s.tls,
		Limits:    smtpLimits(limits),
		Proxies:   networks(proxies),
		Queue:     s.accepts(),
		SRS:       s.srs,
		BATV:      s.batv, CheckBounces: s.cfg.Outbound.BATV == "check",
		Parking:   &s.mailroom,
		Logger:    s.log.With("protocol", kind.String()),
		Trace:     s.traces(),
		Failpoint: s.failpoint,
		Metrics: smtp.Metrics{
			Opened: counts.Connected, Closed: counts.Disconnected, Limited: counts.Refused, Login: counts.LoggedIn,
			Refused: counts.Answer, Gated: s.metrics.Gated, Looped: s.metrics.Looped, Delivered: counts.Delivered,
		},
	}
	more(&cfg)
	return smtp.New(kind, cfg)
}

// hostname is the configured name, or the operating system's.
func (c *core) hostname() string {
	if c.cfg.Hostname != "" {
		return c.cfg.Hostname
	}
	name, err := os.Hostname()
	if err != nil || strings.TrimSpace(name) == "" {
		return "localhost"
	}
	return name
}
