package pipeline

import (
	"cmp"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
)

// Answer is what a hook or a custom step says of a mail. Its addresses are compared as the directory compares them (delivery.Address.Key).
type Answer struct {
	Recipients []string            // nil: all; otherwise those of the mail's that go on. The others are dropped
	Rewrite    map[string][]string // who takes the place of a recipient: addresses. Nobody: it is dropped
	Edits      []Edit
	Attributes map[string]string // an empty value removes
	Processor  string            // where the mail goes; empty: to the next step
	Effect     *Effect           // it ends: Park, Drop, Bounce, Deliver
	Err        error             // it failed
}

// Key is an address as it is compared with others; what is no address is compared as it is.
func Key(address string) string {
	a, err := delivery.ParseAddress(address)
	if err != nil {
		return address
	}
	return a.Key()
}

// canonical is an address as it is written elsewhere; what is no address is as it is.
func canonical(address string) string {
	a, err := delivery.ParseAddress(address)
	if err != nil {
		return address
	}
	return a.String()
}

// keys tells which addresses there are.
func keys(addresses []string) map[string]bool {
	set := make(map[string]bool, len(addresses))
	for _, a := range addresses {
		set[Key(a)] = true
	}
	return set
}

// check tells what is wrong with an answer about a mail. Nothing of such an answer counts: a mistake must not let mail pass that the step was to stop. Errors: domain.Invalid.
func (a *Answer) check(m *Mail, l *Limits) error {
	for name, value := range a.Attributes {
		if err := checkAttribute(name); err != nil && value != m.Attributes[name] { // what it was told, it may tell
			return err
		}
		if len(name)+len(value) > l.Attribute {
			return domain.Errorf(domain.Invalid, "it answers with an attribute of more than %d octets", l.Attribute)
		}
	}
	is := keys(m.Recipients)
	for _, to := range a.Recipients {
		if !is[Key(to)] {
			return domain.Errorf(domain.Invalid, "it answers with the recipient %q, which the mail does not have", to)
		}
	}
	rewritten := map[string]bool{}
	for old, to := range a.Rewrite {
		key := Key(old)
		if !is[key] {
			return domain.Errorf(domain.Invalid, "it rewrites the recipient %q, which the mail does not have", old)
		}
		if rewritten[key] {
			return domain.Errorf(domain.Invalid, "it rewrites the recipient %q twice", old)
		}
		rewritten[key] = true
		for _, text := range to {
			if _, err := delivery.ParseAddress(text); err != nil {
				return domain.Errorf(domain.Invalid, "it answers with the recipient %q, which is no address", text)
			}
		}
	}
	for _, e := range a.Edits {
		if err := checkEdit(e); err != nil {
			return err
		}
	}
	if len(m.Edits)+len(a.Edits) > maxEdits {
		return domain.Errorf(domain.Invalid, "with its answer the header would be edited more than %d times", maxEdits)
	}
	return nil
}

// Answered goes on with a mail that waited at a step (Effect.Call) for an answer.
func (p *Program) Answered(m *Mail, s *Step, a *Answer, w World, trace func(Trace)) []Effect {
	r := run{p: p, w: &header{World: w}, trace: trace}
	m = m.with(m.Recipients)
	err := a.Err
	if err == nil {
		err = a.check(m, &p.limits)
	}
	if err != nil {
		r.failed(m, s, m.Step, err)
	} else {
		r.answered(m, a)
	}
	for len(r.open) > 0 {
		next := r.open[0]
		r.open = r.open[1:]
		r.process(next)
	}
	return r.effects
}

// rewrite puts others in the place of recipients, each once.
func (r *run) rewrite(m *Mail, by map[string][]string) {
	if len(by) == 0 {
		return
	}
	byKey := make(map[string][]string, len(by))
	for old, to := range by {
		byKey[Key(old)] = to
	}
	var all, dropped []string
	has := map[string]bool{}
	for _, old := range m.Recipients {
		to, is := byKey[Key(old)]
		if !is {
			to = []string{old}
		}
		if len(to) == 0 {
			dropped = append(dropped, old)
		}
		for _, a := range to {
			if key := Key(a); !has[key] {
				has[key] = true
				all = append(all, canonical(a))
			}
		}
	}
	if len(dropped) > 0 {
		r.effects = append(r.effects, Effect{Kind: Drop, Mail: m.with(dropped), Text: "it was rewritten to nobody"})
	}
	m.Recipients = all
}

// answered does what an answer says.
func (r *run) answered(m *Mail, a *Answer) {
	if a.Recipients != nil {
		named := keys(a.Recipients)
		if dropped := filter(m.Recipients, func(to string) bool { return !named[Key(to)] }); len(dropped) > 0 {
			r.effects = append(r.effects, Effect{Kind: Drop, Mail: m.with(dropped), Text: "a hook wants it"})
		}
		m.Recipients = filter(m.Recipients, func(to string) bool { return named[Key(to)] })
	}
	if len(m.Recipients) == 0 {
		return
	}
	r.rewrite(m, a.Rewrite)
	if len(m.Recipients) == 0 {
		return
	}
	for name, value := range a.Attributes {
		if value == "" {
			delete(m.Attributes, name)
		} else if _, has := m.Attributes[name]; has || len(m.Attributes) < r.p.limits.Attributes {
			m.set(name, value)
		}
	}
	m.Edits = append(m.Edits, a.Edits...)
	switch {
	case a.Effect != nil:
		e := *a.Effect
		e.Mail = m
		e.Repository = cmp.Or(e.Repository, Failed)
		r.effects = append(r.effects, e)
	case a.Processor != "":
		r.send(m, a.Processor, "", "")
	default:
		m.Step++
		r.enter(m)
	}
}
