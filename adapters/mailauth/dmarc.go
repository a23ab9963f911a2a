package mailauth

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/dmarc"
	"github.com/streampost/streampost/domain/idn"
	"github.com/streampost/streampost/domain/message"
	"golang.org/x/net/publicsuffix"
)

// Organizational gives the organizational domain of a name in A-labels (RFC 7489 section 3.2): one label more than a public suffix. A name that is none of these stands alone.
func Organizational(name string) string {
	name = strings.ToLower(name)
	if org, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return org
	}
	return name
}

// Why nobody can tell who is shown as the author (RFC 5322 section 3.6.2 wants one).
const (
	crowd   = "From has too many addresses"
	nobody  = "From has no address"
	nowhere = "From has something that is no address"
)

// authors gives the domains of all addresses in From, however many such fields there are: RFC 7489 section 6.6.1 has each of them looked at, since nobody knows which one is shown. fault
// says why it cannot be told for all; the domains that can be read count even so.
func (v *Verifier) authors(header []byte) (domains []string, fault string) {
	l := v.cfg.Limits
	fault = nobody
	fields := 0
	for name, field := range authres.Fields(header) {
		if !strings.EqualFold(name, "From") {
			continue
		}
		if fields++; fields > l.Authors || len(field) > l.From {
			return domains, crowd
		}
		all := shown(field)
		if len(all) > l.Addresses {
			return domains, crowd
		}
		for _, a := range all {
			if a.Host == "" {
				continue // the name of a group, or its end
			}
			host, ok := authority(a)
			switch {
			case !ok:
				fault = nowhere
			case fault == nobody:
				fault = ""
			}
			if host == "" || contains(domains, host) {
				continue
			}
			if len(domains) == l.Authors {
				return domains, crowd
			}
			domains = append(domains, host)
		}
	}
	return domains, fault
}

// shown gives the addresses of a From field as mail programs of this server get them.
func shown(field []byte) []message.Address {
	s := message.NewScanner()
	_, _ = s.Write(field)
	return s.Finish().Envelope.From
}

// authority gives the domain that answers for an address, in A-labels: of a host that is none, the longest end that is one, since programs show it all the same. It may be empty. ok is
// false where the address is not whole.
func authority(a message.Address) (name string, ok bool) {
	mailbox, host := a.Missing()
	if host {
		return "", false
	}
	rest := strings.TrimRight(a.Host, ".") // which programs show without them
	name, whole := inDNS(rest)
	for found := whole; !found; name, found = inDNS(rest) {
		var more bool
		if _, rest, more = strings.Cut(rest[max(0, len(rest)-4*delivery.MaxDomain):], "."); !more {
			return "", false
		}
	}
	return name, whole && !mailbox
}

// inDNS gives a host in A-labels. ok is false where it is none: what has other characters than letters, digits, hyphens and underscores is nobody's domain, and nothing is asked of it.
func inDNS(host string) (ascii string, ok bool) {
	ascii = idn.ASCII(host)
	return ascii, delivery.IsDomain(ascii) && !strings.ContainsFunc(ascii, func(r rune) bool { return r >= utf8.RuneSelf }) && !strings.ContainsRune(host, utf8.RuneError)
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if strings.EqualFold(s, one) {
			return true
		}
	}
	return false
}

// published is the policy of one author's domain.
type published struct {
	from   string
	at     string // where it is
	record *dmarc.Record
	err    error
}

// policy looks up the policy of a domain, and of its organizational domain where it has none (RFC 7489 section 6.6.3).
func (v *Verifier) policy(ctx context.Context, from string) published {
	p := published{from: from}
	for _, name := range []string{from, Organizational(from)} {
		if name == p.at {
			break
		}
		p.at = name
		var texts []string
		if texts, p.err = v.cfg.Resolver.TXT(ctx, "_dmarc."+name); domain.Is(p.err, domain.NotFound) {
			p.err = nil
		}
		if p.err == nil {
			p.record, p.err = dmarc.Find(texts)
		}
		if p.record != nil || p.err != nil {
			break
		}
	}
	return p
}

// judge is DMARC for one author.
func (v *Verifier) judge(p *published, from sent, signatures []signed, sample int) (authres.Method, dmarc.Policy) {
	m := authres.Method{Name: "dmarc", Properties: []authres.Property{{Type: "header", Name: "from", Value: p.from}}}
	switch {
	case domain.Is(p.err, domain.Unavailable):
		m.Result, m.Reason = authres.TempError, "the policy cannot be looked up"
		return m, dmarc.None
	case p.err != nil:
		m.Result, m.Reason = authres.PermError, reason(p.err.Error())
		return m, dmarc.None
	case p.record == nil:
		m.Result = authres.None
		return m, dmarc.None
	}
	e := dmarc.Evidence{From: p.from, Record: p.record, At: p.at, Sample: sample}
	open := e // what could still be said of it, if everything could be looked up
	switch from.method.Result {
	case authres.Pass:
		e.SPF, open.SPF = from.domain, from.domain
	case authres.TempError:
		open.SPF = from.domain
	}
	for _, s := range signatures {
		switch s.method.Result {
		case authres.Pass:
			e.DKIM, open.DKIM = append(e.DKIM, s.domain), append(open.DKIM, s.domain)
		case authres.TempError:
			open.DKIM = append(open.DKIM, s.domain)
		}
	}
	o := dmarc.Evaluate(e, Organizational)
	switch {
	case o.Aligned:
		m.Result = authres.Pass
	case dmarc.Evaluate(open, Organizational).Aligned: // section 6.6.2: what it lacks cannot be told now.
		m.Result, m.Reason = authres.TempError, "an aligned result cannot be told now"
		return m, dmarc.None
	default:
		m.Result = authres.Fail
	}
	m.Properties = append(m.Properties, authres.Property{Type: "policy", Name: "dmarc", Value: string(o.Policy)})
	return m, o.Applied
}
