package smtp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
)

// Server serves one kind of listener. It has what its sessions share.
type Server struct {
	kind   Kind
	cfg    Config
	smtp   *gosmtp.Server  // for connections in clear text
	secure *gosmtp.Server  // for those over TLS, of which it knows nothing
	ctx    context.Context // ends when the server gives up waiting for its sessions
	cancel context.CancelFunc
	halves *halves

	mechanisms *sasl.Mechanisms

	upgraded *upgrades // from the one to the other
	upgrades sync.Once // served

	mu        sync.Mutex
	listeners []*netline.Listener
	stopped   bool
}

// New makes a Server. Errors: domain.Invalid.
func New(kind Kind, cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Directory == nil || cfg.Hostname == "" {
		return nil, domain.Errorf(domain.Invalid, "%s needs accounts, a directory and a host name", kind)
	}
	if !delivery.IsDomain(cfg.Hostname) {
		return nil, &domain.Error{Kind: domain.Invalid, Msg: fmt.Sprintf("%q cannot be this server's name in mail", cfg.Hostname), Hint: "set hostname to a domain name"}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Limits, cfg.InMemory = cfg.Limits.withDefaults(), cmp.Or(cfg.InMemory, 64<<10)
	if cfg.Spool != "" {
		sweep(cfg.Spool)
	}
	s := &Server{kind: kind, cfg: cfg, halves: newHalves(cfg.Limits.Remembered, cfg.Limits.RememberFor), upgraded: newUpgrades()}
	s.mechanisms = &sasl.Mechanisms{Directory: cfg.Directory, Tokens: cfg.Tokens, Protocol: "smtp", Login: true}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.smtp, s.secure = s.dialogues(), s.dialogues()
	s.secure.EnableREQUIRETLS = kind == Submission && cfg.Queue != nil
	s.smtp.TLSConfig = cfg.TLS // It only offers STARTTLS then: conn carries it out.
	return s, nil
}

// dialogues makes a go-smtp server.
func (s *Server) dialogues() *gosmtp.Server {
	d := gosmtp.NewServer(gosmtp.BackendFunc(s.newSession))
	d.Domain = s.cfg.Hostname
	d.LMTP = s.kind == LMTP
	d.MaxRecipients = s.cfg.Limits.Recipients
	d.MaxMessageBytes = s.cfg.Limits.Content.Message + 1 // It refuses a message of exactly as many. The client is told the limit, see dialogue.replied.
	d.MaxLineLength = 2 * s.cfg.Limits.Content.Line      // delivery.Reader refuses the message first, and the connection lives on.
	d.AllowInsecureAuth = true                           // The session decides: it knows where the client is.
	d.EnableSMTPUTF8 = true
	d.EnableDSN = s.kind == Submission && s.cfg.Queue != nil
	d.ErrorLog = errorLog{s.cfg.Logger}
	// Its timeouts stay off: they would bound a whole message. Those of netline lie below TLS and follow each read and write.
	d.ReadTimeout, d.WriteTimeout = 0, 0
	return d
}

// Serve accepts connections until ctx ends, Shutdown is called or the listener breaks; implicitTLS is for the ports that speak TLS from the first
// octet (RFC 8314 section 3.3). It may be called for several listeners, which it owns from then on. Open connections stay when it returns.
func (s *Server) Serve(ctx context.Context, l net.Listener, implicitTLS bool) error {
	config := netline.Config{
		Limits: s.cfg.Limits.Line, Proxies: s.cfg.Proxies, Logger: s.cfg.Logger, OnLimit: s.cfg.Metrics.Limited,
		OnOpen: func(*netline.Conn) { call(s.cfg.Metrics.Opened) }, OnClose: func(*netline.Conn) { call(s.cfg.Metrics.Closed) },
	}
	if !implicitTLS {
		config.Refusal = "421 4.7.0 " + s.cfg.Hostname + " Too many connections, try again later\r\n"
	} else if s.cfg.TLS == nil {
		return domain.Errorf(domain.Invalid, "%s on %s needs a TLS certificate", s.kind, l.Addr())
	}
	line := netline.New(l, config)
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners = append(s.listeners, line)
	s.mu.Unlock()
	defer context.AfterFunc(ctx, func() { _ = line.Close() })()

	s.upgrades.Do(func() { go func() { _ = s.secure.Serve(s.upgraded) }() })
	dialogues := s.smtp
	if implicitTLS {
		dialogues = s.secure
	}
	err := dialogues.Serve(&listener{line, s, implicitTLS})
	if err == nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return domain.Wrap(domain.Unavailable, err, "accepting connections on "+l.Addr().String())
}

// Shutdown stops accepting, says 421 to clients that are between two commands, lets the others finish their command, and returns when all are
// gone. When ctx ends first it cuts off those that are left and gives ctx's error; a message in work then gets no answer.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	listeners := s.listeners
	s.mu.Unlock()
	errs := make([]error, len(listeners))
	var wg sync.WaitGroup
	for i, l := range listeners {
		wg.Go(func() { errs[i] = l.Drain(ctx) })
	}
	wg.Wait()
	s.cancel()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonAfter)
	defer cancel()
	_ = s.upgraded.Close()
	for _, dialogues := range []*gosmtp.Server{s.smtp, s.secure} {
		if err := dialogues.Shutdown(last); errors.Is(err, context.DeadlineExceeded) { // Its other errors only say that all is closed already.
			errs = append(errs, domain.Wrap(domain.Internal, err, "waiting for the last sessions"))
		}
	}
	return errors.Join(errs...)
}

// abandonAfter is how long sessions may take to notice that their connection and their context are gone.
const abandonAfter = 5 * time.Second

// listener makes the connections that go-smtp sees.
type listener struct {
	*netline.Listener
	server      *Server
	implicitTLS bool
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.implicitTLS {
		return newConn(l.server, c.(*netline.Conn), l.server.cfg.TLS), nil
	}
	return newConn(l.server, c.(*netline.Conn), nil), nil
}

// handshakeIdle bounds a TLS handshake, and the silence between it and EHLO.
const handshakeIdle = time.Minute

// errorLog takes go-smtp's own messages: broken connections, which are no news, and panics, which are.
type errorLog struct{ logger *slog.Logger }

func (l errorLog) Printf(format string, v ...any) {
	if strings.HasPrefix(format, "panic") {
		l.logger.Error(fmt.Sprintf(format, v...))
		return
	}
	l.logger.Debug(fmt.Sprintf(format, v...))
}

func (l errorLog) Println(v ...any) { l.logger.Debug(strings.TrimSuffix(fmt.Sprintln(v...), "\n")) }

func call(f func()) {
	if f != nil {
		f()
	}
}
