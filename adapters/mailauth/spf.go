package mailauth

import (
	"context"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
)

// sent is what SPF says: whether the client may send for a domain.
type sent struct {
	method authres.Method
	domain string // that it says so of, in A-labels
}

// spf checks the domain of the envelope's sender, or for bounces, which have none, the name that the client gave itself (RFC 7208 section 2.4).
func (v *Verifier) spf(ctx context.Context, a *authres.Arrival) sent {
	s := sent{method: authres.Method{Name: "spf", Result: authres.None}}
	sender := a.Sender
	shown := authres.Property{Type: "smtp", Name: "mailfrom", Value: sender.String()}
	if sender.IsNull() {
		shown = authres.Property{Type: "smtp", Name: "helo", Value: a.Helo}
		sender = delivery.Address{Local: "postmaster", Domain: a.Helo}
	}
	s.method.Properties = append(s.method.Properties, shown)
	s.domain = idn.ASCII(sender.Domain)
	client, err := netip.ParseAddr(a.Address)
	if sender.Literal() || !delivery.IsDomain(sender.Domain) || !strings.Contains(s.domain, ".") || err != nil { // section 4.3
		return s
	}
	// The package divides an address at its first @, which a quoted local part may have.
	from := strings.ReplaceAll(sender.Local, "@", "=") + "@" + s.domain
	look := v.cfg.lookups(client.Unmap())
	result, err := spf.CheckHostWithSender(client.AsSlice(), idn.ASCII(a.Helo), from, spf.WithContext(ctx), spf.WithResolver(look))
	s.method.Result = authres.Result(result)
	if look.left < 0 && result != spf.Pass { // It is so with this record at any time.
		s.method.Result = authres.PermError
	}
	if err != nil && (s.method.Result == authres.TempError || s.method.Result == authres.PermError) {
		s.method.Reason = reason(err.Error())
	}
	return s
}

// reason makes text of an error that may have been told by somebody else.
func reason(text string) string {
	return text[:min(len(text), 120)]
}

// Allows tells what SPF says of mail of a domain from an address.
func (v *Verifier) Allows(ctx context.Context, host string, address netip.Addr) authres.Result {
	return v.spf(ctx, &authres.Arrival{Address: address.Unmap().String(), Helo: host, Sender: delivery.Address{Local: "postmaster", Domain: host}}).method.Result
}
