// Package zone knows which records a domain needs in DNS so that its mail comes here, is believed elsewhere, and is found by mail programs; and whether what DNS says is that.
//
// It asks nobody: answers are given to Check. Names are in A-labels and without a final dot.
package zone

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/streampost/streampost/domain/dmarc"
)

// Record is one that is needed, or that would be good to have.
type Record struct {
	For      string `json:"for"` // host, mx, spf, dkim, dmarc, mta-sts, tlsrpt, autoconfig or srv
	Name     string `json:"name"`
	Type     string `json:"type"`
	Value    string `json:"value"`              // a text as it is, without quotes
	Optional bool   `json:"optional,omitempty"` // mail works without it
	Note     string `json:"note,omitempty"`
}

// Key is a DKIM key.
type Key struct {
	Name, Text string
	Retired    bool // it no longer signs, but mail that it has signed is on its way
}

// Service is one that mail programs look for (RFC 6186, RFC 8314 section 5.1, RFC 5804 section 1.8).
type Service struct {
	Name string // such as _imaps._tcp
	Port int    // 0: it is not offered
}

// Domain is what is known of a domain.
type Domain struct {
	Name     string
	Host     string // this server
	Keys     []Key
	Services []Service
}

// Needed lists the records of a domain.
func Needed(d Domain) []Record {
	all := []Record{
		{For: "host", Name: d.Host, Type: "A", Value: "the address of this server", Note: "or AAAA, or both; the addresses have to lead back to this name (PTR)"},
		{For: "mx", Name: d.Name, Type: "MX", Value: "10 " + d.Host}, // RFC 5321 section 5.1
		{For: "spf", Name: d.Name, Type: "TXT", Value: "v=spf1 mx -all", Note: "with what else sends mail of the domain"},
	}
	if d.Host != d.Name { // RFC 7208 section 10.1.3: for bounces, which have no other name.
		all = append(all, Record{For: "spf", Name: d.Host, Type: "TXT", Value: "v=spf1 a -all", Optional: true, Note: "for bounces, which are known by this server's name only"})
	}
	for _, k := range d.Keys {
		note := ""
		if k.Retired {
			note = "retired: until no mail is on its way that it has signed"
		}
		all = append(all, Record{For: "dkim", Name: k.Name, Type: "TXT", Value: k.Text, Optional: k.Retired, Note: note})
	}
	if len(d.Keys) == 0 {
		all = append(all, Record{For: "dkim", Name: "SELECTOR._domainkey." + d.Name, Type: "TXT", Value: "no key yet", Note: "streampost dkim generate " + d.Name})
	}
	all = append(all,
		Record{For: "dmarc", Name: "_dmarc." + d.Name, Type: "TXT", Value: "v=DMARC1; p=quarantine; rua=mailto:postmaster@" + d.Name, Note: "p=none at first, p=reject when all is known that sends mail of the domain"},
		Record{For: "mta-sts", Name: "_mta-sts." + d.Name, Type: "TXT", Value: "v=STSv1; id=1", Optional: true, // RFC 8461 section 3.1
			Note: "once a web server has the policy https://mta-sts." + d.Name + "/.well-known/mta-sts.txt; a new id for each change of it"},
		Record{For: "tlsrpt", Name: "_smtp._tls." + d.Name, Type: "TXT", Value: "v=TLSRPTv1; rua=mailto:postmaster@" + d.Name, Optional: true}, // RFC 8460 section 3
		Record{For: "autoconfig", Name: "autoconfig." + d.Name, Type: "CNAME", Value: d.Host, Optional: true, Note: "for Thunderbird, once a web server has /mail/config-v1.1.xml"},
	)
	for _, s := range d.Services {
		value, note := fmt.Sprintf("0 1 %d %s", s.Port, d.Host), ""
		if s.Port == 0 { // RFC 6186 section 3.4
			value, note = "0 0 0 .", "it is not offered"
		}
		all = append(all, Record{For: "srv", Name: s.Name + "." + d.Name, Type: "SRV", Value: value, Optional: true, Note: note})
	}
	return all
}

// Line is the record as a zone file has it (RFC 1035 section 5).
func (r *Record) Line() string {
	value := r.Value
	switch r.Type {
	case "TXT":
		value = quoted(value)
	case "MX", "CNAME", "SRV":
		if !strings.HasSuffix(value, ".") {
			value += "."
		}
	}
	return r.Name + ". " + r.Type + " " + value
}

// quoted writes a text as strings of at most 255 octets (RFC 1035 section 3.3).
func quoted(text string) string {
	var parts []string
	for len(text) > 0 {
		n := min(len(text), 255)
		parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text[:n])+`"`)
		text = text[n:]
	}
	return cmp.Or(strings.Join(parts, " "), `""`)
}

// State is what DNS says of a record.
type State string

// The states.
const (
	OK        State = "ok"
	Missing   State = "missing"
	Different State = "different"
	Unknown   State = "unknown" // DNS cannot tell now
)

// Checked is a record and what DNS says of it.
type Checked struct {
	Record
	State State    `json:"state,omitempty"` // empty: nobody was asked
	Found []string `json:"found,omitempty"`
	Why   string   `json:"why,omitempty"`
}

// Bad tells whether something has to be done about a record that was checked.
func (c *Checked) Bad() bool {
	return !c.Optional && c.State != "" && c.State != OK || c.State == Different
}

// Check compares a record with all of its type that DNS has under the name.
func Check(r Record, found []string) Checked {
	c := Checked{Record: r, Found: found}
	var ours []string
	switch r.For {
	case "host", "autoconfig":
		ours = found
	case "mx":
		ours = found
	case "spf":
		ours = withTag(found, "v=spf1", " ")
	case "dkim":
		ours = found
	case "dmarc":
		ours = withTag(found, "v=DMARC1", ";")
	case "mta-sts":
		ours = withTag(found, "v=STSv1", ";")
	case "tlsrpt":
		ours = withTag(found, "v=TLSRPTv1", ";")
	default:
		ours = found
	}
	c.Found = ours
	switch {
	case len(ours) == 0:
		c.State = Missing
	case r.For != "mx" && r.For != "host" && r.For != "srv" && len(ours) > 1:
		c.State, c.Why = Different, "there is more than one, so that none counts"
	default:
		c.State = Different
		for _, f := range ours {
			if same(r, f) {
				c.State = OK
			}
		}
	}
	return c
}

// withTag picks the texts that are of one kind.
func withTag(texts []string, tag, end string) (all []string) {
	for _, t := range texts {
		first, _, _ := strings.Cut(t, end)
		if strings.EqualFold(strings.Join(strings.Fields(first), ""), tag) {
			all = append(all, t)
		}
	}
	return all
}

// same tells whether a record does what is needed; what its owner may choose, such as a policy, may be another.
func same(r Record, found string) bool {
	switch r.For {
	case "host", "mta-sts", "tlsrpt":
		return true
	case "dmarc":
		_, err := dmarc.Parse(found)
		return err == nil
	case "mx":
		return strings.EqualFold(target(found), target(r.Value))
	case "srv":
		a, b := strings.Fields(found), strings.Fields(r.Value)
		return len(a) == 4 && len(b) == 4 && a[2] == b[2] && strings.EqualFold(target(found), target(r.Value))
	case "dkim":
		return tags(found)["p"] == tags(r.Value)["p"] && cmp.Or(tags(found)["k"], "rsa") == cmp.Or(tags(r.Value)["k"], "rsa")
	case "autoconfig":
		return strings.EqualFold(strings.TrimSuffix(found, "."), r.Value)
	}
	return strings.EqualFold(strings.Join(strings.Fields(found), " "), r.Value)
}

// target is the last word of a value.
func target(value string) string {
	words := strings.Fields(value)
	if len(words) == 0 {
		return ""
	}
	return strings.TrimSuffix(words[len(words)-1], ".")
}

func tags(text string) map[string]string {
	all := map[string]string{}
	for tag := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(tag, "=")
		all[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
	}
	return all
}
