package imap

import (
	"context"
	"crypto/tls"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/ordering"
)

// Config is what a Server needs. Accounts and Directory are required.
type Config struct {
	Accounts  *door.Accounts
	Directory *door.Directory
	// Index makes SEARCH fast; without it every message is read. It never changes what is found.
	Index Index
	// Extracts adds text to the bodies that SEARCH looks through; nil: none.
	Extracts Extracts
	// Tables make SORT and THREAD fast. Servers share them; the default is one's own.
	Tables *ordering.Tables
	// TLS is for STARTTLS and for implicit TLS; nil means that there is neither.
	TLS *tls.Config
	// AllowInsecureAuth lets clients on this machine log in without TLS; others never may.
	AllowInsecureAuth bool
	Limits            Limits
	Proxies           []netip.Prefix // see netline.Config
	// Without names capabilities that are not advertised, and whose commands are unknown, for clients that stumble over them.
	Without []string
	// Namespaces are where mailboxes of others are.
	Namespaces Namespaces
	// Anyone lets users give rights to all others at once, and so put mailboxes into everybody's list.
	Anyone bool
	// Clients are rules for some of them.
	Clients []ClientRule
	// MessageLimit bounds what one command may name (RFC 9738); by default nothing does.
	MessageLimit MessageLimit
	// Admins are the addresses of those who may see and set the quota of all users.
	Admins []string
	// Node makes sessions end when their account gets another primary than this node, so that clients go there. Empty: they stay, since every node serves
	// every account.
	Node string
	// Tokens checks access tokens; nil: none are taken.
	Tokens sasl.Tokens
	// JMAP is the URL of the session resource where the same accounts are served by JMAP (RFC 9698); empty where they are not.
	JMAP    string
	Name    string // as ID shows it (RFC 2971); default Streampost
	Version string // as ID shows it; may be empty
	Logger  *slog.Logger
	Metrics netline.Metrics
	Now     func() time.Time // default time.Now; it dates messages and mailboxes
}

// Index answers questions about the text of an account's messages; see projections/search.Index.
type Index interface {
	Answer(ctx context.Context, id domain.AccountID, questions []search.Question) (*search.Answers, error)
}

// Extracts gives what was extracted from the attachments of a message; see projections/extracts.Index.
type Extracts interface {
	Texts(ctx context.Context, id domain.AccountID, email domain.EmailID) (iter.Seq[string], error)
}

// Server serves IMAP on any number of listeners.
type Server struct {
	cfg        Config
	limits     Limits
	without    map[string]bool
	rules      []rule
	recent     *watermarks
	namespaces Namespaces
	service    netline.Service
}

// New makes a Server. Errors: domain.Invalid.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Directory == nil {
		return nil, domain.Errorf(domain.Invalid, "an IMAP server needs accounts and a directory")
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
	fill(&cfg.Name, "Streampost")
	if cfg.Tables == nil {
		cfg.Tables = ordering.New(cfg.Accounts, 0)
	}
	s := &Server{
		cfg:        cfg,
		limits:     cfg.Limits.withDefaults(),
		recent:     newWatermarks(cfg.Now().Unix()),
		namespaces: cfg.Namespaces.withDefaults(),
	}
	var err error
	if s.without, err = switchedOff(cfg.Without); err != nil {
		return nil, err
	}
	if s.rules, err = rules(cfg.Clients); err != nil {
		return nil, err
	}
	return s, nil
}

// mechanisms are those that remain when capabilities are switched off.
func (s *Server) mechanisms(without map[string]bool) *sasl.Mechanisms {
	m := &sasl.Mechanisms{Directory: s.cfg.Directory, Tokens: s.cfg.Tokens, Protocol: "imap"}
	for name := range without {
		if mechanism, is := strings.CutPrefix(name, "AUTH="); is {
			m.Without = append(m.Without, mechanism)
		}
	}
	return m
}

// parameter adds its value to a capability that has one.
func (s *Server) parameter(name string) string {
	switch name {
	case "APPENDLIMIT":
		return name + "=" + strconv.FormatInt(s.limits.Append, 10) // RFC 7889 section 3.
	case "MESSAGELIMIT":
		return name + "=" + strconv.Itoa(s.cfg.MessageLimit.Messages)
	case "SAVELIMIT":
		return name + "=" + strconv.Itoa(s.cfg.MessageLimit.Saved)
	}
	return name
}

// Serve accepts connections until Shutdown, which makes it return nil, or until ctx ends, which ends the connections at once. It returns when all
// its connections have ended. Errors: domain.Invalid without a certificate for implicit TLS.
func (s *Server) Serve(ctx context.Context, inner net.Listener, implicitTLS bool) error {
	if implicitTLS && s.cfg.TLS == nil {
		return domain.Errorf(domain.Invalid, "implicit TLS needs a certificate")
	}
	lines := netline.Sessions(s.limits.Line, s.limits.Login, s.cfg.Metrics)
	lines.Proxies, lines.Logger = s.cfg.Proxies, s.cfg.Logger
	if !implicitTLS {
		lines.Refusal = "* BYE [LIMIT] too many connections\r\n"
	}
	return s.service.Serve(ctx, inner, lines, func(ctx context.Context, accepted *netline.Conn) { newConn(s, accepted).serve(ctx, implicitTLS) })
}

// Shutdown closes the listeners, lets every connection finish its command, says BYE and waits. When ctx ends first, the connections are
// closed as they are, and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error { return s.service.Shutdown(ctx) }
