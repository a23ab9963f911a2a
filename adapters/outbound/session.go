package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain/dane"
	"github.com/streampost/streampost/domain/tlsrpt"
)

// session is a connection to a peer that has greeted us.
type session struct {
	cfg  *Config
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	peer string // its name
	ext  map[string]string
	tls  bool
	// doubt is what is wrong with the certificate of a peer that gets the message all the same.
	doubt error

	key      string // of the pool
	messages int
	broken   bool
	expires  *time.Timer
	stop     func() bool // ends the watch over the caller's context
}

// refusal is an answer that makes a host unusable, or a message.
type refusal struct {
	*reply
	doing string
}

func (r *refusal) Error() string { return r.text }

// target is where a session goes.
type target struct {
	host    string // its name, for TLS and reports
	address string // host:port to dial
	tls     Encryption
	user    string
	secret  string
	source  netip.Addr // to connect from; zero: any

	secure bool          // the address was found by validated answers
	tlsa   []dane.Record // one of these has to be its certificate's; nil: no matter
	names  []string      // for which an authority in tlsa may have signed
	probe  bool          // find out whether its certificate would do
	policy tlsrpt.Policy // for reports
}

// errNoTLS says that a peer has no TLS where it is demanded.
var errNoTLS = errors.New("the host offers no TLS, which is demanded")

// dial opens a session. Where TLS is opportunistic and fails, it tries without (RFC 7435 section 3).
func (s *Sender) dial(ctx context.Context, t target) (*session, error) {
	if err := s.breaker.enter(t.address); err != nil {
		return nil, err
	}
	n, err := s.dialOnce(ctx, t, t.tls)
	s.report(&t, n, err)
	var failed *handshakeError
	var refused *refusal
	if err != nil && ctx.Err() != nil {
		s.breaker.withdraw(t.address)
	} else { // Who speaks, whatever he says, is there.
		s.breaker.leave(t.address, err == nil || errors.As(err, &refused) || errors.As(err, &failed) || errors.Is(err, errNoTLS))
	}
	if errors.As(err, &failed) && t.tls == Opportunistic && ctx.Err() == nil {
		s.cfg.Logger.Info("TLS does not work: going on without", "peer", t.host, "error", failed.err)
		return s.dialOnce(ctx, t, Plain)
	}
	return n, err
}

type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "the TLS handshake failed: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

func (s *Sender) dialOnce(ctx context.Context, t target, with Encryption) (*session, error) {
	once, cancel := context.WithTimeout(ctx, s.cfg.Limits.Connect)
	conn, err := s.cfg.Dial(once, t.source, "tcp", t.address)
	cancel()
	if err != nil {
		return nil, err
	}
	n := &session{cfg: &s.cfg, peer: t.host}
	n.use(conn)
	n.watch(ctx)
	if err := n.begin(ctx, t, with); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *session) use(conn net.Conn) {
	n.conn, n.in, n.out = conn, bufio.NewReaderSize(conn, n.cfg.Limits.Line), bufio.NewWriterSize(conn, blockSize)
}

// watch ends what the session waits for when a context does.
func (n *session) watch(ctx context.Context) {
	conn := n.conn
	n.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

func (n *session) close() {
	if n.stop != nil {
		n.stop()
	}
	_ = n.conn.Close()
}

// begin says EHLO, switches to TLS and logs in.
func (n *session) begin(ctx context.Context, t target, with Encryption) error {
	if with == Implicit {
		if err := n.handshake(ctx, t, with); err != nil {
			return err
		}
	}
	answer, err := n.answer(ctx, n.cfg.Limits.Greeting)
	if err != nil {
		return err
	}
	if answer.code != 220 {
		return &refusal{answer, "greeting"}
	}
	if err := n.hello(ctx); err != nil {
		return err
	}
	if _, offered := n.ext["STARTTLS"]; offered && with != Plain && with != Implicit {
		if err := n.startTLS(ctx, t, with); err != nil {
			return err
		}
	} else if with == Required || with == Verified {
		return errNoTLS
	}
	if t.user == "" {
		return nil
	}
	return n.login(ctx, t)
}

// hello says EHLO, or HELO to a server that does not know it (RFC 5321 section 3.2).
func (n *session) hello(ctx context.Context) error {
	answer, err := n.do(ctx, "EHLO "+n.cfg.Hostname)
	if err != nil {
		return err
	}
	n.ext = map[string]string{}
	if !answer.ok() {
		if answer.code/100 != 5 {
			return &refusal{answer, "EHLO"}
		}
		if answer, err = n.do(ctx, "HELO "+n.cfg.Hostname); err != nil {
			return err
		}
		if !answer.ok() {
			return &refusal{answer, "HELO"}
		}
		return nil
	}
	for _, line := range answer.lines[1:] {
		name, value, _ := strings.Cut(line, " ")
		n.ext[strings.ToUpper(name)] = value
	}
	return nil
}

// startTLS switches to TLS (RFC 3207 section 4). What the peer sent in clear text before is not taken for an answer inside it.
func (n *session) startTLS(ctx context.Context, t target, with Encryption) error {
	answer, err := n.do(ctx, "STARTTLS")
	if err != nil {
		return err
	}
	if answer.code != 220 {
		return &handshakeError{&refusal{answer, "STARTTLS"}}
	}
	if n.in.Buffered() > 0 {
		return &handshakeError{errors.New("the host sent something before it")}
	}
	if err := n.handshake(ctx, t, with); err != nil {
		return err
	}
	return n.hello(ctx) // RFC 3207 section 4.2: what was offered in clear text does not count.
}

func (n *session) handshake(ctx context.Context, t target, with Encryption) error {
	config := n.cfg.TLS.Clone()
	config.ServerName = t.host
	config.InsecureSkipVerify = with == Opportunistic || with == Required
	if t.policy.Kind != "" { // of a domain, and not of the operator's: so are the authorities
		config.RootCAs = n.cfg.Roots
	}
	if len(t.tlsa) > 0 {
		config.VerifyConnection = func(state tls.ConnectionState) error { return n.verifyDANE(&t, &state) }
	}
	conn := tls.Client(n.conn, config)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Limits.Handshake)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return &handshakeError{err}
	}
	n.tls = true
	if t.probe {
		state := conn.ConnectionState()
		n.doubt = verify(config.RootCAs, &state)
	}
	n.use(conn)
	return nil
}

// login authenticates with the first mechanism that both know (RFC 4954, RFC 4616).
func (n *session) login(ctx context.Context, t target) error {
	if !n.tls {
		return errors.New("the route has a password, which is not sent without TLS")
	}
	offered := strings.Fields(strings.ToUpper(n.ext["AUTH"]))
	b64 := base64.StdEncoding.EncodeToString
	var steps []string
	switch {
	case slices.Contains(offered, "PLAIN"):
		steps = []string{"AUTH PLAIN " + b64([]byte("\x00"+t.user+"\x00"+t.secret))}
	case slices.Contains(offered, "LOGIN"):
		steps = []string{"AUTH LOGIN", b64([]byte(t.user)), b64([]byte(t.secret))}
	default:
		return errors.New("the host offers no way to log in that we know: PLAIN, LOGIN")
	}
	for i, step := range steps {
		answer, err := n.do(ctx, step)
		if err != nil {
			return err
		}
		if last := i == len(steps)-1; last && answer.code != 235 || !last && answer.code != 334 {
			return &refusal{answer, "AUTH"}
		}
	}
	return nil
}

// do sends a command and reads its answer.
func (n *session) do(ctx context.Context, command string) (*reply, error) {
	if err := n.write(ctx, command); err != nil {
		return nil, err
	}
	return n.answer(ctx, n.cfg.Limits.Command)
}

// write sends commands.
func (n *session) write(ctx context.Context, commands ...string) error {
	if err := n.deadline(ctx, n.cfg.Limits.Command); err != nil {
		return err
	}
	for _, c := range commands {
		if strings.ContainsAny(c, "\r\n") {
			return errors.New("a command would have two lines")
		}
		_, _ = n.out.WriteString(c + "\r\n") // Flush tells its error
	}
	return n.broke(n.out.Flush())
}

// answer reads an answer within a time.
func (n *session) answer(ctx context.Context, within time.Duration) (*reply, error) {
	if err := n.deadline(ctx, within); err != nil {
		return nil, err
	}
	answer, err := readReply(n.in, n.cfg.Limits.Lines)
	if err == nil && answer.code == 421 { // RFC 5321 section 3.8: it closes.
		n.broken = true
	}
	return answer, n.broke(err)
}

func (n *session) deadline(ctx context.Context, within time.Duration) error {
	_ = n.conn.SetDeadline(time.Now().Add(within))
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return n.broke(ctx.Err())
	}
	return nil
}

func (n *session) broke(err error) error {
	if err != nil {
		n.broken = true
	}
	return err
}

// size is the largest message that the peer takes; 0 when it does not say (RFC 1870 section 4).
func (n *session) size() int64 {
	most, err := strconv.ParseInt(strings.TrimSpace(n.ext["SIZE"]), 10, 64)
	if err != nil {
		return 0
	}
	return most
}

func (n *session) has(extension string) bool {
	_, offered := n.ext[extension]
	return offered
}
