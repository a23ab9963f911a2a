// Package webadmin is the REST door for operators: the command line and monitoring speak to a running server through it.
//
// It is its own listener, meant for loopback, in plain HTTP (RFC 9110). Every route wants a token (RFC 6750), which is compared in constant
// time, and whose level decides about changing and deleting; health checks and /metrics want none and say nothing about mail. Bodies are JSON.
// An error is {"statusCode", "type", "message", "cause"?}; errors.go has the one table from domain.Kind to status.
//
// Routes below /v1 are ours. The others have the paths, verbs, codes and bodies of Apache James's WebAdmin, so that what operators wrote for
// it goes on working; their files begin with james. An account is a user there, and its login is the user's name.
//
// Work that may take long (verify, rebuild, import, show) answers in newline-delimited JSON, one Line at a time, so that a client sees
// progress and cancels by closing the connection. Its last line is a result or an error; an answer without either was cut off.
//
// Limits: every request has a bound on its header, body and time, see Limits.
package webadmin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits bound what clients can use up. Zero fields have the defaults in their comments.
type Limits struct {
	Connections int           // at once: 100
	Body        int64         // octets of a request body, imports aside: 1 MiB
	Message     int64         // octets of one imported message: 256 MiB
	HeaderTime  time.Duration // to send the header of a request: 10 s
	RequestTime time.Duration // for a request; between two lines of one that streams: 1 min
	IdleTime    time.Duration // without a request: 2 min
}

func (l Limits) withDefaults() Limits {
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	if l.Connections == 0 {
		l.Connections = 100
	}
	def(&l.Body, 1<<20)
	def(&l.Message, 256<<20)
	def((*int64)(&l.HeaderTime), int64(10*time.Second))
	def((*int64)(&l.RequestTime), int64(time.Minute))
	def((*int64)(&l.IdleTime), int64(2*time.Minute))
	return l
}

// Config is what New needs. Every field but Limits must be set.
type Config struct {
	Tokens  Tokens
	Backend Backend
	Logger  *slog.Logger
	Limits  Limits
}

// Server is the REST door. It is an http.Handler.
type Server struct {
	lock   lock
	b      Backend
	log    *slog.Logger
	limits Limits
	http   *http.Server

	document func() ([]byte, error) // OpenAPI, made when first asked for
	stopping context.Context        // ends when Shutdown begins
	stop     context.CancelFunc
}

// New makes the door.
func New(c Config) (*Server, error) {
	if c.Tokens.All == "" {
		return nil, errors.New("the admin door needs a token")
	}
	s := &Server{lock: newLock(c.Tokens), b: c.Backend, log: c.Logger, limits: c.Limits.withDefaults()}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.document = sync.OnceValues(func() ([]byte, error) { return describeAll(Routes) })
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: s.limits.HeaderTime,
		IdleTimeout:       s.limits.IdleTime,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.http.Handler.ServeHTTP(w, r) }

// Serve answers on a listener until Shutdown. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(newLimited(l, s.limits.Connections)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown takes no new requests and waits for those in flight, but not for those that await a task; when ctx ends first it cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range Routes {
		mux.Handle(route.Pattern, s.guard(route))
	}
	mux.Handle("GET /metrics", s.b.Metrics)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allowed := methods(mux, r); len(allowed) > 0 { // RFC 9110 section 15.5.6.
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			writeError(w, Error{StatusCode: http.StatusMethodNotAllowed, Type: "methodNotAllowed", Message: r.Method + " does nothing at " + r.URL.Path})
			return
		}
		writeError(w, Error{StatusCode: http.StatusNotFound, Type: "notFound", Message: "there is nothing at " + r.URL.Path})
	})
	return mux
}

// methods lists those that have a route at a request's path.
func methods(mux *http.ServeMux, r *http.Request) (allowed []string) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" && pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

// guard puts authentication, limits and error replies around a route.
func (s *Server) guard(route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadline := time.Now().Add(s.limits.RequestTime)
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(deadline) // a ResponseWriter without deadlines is a test's recorder
		_ = control.SetWriteDeadline(deadline)
		if !route.Public && !s.allowed(w, r, &route) {
			return
		}
		if !route.Streams && !route.Waits {
			r.Body = http.MaxBytesReader(w, r.Body, s.limits.Body)
			ctx, cancel := context.WithDeadline(r.Context(), deadline)
			defer cancel()
			r = r.WithContext(ctx)
		}
		if err := route.serve(s, w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// allowed refuses a request whose token does not go far enough.
func (s *Server) allowed(w http.ResponseWriter, r *http.Request, route *Route) bool {
	switch has := s.lock.level(r); {
	case has == nothing:
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750 section 3.
		writeError(w, Error{StatusCode: http.StatusUnauthorized, Type: "unauthorized", Message: "the request needs the admin token"})
		return false
	case has < route.needed(r.Method):
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`) // RFC 6750 section 3.1.
		writeError(w, Error{StatusCode: http.StatusForbidden, Type: "forbidden", Message: "this token may not " + r.Method + " here"})
		return false
	}
	return true
}
