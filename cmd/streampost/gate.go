package main

import (
	"context"
	"strings"

	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/gate"
	"github.com/streampost/streampost/adapters/mailauth"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/greylist"
)

// gate makes what looks at clients of the port for mail of other servers, and counts what is taken of rates.
func (c *core) gate(rates gate.Rates, gossip *streams.Gossip, greylist *gate.Greylist) (*gate.Gate, error) {
	lists, names := c.cfg.SMTP.Lists, c.cfg.SMTP.Names
	cfg := gate.Config{
		ID: c.results(), Limits: gate.Limits{Time: lists.Time, Open: lists.Parallel}, Listed: c.metrics.Listed, Named: c.metrics.Named, Logger: c.log.With("part", "gate"),
		Helo: names.Helo != "off", Own: []string{strings.TrimSuffix(idn.ASCII(c.hostname()), ".")},
		Strict: admission.Strictness{Nameless: names.Reverse == "missing" || names.Reverse == "refuse", Mismatch: names.Reverse == "refuse", Helo: names.Helo == "refuse"},
	}
	cfg.Rates, cfg.Greylist = rates, greylist
	if gossip != nil { // not an interface of nothing
		cfg.Gossip = gossip
	}
	if len(lists.Zones) > 0 || names.Reverse != "off" {
		resolver, err := dns.New(dns.Config{Servers: c.cfg.Outbound.Resolvers, Timeout: lookupTime})
		if err != nil {
			c.log.Warn("DNS cannot be asked about clients", "error", err)
		} else {
			cfg.Resolver, cfg.Reverse = resolver, names.Reverse != "off"
			if cfg.Lists, err = dnsLists(lists.Zones); err != nil {
				return nil, err
			}
		}
	}
	return gate.New(cfg)
}

// openGate makes the gate of this server, which all its listeners share.
func (s *server) openGate(ctx context.Context) (err error) {
	r := s.cfg.Rates
	rates := gate.Rates(r)
	var gossip *streams.Gossip
	if r.Remembered = 0; r != (config.Rates{}) {
		if gossip, err = s.streams.Gossip(ctx, "rates"); err != nil {
			return err
		}
	}
	list, err := s.greylist(ctx)
	if err != nil {
		return err
	}
	if s.porter, err = s.gate(rates, gossip, list); err != nil {
		return err
	}
	if gossip != nil {
		if err := s.porter.Hear(); err != nil {
			s.log.Warn("what other nodes take of rates is not heard: each node counts alone", "error", err)
		}
	}
	s.group.Start(lifecycle.Part{Name: "gate", Run: s.porter.Run, Stop: func(ctx context.Context) error {
		if gossip == nil {
			return nil
		}
		return gossip.Close(ctx)
	}})
	return nil
}

// greylist opens what greylisting remembers; nil where it is off.
func (s *server) greylist(ctx context.Context) (*gate.Greylist, error) {
	cfg := s.cfg.SMTP.Greylist
	if !cfg.Enabled {
		return nil, nil
	}
	secret, err := s.streams.Secret(ctx, "greylist")
	if err != nil {
		return nil, err
	}
	bucket, err := greylist.New(greylist.Config{Conn: s.conn, Prefix: s.cfg.Streams.Prefix, Replicas: s.streams.Topology().Replicas, Entries: int64(cfg.Entries), Secret: secret})
	if err != nil {
		return nil, err
	}
	list := &gate.Greylist{Greylisting: admission.Greylisting{Delay: cfg.Delay, Window: cfg.Window, Keep: cfg.Keep, Prove: cfg.Prove}, Memory: bucket, Told: s.metrics.Greylisted}
	if cfg.SPF {
		resolver, err := dns.New(dns.Config{Servers: s.cfg.Outbound.Resolvers, Timeout: lookupTime})
		if err != nil {
			s.log.Warn("greylisting puts off also whom SPF lets send", "error", err)
			return list, nil
		}
		spf, err := mailauth.New(mailauth.Config{Resolver: resolver, ID: s.results(), Limits: mailauth.Limits{Time: s.cfg.SMTP.Lists.Time}})
		if err != nil {
			return nil, err
		}
		list.Allows = spf.Allows
	}
	return list, nil
}

func dnsLists(zones []string) (all []admission.List, err error) {
	for _, text := range zones {
		l, err := config.ParseList(text)
		if err != nil {
			return nil, err
		}
		list := admission.List{Zone: l.Zone, Score: l.Score, Allow: l.Allow}
		for _, r := range l.Answers {
			list.Answers = append(list.Answers, admission.Range{From: r[0].As4(), To: r[1].As4()})
		}
		all = append(all, list)
	}
	return all, nil
}

// doctorLists asks each list for the addresses by which it can be told whether it works (RFC 5782 section 5).
func (c *core) doctorLists(ctx context.Context) (found []webadmin.Finding) {
	if len(c.cfg.SMTP.Lists.Zones) == 0 {
		return nil
	}
	g, err := c.gate(gate.Rates{}, nil, nil)
	if err != nil {
		return []webadmin.Finding{problem("lists", "correct smtp.lists", "lists of addresses cannot be asked: %v", err)}
	}
	if !g.Asks() {
		return []webadmin.Finding{warning("lists", "set outbound.resolvers", "lists of addresses cannot be asked: there is no name server")}
	}
	for _, h := range g.Test(ctx) {
		if h.Wrong == "" {
			found = append(found, ok("lists", "%s lists what it should", h.Zone))
		} else {
			found = append(found, warning("lists", "look at the name in smtp.lists.zones; many lists answer no public name servers: use one of your own (outbound.resolvers)", "%s: %s", h.Zone, h.Wrong))
		}
	}
	return found
}
