package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Route is one member of outbound.routes.
type Route struct {
	Domain string // in lower case; a dot in front means all below
	Hosts  []string
	TLS    string // as in outbound.smart_host_tls
	// Sources are the addresses to connect from, one of each family at most.
	Sources []netip.Addr
}

var routeTLS = []string{"opportunistic", "none", "require", "verify", "implicit"}

// ParseRoute reads a route such as
//
//	example.net relay.example.com:587 spare.example.com tls=verify
func ParseRoute(text string) (Route, error) {
	words := strings.Fields(text)
	r := Route{TLS: "opportunistic"}
	wrong := func(what string) (Route, error) {
		return r, fmt.Errorf(`the route %q %s: it reads as example.net relay.example.com:587 tls=verify`, text, what)
	}
	for n, word := range words {
		value, tls := strings.CutPrefix(word, "tls=")
		from, source := strings.CutPrefix(word, "source=")
		switch {
		case n == 0:
			r.Domain = strings.ToLower(word)
		case tls && !slices.Contains(routeTLS, value):
			return wrong("knows no tls=" + value)
		case tls:
			r.TLS = value
		case source:
			var err error
			if r.Sources, err = addSource(r.Sources, from); err != nil {
				return wrong(err.Error())
			}
		case strings.Contains(word, "="):
			return wrong("has something strange in " + word)
		default:
			r.Hosts = append(r.Hosts, word)
		}
	}
	if len(r.Hosts) == 0 {
		return wrong("lacks a domain or a host")
	}
	return r, nil
}

// addSource adds an address to connect from.
func addSource(all []netip.Addr, text string) ([]netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if a = a.Unmap(); err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return nil, fmt.Errorf("has %q, which is no address of a machine", text)
	}
	if slices.ContainsFunc(all, func(b netip.Addr) bool { return a.Is4() == b.Is4() }) {
		return nil, errors.New("has two addresses of one family")
	}
	return append(all, a), nil
}

// ParseSources reads outbound.sources: addresses by domains in lower case; * is for all others.
func ParseSources(texts []string) (map[string][]netip.Addr, error) {
	sources := map[string][]netip.Addr{}
	for _, text := range texts {
		words := strings.Fields(text)
		wrong := func(what string) error {
			return fmt.Errorf("the source %q %s: it reads as example.org 192.0.2.5 2001:db8::5", text, what)
		}
		if len(words) < 2 {
			return nil, wrong("lacks a domain or an address")
		}
		name := strings.ToLower(words[0])
		if sources[name] != nil {
			return nil, wrong("is for a domain that has one already")
		}
		for _, word := range words[1:] {
			var err error
			if sources[name], err = addSource(sources[name], word); err != nil {
				return nil, wrong(err.Error())
			}
		}
	}
	return sources, nil
}

func (o *Outbound) check() (errs []error) {
	if _, err := ParseSources(o.Sources); err != nil {
		errs = append(errs, fmt.Errorf("outbound.sources: %w", err))
	}
	for _, text := range o.Routes {
		if _, err := ParseRoute(text); err != nil {
			errs = append(errs, fmt.Errorf("outbound.routes: %w", err))
		}
	}
	for _, server := range o.Resolvers {
		if _, port, err := net.SplitHostPort(server); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("outbound.resolvers has the member %q, which is no address such as 127.0.0.1:53", server))
		}
	}
	if o.Port < 1 || o.Port > 65535 {
		errs = append(errs, errors.New("outbound.port is between 1 and 65535"))
	}
	if o.Connections < 1 || o.PerDestination < 1 {
		errs = append(errs, errors.New("outbound.connections and outbound.per_destination are at least 1"))
	}
	if o.PerOrganisation < 0 || o.BulkRecipients < 0 {
		errs = append(errs, errors.New("outbound.per_organisation and outbound.bulk_recipients cannot be negative"))
	}
	if o.RetryFirst < time.Second || o.RetryMost < o.RetryFirst || o.ExpireAfter < o.RetryFirst {
		errs = append(errs, errors.New("outbound.retry_first is at least 1s, and retry_most and expire_after are not less than that"))
	}
	return errs
}
