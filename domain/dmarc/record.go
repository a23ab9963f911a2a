package dmarc

import (
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Policy is what the owner of a domain wants to be done with messages that fail.
type Policy string

// The policies (RFC 7489 section 6.3), and what stands for none at all.
const (
	None       Policy = "none"
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

// Record is a domain's policy record.
type Record struct {
	Policy     Policy
	Subdomains Policy // as Policy, where the record has none of its own
	StrictDKIM bool   // adkim=s
	StrictSPF  bool   // aspf=s
	Percent    int    // of failing messages to which the policy applies
}

// maxRecord bounds a record in octets: its tags are few, and its addresses are not read.
const maxRecord = 4096

// Find picks the policy record among the TXT records of a name; nil where there is none (RFC 7489 section 6.6.3: several are none). Errors: domain.Invalid for one that cannot be
// used.
func Find(texts []string) (*Record, error) {
	var found []string
	for _, t := range texts {
		if isRecord(t) {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return nil, nil
	}
	return Parse(found[0])
}

// isRecord tells whether the first tag says DMARC1, in these letters (section 6.3).
func isRecord(text string) bool {
	tag, _, _ := strings.Cut(text, ";")
	name, value, _ := strings.Cut(tag, "=")
	return strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "DMARC1"
}

// Parse reads a record. Tags and values that it does not know are passed over (section 6.3). Errors: domain.Invalid.
func Parse(text string) (*Record, error) {
	if len(text) > maxRecord || !isRecord(text) {
		return nil, domain.Errorf(domain.Invalid, "it is no DMARC record")
	}
	tags := map[string]string{}
	for tag := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(tag, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := tags[name]; ok && !twice {
			tags[name] = strings.TrimSpace(value)
		}
	}
	r := &Record{Percent: 100, StrictDKIM: strings.EqualFold(tags["adkim"], "s"), StrictSPF: strings.EqualFold(tags["aspf"], "s")}
	var known bool
	if r.Policy, known = policy(tags["p"]); !known {
		if tags["rua"] == "" {
			return nil, domain.Errorf(domain.Invalid, "the DMARC record has no policy")
		}
		r.Policy = None // section 6.6.3, step 6: its owner wants to hear of mail at least.
	}
	if r.Subdomains, known = policy(tags["sp"]); !known {
		r.Subdomains = r.Policy
	}
	if n, err := strconv.Atoi(tags["pct"]); err == nil && n >= 0 && n <= 100 {
		r.Percent = n
	}
	return r, nil
}

func policy(value string) (Policy, bool) {
	switch p := Policy(strings.ToLower(value)); p {
	case None, Quarantine, Reject:
		return p, true
	}
	return None, false
}
