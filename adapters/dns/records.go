package dns

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/dane"
)

// maxText bounds one text record in octets. What mail looks for has a few hundred.
const maxText = 8 << 10

// TXT looks up the texts of a name. The strings of one record are one text, put together without anything in between (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2). There
// may be none. Errors: domain.NotFound when the name does not exist, domain.Unavailable when that cannot be told now, domain.TooLarge for more than anybody needs.
func (r *Resolver) TXT(ctx context.Context, name string) (all []string, err error) {
	answer, err := r.ask(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	for _, rr := range answer.Answer {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			continue
		}
		if len(all) == limit {
			return nil, domain.Errorf(domain.TooLarge, "%s has more than %d TXT records", name, limit)
		}
		var b strings.Builder
		for _, s := range txt.Txt {
			b.WriteString(unescape(s))
		}
		if b.Len() > maxText {
			return nil, domain.Errorf(domain.TooLarge, "a TXT record of %s has more than %d octets", name, maxText)
		}
		all = append(all, b.String())
	}
	return all, nil
}

// unescape gives the octets of a string that the library shows as a zone file would (RFC 1035 section 5.1).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) && digits(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
			i += 3
			continue
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}

// escape writes a name as a zone file would, so that what SPF puts together of an address's parts is one name, whose labels end where its dots are (RFC 1035 section 5.1). A name of an
// answer that has a backslash is no host's, and is another name here, which nobody has.
func escape(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(special, r) }) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		case c == ' ' || strings.IndexByte(special, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

const special = `'@;()"\`

func digits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// PTR looks up the names of an address. There may be none. Errors: as of MX.
func (r *Resolver) PTR(ctx context.Context, address netip.Addr) (all []string, err error) {
	name, err := dns.ReverseAddr(address.Unmap().WithZone("").String())
	if err != nil {
		return nil, domain.Wrap(domain.NotFound, err, "name an address in DNS")
	}
	answer, err := r.ask(ctx, name, dns.TypePTR)
	if err != nil {
		return nil, err
	}
	for _, rr := range answer.Answer {
		if ptr, ok := rr.(*dns.PTR); ok && len(all) < limit {
			all = append(all, trim(ptr.Ptr))
		}
	}
	return all, nil
}

// Values looks up the records of one type and gives each as a zone file has it, a text as it is. There may be none. Types are A, AAAA, CNAME, MX, SRV and TXT. Errors: as of TXT.
func (r *Resolver) Values(ctx context.Context, name, kind string) (all []string, err error) {
	if kind == "TXT" {
		return r.TXT(ctx, name)
	}
	answer, err := r.ask(ctx, name, dns.StringToType[kind])
	if err != nil {
		return nil, err
	}
	for _, rr := range answer.Answer {
		if rr.Header().Rrtype == dns.StringToType[kind] && len(all) < limit {
			all = append(all, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	return all, nil
}

// TLSA looks up the certificates of a service, and says whether the answer was validated. There may be none. name is such as _25._tcp.HOST. Errors: as of MX.
func (r *Resolver) TLSA(ctx context.Context, name string) (all []dane.Record, secure bool, err error) {
	answer, err := r.ask(ctx, name, dns.TypeTLSA)
	if err != nil {
		return nil, false, err
	}
	for _, rr := range answer.Answer {
		if tlsa, ok := rr.(*dns.TLSA); ok && len(all) < limit {
			data, err := hex.DecodeString(tlsa.Certificate)
			if err != nil {
				continue
			}
			all = append(all, dane.Record{Usage: tlsa.Usage, Selector: tlsa.Selector, Matching: tlsa.MatchingType, Data: data})
		}
	}
	return all, answer.AuthenticatedData, nil
}
