package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/mailauth"
	"github.com/streampost/streampost/adapters/outbound"
	"github.com/streampost/streampost/adapters/smtp"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/outgoing"
	"github.com/streampost/streampost/projections/processing"
	"github.com/streampost/streampost/projections/tasks/worker"
	streamqueue "github.com/streampost/streampost/streams/queue"
)

// queueOf opens the queue, and has its parts run.
func (c *core) queueOf(ctx context.Context, parts *lifecycle.Group) error {
	node, _, err := c.runners()
	if err != nil {
		return err
	}
	program, err := compilePipeline(&c.cfg.Pipeline)
	if err != nil {
		return err
	}
	secret, err := c.streams.Secret(ctx, "queue")
	if err != nil {
		return err
	}
	open := streamqueue.Config{
		Conn: c.conn, Topology: c.streams.Topology(), Secret: secret, Name: webadmin.QueueName, Node: node, Logger: c.log.With("part", "queue"), Failpoint: c.failpoint,
	}
	if c.nats != nil && c.nodes == nil { // as the log
		open.Syncer = c.nats
	}
	var opened *streamqueue.Queue
	if err := c.patiently(ctx, func() (err error) { opened, err = streamqueue.Open(ctx, open); return err }); err != nil {
		return err
	}
	parts.Start(lifecycle.Part{Name: "queue", Stop: opened.Close})
	boot := rand.Text()
	cfg := outgoing.Config{
		Queue: opened, Blobs: c.store, Hostname: c.hostname(), Node: node, Boot: boot, Logger: c.log.With("part", "outgoing"), Trace: c.traces(), Failpoint: c.failpoint,
		Policy:       queue.Policy{First: c.cfg.Outbound.RetryFirst, Most: c.cfg.Outbound.RetryMost, Warn: c.cfg.Outbound.WarnAfter, Expire: c.cfg.Outbound.ExpireAfter},
		Organisation: mailauth.Organizational, Limits: outgoing.Limits{Connections: c.cfg.Outbound.Connections, PerDestination: c.cfg.Outbound.PerDestination, PerOrganisation: c.cfg.Outbound.PerOrganisation, Bulk: c.cfg.Outbound.BulkRecipients},
		Metrics: outgoing.Metrics{
			Attempt: func(fate queue.Fate, took time.Duration) { c.metrics.Attempted(fate.String(), took) }, Report: c.metrics.Reported, Dropped: c.metrics.Undeliverable,
		},
	}
	if !bouncesDirectly(program) {
		cfg.Bounces = processing.Bounces
	}
	if c.accounts != nil {
		cfg.IsLocal, cfg.Kept, cfg.Origin = c.directory.LocalDomain, c.pledged, c.origin
		cfg.Signer = &mailauth.Signer{Keys: c.directory, Count: c.metrics.Signed, Logger: c.log.With("part", "sign")}
		cfg.Local = &outgoing.Mailboxes{
			Accounts: c.accounts, Directory: c.directory, Filer: c.filer, ReturnPath: c.returnPath, Origin: c.origin,
			Accept: c.mailroom.AcceptAll, Park: c.mailroom.Park,
		}
	}
	sends := c.cfg.Outbound.Enabled && !c.inspecting && c.accounts != nil
	var sender *outbound.Sender
	if sends {
		if sender, err = c.sender(parts); err != nil {
			return err
		}
		parts.Start(lifecycle.Part{Name: "outbound sessions", Stop: sender.Close})
		cfg.Remote = sender
	}
	worker, err := outgoing.New(cfg)
	if err != nil {
		return err
	}
	if sends && c.tlsReports != nil { // before what it counts, so that it ends after it
		parts.Start(lifecycle.Part{Name: "reports about TLS", Run: c.tlsReports.Run, Stop: c.tlsReports.Close})
	}
	if !c.inspecting && c.accounts != nil { // Mailboxes here are served whatever leaves.
		parts.Start(lifecycle.Part{Name: "outgoing mail", Run: worker.Run, Stop: worker.Drain})
	}
	lots, processor, err := c.openPipeline(parts, opened, worker, program, node, boot)
	if err != nil {
		return err
	}
	c.mailroom.set(opened, worker, sender, lots, processor)
	return nil
}

// pledged tells whether an account has the mark by which mail that its script sends counts.
func (c *core) pledged(ctx context.Context, p *queue.Pledge) (kept bool, err error) {
	err = c.accounts.View(ctx, p.Account, func(s *account.State) error {
		kept = s.Scripts.Marks.Has(account.Mark{Kind: account.MarkSent, Name: p.Mark}, 0)
		return nil
	})
	return kept, err
}

// sender makes the client of other servers.
func (c *core) sender(parts *lifecycle.Group) (*outbound.Sender, error) {
	o := c.cfg.Outbound
	name := c.hostname()
	if !delivery.IsDomain(name) {
		return nil, &domain.Error{Kind: domain.Invalid, Msg: fmt.Sprintf("%q cannot be this server's name in mail", name), Hint: "set hostname to a domain name"}
	}
	resolver, err := dns.New(dns.Config{Servers: o.Resolvers, Trust: believed[o.DANE]})
	if err != nil {
		c.log.Warn("mail can leave by routes only", "error", err)
	}
	routes, err := readRoutes(&o)
	if err != nil {
		return nil, err
	}
	cfg := outbound.Config{
		Hostname: name, Resolver: lookups{resolver}, RouteFor: routes.find, Self: c.isSelf, Port: uint16(o.Port), Logger: c.log.With("part", "outbound"), Failpoint: c.failpoint,
		Metrics: outbound.Metrics{Connected: c.metrics.OutboundConnected, Reused: c.metrics.OutboundReused, Failed: c.metrics.OutboundFailed},
	}
	if o.CA != "" {
		roots, err := authorities("outbound.ca", o.CA)
		if err != nil {
			return nil, err
		}
		cfg.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	sources, err := config.ParseSources(o.Sources)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read outbound.sources")
	}
	if o.BATV != "off" {
		cfg.Mark = c.mark
	}
	cfg.Families = families[o.Families]
	cfg.SourcesFor = func(name string) []netip.Addr {
		if own := sources[name]; own != nil {
			return own
		}
		return sources["*"]
	}
	if err := c.secure(&cfg, resolver, parts); err != nil {
		return nil, err
	}
	return outbound.New(cfg)
}

// lookups is a resolver that may not be there.
type lookups struct{ *dns.Resolver }

var errNoResolver = &domain.Error{Kind: domain.Unavailable, Msg: "no name server is known", Hint: "set outbound.resolvers"}

func (l lookups) MX(ctx context.Context, name string) ([]delivery.Exchanger, bool, error) {
	if l.Resolver == nil {
		return nil, false, errNoResolver
	}
	return l.ValidatedMX(ctx, name)
}

func (l lookups) Addresses(ctx context.Context, host string) ([]netip.Addr, bool, error) {
	if l.Resolver == nil {
		return nil, false, errNoResolver
	}
	return l.ValidatedAddresses(ctx, host)
}

// isSelf tells whether an address is that of this server's own listener for mail.
func (c *core) isSelf(at netip.AddrPort) bool {
	for _, listen := range c.cfg.SMTP.Listen {
		if listensAt(config.Shift(listen, c.cfg.PortOffset), at) {
			return true
		}
	}
	return false
}

// listensAt tells whether who connects to an address gets a listener. One without an address of its own, or with the unspecified one, has all of this machine's.
func listensAt(listen string, at netip.AddrPort) bool {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port != strconv.Itoa(int(at.Port())) {
		return false
	}
	to := at.Addr().Unmap().WithZone("")
	own, err := netip.ParseAddr(host)
	if host != "" && (err != nil || !own.Unmap().IsUnspecified()) {
		return err == nil && own.Unmap().WithZone("") == to
	}
	interfaces, err := net.InterfaceAddrs()
	return to.IsUnspecified() || err == nil && slices.ContainsFunc(interfaces, func(a net.Addr) bool {
		network, is := a.(*net.IPNet)
		return is && network.IP.Equal(to.AsSlice())
	})
}

// routes are where mail goes instead of where DNS says.
type routes struct {
	domains map[string]*outbound.Route
	smart   *outbound.Route // nil without one
}

var encryptions = map[string]outbound.Encryption{
	"opportunistic": outbound.Opportunistic, "none": outbound.Plain, "require": outbound.Required, "verify": outbound.Verified, "implicit": outbound.Implicit,
}

var families = map[string]outbound.Families{"ipv6_first": outbound.IPv6First, "ipv4_first": outbound.IPv4First, "ipv6_only": outbound.IPv6Only, "ipv4_only": outbound.IPv4Only}

func readRoutes(o *config.Outbound) (*routes, error) {
	passwords, err := readPasswords(o.Passwords)
	if err != nil {
		return nil, err
	}
	r := &routes{domains: map[string]*outbound.Route{}}
	for _, text := range o.Routes {
		parsed, err := config.ParseRoute(text)
		if err != nil {
			return nil, domain.Wrap(domain.Invalid, err, "read outbound.routes")
		}
		if r.domains[parsed.Domain], err = routeBy(parsed.Hosts, parsed.TLS, passwords); err != nil {
			return nil, err
		}
		r.domains[parsed.Domain].Sources = parsed.Sources
	}
	if len(o.SmartHost) > 0 {
		r.smart, err = routeBy(o.SmartHost, o.SmartHostTLS, passwords)
	}
	return r, err
}

// routeBy makes a route with the login of its hosts. A password goes only to a host whose certificate is checked, and only to that which it is for.
func routeBy(hosts []string, tls string, passwords map[string][2]string) (*outbound.Route, error) {
	login := passwords[hosts[0]]
	for _, host := range hosts[1:] {
		if passwords[host] != login {
			return nil, &domain.Error{
				Kind: domain.Invalid, Msg: fmt.Sprintf("the hosts %s of one route have different logins", strings.Join(hosts, ", ")),
				Hint: "give each of them the same user and password in outbound.passwords, or name one host only",
			}
		}
	}
	r := &outbound.Route{Hosts: hosts, TLS: encryptions[tls], User: login[0], Password: login[1]}
	if r.User != "" && r.TLS != outbound.Verified && r.TLS != outbound.Implicit {
		return nil, &domain.Error{
			Kind: domain.Invalid, Msg: fmt.Sprintf("outbound.passwords has a password for %s, whose certificate is not checked with TLS %q", hosts[0], tls),
			Hint: "set tls=verify or tls=implicit in its route, or outbound.smart_host_tls likewise; where its certificate is your own, name the authority in outbound.ca",
		}
	}
	return r, nil
}

// find gives the route of a domain: its own, that of the nearest domain above, or the smart host.
func (r *routes) find(name string) *outbound.Route {
	if found := r.domains[name]; found != nil {
		return found
	}
	for rest := name; ; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			return r.smart
		}
		if found := r.domains[rest[dot:]]; found != nil {
			return found
		}
		rest = rest[dot+1:]
	}
}

// readPasswords reads lines of host, user and password.
func readPasswords(file string) (map[string][2]string, error) {
	passwords := map[string][2]string{}
	if file == "" {
		return passwords, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read outbound.passwords")
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 3 {
			return nil, domain.Errorf(domain.Invalid, "%s:%d: a line has a host, a user and a password", file, n)
		}
		passwords[words[0]] = [2]string{words[1], words[2]}
	}
	if err := lines.Err(); err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read outbound.passwords")
	}
	return passwords, nil
}

func (c *core) queueSamples(ctx context.Context) []metrics.Sample {
	var traced []metrics.Sample
	if c.tracing != nil {
		traced = []metrics.Sample{metrics.TraceDropped(c.tracing.Dropped())}
	}
	opened, worker := c.mailroom.get()
	if worker == nil {
		return traced
	}
	var size, held, active, destinations int
	var octets int64
	var age time.Duration
	opened.View(func(s *queue.State) {
		size, held, active, destinations, octets = s.Len(), s.Held(), s.Claimed(), s.Destinations(), s.Octets()
		if oldest := s.Oldest(); oldest != nil {
			age = time.Since(time.UnixMilli(oldest.Arrived))
		}
	})
	all := metrics.Queue(webadmin.QueueName, size, held, active, destinations, len(worker.Resting()), octets, age, opened.Damage() == "")
	if stats, err := opened.Stats(ctx); err == nil {
		all = append(all, metrics.QueueBytes(webadmin.QueueName, stats.Octets))
	}
	return append(append(all, metrics.OutboundResting(c.mailroom.resting())), traced...)
}

// lookAtQueue is a health check.
func (c *core) lookAtQueue(context.Context) (health.Status, string) {
	opened, _ := c.mailroom.get()
	if opened == nil {
		return health.Degraded, "the queue cannot be read"
	}
	if damage := opened.Damage(); damage != "" {
		return health.Degraded, "the queue is damaged: " + damage
	}
	return health.Healthy, ""
}

// queueKinds are the tasks about the queue.
func (c *core) queueKinds() []worker.Kind {
	return []worker.Kind{
		{Name: webadmin.TaskQueueClear, Help: "Clear the queue; parameters: queue", Destroys: true, Resumable: true, Check: checkQueue, Run: c.clearQueue},
		{Name: webadmin.TaskQueueDelete, Help: "Delete messages from the queue; parameters: queue, and one of sender, name and recipient", Destroys: true, Resumable: true, Check: checkQueue, Run: c.clearQueue},
	}
}

func checkQueue(_ context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	o := webadmin.JamesQueueOrder{Queue: webadmin.QueueName}
	if err := parameters(text, &o); err != nil {
		return nil, "", err
	}
	if _, err := webadmin.QueueShelf(o.Queue); err != nil {
		return nil, "", err
	}
	return kept(o.Queue, o)
}

// clearedQueue is what was deleted, in James's words.
type clearedQueue struct {
	webadmin.JamesQueueOrder
	Initial   int `json:"initialCount"`
	Remaining int `json:"remainingCount"`
}

func (c *core) clearQueue(ctx context.Context, job worker.Job) (any, error) {
	var o webadmin.JamesQueueOrder
	if err := parameters(job.Parameters, &o); err != nil {
		return nil, err
	}
	opened, worker := c.mailroom.get()
	if worker == nil {
		return nil, errQueueClosed
	}
	shelf, err := webadmin.QueueShelf(o.Queue)
	if err != nil {
		return nil, err
	}
	size := func() (n int) {
		opened.View(func(s *queue.State) { n = s.On(shelf).Len() })
		return n
	}
	f := queue.Filter{Sender: o.Sender, Name: o.Name, Recipient: o.Recipient}
	sum := clearedQueue{JamesQueueOrder: o, Initial: size()}
	if f.All() {
		_, err = worker.Clear(ctx, shelf, actorOf(job))
	} else {
		_, err = worker.Change(ctx, &f, queue.Change{Remove: true, By: actorOf(job), On: shelf}, func(done, total int) { tell(job, "messages")(int64(done), int64(total)) })
	}
	sum.Remaining = size()
	return sum, err
}

// accepts gives submission the queue; nil when nothing is sent.
func (c *core) accepts() smtp.Queue {
	if !c.cfg.Outbound.Enabled {
		return nil
	}
	return &c.mailroom
}

// queued is what of blobs the queue needs.
func (c *core) queued() blobs.Claimant { return &c.mailroom }
