package managesieve

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sieve"
	"github.com/streampost/streampost/projections/door"
)

// Accounts is what this package needs of door.Accounts.
type Accounts interface {
	Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error)
	Scripts(ctx context.Context, id domain.AccountID) (account.Scripts, error)
	PutScript(ctx context.Context, id domain.AccountID, actor, name, content string) ([]sieve.Warning, error)
}

// Directory is what this package needs of door.Directory.
type Directory interface {
	sasl.Directory
	Enter(ctx context.Context, who door.Identity, end func()) (leave func(), err error)
}

// Config is what a Server needs. Accounts and Directory are required.
type Config struct {
	Accounts  Accounts
	Directory Directory
	Tokens    sasl.Tokens // nil: no access tokens are taken
	TLS       *tls.Config // for STARTTLS; nil means that there is none
	// AllowInsecureAuth lets clients on this machine log in without TLS; others never may.
	AllowInsecureAuth bool
	Limits            Limits
	Proxies           []netip.Prefix // see netline.Config
	Version           string         // as CAPABILITY shows it after login; may be empty
	Logger            *slog.Logger
	Metrics           netline.Metrics
}

// Server serves ManageSieve on any number of listeners.
type Server struct {
	cfg        Config
	limits     Limits
	mechanisms *sasl.Mechanisms
	service    netline.Service
}

// New makes a Server. Errors: domain.Invalid.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Directory == nil {
		return nil, domain.Errorf(domain.Invalid, "a ManageSieve server needs accounts and a directory")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = netline.NoMetrics{}
	}
	return &Server{
		cfg: cfg, limits: cfg.Limits.withDefaults(),
		// Filters decide what becomes of mail: an app password that opens IMAP opens them.
		mechanisms: &sasl.Mechanisms{Directory: cfg.Directory, Tokens: cfg.Tokens, Protocol: "imap"},
	}, nil
}

// Serve accepts connections until Shutdown, which makes it return nil, or until ctx ends, which ends the connections at once. Implicit TLS is not part of the
// protocol: domain.Invalid.
func (s *Server) Serve(ctx context.Context, inner net.Listener, implicitTLS bool) error {
	if implicitTLS {
		return domain.Errorf(domain.Invalid, "ManageSieve has no implicit TLS")
	}
	lines := netline.Sessions(s.limits.Line, s.limits.Login, s.cfg.Metrics)
	lines.Proxies, lines.Logger = s.cfg.Proxies, s.cfg.Logger
	lines.Refusal = "BYE (TRYLATER) \"too many connections\"\r\n"
	return s.service.Serve(ctx, inner, lines, func(ctx context.Context, accepted *netline.Conn) { newConn(s, accepted).serve(ctx) })
}

// Shutdown closes the listeners, lets every connection finish its command, says why and waits. When ctx ends first, the connections are closed as they are,
// and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error { return s.service.Shutdown(ctx) }
