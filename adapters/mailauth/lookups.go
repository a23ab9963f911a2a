package mailauth

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/streampost/streampost/domain"
)

// lookups gives the package for SPF a Resolver in the form that it wants, and bounds how often it is asked. The package asks one question after the other.
type lookups struct {
	Resolver
	left  int
	kinds []string // of the records that count for this client

	share time.Duration // for its names
	until time.Time     // when that is over
	names []string      // that the package looks up next
}

// maxNames is how many names of a client are looked at (RFC 7208 section 4.6.4).
const maxNames = 10

func (c *Config) lookups(client netip.Addr) *lookups {
	l := &lookups{Resolver: c.Resolver, left: c.Limits.Lookups, share: c.Limits.Time / 3, kinds: []string{"A"}}
	if client.Is6() {
		l.kinds = []string{"AAAA", "A"} // The package does not tell whether it asks for "exists", which wants A always (RFC 7208 section 5.7).
	}
	return l
}

func (l *lookups) spent(name string) error {
	if l.left--; l.left < 0 {
		return &net.DNSError{Err: "too many lookups for one message", Name: name}
	}
	return nil
}

// told turns an error into one of the standard library's, by which the packages tell a name that does not exist and what is temporary.
func told(name string, err error) error {
	if err == nil {
		return nil
	}
	d := &net.DNSError{Err: err.Error(), Name: name}
	switch {
	case domain.Is(err, domain.NotFound):
		d.IsNotFound = true
	case domain.Is(err, domain.Unavailable):
		d.IsTemporary = true
	}
	return d
}

// LookupTXT gives the texts of a name.
func (l *lookups) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if err := l.spent(name); err != nil {
		return nil, err
	}
	all, err := l.TXT(ctx, name)
	return all, told(name, err)
}

// LookupMX gives the exchangers of a domain.
func (l *lookups) LookupMX(ctx context.Context, name string) (all []*net.MX, err error) {
	if err := l.spent(name); err != nil {
		return nil, err
	}
	found, err := l.MX(ctx, name)
	for _, x := range found {
		all = append(all, &net.MX{Host: x.Host, Pref: x.Preference})
	}
	return all, told(name, err)
}

// LookupIPAddr gives the addresses of a host, of the client's family (RFC 7208 section 5). All has to be told: what a half lacks could be the address that counts.
func (l *lookups) LookupIPAddr(ctx context.Context, host string) (all []net.IPAddr, err error) {
	if len(l.names) > 0 && l.names[0] == host { // The package sees whether a name of the client leads back to it.
		l.names = l.names[1:]
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, l.until)
		defer cancel()
	}
	if err := l.spent(host); err != nil {
		return nil, err
	}
	for _, kind := range l.kinds {
		found, err := l.Values(ctx, host, kind)
		if err != nil && (len(all) == 0 || !domain.Is(err, domain.NotFound)) {
			return nil, told(host, err)
		}
		for _, text := range found {
			if a, err := netip.ParseAddr(text); err == nil {
				all = append(all, net.IPAddr{IP: a.AsSlice()})
			}
		}
	}
	return all, nil
}

// LookupAddr gives the names of an address. They are the client's own, so what they take has a time of its own and takes none from the domain that SPF asks about (RFC 7208 section 5.5).
func (l *lookups) LookupAddr(ctx context.Context, address string) ([]string, error) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return nil, err
	}
	if err := l.spent(address); err != nil {
		return nil, err
	}
	l.until = time.Now().Add(l.share)
	ctx, cancel := context.WithDeadline(ctx, l.until)
	defer cancel()
	all, err := l.PTR(ctx, a)
	l.names = all[:min(len(all), maxNames)]
	return l.names, told(address, err)
}
