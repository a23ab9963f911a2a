package natsd

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
)

// ExternalConfig says where an existing NATS is and how to get in.
//
// Best give the installation a NATS account of its own, with JetStream. What it needs in a shared one is listed in docs/operator.md, "An
// external NATS", and a test grants it nothing else.
type ExternalConfig struct {
	URL            string      // one or more, separated by commas: nats://host:4222
	Credentials    string      // a .creds file; optional
	User, Password string      // optional
	Token          string      // optional
	TLS            *tls.Config // optional; a tls:// URL uses the system's roots without it
	// Prefix is that of the log. Answers come to subjects of their own under it, so that installations which share an account cannot read each
	// other's.
	Prefix string
	// Monitor lists the HTTP monitoring addresses of all servers, http://host:8222, from which Durability reads their settings. Optional.
	Monitor []string
	// Logger is told when the connection is lost and found; nil discards.
	Logger *slog.Logger
}

// How a lost connection is noticed and found again. A client whose server freezes learns of it after two pings without an answer.
const (
	pingInterval    = time.Second
	pingsMissed     = 2
	reconnectWait   = 100 * time.Millisecond
	reconnectJitter = 200 * time.Millisecond
	dialTimeout     = 5 * time.Second
	monitorTimeout  = 2 * time.Second
	// reconnectBuffer holds nothing back while the connection is lost: an append either reaches the server or is known not to have.
	reconnectBuffer = -1
)

// External is a connection to a NATS that somebody else runs. Its server acknowledges appends when it has made them durable, or at least it
// should: see Durability.
type External struct {
	conn    *nats.Conn
	monitor []string
	http    *http.Client // asks monitoring addresses
}

// Dial connects to an existing NATS. The connection then finds its way back by itself until Close.
func Dial(ctx context.Context, cfg ExternalConfig) (*External, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	options := []nats.Option{
		nats.Name("streampost"),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsMissed),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(reconnectBuffer),
		// The client would give up for ever after two refusals. Credentials are renewed and accounts repaired while we run.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(c *nats.Conn, err error) {
			if !c.IsClosed() {
				log.Warn("the connection to NATS is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("the connection to NATS is back", "server", c.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS reports an error", "error", err) }),
	}
	if cfg.Credentials != "" {
		options = append(options, nats.UserCredentials(cfg.Credentials))
	}
	if cfg.User != "" {
		options = append(options, nats.UserInfo(cfg.User, cfg.Password))
	}
	if cfg.Token != "" {
		options = append(options, nats.Token(cfg.Token))
	}
	if cfg.TLS != nil {
		options = append(options, nats.Secure(cfg.TLS))
	}
	if cfg.Prefix != "" {
		options = append(options, nats.CustomInboxPrefix(nats.InboxPrefix+cfg.Prefix))
	}
	conn, err := nats.Connect(cfg.URL, options...)
	if err != nil {
		return nil, &domain.Error{
			Kind: domain.Unavailable,
			Msg:  "cannot connect to the NATS server of the log",
			Hint: "check the URL, the credentials and the certificates of both sides",
			Err:  err,
		}
	}
	transport := &http.Transport{TLSClientConfig: cfg.TLS, DisableKeepAlives: true} // a few questions at the start and for doctor
	return &External{conn: conn, monitor: cfg.Monitor, http: &http.Client{Transport: transport}}, nil
}

// Conn is the connection.
func (e *External) Conn() *nats.Conn { return e.conn }

// Close ends the connection.
func (e *External) Close(context.Context) error {
	e.conn.Close()
	return nil
}

// Durability is what can be known of when the servers make appends durable.
type Durability struct {
	Servers []ServerDurability `json:"servers"`
	// Safe is true only when every server that exists is known to sync before it acknowledges.
	Safe bool `json:"safe"`
	// Unknown says what could not be known, and why; empty when all is.
	Unknown string `json:"unknown,omitempty"`
}

// ServerDurability is one server's setting.
type ServerDurability struct {
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	Always   bool          `json:"sync_always"`
	Interval time.Duration `json:"sync_interval"` // of the lazy sync, where Always is false
}

// String is one line for the operator.
func (d *Durability) String() string {
	var parts []string
	for _, s := range d.Servers {
		setting := "sync_interval: always"
		if !s.Always {
			setting = fmt.Sprintf("sync_interval: %v: a power failure may lose what was acknowledged that long before", s.Interval)
		}
		parts = append(parts, fmt.Sprintf("%s (%s): %s", s.Name, s.Version, setting))
	}
	if d.Unknown != "" {
		parts = append(parts, d.Unknown)
	}
	return strings.Join(parts, "; ")
}

// varz is what is needed of a server's own description.
type varz struct {
	ID        string `json:"server_id"`
	Name      string `json:"server_name"`
	Version   string `json:"version"`
	JetStream struct {
		Config *struct {
			SyncAlways   bool          `json:"sync_always"`
			SyncInterval time.Duration `json:"sync_interval"`
		} `json:"config"`
		Meta struct {
			Size int `json:"cluster_size"` // servers with JetStream; 0 for one that stands alone
		} `json:"meta"`
	} `json:"jetstream"`
}

// Durability asks the servers for their settings: at their monitoring addresses when they are configured, else over NATS, which answers
// only to the system account. It never guesses: what it could not learn it says.
func (e *External) Durability(ctx context.Context) Durability {
	var unknown []string
	var all []*varz
	for _, address := range e.monitor {
		v, err := e.readVarz(ctx, address)
		if err != nil {
			unknown = append(unknown, fmt.Sprintf("%s cannot be asked: %v", address, err))
			continue
		}
		all = append(all, v)
	}
	if len(e.monitor) == 0 {
		all = e.pingVarz(ctx)
	}
	d := Durability{Safe: true}
	size := d.add(all)
	switch known := len(d.Servers); {
	case known == 0 && len(e.monitor) == 0:
		unknown = append(unknown, "whether the NATS servers sync before they acknowledge cannot be known from here: name their monitoring addresses, "+
			"or make sure of \"sync_interval: always\" in the jetstream section of each")
	case known == 0 && len(unknown) == 0:
		unknown = append(unknown, "none of the servers has JetStream")
	case known < size:
		unknown = append(unknown, fmt.Sprintf("%d of the %d servers with JetStream in the cluster are known", known, size))
	}
	d.Unknown = strings.Join(unknown, "; ")
	d.Safe = d.Safe && d.Unknown == ""
	return d
}

// add notes each server once, and gives the size of their cluster.
func (d *Durability) add(all []*varz) (size int) {
	var seen []string
	for _, v := range all {
		if v.JetStream.Config == nil || slices.Contains(seen, v.ID) { // a server without JetStream keeps nothing
			continue
		}
		seen = append(seen, v.ID)
		s := ServerDurability{Name: v.Name, Version: v.Version, Always: v.JetStream.Config.SyncAlways, Interval: v.JetStream.Config.SyncInterval}
		d.Servers = append(d.Servers, s)
		d.Safe = d.Safe && s.Always
		size = max(size, v.JetStream.Meta.Size)
	}
	return size
}

func (e *External) readVarz(ctx context.Context, address string) (*varz, error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/varz", nil)
	if err != nil {
		return nil, err
	}
	response, err := e.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", response.Status)
	}
	v := new(varz)
	return v, json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(v)
}

// pingVarz asks all servers of the cluster, as the system account may.
func (e *External) pingVarz(ctx context.Context) (all []*varz) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	inbox := e.conn.NewInbox()
	sub, err := e.conn.SubscribeSync(inbox)
	if err != nil {
		return nil
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := e.conn.PublishRequest("$SYS.REQ.SERVER.PING.VARZ", inbox, nil); err != nil {
		return nil
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil || m.Header.Get("Status") != "" { // nobody answers, or nobody else
			return all
		}
		var answer struct {
			Data varz `json:"data"`
		}
		if json.Unmarshal(m.Data, &answer) == nil {
			all = append(all, &answer.Data)
		}
	}
}
