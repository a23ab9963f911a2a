package natsd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/nodes"
)

// Cluster makes the server one of several that keep the log together. Every server then syncs before it acknowledges (SyncAlways), and an append is
// acknowledged when a quorum has it on disk.
type Cluster struct {
	// Node is the server's name: unique among them, and kept for as long as its directory.
	Node string
	// Listen is the host:port where the others reach it.
	Listen string
	// Advertise is the host:port that the others are told, where that is not Listen. Optional.
	Advertise string
	// Seeds are addresses, host:port, of others; one that lives is enough, and one may be the server's own.
	Seeds []string
	// TLS secures the connections between servers, both as client and as server. It decides who is let in.
	TLS *tls.Config
	// Zone is where the server stands: streams put no two copies into one zone. Optional; all servers have one or none has.
	Zone string
	// Copies is how many servers keep each stream at least; 3 if zero. Fewer servers that find nothing on their disks never begin a cluster of their own.
	Copies int
	// Adopt makes the log of a server that stood alone that of the first node of a cluster, with every stream in one copy: see Scale.
	Adopt bool
}

const (
	clusterName = "streampost"
	// routeTLSTimeout bounds a handshake between servers, which a loaded machine may delay.
	routeTLSTimeout = 10 // seconds
	// routePing is how often a server asks another whether it is there; after routePings without an answer it is not.
	routePing  = time.Second
	routePings = 3
)

// apply adds the cluster to the options of a server.
func (c *Cluster) apply(opts *server.Options) error {
	host, port, err := splitAddress(c.Listen)
	if err != nil {
		return domain.Wrap(domain.Invalid, err, "read the address where the nodes of the cluster meet")
	}
	if c.Node == "" || c.TLS == nil {
		return domain.Errorf(domain.Invalid, "a node of a cluster needs a name and certificates")
	}
	opts.ServerName = c.Node
	opts.SyncAlways = true
	opts.Cluster = server.ClusterOpts{
		Name: clusterName, Host: host, Port: port, Advertise: c.Advertise, TLSConfig: c.TLS, TLSTimeout: routeTLSTimeout,
		PingInterval: routePing, MaxPingsOut: routePings, NoAdvertise: true,
	}
	for _, seed := range c.Seeds {
		if _, _, err := splitAddress(seed); err != nil {
			return domain.Wrap(domain.Invalid, err, "read the address of another node")
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: seed})
	}
	// A server with an empty disk takes the members of a new cluster to be as many as its routes, and a majority of servers with empty disks would give up
	// what the others have. With as many routes as there are copies it takes the votes of so many. One to itself is closed at once and not tried again.
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	for len(opts.Routes) < max(c.Copies, 3) {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: net.JoinHostPort(host, strconv.Itoa(port))})
	}
	if c.Zone != "" {
		opts.Tags.Add("zone:" + c.Zone)
		opts.JetStreamUniqueTag = "zone"
	}
	return nil
}

// lock gives a node a listener for clients that nobody can use, where it is to have none: without any, the server never meets the others. And it gives
// this process a way into the system account, from where members are removed and leaders step down; its password is drawn at each start.
func (cfg *Config) lock(opts *server.Options) {
	if cfg.Listen == "" {
		opts.DontListen, opts.Host, opts.Port = false, "127.0.0.1", server.RANDOM_PORT
		cfg.User, cfg.Password = clusterName, rand.Text()
	}
	system := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
	user := &server.User{Username: cfg.User, Password: cfg.Password}
	if cfg.User == "" { // whoever reaches the listener, as where a server stands alone
		user.Username, user.Password = clusterName, rand.Text()
		opts.NoAuthUser = user.Username
	}
	cfg.system = &server.User{Username: "system-" + rand.Text(), Password: rand.Text(), Account: system}
	opts.Username, opts.Password = "", ""
	opts.Accounts, opts.SystemAccount = []*server.Account{system}, system.Name
	opts.Users = []*server.User{user, cfg.system}
}

func splitAddress(address string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(number)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("%q has no port between 1 and 65535", address)
	}
	return host, port, nil
}

// kind refuses a directory of the other kind: the server would take the streams of one that stood alone for orphans and delete them, and would
// serve the streams of a node as if it had all that a quorum acknowledged.
func (cfg *Config) kind() error {
	streams, err := os.ReadDir(cfg.streamsDir())
	if err != nil {
		return passing(err) // it is new
	}
	_, err = os.Stat(cfg.metaDir())
	switch node := err == nil; {
	case node && cfg.Cluster == nil:
		return &domain.Error{
			Kind: domain.Invalid, Msg: "the log in " + cfg.Dir + " is that of a node of a cluster",
			Hint: "start it with the secret of the cluster, as before: alone it may lack what the other nodes acknowledged",
		}
	case !node && cfg.Cluster != nil && len(streams) > 0:
		return &domain.Error{
			Kind: domain.Invalid, Msg: "the log in " + cfg.Dir + " is that of a server which stands alone",
			Hint: "streampost cluster grow makes it the first node of a cluster; else start it without the secret, or start the node on an empty data directory",
		}
	}
	return nil
}

// keepName refuses a directory that was kept under another name: to the other nodes its owner would be a stranger, whose copies of the streams are removed.
func (cfg *Config) keepName() error {
	if cfg.Cluster == nil {
		return nil
	}
	file := filepath.Join(cfg.Dir, "node")
	kept, err := os.ReadFile(file)
	switch name := strings.TrimSpace(string(kept)); {
	case errors.Is(err, fs.ErrNotExist):
		err = os.WriteFile(file+".tmp", []byte(cfg.Cluster.Node+"\n"), 0o600)
		if err == nil {
			err = errors.Join(os.Rename(file+".tmp", file), syncDir(cfg.Dir))
		}
		if err != nil {
			return storageError(err, "write to the log directory")
		}
	case err != nil:
		return storageError(err, "read the log directory")
	case name != cfg.Cluster.Node:
		return &domain.Error{
			Kind: domain.Invalid, Msg: fmt.Sprintf("the log in %s is that of node %s, and this node is called %s", cfg.Dir, name, cfg.Cluster.Node),
			Hint: "set cluster.node to " + name + ": under another name the cluster would take its copy of the log for nobody's and remove it",
		}
	}
	return nil
}

// Gathered is what a server knows of its cluster.
type Gathered struct {
	Leader  string   // that decides where streams lie; empty while there is none
	Members []string // with a log, the server's own among them; by their ids where the server has not met them since its own start
	Nodes   []string // those of the members that are there

	unmet []string // ids in Members
}

// Gathered tells who is there.
func (s *Server) Gathered() Gathered {
	nats := s.nats.Load()
	info, err := nats.Jsz(nil)
	if err != nil || info.Meta == nil {
		return Gathered{}
	}
	g := Gathered{Leader: info.Meta.Leader, Members: []string{nats.Name()}, Nodes: []string{nats.Name()}}
	for _, r := range info.Meta.Replicas {
		name := nameOf(r)
		if name == nats.Name() {
			continue
		}
		if g.Members = append(g.Members, name); !r.Offline {
			g.Nodes = append(g.Nodes, name)
		}
		if name != r.Name {
			g.unmet = append(g.unmet, name)
		}
	}
	slices.Sort(g.Members)
	slices.Sort(g.Nodes)
	return g
}

// How often Gather looks, and says what it waits for.
const (
	gatherEvery = 100 * time.Millisecond
	gatherTell  = 2 * time.Second
)

// Gather waits until the servers of the cluster have a leader and the log can be read, which exists tells. Who founds the cluster waits only until there
// are as many servers as the log is to have copies.
func (s *Server) Gather(ctx context.Context, copies int, founds bool, exists func(context.Context) bool) error {
	tick := time.NewTicker(gatherEvery)
	defer tick.Stop()
	for told := time.Now(); ; {
		g := s.Gathered()
		if g.Leader != "" && (founds && len(g.Nodes) >= copies || exists(ctx)) {
			return nil
		}
		if time.Since(told) > gatherTell {
			told = time.Now()
			s.cfg.Logger.Info("waiting for the other nodes of the cluster", "node", s.nats.Load().Name(), "here", g.Nodes, "routes", s.nats.Load().NumRoutes(), "needed", copies)
			if founds && copies > 2 && s.nats.Load().NumRoutes() > 0 && len(g.Nodes) < 3 {
				s.cfg.Logger.Warn(twoNodes)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &domain.Error{
				Kind: domain.Unavailable, Msg: fmt.Sprintf("the cluster does not come together: %d copies of the log need as many nodes, and here are %v", copies, g.Nodes),
				Hint: "start the other nodes with the same secret, and let them reach this one's address; two can do with a witness for the third", Err: ctx.Err(),
			}
		}
	}
}

// twoNodes explains what a third one is for.
const twoNodes = "two nodes are not enough: when one does not hear the other, it cannot tell a dead neighbour from a cut cable, and both going on would lose mail. " +
	"Start a third node, whose voice decides; it may be one that keeps the log and serves no mail: streampost serve --witness --join HOST"

// Replicas describes this server's copies of the streams.
func (s *Server) Replicas() ([]nodes.Replica, error) {
	nats := s.nats.Load()
	info, err := nats.Jsz(&server.JSzOptions{Account: account, Accounts: true, Streams: true, Config: true})
	if err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "list the streams of the log server")
	}
	if info.Disabled {
		return nil, domain.Errorf(domain.Unavailable, "the log server of this node does not run")
	}
	var all []nodes.Replica
	for _, a := range info.AccountDetails {
		for _, stream := range a.Streams {
			r := nodes.Replica{
				Stream: stream.Name, First: stream.State.FirstSeq, Last: stream.State.LastSeq, Entries: stream.State.Msgs,
				Current: nats.JetStreamIsStreamCurrent(account, stream.Name),
			}
			if stream.Cluster != nil {
				r.Leader, r.Group = stream.Cluster.Leader, stream.Cluster.RaftGroup
			}
			r.Log = stream.Config != nil && stream.Config.DenyDelete && stream.Config.DenyPurge
			all = append(all, r)
		}
	}
	return all, nil
}

// Name is the server's name in its cluster.
func (s *Server) Name() string { return s.nats.Load().Name() }
