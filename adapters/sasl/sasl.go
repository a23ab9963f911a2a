// Package sasl is the server's half of every SASL exchange (RFC 4422), for all protocols that log users in: IMAP (RFC 9051 section 6.2.2), mail
// submission (RFC 4954) and POP3 (RFC 5034) differ in how they carry challenges and responses, and in nothing that matters here.
//
// An Exchange is a state machine without a connection: Next takes what the client said and gives what the server says. So the same dialogue can be
// tested, and attacked, without a network.
//
// Rules that every mechanism obeys:
//   - Directory.Admit comes before a secret is looked at and Directory.Tried after it (Directory.Login does both), so that guessing is slow everywhere.
//   - Users who do not exist take the same steps, and the same time, as those who mistype.
//   - Nobody acts for somebody else: an authorization identity has to be the user's own (RFC 4422 section 3.4.1).
//   - An exchange has one outcome. After an error, or once it is done, it is over.
//
// RFCs: 4616 (PLAIN), 5802 and 7677 (SCRAM), 9266 and 5929 (channel bindings), 7628 (OAUTHBEARER). LOGIN is an expired draft and XOAUTH2 Google's own.
package sasl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// Directory is what this package needs of door.Directory.
type Directory interface {
	Admit(ctx context.Context, source, login string) error
	Tried(source, login string, err error)
	Login(ctx context.Context, protocol, source, login, password string) (door.Identity, error)
	Scram(ctx context.Context, digest door.Digest, login string) (door.Identity, door.ScramKeys, error)
	HasScram(digest door.Digest) bool
	Assume(ctx context.Context, address string) (door.Identity, error)
}

// Tokens checks access tokens of an identity provider; see adapters/oidc.
type Tokens interface {
	// Address gives the address of the user whom a token is about. Errors: domain.Denied for a token that is not good; domain.Unavailable when
	// nobody can tell.
	Address(ctx context.Context, token string) (string, error)
	// Configuration is the URL of the issuer's metadata, and scope what tokens should be asked for; RFC 7628 section 3.2.2 tells them to clients.
	Configuration() (url, scope string)
}

// Mechanisms are those of one server.
type Mechanisms struct {
	Directory Directory
	Tokens    Tokens // nil: no tokens are taken
	Protocol  string // imap, smtp or pop3: for which app passwords are asked
	Login     bool   // offer LOGIN, where there is no other way for clients that know nothing better
	Without   []string
}

// Client is what an exchange has to know of the connection.
type Client struct {
	Source      string               // see door.Directory.Admit
	TLS         *tls.ConnectionState // nil without TLS
	Certificate *x509.Certificate    // the server's own in that TLS; nil if it is not known
}

// ClientOf describes the client of a connection; secure is its TLS, nil without.
func ClientOf(raw *netline.Conn, secure *tls.Conn) Client {
	c := Client{Source: raw.Source(), Certificate: raw.Certificate()}
	if secure != nil {
		state := secure.ConnectionState()
		c.TLS = &state
	}
	return c
}

// Errors that protocols answer in their own way. Others are domain.Denied for what is wrong, domain.TooLarge when too many attempts wait, and those
// of the server itself.
var (
	ErrUnknown = domain.Errorf(domain.NotFound, "the mechanism is not supported")
	ErrSyntax  = domain.Errorf(domain.Invalid, "the response is not one of the mechanism")
	ErrActing  = domain.Errorf(domain.Denied, "acting for another user is not allowed")
	errWrong   = domain.Errorf(domain.Denied, "the login name or the password is wrong")
)

// Names are all mechanisms in the order in which clients should prefer them.
var Names = []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"}

// Offered lists the mechanisms for a client. Whether it may log in at all, such as without TLS, is the protocol's to know.
func (m *Mechanisms) Offered(c Client) []string {
	var names []string
	for _, name := range Names {
		if m.Offers(name, c) {
			names = append(names, name)
		}
	}
	return names
}

// Offers reports whether a mechanism is among them.
func (m *Mechanisms) Offers(name string, c Client) bool {
	if slices.Contains(m.Without, name) {
		return false
	}
	if digest, plus, ok := scramName(name); ok {
		return m.Directory.HasScram(digest) && (!plus || len(c.bindings()) > 0)
	}
	switch name {
	case "PLAIN":
		return true
	case "LOGIN":
		return m.Login
	case "OAUTHBEARER", "XOAUTH2":
		return m.Tokens != nil
	}
	return false
}

// Begin begins an exchange. Errors: ErrUnknown for a mechanism that is not offered.
func (m *Mechanisms) Begin(name string, c Client) (*Exchange, error) {
	name = strings.ToUpper(name)
	if !m.Offers(name, c) {
		return nil, ErrUnknown
	}
	x := &Exchange{mechanisms: m, client: c, Mechanism: name}
	if digest, plus, ok := scramName(name); ok {
		x.next = (&scramExchange{Exchange: x, digest: digest, plus: plus}).first
		return x, nil
	}
	switch name {
	case "PLAIN":
		x.next = x.plain
	case "LOGIN":
		x.next = x.user
	case "OAUTHBEARER":
		x.next = x.bearer
	case "XOAUTH2":
		x.next = x.xoauth2
	}
	return x, nil
}

// step is what an exchange does with the next response. It gives the step after it, or nil when the client has proved who it is.
type step func(ctx context.Context, response []byte) (challenge []byte, next step, err error)

// Exchange is one attempt to log in.
type Exchange struct {
	Mechanism string
	// Named is the user as the client gave it, for logs; empty as long as it gave none.
	Named string

	mechanisms *Mechanisms
	client     Client
	next       step
	who        door.Identity
}

// Next takes the client's response and gives the server's challenge. response is nil at the beginning when the command brought no initial response
// (RFC 4422 section 3.3); later it never is. done means that the client has proved to be Identity, and no challenge is left to send.
func (x *Exchange) Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	if x.next == nil {
		return nil, false, ErrSyntax
	}
	challenge, x.next, err = x.next(ctx, response)
	if err != nil {
		x.next, x.who = nil, door.Identity{}
		return nil, false, err
	}
	return challenge, x.next == nil, nil
}

// Identity is who the client is, once Next said done.
func (x *Exchange) Identity() door.Identity {
	if x.next != nil {
		return door.Identity{}
	}
	return x.who
}

// Password checks a login name and a password in their turn, which is also what IMAP's LOGIN and POP3's PASS do. Errors: as Next.
func (m *Mechanisms) Password(ctx context.Context, c Client, login, password string) (door.Identity, error) {
	who, err := m.Directory.Login(ctx, m.Protocol, c.Source, login, password)
	if err != nil {
		return door.Identity{}, err
	}
	return m.placed(c, who), nil
}

// placed says from where and for what somebody logs in, see door.Directory.Enter.
func (m *Mechanisms) placed(c Client, who door.Identity) door.Identity {
	who.Protocol, who.Source = m.Protocol, c.Source
	return who
}
