package dmarc

import "strings"

// Evidence is what is known about a message and the domain of its author. Domains are in A-labels and lower case.
type Evidence struct {
	From   string   // the domain of the author
	Record *Record  // the policy
	At     string   // the domain that has it: From, or its organizational domain
	SPF    string   // the domain for which SPF passed; empty without one
	DKIM   []string // the domains of signatures that passed
	Sample int      // 0 to 99, drawn for the message
}

// Outcome is what follows.
type Outcome struct {
	Aligned bool   // the message passes
	Policy  Policy // that the owner has published for it
	Applied Policy // and what it comes to here: None for a message that passes
}

// Evaluate decides. organization gives the organizational domain of a domain.
func Evaluate(e Evidence, organization func(string) string) Outcome {
	o := Outcome{Policy: e.Record.Policy, Applied: None}
	if e.From != e.At { // section 6.3, "sp": the record is that of the organizational domain.
		o.Policy = e.Record.Subdomains
	}
	if e.SPF != "" && aligned(e.From, e.SPF, e.Record.StrictSPF, organization) { // section 3.1.2.
		o.Aligned = true
	}
	for _, d := range e.DKIM { // section 3.1.1: one is enough.
		o.Aligned = o.Aligned || aligned(e.From, d, e.Record.StrictDKIM, organization)
	}
	if !o.Aligned {
		o.Applied = sampled(o.Policy, e.Record.Percent, e.Sample)
	}
	return o
}

// aligned is identifier alignment (section 3.1).
func aligned(from, other string, strict bool, organization func(string) string) bool {
	if strings.EqualFold(from, other) {
		return true
	}
	return !strict && organization(from) == organization(other)
}

// sampled gives messages that are not among the percentage the next weaker policy (section 6.6.4).
func sampled(p Policy, percent, sample int) Policy {
	if sample < percent {
		return p
	}
	if p == Reject {
		return Quarantine
	}
	return None
}

// Strictest is the policy of several that lets the least pass.
func Strictest(a, b Policy) Policy {
	if a == Reject || b == Reject {
		return Reject
	}
	if a == Quarantine || b == Quarantine {
		return Quarantine
	}
	return None
}
