package mailauth

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"go.yaml.in/yaml/v3"
)

// scenario is a part of the published test suite of SPF (openspf.org, release 2014.04 for RFC 7208), which blitiri.com.ar/go/spf brings along.
type scenario struct {
	Description string
	Tests       map[string]struct {
		Helo, Host, Skip string
		MailFrom         string `yaml:"mailfrom"`
		Result           some
	}
	Zone map[string][]map[string]yaml.Node `yaml:"zonedata"`
}

// some is a string, or several.
type some []string

func (s *some) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]string)(s))
	}
	*s = some{n.Value}
	return nil
}

// publish makes a server that knows a scenario's zone. A SPF record stands for a TXT record of the same text where there is no TXT record.
func (s *scenario) publish(t *testing.T) *dnstest.Server {
	server := dnstest.Start(t)
	for name, records := range s.Zone {
		if _, ok := mdns.IsDomainName(name); !ok {
			continue
		}
		hasTXT := slices.ContainsFunc(records, func(r map[string]yaml.Node) bool { _, ok := r["TXT"]; return ok })
		for _, r := range records {
			for kind, n := range r {
				var values some
				_ = n.Decode(&values)
				switch kind {
				case "TIMEOUT", "SERVFAIL":
					server.Let(name, dnstest.ServFail)
				case "CNAMELOOP":
					server.Let(name, dnstest.Loop)
				case "TXT", "SPF":
					if text := strings.Join(values, ""); text != "" && (kind == "TXT" || !hasTXT) {
						server.TXT(name, text)
					}
				case "MX":
					server.Add(t, mdns.Fqdn(name)+" MX "+values[0]+" "+mdns.Fqdn(values[1]))
				default:
					for _, v := range values {
						if kind == "PTR" || kind == "CNAME" {
							v = mdns.Fqdn(v)
						}
						server.Add(t, mdns.Fqdn(strings.ReplaceAll(name, " ", `\ `))+" "+kind+" "+v)
					}
				}
			}
		}
	}
	return server
}

func TestPublishedSPFSuite(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "blitiri.com.ar/go/spf").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "testdata", "rfc7208-tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var s scenario
		if err := dec.Decode(&s); err != nil {
			break
		}
		server := s.publish(t)
		resolver, err := dns.New(dns.Config{Servers: []string{server.Addr}, Timeout: time.Minute, Tries: 1})
		if err != nil {
			t.Fatal(err)
		}
		v, err := New(Config{Resolver: resolver, ID: "mx.example.org", Limits: Limits{Time: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		for name, test := range s.Tests {
			if test.Skip != "" { // which says why the package does otherwise
				continue
			}
			ran++
			at := strings.LastIndexByte(test.MailFrom, '@')
			sender := delivery.Address{Local: test.MailFrom[:max(at, 0)], Domain: test.MailFrom[at+1:]}
			if sender.Local == "" && sender.Domain != "" {
				sender.Local = "postmaster" // RFC 7208 section 4.3.
			}
			got := v.spf(t.Context(), &authres.Arrival{Address: netip.MustParseAddr(test.Host).String(), Helo: test.Helo, Sender: sender}).method
			if !slices.Contains(test.Result, string(got.Result)) {
				t.Errorf("%s: %s: %s (%s), want %v", s.Description, name, got.Result, got.Reason, test.Result)
			}
		}
	}
	if ran < 150 {
		t.Errorf("only %d tests were found", ran)
	}
}
