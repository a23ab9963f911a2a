package main

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/mailauth"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/domain/zone"
	"github.com/streampost/streampost/projections/door"
)

// namesBackend is the directory's keys, and the records that DNS should have.
type namesBackend struct {
	*door.Directory
	c *core
}

// Activate has a key sign once its record is in DNS: until then others would take its signatures for forged.
func (b namesBackend) Activate(ctx context.Context, actor, host, selector string, unchecked bool) error {
	if !unchecked {
		key, err := b.DKIMKey(ctx, host, strings.ToLower(selector))
		if err != nil {
			return err
		}
		checked := b.check(ctx, zone.Record{For: "dkim", Name: key.Name, Type: "TXT", Value: key.Record})
		const hint = "publish it, as streampost dkim show prints it, and wait until name servers forget that it was not there; --unchecked does without"
		switch checked.State {
		case zone.OK:
		case zone.Unknown:
			return &domain.Error{Kind: domain.Unavailable, Msg: "it cannot be looked up whether the record " + key.Name + " is there: " + checked.Why, Hint: hint}
		default:
			return &domain.Error{Kind: domain.Conflict, Msg: "the record " + key.Name + " is " + string(checked.State) + " in DNS", Hint: hint}
		}
	}
	return b.ActivateDKIMKey(ctx, actor, host, strings.ToLower(selector))
}

// Records lists what a domain needs.
func (b namesBackend) Records(ctx context.Context, host string, check bool) ([]zone.Checked, error) {
	keys, err := b.DKIMKeys(ctx, host)
	if err != nil {
		return nil, err
	}
	d := zone.Domain{Name: idn.ASCII(host), Host: idn.ASCII(b.c.hostname()), Services: b.c.services()}
	for _, k := range keys {
		d.Keys = append(d.Keys, zone.Key{Name: k.Name, Text: k.Record, Retired: k.Status == "retired"})
	}
	all := make([]zone.Checked, 0, 20)
	for _, r := range zone.Needed(d) {
		all = append(all, zone.Checked{Record: r})
	}
	if !check {
		return all, nil
	}
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = b.check(ctx, all[i].Record) })
	}
	wg.Wait()
	return all, nil
}

// check asks DNS for one record.
func (b namesBackend) check(ctx context.Context, r zone.Record) zone.Checked {
	unknown := func(err error) zone.Checked { return zone.Checked{Record: r, State: zone.Unknown, Why: err.Error()} }
	resolver, err := dns.New(dns.Config{Servers: b.c.cfg.Outbound.Resolvers, Timeout: lookupTime})
	if err != nil {
		return unknown(err)
	}
	kinds := []string{r.Type}
	if r.For == "host" {
		kinds = []string{"A", "AAAA"}
	}
	var found []string
	for _, kind := range kinds {
		some, err := resolver.Values(ctx, r.Name, kind)
		if err != nil && !domain.Is(err, domain.NotFound) {
			return unknown(err)
		}
		found = append(found, some...)
	}
	c := zone.Check(r, found)
	if r.For == "host" && c.State == zone.OK {
		c.State, c.Why = leadsBack(ctx, resolver, r.Name, found)
	}
	if r.For == "spf" && c.State == zone.Different && len(c.Found) == 1 { // Other words may say the same.
		c.State, c.Why = b.sends(ctx, resolver, r.Name)
	}
	return c
}

// leadsBack tells whether the addresses of this server have its name: others refuse mail from addresses without one.
func leadsBack(ctx context.Context, resolver *dns.Resolver, host string, addresses []string) (zone.State, string) {
	for _, text := range addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return zone.Different, text + " is no address"
		}
		names, err := resolver.PTR(ctx, a)
		if err != nil && !domain.Is(err, domain.NotFound) {
			return zone.Unknown, err.Error()
		}
		if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, host) }) {
			return zone.Different, text + " leads back to " + cmp.Or(strings.Join(names, " "), "no name") + " (PTR)"
		}
	}
	return zone.OK, ""
}

// sends tells whether the SPF record of a domain lets this server send.
func (b namesBackend) sends(ctx context.Context, resolver *dns.Resolver, host string) (zone.State, string) {
	addresses, err := resolver.Addresses(ctx, b.c.hostname())
	if err != nil || len(addresses) == 0 {
		return zone.Unknown, "this server's addresses are not in DNS"
	}
	verifier, err := mailauth.New(mailauth.Config{Resolver: resolver, ID: b.c.hostname()})
	if err != nil {
		return zone.Unknown, err.Error()
	}
	for _, a := range addresses {
		switch result := verifier.Allows(ctx, host, a); result {
		case authres.Pass:
		case authres.TempError:
			return zone.Unknown, "it cannot be looked up now"
		default:
			return zone.Different, "for " + a.String() + ", from which this server may send, it says " + string(result)
		}
	}
	return zone.OK, ""
}

// services are the protocols for mail programs, at the ports where they are to be found: those of the listeners for the network, or, where all are for this machine only, the
// usual ones, as somebody in front has them.
func (c *core) services() (all []zone.Service) {
	for _, s := range []struct {
		name   string
		usual  int
		listen []string
	}{
		{"_imaps._tcp", 993, c.cfg.IMAP.ListenTLS}, {"_imap._tcp", 143, c.cfg.IMAP.Listen}, {"_submissions._tcp", 465, c.cfg.Submission.ListenTLS}, {"_submission._tcp", 587, c.cfg.Submission.Listen},
		{"_pop3s._tcp", 995, c.cfg.POP3.ListenTLS}, {"_pop3._tcp", 110, c.cfg.POP3.Listen}, {"_sieve._tcp", 4190, c.cfg.ManageSieve.Listen},
	} {
		port := 0
		for _, address := range s.listen {
			host, text, err := net.SplitHostPort(address)
			if n, bad := strconv.Atoi(text); err == nil && bad == nil && port == 0 {
				if port = s.usual; host != "localhost" && !net.ParseIP(host).IsLoopback() {
					port = n
				}
			}
		}
		all = append(all, zone.Service{Name: s.name, Port: port})
	}
	return all
}
