package imap

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// URLAUTH (RFC 4467): URLs that carry the right to read one message or part. The only mechanism is INTERNAL, an HMAC over the URL under the mailbox's
// access key. No key is kept: it derives from the account's secret, which goes with the account, and from the transaction of the last RESETKEY, which
// is in the log. So every node and every rebuilt view knows the same keys, and no view holds one.

func init() {
	register(spec{name: "GENURLAUTH", states: loggedIn, run: runGenURLAuth, capabilities: []string{"URLAUTH"}})
	register(spec{name: "RESETKEY", states: loggedIn, run: runResetKey, capabilities: []string{"URLAUTH"}})
	register(spec{name: "URLFETCH", states: loggedIn, run: runURLFetch, capabilities: []string{"URLAUTH"}})
	advertise("URLAUTH=BINARY", whenAuthenticated)    // RFC 5524.
	selectTells = append(selectTells, func(c *conn) { // RFC 4467 section 8, URLMECH.
		if !c.without["URLAUTH"] {
			c.status("*", "OK", "URLMECH INTERNAL", "how URLs are authorized")
		}
	})
}

// maxURLs bounds the URLs of one command.
const maxURLs = 1000

// authURL is a URL that carries, or is to carry, an authorization.
type authURL struct {
	messageURL
	user, host string
	expires    time.Time // zero: never
	access     string    // in lower case up to "+"
	rump       string    // what is authorized: the URL up to the mechanism
	mechanism  string
	token      []byte
}

// parseAuthURL takes an absolute URL apart; authorized says whether it must end in a mechanism and its token (RFC 5092 section 11, iurlauth).
func parseAuthURL(text string, authorized bool) (u authURL, ok bool) {
	if len(text) > maxURL {
		return u, false
	}
	u.rump = text
	if authorized {
		var token string
		if u.rump, token, ok = cutLast(text, ":"); !ok {
			return u, false
		}
		if u.rump, u.mechanism, ok = cutLast(u.rump, ":"); !ok {
			return u, false
		}
		var err error
		if u.token, err = hex.DecodeString(token); err != nil {
			return u, false
		}
	}
	rest, ok := cutWord(u.rump, "imap://")
	if !ok {
		return u, false
	}
	server, path, ok := strings.Cut(rest, "/")
	if !ok {
		return u, false
	}
	user, host, ok := cutLast(server, "@")
	user, _, _ = strings.Cut(user, ";") // ";AUTH="
	if u.user, ok = unescapeIf(user, ok); !ok || u.user == "" || host == "" {
		return u, false
	}
	u.host, _, _ = strings.Cut(host, ":")
	if u.messageURL, ok = parseMessageURL(path, 0); !ok {
		return u, false
	}
	if after, found := cutWord(u.rest, ";EXPIRE="); found {
		at, more, _ := strings.Cut(after, ";")
		var err error
		if u.expires, err = time.Parse(time.RFC3339, strings.ToUpper(at)); err != nil {
			return u, false
		}
		u.rest = ";" + more
	}
	access, found := cutWord(u.rest, ";URLAUTH=")
	if !found {
		return u, false
	}
	return u, u.parseAccess(access)
}

func unescapeIf(text string, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	return unescape(text)
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+len(sep):], true
}

// parseAccess reads who may use the URL (RFC 4467 section 2.3).
func (u *authURL) parseAccess(text string) bool {
	switch word := strings.ToLower(text); word {
	case "anonymous", "authuser":
		u.access = word
		return true
	}
	for _, kind := range []string{"user+", "submit+"} {
		if name, found := cutWord(text, kind); found {
			plain, ok := unescape(name)
			u.access = kind + plain
			return ok && plain != ""
		}
	}
	return false
}

// login is the address that a user's name in a URL means: a name without a domain is one of the URL's server.
func (u *authURL) login(name string) string {
	if strings.Contains(name, "@") {
		return name
	}
	return name + "@" + u.host
}

// admits says whether the session may use the URL. Those that are for submission may be used by administrators, as which a submission server logs in.
func (u *authURL) admits(c *conn) bool {
	if !u.expires.IsZero() && c.server.cfg.Now().After(u.expires) {
		return false
	}
	kind, name, _ := strings.Cut(u.access, "+")
	switch kind {
	case "anonymous", "authuser":
		return true
	case "user":
		return strings.EqualFold(u.login(name), c.login)
	}
	return c.isAdmin()
}

// urlToken authorizes a URL under the access key of its mailbox. Errors: domain.NotFound, and those of the door.
func (c *conn) urlToken(ctx context.Context, id domain.AccountID, u *authURL) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	var access account.Access
	if err := c.accounts.View(ctx, id, func(s *account.State) error {
		m, ok := s.Mailbox(u.mailbox)
		if !ok || u.validity != 0 && u.validity != m.UIDValidity {
			return domain.Errorf(domain.NotFound, "the mailbox does not exist")
		}
		access = s.Access(m)
		return nil
	}); err != nil {
		return nil, err
	}
	secret, err := c.accounts.Secret(ctx, id, "urlauth")
	if err != nil {
		return nil, err
	}
	key := hmac.New(sha256.New, secret[:])
	_, _ = key.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, uint32(access.Mailbox)), uint64(access.Since)))
	token := hmac.New(sha256.New, key.Sum(nil))
	_, _ = token.Write([]byte(u.rump))
	return token.Sum(nil), nil
}

// runGenURLAuth is GENURLAUTH (RFC 4467 section 7): a URL that names no mailbox of the user is an error of the client, answered BAD.
func runGenURLAuth(ctx context.Context, c *conn, cmd *command) error {
	var urls []authURL
	d := cmd.dec
	for len(urls) == 0 || d.Next(' ') {
		var text, mechanism string
		if !d.ExpectSP() || !d.ExpectAString(&text) || !d.ExpectSP() || !d.ExpectName(&mechanism) {
			return d.Err()
		}
		u, ok := parseAuthURL(text, false)
		switch {
		case len(urls) == maxURLs:
			return &wire.SyntaxError{Code: "LIMIT", Text: "the command names too many URLs"}
		case !ok:
			return wire.Syntaxf("a URL is not one of a message with ;URLAUTH=")
		case mechanism != "INTERNAL":
			return wire.Syntaxf("the mechanism is not supported")
		}
		urls = append(urls, u)
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	var made []string
	for i := range urls {
		u := &urls[i]
		if !strings.EqualFold(u.login(u.user), c.login) { // only what is one's own can be given away.
			return wire.Syntaxf("a URL is not one of your messages")
		}
		token, err := c.urlToken(ctx, c.id, u)
		if domain.Is(err, domain.NotFound) {
			return wire.Syntaxf("the mailbox of a URL does not exist")
		}
		if err != nil {
			return err
		}
		made = append(made, u.rump+":internal:"+hex.EncodeToString(token))
	}
	c.enc.Raw("* GENURLAUTH")
	for _, url := range made {
		c.enc.SP().String(url)
	}
	c.enc.CRLF()
	return nil
}

// runResetKey is RESETKEY (RFC 4467 section 7): of one mailbox, or of all.
func runResetKey(ctx context.Context, c *conn, cmd *command) error {
	var wish account.ResetAccessKeys
	d := cmd.dec
	for n := 0; d.SP(); n++ {
		var mechanism string
		switch {
		case n == 0:
			if !d.ExpectMailbox(&wish.Mailbox) {
				return d.Err()
			}
			if wish.Mailbox == "" {
				return wire.Syntaxf("a mailbox has a name")
			}
		case !d.Item() || !d.ExpectName(&mechanism):
			return d.Err()
		case mechanism != "INTERNAL":
			return wire.Syntaxf("the mechanism is not supported")
		}
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	if _, err := c.do(ctx, wish); err != nil {
		return err
	}
	cmd.ok("URLMECH INTERNAL", "")
	return nil
}
