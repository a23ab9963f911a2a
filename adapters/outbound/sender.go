package outbound

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
)

// Sender hands messages to other servers. Its methods may be called at once from many goroutines.
type Sender struct {
	cfg     Config
	breaker breaker // of addresses

	mu     sync.Mutex
	idle   map[string][]*session
	closed bool
}

// New makes a Sender. Errors: domain.Invalid.
func New(cfg Config) (*Sender, error) {
	if cfg.Resolver == nil || !delivery.IsDomain(cfg.Hostname) {
		return nil, domain.Errorf(domain.Invalid, "a sender of mail needs a resolver and a host name, and %q is none", cfg.Hostname)
	}
	cfg.setDefaults()
	return &Sender{cfg: cfg, idle: map[string][]*session{}, breaker: breaker{
		failures: cfg.Limits.Failures, rest: cfg.Limits.Rest, most: cfg.Limits.RestMost, remembers: cfg.Limits.Resting, now: cfg.Clock, known: map[string]*list.Element{},
	}}, nil
}

// Wake has addresses tried again that rest.
func (s *Sender) Wake() { s.breaker.wake() }

// Resting is how many addresses are passed over because they could not be reached.
func (s *Sender) Resting() int { return s.breaker.count() }

// Close ends the sessions that nobody uses, and those in use when they are given back.
func (s *Sender) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, list := range s.idle {
		for _, n := range list {
			n.expires.Stop()
			_ = n.conn.Close()
		}
	}
	s.idle = nil
	return nil
}

// Deliver hands an entry's message to a server that takes it, and gives an outcome for each recipient. reached says that some host could be spoken to. It returns when it is
// done or ctx has ended.
func (s *Sender) Deliver(ctx context.Context, e *queue.Entry, open queue.Open) (outcomes []queue.Outcome, reached bool) {
	left := e.Recipients
	key := s.key(e)
	for len(left) > 0 {
		some, ok := s.deliver(ctx, e, left, key, open)
		reached = reached || ok || e.TLS == queue.TLSRequired // that it does not get through means nothing for others
		again := postponed(some)
		for _, o := range some {
			if len(again) == len(left) || !again[o.Recipient.Address] {
				outcomes = append(outcomes, o)
			}
		}
		if len(again) == len(left) || ctx.Err() != nil {
			break
		}
		var next []queue.Recipient
		for _, r := range left {
			if again[r.Address] {
				next = append(next, r)
			}
		}
		left = next
	}
	return outcomes, reached
}

// postponed tells which recipients want another transaction at once: the peer took some, and says that it had too many (RFC 5321 section 4.5.3.1.10).
func postponed(outcomes []queue.Outcome) map[string]bool {
	again := map[string]bool{}
	for _, o := range outcomes {
		if o.Fate == queue.Deferred && o.Status == "4.5.3" {
			again[o.Recipient.Address] = true
		}
	}
	return again
}

// key names where an entry goes: sessions of one key may serve all its entries.
func (s *Sender) key(e *queue.Entry) string {
	from := sourceKey(s.sourcesOf(e))
	if r := s.routeOf(e); r != nil { // all of it: a session is good only for who makes the same demands
		return fmt.Sprintf("route %q %d %q %q %s %s", r.Hosts, r.TLS, r.User, r.Password, e.TLS, from)
	}
	return e.Domain + " " + e.TLS + " " + from
}

// routeOf is the way of an entry; nil means that DNS knows. Another host for it has to meet what its domain's route demands, and gets no password.
func (s *Sender) routeOf(e *queue.Entry) *Route {
	r := s.cfg.RouteFor(e.Domain)
	if e.Via == "" {
		return r
	}
	via := &Route{Hosts: []string{e.Via}}
	if r != nil {
		via.TLS, via.Sources = r.TLS, r.Sources
	}
	return via
}

// deliver tries one host after the other until one has answered to the message.
func (s *Sender) deliver(ctx context.Context, e *queue.Entry, to []queue.Recipient, key string, open queue.Open) ([]queue.Outcome, bool) {
	if n := s.take(key); n != nil {
		n.watch(ctx)
		outcomes, begun, err := n.transact(ctx, e, to, open)
		s.give(n, err)
		if begun {
			return outcomes, true
		}
	}
	targets, refused := s.targets(ctx, e)
	if refused != nil {
		return fate(to, refused), false
	}
	last := &failure{queue.Deferred, "4.4.1", "no host could be reached"}
	var soft []queue.Outcome
	reached, lacking := false, 0
	for _, t := range targets {
		if ctx.Err() != nil {
			last = &failure{queue.Deferred, "4.4.2", "the attempt took too long"}
			break
		}
		n, err := s.dial(ctx, t)
		if err != nil {
			told(s.cfg.Metrics.Failed)
			s.cfg.Logger.Info("host not usable", "peer", t.host, "address", t.address, "error", err)
			last = unusable(t, err)
			continue
		}
		if e.TLS == queue.TLSRequired && !n.has("REQUIRETLS") { // RFC 8689 section 4.2.1: the next one may have it.
			lacking++
			n.messages = s.cfg.Limits.Messages // that is all
			s.give(n, nil)
			continue
		}
		n.key, reached = key, true
		call(s.cfg.Metrics.Connected, n.tls)
		outcomes, begun, err := n.transact(ctx, e, to, open)
		s.give(n, err)
		switch {
		case begun && !allDeferred(outcomes):
			return outcomes, true
		case len(outcomes) > 0: // another host may be in a better mood
			soft = outcomes
		case err != nil:
			last = unusable(t, err)
		}
		if begun && err != nil { // the message may be there: another host would get it, too
			return outcomes, true
		}
	}
	if soft != nil {
		return soft, true
	}
	if lacking > 0 && lacking == len(targets) { // RFC 8689 section 5
		last = &failure{queue.Failed, "5.7.30", "the sender demands verified TLS on the whole way, and no host of " + e.Domain + " can promise it (REQUIRETLS)"}
	}
	return fate(to, last), reached
}

func told(f func()) {
	if f != nil {
		f()
	}
}

func allDeferred(outcomes []queue.Outcome) bool {
	for _, o := range outcomes {
		if o.Fate != queue.Deferred {
			return false
		}
	}
	return true
}

// failure is why no host could be asked.
type failure struct {
	fate   queue.Fate
	status string // RFC 3463
	text   string
}

func fate(to []queue.Recipient, f *failure) (outcomes []queue.Outcome) {
	for _, r := range to {
		outcomes = append(outcomes, queue.Outcome{Recipient: r, Fate: f.fate, Status: f.status, Text: f.text})
	}
	return outcomes
}

// unusable says what is wrong with a host. Whatever it is, time may mend it.
func unusable(t target, err error) *failure {
	f := &failure{queue.Deferred, "4.4.1", fmt.Sprintf("%s (%s): %v", t.host, t.address, err)}
	var refused *refusal
	var failed *handshakeError
	var network *net.OpError
	switch {
	case errors.As(err, &failed), errors.Is(err, errNoTLS):
		f.status = "4.7.5"
	case errors.As(err, &refused):
		f.status, f.text = "4.4.0", fmt.Sprintf("%s said to %s: %s", t.host, refused.doing, refused.text)
		if strings.HasPrefix(refused.status, "4.") {
			f.status = refused.status
		}
	case t.source.IsValid() && errors.Is(err, syscall.EADDRNOTAVAIL):
		f.status, f.text = "4.3.5", fmt.Sprintf("this server cannot connect from %s, which is none of its addresses", t.source)
	case errors.As(err, &network) && network.Op == "dial":
		f.text = fmt.Sprintf("cannot connect to %s (%s): %v", t.host, t.address, network.Err)
	case errors.Is(err, errLine), errors.Is(err, errLines), errors.Is(err, errForm):
		f.status = "4.5.0"
	}
	return f
}

// targets finds the hosts for an entry.
func (s *Sender) targets(ctx context.Context, e *queue.Entry) ([]target, *failure) {
	var all []target
	var failed *failure
	if r := s.routeOf(e); r != nil {
		all, failed = s.route(ctx, r, e.TLS == queue.TLSRequired)
	} else {
		all, failed = s.exchangers(ctx, e)
	}
	if failed != nil {
		return nil, failed
	}
	return fromSources(all, s.sourcesOf(e))
}

// route finds the addresses of a route's hosts. verified demands TLS with a certificate whatever the route says.
func (s *Sender) route(ctx context.Context, r *Route, verified bool) (all []target, last *failure) {
	for _, h := range r.Hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil {
			host, port = strings.Trim(h, "[]"), strconv.Itoa(int(s.cfg.Port))
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			last = &failure{queue.Deferred, "4.3.5", fmt.Sprintf("the route's host %q has no port between 1 and 65535", h)}
			continue
		}
		found, failed := s.addresses(ctx, host, uint16(number), chosen)
		if failed != nil {
			last = failed
		}
		for _, t := range found {
			t.tls, t.user, t.secret = r.TLS, r.User, r.Password
			if verified && t.tls != Implicit {
				t.tls = Verified
			}
			all = append(all, t)
		}
	}
	if len(all) > 0 {
		return all[:min(len(all), s.cfg.Limits.Hosts)], nil
	}
	last.fate, last.status = queue.Deferred, "4"+last.status[1:] // a route that is wrong is the operator's to mend, not a reason to return mail
	return nil, last
}

// exchangers finds those of a domain (RFC 5321 section 5.1).
func (s *Sender) exchangers(ctx context.Context, e *queue.Entry) (all []target, _ *failure) {
	name := e.Domain
	if strings.HasPrefix(name, "[") { // RFC 5321 section 4.1.3.
		a, err := netip.ParseAddr(strings.TrimPrefix(strings.ToLower(strings.Trim(name, "[]")), "ipv6:"))
		if err != nil {
			return nil, &failure{queue.Failed, "5.1.2", "the address literal " + name + " cannot be reached"}
		}
		if e.TLS == queue.TLSRequired {
			return nil, &failure{queue.Failed, "5.7.30", "the sender demands verified TLS on the whole way, and nothing vouches for the host at " + name}
		}
		return s.addresses(ctx, a.String(), s.cfg.Port, literal)
	}
	records, secure, err := s.cfg.Resolver.MX(ctx, name)
	switch {
	case domain.Is(err, domain.NotFound):
		return nil, &failure{queue.Failed, "5.1.2", "the domain " + name + " does not exist"}
	case err != nil:
		return nil, &failure{queue.Deferred, "4.4.3", err.Error()}
	case delivery.NullMX(records):
		return nil, &failure{queue.Failed, "5.1.10", "the domain " + name + " takes no mail (null MX)"} // RFC 7505 section 4.2.
	}
	g := s.guard(ctx, e)
	g.secure = secure
	if len(records) == 0 {
		found, failed := s.addresses(ctx, name, s.cfg.Port, only)
		if failed == nil {
			found, failed = s.protect(ctx, g, name, found)
		}
		return found[:min(len(found), s.cfg.Limits.Hosts)], failed
	}
	hosts, loop := delivery.Exchangers(records, s.cfg.Hostname, s.cfg.Shuffle)
	if loop {
		return nil, &failure{queue.Failed, "5.4.6", "mail for " + name + " loops back to this server, which does not know the domain"}
	}
	last := &failure{queue.Failed, "5.4.4", "no mail exchanger of " + name + " has an address"}
	for n, host := range hosts {
		found, failed := s.addresses(ctx, host, s.cfg.Port, exchanger)
		if failed != nil && failed.status == "5.4.6" { // what is not better than this server is not tried
			if n == 0 {
				last = failed
			}
			break
		}
		if failed == nil {
			found, failed = s.protect(ctx, g, host, found)
		}
		if failed != nil && (failed.fate == queue.Deferred || failed.status == "5.7.30" && last.fate == queue.Failed) {
			last = failed
		}
		if all = append(all, found...); len(all) >= s.cfg.Limits.Hosts {
			break
		}
	}
	if len(all) > 0 {
		return all[:min(len(all), s.cfg.Limits.Hosts)], nil
	}
	return nil, last
}

// Why a host is looked up.
const (
	chosen    = iota // by the operator
	exchanger        // by DNS, as one of several
	only             // by a user, as the only one: a name without any address cannot have mail
	literal          // by a user, as an address (RFC 5321 section 4.1.3)
)

// addresses finds those of a host. Only the operator can mean this machine or its neighbours: services there may trust whoever connects from here.
func (s *Sender) addresses(ctx context.Context, host string, port uint16, why int) (all []target, _ *failure) {
	var addresses []netip.Addr
	var secure bool
	if a, err := netip.ParseAddr(host); err == nil {
		if why == chosen || why == literal { // RFC 5321 section 5.1: DNS names a host by its name only.
			addresses = []netip.Addr{a}
		}
	} else if addresses, secure, err = s.cfg.Resolver.Addresses(ctx, host); err != nil && !domain.Is(err, domain.NotFound) {
		return nil, &failure{queue.Deferred, "4.4.3", err.Error()}
	}
	for i, a := range addresses { // ::ffff:0.0.0.0 is this machine, too
		addresses[i] = a.Unmap()
		if why != chosen {
			addresses[i] = addresses[i].WithZone("")
		}
	}
	if why != chosen {
		addresses = slices.DeleteFunc(addresses, func(a netip.Addr) bool {
			return a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast()
		})
	}
	if len(addresses) == 0 {
		f := &failure{queue.Failed, "5.4.4", "the host " + host + " has no address"}
		if why == only || why == literal {
			f.status, f.text = "5.1.2", "the domain "+host+" has neither a mail exchanger nor an address"
		}
		return nil, f
	}
	ordered := s.cfg.Families.order(addresses)
	if len(ordered) == 0 {
		return nil, &failure{queue.Deferred, "4.4.4", "the host " + host + " has no address of the only family that is to be used"}
	}
	for _, a := range ordered {
		at := netip.AddrPortFrom(a, port)
		if s.cfg.Self(at) {
			return nil, &failure{queue.Failed, "5.4.6", "mail for " + host + " loops back to this server"}
		}
		all = append(all, target{host: host, address: at.String(), secure: secure})
	}
	return all, nil
}

// take gives a session that waits for its next message.
func (s *Sender) take(key string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for list := s.idle[key]; len(list) > 0; list = s.idle[key] {
		n := list[len(list)-1]
		if s.idle[key] = list[:len(list)-1]; len(list) == 1 {
			delete(s.idle, key)
		}
		if n.expires.Stop() {
			told(s.cfg.Metrics.Reused)
			return n
		}
	}
	return nil
}

// give keeps a session for its next message, or ends it.
func (s *Sender) give(n *session, err error) {
	if !n.stop() { // the context has ended: deadlines are spoilt
		n.broken = true
	}
	if err != nil || n.broken || n.messages >= s.cfg.Limits.Messages {
		if !n.broken && err == nil {
			_ = n.conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = n.out.WriteString("QUIT\r\n")
			_ = n.out.Flush()
		}
		_ = n.conn.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = n.conn.Close()
		return
	}
	n.expires = time.AfterFunc(s.cfg.Limits.Idle, func() { s.expire(n) })
	s.idle[n.key] = append(s.idle[n.key], n)
}

// expire ends a session that nobody wanted.
func (s *Sender) expire(n *session) {
	s.mu.Lock()
	list := s.idle[n.key]
	for i, other := range list {
		if other == n {
			s.idle[n.key] = append(list[:i:i], list[i+1:]...)
			if len(s.idle[n.key]) == 0 {
				delete(s.idle, n.key)
			}
			break
		}
	}
	s.mu.Unlock()
	_ = n.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = n.out.WriteString("QUIT\r\n")
	_ = n.out.Flush()
	_ = n.conn.Close()
}
