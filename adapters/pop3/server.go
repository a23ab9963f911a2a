package pop3

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// Config is what a Server needs. Accounts and Directory are required.
type Config struct {
	Accounts  *door.Accounts
	Directory *door.Directory
	// Maildrops knows which are in use. Servers of the same accounts share them; the default is one's own.
	Maildrops *Maildrops
	// Tokens checks access tokens; nil: none are taken.
	Tokens sasl.Tokens
	// TLS is for STLS and for implicit TLS; nil means that there is neither.
	TLS *tls.Config
	// AllowInsecureAuth lets clients on this machine log in without TLS; others never may.
	AllowInsecureAuth bool
	Limits            Limits
	Proxies           []netip.Prefix // see netline.Config
	Name              string         // as greeting and CAPA show it; default Streampost
	Version           string         // as CAPA shows it after login; may be empty
	Logger            *slog.Logger
	Metrics           netline.Metrics
	Now               func() time.Time // default time.Now
}

// Server serves POP3 on any number of listeners.
type Server struct {
	cfg        Config
	limits     Limits
	mechanisms *sasl.Mechanisms
	service    netline.Service
}

// New makes a Server. Errors: domain.Invalid.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Directory == nil {
		return nil, domain.Errorf(domain.Invalid, "a POP3 server needs accounts and a directory")
	}
	if cfg.Maildrops == nil {
		cfg.Maildrops = NewMaildrops(0)
	}
	if cfg.Name == "" {
		cfg.Name = "Streampost"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = netline.NoMetrics{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{
		cfg: cfg, limits: cfg.Limits.withDefaults(), mechanisms: &sasl.Mechanisms{Directory: cfg.Directory, Tokens: cfg.Tokens, Protocol: "pop3"},
	}, nil
}

// Serve accepts connections until Shutdown, which makes it return nil, or until ctx ends, which ends the connections at once. It returns when all
// its connections have ended. Errors: domain.Invalid without a certificate for implicit TLS (RFC 8314 section 3.2).
func (s *Server) Serve(ctx context.Context, inner net.Listener, implicitTLS bool) error {
	if implicitTLS && s.cfg.TLS == nil {
		return domain.Errorf(domain.Invalid, "implicit TLS needs a certificate")
	}
	lines := netline.Sessions(s.limits.Line, s.limits.Login, s.cfg.Metrics)
	lines.Proxies, lines.Logger = s.cfg.Proxies, s.cfg.Logger
	if !implicitTLS {
		lines.Refusal = "-ERR [SYS/TEMP] too many connections\r\n"
	}
	return s.service.Serve(ctx, inner, lines, func(ctx context.Context, accepted *netline.Conn) { newConn(s, accepted).serve(ctx, implicitTLS) })
}

// Shutdown closes the listeners, lets every connection finish its command, says why and waits. Nothing that was marked is deleted. When ctx ends
// first, the connections are closed as they are, and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error { return s.service.Shutdown(ctx) }
