package natsd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
)

// SyncMode says who makes appends durable.
type SyncMode int

const (
	// SyncGroup is the default: the server writes, and Server.Sync syncs once for many appends.
	SyncGroup SyncMode = iota
	// SyncAlways lets the server sync after every message. It needs no Sync, but a file system that makes a synced file's name durable
	// with it, as ext4, XFS and Btrfs do.
	SyncAlways
)

// Limits of the embedded server.
const (
	// MaxPayload bounds one message, in bytes. A transaction is one message.
	MaxPayload = 8 << 20
	// maxPending bounds what the server has on its way to one connection, in bytes. All readers of the log share one, and each may ask for
	// streams.Limits.FetchMax at once; beyond this bound the server cuts the connection.
	maxPending = 512 << 20
	// maxMemory bounds what the server may keep in memory storage, in bytes. Only the states of consumers are there.
	maxMemory = 64 << 20
	// maxStore lifts JetStream's own guess at how much disk it may use: the file system decides.
	maxStore = 1 << 62
	// startTimeout bounds the recovery of the log at the start.
	startTimeout = 10 * time.Minute
	// loginTimeout bounds a login of this process, which a loaded machine may delay.
	loginTimeout = 10 * time.Second
	// account is the NATS account that owns the streams; its name is a directory.
	account = "$G"
)

// Config tells Start what to run.
type Config struct {
	// Dir holds the log: JetStream's files, the lock and the marks. It is created with mode 0700.
	Dir string
	// Sync says who makes appends durable.
	Sync SyncMode
	// Listen is a host:port for outside NATS clients such as the nats command. Empty means none: only this process speaks to the server.
	Listen string
	// User and Password are demanded from every client when they are set. A Listen address that is not loopback needs them.
	User, Password string
	// TLS secures Listen.
	TLS *tls.Config
	// Cluster makes the server one of several; nil means that it stands alone.
	Cluster *Cluster
	// Logger gets the server's own messages; nil discards them.
	Logger *slog.Logger
	// Failpoint is called at refill.planned and, after each directory that Refill moves, at refill.moved. It may be nil.
	Failpoint func(name string)

	system *server.User // the way into the system account, see lock
}

// Server is a NATS server inside this process. Make one with Start.
type Server struct {
	cfg   Config
	opts  *server.Options
	nats  atomic.Pointer[server.Server] // Refill replaces it; nil before the start
	conn  *nats.Conn
	log   *bridge
	lock  *os.File
	marks marks

	system *nats.Conn // to the system account; nil where the server stands alone

	refilling sync.Mutex            // one Refill, or the stop, at a time
	stopped   atomic.Pointer[error] // see Stopped

	mu    sync.Mutex
	files map[string]*streamFiles // by stream
}

// Start runs a server on cfg.Dir and returns when its streams are recovered.
// Errors: domain.Unavailable for a directory that is not writable, full or in use; domain.Corrupt for a log that cannot be loaded whole.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	if err := prepare(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Cluster != nil && cfg.Cluster.Adopt {
		if err := cfg.adopt(ctx); err != nil {
			return nil, err
		}
	}
	s := &Server{
		cfg:   cfg,
		opts:  opts,
		log:   newBridge(cfg.Logger),
		files: map[string]*streamFiles{},
		marks: marks{dir: filepath.Join(cfg.Dir, "marks")},
	}
	if s.lock, err = acquire(filepath.Join(cfg.Dir, "lock")); err != nil {
		return nil, err
	}
	if err = cfg.kind(); err == nil {
		err = cfg.keepName()
	}
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (cfg *Config) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName:             "streampost",
		DontListen:             true,
		JetStream:              true,
		StoreDir:               cfg.Dir,
		SyncAlways:             cfg.Sync == SyncAlways,
		JetStreamMaxStore:      maxStore,
		JetStreamMaxMemory:     maxMemory,
		MaxPayload:             MaxPayload,
		MaxPending:             maxPending,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		AuthTimeout:            loginTimeout.Seconds(),
		Username:               cfg.User,
		Password:               cfg.Password,
	}
	if cfg.Cluster != nil {
		if err := cfg.Cluster.apply(opts); err != nil {
			return nil, err
		}
		cfg.lock(opts)
	}
	if cfg.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read the listen address of the log")
	}
	number, err := strconv.Atoi(port)
	if err != nil || number < 0 || number > 65535 {
		return nil, domain.Errorf(domain.Invalid, "the listen address of the log, %q, has no numeric port", cfg.Listen)
	}
	if ip := net.ParseIP(host); cfg.Password == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, domain.Errorf(domain.Invalid, "the log may listen on %q only with a user and a password: whoever reaches it can write to the log", cfg.Listen)
	}
	if number == 0 {
		number = server.RANDOM_PORT
	}
	opts.DontListen, opts.Host, opts.Port = false, host, number
	opts.TLSConfig, opts.TLSTimeout = cfg.TLS, loginTimeout.Seconds()
	return opts, nil
}

func (s *Server) start(ctx context.Context) (err error) {
	if s.cfg.Cluster == nil { // a node of a cluster recovers from its own log of what was agreed on, and from the others
		err = s.recover()
	} else { // which may have been interrupted
		err = s.resume()
	}
	if err == nil {
		err = s.run(ctx)
	}
	if err == nil && s.cfg.Cluster == nil { // a node loads its streams when it has heard from the others which it has
		err = s.missing()
	}
	if err != nil {
		return err
	}
	if s.conn, err = s.connect(s.cfg.User, s.cfg.Password); err == nil && s.cfg.system != nil {
		s.system, err = s.connect(s.cfg.system.Username, s.cfg.system.Password)
	}
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "connect to the log server")
	}
	return nil
}

// run starts the server proper and waits until it takes connections.
func (s *Server) run(ctx context.Context) error {
	nats, err := server.NewServer(s.opts.Clone())
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "configure the log server")
	}
	s.nats.Store(nats)
	nats.SetLoggerV2(s.log, false, false, false)
	started := make(chan struct{})
	go func() { nats.Start(); close(started) }()
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	select {
	case <-started:
	case <-deadline.C:
		return domain.Errorf(domain.Unavailable, "the log server did not start in %v", startTimeout)
	case <-ctx.Done():
		return domain.Wrap(domain.Unavailable, ctx.Err(), "start the log server")
	}
	for !nats.ReadyForConnections(100 * time.Millisecond) {
		select {
		case <-deadline.C:
			return s.failure("start the log server")
		default:
		}
		if s.log.fatal.Load() {
			return s.failure("start the log server")
		}
	}
	if !nats.JetStreamEnabled() {
		return s.failure("start the log server")
	}
	return nil
}

// entrance lets connections of this process in, also after the server was replaced.
type entrance struct{ *Server }

func (e entrance) InProcessConn() (net.Conn, error) { return e.nats.Load().InProcessConn() }

func (s *Server) connect(user, password string) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("streampost"),
		nats.Timeout(loginTimeout),
		nats.InProcessServer(entrance{s}),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		// A reader that falls behind asks for less (package streams); nothing is sent unasked.
		nats.SyncQueueLen(1 << 16),
	}
	if user != "" {
		options = append(options, nats.UserInfo(user, password))
	}
	return nats.Connect("", options...)
}

// missing refuses a log of which a stream's directory is there while the server did not load it.
func (s *Server) missing() error {
	entries, err := os.ReadDir(s.streamsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storageError(err, "list the streams of the log")
	}
	known := map[string]bool{}
	info, err := s.nats.Load().Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "list the streams of the log server")
	}
	for _, a := range info.AccountDetails {
		for _, stream := range a.Streams {
			known[stream.Name] = true
		}
	}
	for _, e := range entries {
		if !e.IsDir() || known[e.Name()] {
			continue
		}
		// A crash while the stream was being created leaves a directory without messages, which the server passes over.
		if !holdsBlocks(filepath.Join(s.streamsDir(), e.Name())) {
			s.cfg.Logger.Warn("removing a stream whose creation never finished", "stream", e.Name())
			if err := os.RemoveAll(filepath.Join(s.streamsDir(), e.Name())); err != nil {
				return storageError(err, "remove an unfinished stream")
			}
			continue
		}
		return &domain.Error{
			Kind: domain.Corrupt,
			Msg:  fmt.Sprintf("the log is damaged: stream %s is on disk but cannot be loaded", e.Name()),
			Hint: "restore " + filepath.Join(s.streamsDir(), e.Name()) + " from a backup; nothing has been changed",
			Err:  s.log.lastError(),
		}
	}
	return nil
}

// holdsBlocks reports whether a stream's directory has any block with something in it.
func holdsBlocks(dir string) bool {
	blocks, _ := filepath.Glob(filepath.Join(dir, "msgs", "*.blk"))
	for _, b := range blocks {
		if info, err := os.Stat(b); err != nil || info.Size() > 0 {
			return true
		}
	}
	return false
}

// failure turns what the server logged into an error.
func (s *Server) failure(doing string) error {
	err := s.log.lastError()
	if err == nil {
		err = errors.New("the server gave no reason")
	}
	if strings.Contains(err.Error(), "corrupt") {
		return domain.Wrap(domain.Corrupt, err, doing)
	}
	return domain.Wrap(domain.Unavailable, err, doing)
}

// Conn is a connection to the server that needs no network. It ends with Close.
func (s *Server) Conn() *nats.Conn { return s.conn }

// Address is where outside clients find the server; empty when it does not listen.
func (s *Server) Address() string {
	address := s.nats.Load().Addr()
	if s.cfg.Listen == "" || address == nil {
		return ""
	}
	return address.String()
}

// Close stops the server in an orderly way: in a cluster others lead first what it leads. It returns ctx's error if that takes longer; the log is safe
// then too, only the next start is slower.
func (s *Server) Close(ctx context.Context) error {
	s.handOver(ctx)
	done := make(chan struct{})
	go func() { s.stop(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return domain.Wrap(domain.Unavailable, ctx.Err(), "stop the log server")
	}
}

// halt stops the server proper.
func (s *Server) halt() {
	if nats := s.nats.Load(); nats != nil {
		nats.Shutdown()
		nats.WaitForShutdown()
	}
}

func (s *Server) stop() {
	s.refilling.Lock()
	defer s.refilling.Unlock()
	for _, conn := range []*nats.Conn{s.conn, s.system} {
		if conn != nil {
			conn.Close()
		}
	}
	s.halt()
	whole := s.conn != nil && s.settle() == nil
	s.mu.Lock()
	for _, f := range s.files {
		f.close()
	}
	s.mu.Unlock()
	s.marks.close()
	if whole {
		_ = os.Remove(filepath.Join(s.cfg.Dir, "running"))
	}
	_ = s.lock.Close()
}

// settle makes all files durable that the stopped server left, so that the next start may believe its indexes.
func (s *Server) settle() error {
	entries, err := os.ReadDir(s.streamsDir())
	if err != nil {
		return passing(err)
	}
	for _, e := range entries {
		if err := s.SyncAll(context.Background(), e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) streamsDir() string { return s.cfg.streamsDir() }

func (cfg *Config) streamsDir() string {
	return filepath.Join(cfg.Dir, server.JetStreamStoreDir, account, "streams")
}

// recover inspects what the server will read, and removes each stream's index.db after an unclean stop. The server would rebuild most of
// them anyway; but one that the kernel wrote out while it lost blocks written before would make the server skip sequences that nobody was
// ever promised, and so leave a gap that looks like damage.
func (s *Server) recover() error {
	running := filepath.Join(s.cfg.Dir, "running")
	_, err := os.Stat(running)
	unclean := err == nil
	// With an index the server reads the last block of a stream; without one all, and it cuts off what follows a damaged record.
	look := inspection{dir: s.cfg.Dir, clean: !unclean, indexed: !unclean}
	switch found, err := look.all(); {
	case err != nil:
		return err
	case len(found) > 0:
		return found[0].corrupt()
	}
	if unclean {
		indexes, err := filepath.Glob(filepath.Join(globEscape(s.streamsDir()), "*", "msgs", "index.db"))
		if err != nil {
			return domain.Wrap(domain.Internal, err, "list the indexes of the log")
		}
		for _, name := range indexes {
			if err := os.Remove(name); err != nil {
				return storageError(err, "remove a stale index of the log")
			}
		}
	}
	f, err := os.OpenFile(running, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return storageError(err, "write to the log directory")
	}
	if err := errors.Join(f.Sync(), f.Close(), syncDir(s.cfg.Dir)); err != nil {
		return storageError(err, "write to the log directory")
	}
	return nil
}

var globMeta = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func globEscape(path string) string { return globMeta.Replace(path) }
