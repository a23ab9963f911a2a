package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/outbound"
	"github.com/streampost/streampost/adapters/sts"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/tlsrpt"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections/tlsreports"
)

// believed are the values of outbound.dane.
var believed = map[string]dns.Trust{"off": dns.TrustNone, "loopback": dns.TrustLoopback, "all": dns.TrustAll}

// What a node keeps in its data directory. Without the policies of other domains, mail to them is not protected until they are fetched again; without counts, a report has less.
const (
	policiesFile = "mta-sts.json"
	countsFile   = "tls-reports.json"
)

// spread is the time after midnight over which servers send their reports (RFC 8460 section 4.1).
const spread = 4 * time.Hour

// secure has the client of other servers obey what their domains demand, and tell how that goes. resolver may be nil.
func (c *core) secure(cfg *outbound.Config, resolver *dns.Resolver, parts *lifecycle.Group) error {
	cfg.Observe = func(s tlsrpt.Session) {
		c.metrics.Secured(s.Policy.Kind, cmp.Or(string(s.Failure), "successful"))
	}
	if resolver == nil {
		return nil
	}
	web, err := sts.New(sts.Config{
		Resolver: resolver, Logger: c.log.With("part", "mta-sts"), Count: c.metrics.PolicyLookedFor, Load: c.saved(policiesFile), Save: c.saves(policiesFile),
	})
	if err != nil {
		return err
	}
	if c.cfg.Outbound.MTASTS {
		parts.Start(lifecycle.Part{Name: "policies of other domains", Run: web.Run, Stop: web.Close})
		cfg.Policies = web
	}
	if c.cfg.Outbound.TLSReports == "off" {
		return nil
	}
	node, _, err := c.runners()
	if err != nil {
		return err
	}
	from := delivery.Address{Local: directory.Postmaster, Domain: cfg.Hostname}
	if given := c.cfg.Outbound.TLSReportsFrom; given != "" {
		if from, err = delivery.ParseAddress(given); err != nil || from.IsNull() || !from.IsASCII() {
			return &domain.Error{Kind: domain.Invalid, Msg: fmt.Sprintf("outbound.tls_reports_from is %q, which is no address", given), Hint: "write it as postmaster@example.org"}
		}
	}
	reports := tlsreports.Config{
		Queue: &c.mailroom, Blobs: c.store, TXT: resolver.TXT, Hostname: cfg.Hostname, From: from, Node: node, Load: c.saved(countsFile), Save: c.saves(countsFile),
		Count: c.metrics.TLSReport, Logger: c.log.With("part", "tls-reports"), Wait: rand.N(spread),
	}
	if c.cfg.Outbound.TLSReports == "all" {
		reports.Post = web.Post
	}
	collector, counted := tlsreports.New(reports), cfg.Observe
	cfg.Observe = func(s tlsrpt.Session) {
		counted(s)
		collector.Observe(s)
	}
	c.tlsReports = collector
	return nil
}

// saved gives what a file of the data directory holds; nothing where there is none.
func (c *core) saved(name string) func() ([]byte, error) {
	return func() ([]byte, error) {
		text, err := os.ReadFile(c.data.join(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return text, err
	}
}

// saves replaces such a file.
func (c *core) saves(name string) func([]byte) error {
	return func(text []byte) error { return c.data.writeJSON(name, json.RawMessage(text)) }
}
