package outbound

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain/queue"
)

// Families says which addresses of a host are tried, and which first.
type Families uint8

// The choices.
const (
	IPv6First Families = iota
	IPv4First
	IPv6Only
	IPv4Only
)

// order gives the addresses that are to be tried. The two families take turns, so that one which does not work from here costs one attempt and not all of them (as RFC 8305 section 4 has it for those who cannot wait).
func (f Families) order(all []netip.Addr) []netip.Addr {
	var six, four []netip.Addr
	for _, a := range all {
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	switch f {
	case IPv6Only:
		return six
	case IPv4Only:
		return four
	case IPv4First:
		six, four = four, six
	}
	ordered := make([]netip.Addr, 0, len(all))
	for n := range max(len(six), len(four)) {
		if n < len(six) {
			ordered = append(ordered, six[n])
		}
		if n < len(four) {
			ordered = append(ordered, four[n])
		}
	}
	return ordered
}

// sourcesOf are this server's addresses for an entry: its route's, or those for its sender's domain. None means that the system chooses.
func (s *Sender) sourcesOf(e *queue.Entry) []netip.Addr {
	if r := s.routeOf(e); r != nil && len(r.Sources) > 0 {
		return r.Sources
	}
	if s.cfg.SourcesFor == nil {
		return nil
	}
	return s.cfg.SourcesFor(strings.ToLower(e.Sender[strings.LastIndexByte(e.Sender, '@')+1:]))
}

// fromSources gives each target the address to connect from. Where there are some of one family only, hosts are reached by that only: others would see an address that the mail is not meant to come from.
func fromSources(all []target, sources []netip.Addr) ([]target, *failure) {
	if len(sources) == 0 || len(all) == 0 {
		return all, nil
	}
	all = slices.DeleteFunc(all, func(t target) bool { return !source(t.address, sources).IsValid() })
	for i := range all {
		all[i].source = source(all[i].address, sources)
	}
	if len(all) == 0 {
		return nil, &failure{queue.Deferred, "4.4.4", fmt.Sprintf("no host has an address that can be reached from %v, which are to be used", sources)}
	}
	return all, nil
}

// source picks the first address of the same family.
func source(address string, sources []netip.Addr) netip.Addr {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range sources {
		if a.Is4() == to.Addr().Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// dialFrom connects from an address of this machine.
func dialFrom(ctx context.Context, source netip.Addr, network, address string) (net.Conn, error) {
	dialer := net.Dialer{}
	if source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return dialer.DialContext(ctx, network, address)
}

// sourceKey is the part of a session's key that says where it comes from.
func sourceKey(sources []netip.Addr) string {
	return cmp.Or(strings.Trim(fmt.Sprint(sources), "[]"), "-")
}
