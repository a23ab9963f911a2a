package gate

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
)

// maxNames is how many names of an address are looked at, as RFC 7208 section 4.6.4 bounds it for SPF.
const maxNames = 10

// reverse tells whether an address has a name that leads back to it (RFC 8601 section 2.7.3).
func (g *Gate) reverse(ctx context.Context, address []byte) authres.Result {
	client, ok := netip.AddrFromSlice(address)
	if !ok {
		return authres.None
	}
	if !g.cfg.Strict.Nameless && !g.cfg.Strict.Mismatch {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, inPassing) // It is only told: mail is not to wait for zones of addresses that do not answer.
		defer cancel()
	}
	kind := "A"
	if client.Is6() {
		kind = "AAAA"
	}
	var names []string
	err := question(ctx, g.names, func() (err error) {
		names, err = g.cfg.Resolver.PTR(ctx, client)
		return err
	})
	switch {
	case domain.Is(err, domain.Unavailable):
		return authres.TempError
	case err != nil || len(names) == 0:
		return authres.PermError
	}
	result := authres.PermError // no name has an address
	for _, name := range names[:min(len(names), maxNames)] {
		var all []string
		err := question(ctx, g.names, func() (err error) {
			all, err = g.cfg.Resolver.Values(ctx, name, kind)
			return err
		})
		if domain.Is(err, domain.Unavailable) {
			result = authres.TempError // it could be the name that leads back
			continue
		}
		if slices.ContainsFunc(all, func(text string) bool {
			a, err := netip.ParseAddr(text)
			return err == nil && a.Unmap() == client
		}) {
			return authres.Pass
		}
		if err == nil && len(all) > 0 && result == authres.PermError {
			result = authres.Fail
		}
	}
	return result
}

// greeting tells what is wrong with the name that a client gave itself; empty if nothing is.
func (g *Gate) greeting(helo string, address []byte) string {
	switch literal := strings.HasPrefix(helo, "["); {
	case literal:
		inner := strings.TrimSuffix(helo[1:], "]")
		if tag, rest, tagged := strings.Cut(inner, ":"); tagged && strings.EqualFold(tag, "IPv6") { // RFC 5321 section 4.1.3.
			inner = rest
		}
		a, err := netip.ParseAddr(inner)
		if err != nil || a.Zone() != "" || !strings.HasSuffix(helo, "]") {
			return admission.HeloMalformed
		}
		if client, ok := netip.AddrFromSlice(address); ok && a.Unmap() != client.Unmap() {
			return admission.HeloOther
		}
	case !delivery.IsDomain(strings.TrimSuffix(helo, ".")): // RFC 5321 section 4.1.1.1.
		return admission.HeloMalformed
	case slices.Contains(g.cfg.Own, strings.TrimSuffix(idn.ASCII(helo), ".")):
		return admission.HeloOurs
	case !strings.Contains(strings.TrimSuffix(helo, "."), "."): // RFC 5321 section 2.3.5 wants it fully qualified.
		return admission.HeloBare
	}
	return ""
}
