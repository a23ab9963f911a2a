package outbound

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/streampost/streampost/domain/dane"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/tlsrpt"
)

// Resolver is what this package asks of DNS. Errors: domain.NotFound for a name that does not exist, all others for what cannot be told now. secure says that an answer was validated (DNSSEC).
type Resolver interface {
	MX(ctx context.Context, name string) (all []delivery.Exchanger, secure bool, err error)
	Addresses(ctx context.Context, host string) (all []netip.Addr, secure bool, err error)
	TLSA(ctx context.Context, name string) (all []dane.Record, secure bool, err error)
}

// Encryption says what a route wants.
type Encryption uint8

// The kinds of encryption.
const (
	Opportunistic Encryption = iota // TLS where it is offered and works, with any certificate (RFC 7435)
	Plain                           // none
	Required                        // TLS with any certificate, or no delivery
	Verified                        // TLS with a certificate of the host's name, or no delivery
	Implicit                        // Verified, from the first octet on (RFC 8314)
)

// Route is hosts that take mail in place of those in DNS.
type Route struct {
	Hosts          []string     // host or host:port, tried in turn
	Sources        []netip.Addr // to connect from, one of each family at most; none means those for the sender
	TLS            Encryption
	User, Password string // empty: no login
}

// Config is what a Sender works with. Hostname, Resolver and RouteFor are needed.
type Config struct {
	Hostname string // in EHLO, and by which this server knows itself in MX records
	Resolver Resolver
	// RouteFor tells the route of a domain; nil means that DNS knows.
	RouteFor func(domain string) *Route
	// Self tells whether an address is one of this server's own listeners; nil means that none is.
	Self func(netip.AddrPort) bool
	Port uint16 // of exchangers; 25
	// SourcesFor gives the addresses to connect from for mail of a domain, in lower case; empty for that of the null sender. Nil, or none, means that the system chooses.
	SourcesFor func(domain string) []netip.Addr
	Families   Families // of the addresses of hosts
	// Dial connects from an address of this machine; the zero address means any.
	Dial    func(ctx context.Context, source netip.Addr, network, address string) (net.Conn, error)
	Shuffle func(n int, swap func(i, j int)) // of exchangers with one preference
	TLS     *tls.Config                      // roots and versions, for routes; nil means the system's
	Roots   *x509.CertPool                   // that policies of domains mean; nil means the system's
	// Policies knows those of MTA-STS; nil: none are looked for.
	Policies Policies
	// Mark gives the sender whom peers are told instead of an entry's, both as delivery.Address writes them; nil: its own.
	Mark    func(sender string) string
	Observe func(tlsrpt.Session) // is told how TLS went with each host that no route names; may be nil
	Clock   func() time.Time     // of rests, and for certificates that DANE names; nil means time.Now
	Limits  Limits
	Logger  *slog.Logger // nil discards
	// Failpoint is called at "outbound.before-end", when all of a message but its end was sent, and at "outbound.accepted", when the peer has said 250; nil in production.
	Failpoint func(name string)
	Metrics   Metrics
}

// Limits bound what peers can use up. A zero field means its default; times are those of RFC 5321 section 4.5.3.2 at most.
type Limits struct {
	Connect   time.Duration // 30 seconds
	Handshake time.Duration // of TLS; 1 minute
	Greeting  time.Duration // 5 minutes
	Command   time.Duration // MAIL, RCPT and others; 5 minutes
	Data      time.Duration // until a message may begin; 2 minutes
	Block     time.Duration // for each 32 KiB of it; 3 minutes
	End       time.Duration // for the answer to it; 10 minutes
	Idle      time.Duration // that a session is kept for the next message; 5 seconds
	Messages  int           // of one session; 100
	Line      int           // octets of one line of an answer; 2 KiB
	Lines     int           // of one answer; 100
	Hosts     int           // addresses that are tried in one attempt; 10
	Failures  int           // to connect to an address, in a row, from which on it rests: it is passed over; 3
	Rest      time.Duration // of an address at first, doubled each time; 1 minute
	RestMost  time.Duration // 15 minutes
	Resting   int           // addresses that are remembered as not reached; 10,000
}

func (c *Config) setDefaults() {
	l := &c.Limits
	l.Connect = cmp.Or(l.Connect, 30*time.Second)
	l.Handshake = cmp.Or(l.Handshake, time.Minute)
	l.Greeting = cmp.Or(l.Greeting, 5*time.Minute)
	l.Command = cmp.Or(l.Command, 5*time.Minute)
	l.Data = cmp.Or(l.Data, 2*time.Minute)
	l.Block = cmp.Or(l.Block, 3*time.Minute)
	l.End = cmp.Or(l.End, 10*time.Minute)
	l.Idle = cmp.Or(l.Idle, 5*time.Second)
	l.Messages = cmp.Or(l.Messages, 100)
	l.Line = cmp.Or(l.Line, 2<<10)
	l.Lines = cmp.Or(l.Lines, 100)
	l.Hosts = cmp.Or(l.Hosts, 10)
	l.Failures = cmp.Or(l.Failures, 3)
	l.Rest = cmp.Or(l.Rest, time.Minute)
	l.RestMost = cmp.Or(l.RestMost, 15*time.Minute)
	l.Resting = cmp.Or(l.Resting, 10_000)
	if c.Mark == nil {
		c.Mark = func(sender string) string { return sender }
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Port = cmp.Or(c.Port, 25)
	if c.RouteFor == nil {
		c.RouteFor = func(string) *Route { return nil }
	}
	if c.Self == nil {
		c.Self = func(netip.AddrPort) bool { return false }
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Dial == nil {
		c.Dial = dialFrom
	}
	if c.Shuffle == nil {
		c.Shuffle = rand.Shuffle
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
}

// Metrics are told what happens. Each function may be nil; all may be called at the same time.
type Metrics struct {
	Connected func(tls bool) // a session began
	Reused    func()         // or was used for another message
	Failed    func()         // a host could not be used
}

func call[T any](f func(T), with T) {
	if f != nil {
		f(with)
	}
}
