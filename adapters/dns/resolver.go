// Package dns asks recursive name servers what mail needs to know (RFC 1035, RFC 5321 section 5.1).
//
// It exists because the standard library does not tell a name that does not exist from one without records of a type, nor from a server that
// does not answer: the first is a reason to return mail, the second to look for addresses, the third to wait.
//
// Answers are believed as far as the recursive server is: list one on this machine or network. Nothing is cached here, since that server does it. That an answer was validated
// (DNSSEC, RFC 4035) is believed only from servers that the configuration trusts with it.
package dns

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
)

// Config says whom to ask. The zero Config asks those of /etc/resolv.conf.
type Config struct {
	Servers []string      // host:port
	Timeout time.Duration // for one answer; 5 seconds
	Tries   int           // of all servers in turn; 2
	Trust   Trust         // whose word that an answer was validated is taken
	// Dial opens connections; nil means the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Trust says which servers are believed that an answer was validated: nobody else may be between them and us who could write that into it (RFC 4035 section 4.9.3).
type Trust uint8

// Whom to trust.
const (
	TrustNone     Trust = iota
	TrustLoopback       // servers on this machine
	TrustAll            // all servers that are asked
)

// Resolver asks. Its methods may be called at once from many goroutines.
type Resolver struct{ cfg Config }

// resolvConf is where Unix systems name their servers.
const resolvConf = "/etc/resolv.conf"

// New makes a Resolver. Errors: domain.Unavailable when no server is known.
func New(cfg Config) (*Resolver, error) {
	cfg.Timeout, cfg.Tries = cmp.Or(cfg.Timeout, 5*time.Second), cmp.Or(cfg.Tries, 2)
	if len(cfg.Servers) == 0 {
		system, err := dns.ClientConfigFromFile(resolvConf)
		if err != nil {
			return nil, domain.Wrap(domain.Unavailable, err, "find the name servers of this system")
		}
		for _, s := range system.Servers {
			cfg.Servers = append(cfg.Servers, net.JoinHostPort(s, system.Port))
		}
	}
	if len(cfg.Servers) == 0 {
		return nil, &domain.Error{Kind: domain.Unavailable, Msg: resolvConf + " names no servers", Hint: "set outbound.resolvers"}
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	return &Resolver{cfg}, nil
}

// limit bounds what is taken of an answer: what lies beyond is nobody's mail exchanger.
const limit = 100

// MX looks up the exchangers of a domain, in no order. There may be none. Errors: domain.NotFound when the domain does not exist, domain.Unavailable when
// that cannot be told now.
func (r *Resolver) MX(ctx context.Context, name string) (all []delivery.Exchanger, err error) {
	all, _, err = r.ValidatedMX(ctx, name)
	return all, err
}

// ValidatedMX is MX, and says whether the answer was validated.
func (r *Resolver) ValidatedMX(ctx context.Context, name string) (all []delivery.Exchanger, secure bool, err error) {
	answer, err := r.ask(ctx, name, dns.TypeMX)
	if err != nil {
		return nil, false, err
	}
	for _, rr := range answer.Answer {
		if mx, ok := rr.(*dns.MX); ok && len(all) < limit {
			all = append(all, delivery.Exchanger{Host: trim(mx.Mx), Preference: mx.Preference})
		}
	}
	return all, answer.AuthenticatedData, nil
}

// Addresses looks up the addresses of a host, those of IPv6 first. There may be none. Errors: as of MX; an answer for one family is enough.
func (r *Resolver) Addresses(ctx context.Context, host string) (all []netip.Addr, err error) {
	all, _, err = r.ValidatedAddresses(ctx, host)
	return all, err
}

// ValidatedAddresses is Addresses, and says whether all that was answered was validated.
func (r *Resolver) ValidatedAddresses(ctx context.Context, host string) (all []netip.Addr, secure bool, err error) {
	secure = true
	var errs [2]error
	for n, kind := range []uint16{dns.TypeAAAA, dns.TypeA} {
		var answer *dns.Msg
		if answer, errs[n] = r.ask(ctx, host, kind); errs[n] != nil {
			continue
		}
		secure = secure && answer.AuthenticatedData
		for _, rr := range answer.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				if a, ok := netip.AddrFromSlice(rr.A.To4()); ok && len(all) < limit {
					all = append(all, a)
				}
			case *dns.AAAA:
				if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok && len(all) < limit {
					all = append(all, a.Unmap())
				}
			}
		}
	}
	if len(all) > 0 {
		return all, secure, nil
	}
	return nil, false, cmp.Or(temporary(errs[0]), temporary(errs[1]), errs[0], errs[1])
}

func temporary(err error) error {
	if domain.Is(err, domain.NotFound) {
		return nil
	}
	return err
}

func trim(name string) string {
	if name == "." {
		return ""
	}
	if len(name) > 0 && name[len(name)-1] == '.' {
		return name[:len(name)-1]
	}
	return name
}

// ask puts a question to one server after the other.
func (r *Resolver) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	ascii := escape(idn.ASCII(name))
	if _, ok := dns.IsDomainName(ascii); !ok {
		return nil, domain.Errorf(domain.NotFound, "%q is no name that DNS can have", name)
	}
	question := new(dns.Msg).SetQuestion(dns.Fqdn(ascii), kind)
	question.SetEdns0(1232, false)                        // what passes every path unfragmented
	question.AuthenticatedData = r.cfg.Trust != TrustNone // RFC 6840 section 5.7: please say whether it was validated.
	var last error
	for range r.cfg.Tries {
		for _, server := range r.cfg.Servers {
			answer, err := r.exchange(ctx, server, question)
			switch {
			case err != nil:
				last = err
			case answer.Rcode == dns.RcodeSuccess:
				return answer, nil
			case answer.Rcode == dns.RcodeNameError:
				return nil, domain.Errorf(domain.NotFound, "the domain %s does not exist", ascii)
			default:
				last = fmt.Errorf("the name server says %s", dns.RcodeToString[answer.Rcode])
			}
			if ctx.Err() != nil {
				return nil, domain.Wrap(domain.Unavailable, ctx.Err(), "look up "+ascii)
			}
		}
	}
	return nil, domain.Wrap(domain.Unavailable, last, "look up "+dns.TypeToString[kind]+" of "+ascii)
}

// trusts tells whether a server is believed that it has validated.
func (r *Resolver) trusts(server string) bool {
	if r.cfg.Trust != TrustLoopback {
		return r.cfg.Trust == TrustAll
	}
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// exchange asks one server by UDP, and by TCP where the answer does not fit.
func (r *Resolver) exchange(ctx context.Context, server string, question *dns.Msg) (*dns.Msg, error) {
	for _, network := range []string{"udp", "tcp"} {
		answer, err := r.once(ctx, network, server, question)
		if err != nil || !answer.Truncated {
			return answer, err
		}
	}
	return nil, errors.New("the name server's answer is truncated")
}

func (r *Resolver) once(ctx context.Context, network, server string, question *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	conn, err := r.cfg.Dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	asked := question.Copy()
	asked.Id = dns.Id()
	client := &dns.Client{Net: network, Timeout: r.cfg.Timeout}
	answer, _, err := client.ExchangeWithConnContext(ctx, asked, &dns.Conn{Conn: conn, UDPSize: 4096})
	if err != nil {
		return nil, err
	}
	if len(answer.Question) != 1 || !same(answer.Question[0], asked.Question[0]) {
		return nil, errors.New("the name server answers another question")
	}
	answer.AuthenticatedData = answer.AuthenticatedData && r.trusts(server)
	return answer, nil
}

// same compares questions as they are sent: a name can be written in several ways (RFC 1035 section 5.1).
func same(a, b dns.Question) bool {
	var wire [2][255]byte
	n, err := dns.PackDomainName(a.Name, wire[0][:], 0, nil, false)
	m, bad := dns.PackDomainName(b.Name, wire[1][:], 0, nil, false)
	return err == nil && bad == nil && bytes.Equal(wire[0][:n], wire[1][:m]) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}
