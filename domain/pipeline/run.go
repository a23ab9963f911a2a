package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Advance follows a mail from where it is until each recipient has an effect that ends it or makes it wait. trace is told of each step that recipients came to, and may be nil.
func (p *Program) Advance(m *Mail, w World, trace func(Trace)) []Effect {
	r := run{p: p, w: &header{World: w}, trace: trace}
	start := m.with(m.Recipients)
	if start.Processor == "" {
		start.Processor, start.Step = Root, 0
	}
	r.enter(start)
	for len(r.open) > 0 {
		next := r.open[0]
		r.open = r.open[1:]
		r.process(next)
	}
	return r.effects
}

// run is one look at a mail.
type run struct {
	p       *Program
	w       World
	trace   func(Trace)
	open    []*Mail
	effects []Effect
	parts   int
}

// enter lets a mail begin where it says, unless it has been around for too long.
func (r *run) enter(m *Mail) {
	switch {
	case len(m.Recipients) == 0:
	case r.p.processors[m.Processor] == nil: // of a configuration that is not there any more
		r.effects = append(r.effects, Effect{Kind: Park, Mail: m, Repository: Failed, Cause: "no-processor", Text: fmt.Sprintf("there is no processor %q", m.Processor)})
	case m.Visited > r.p.limits.Processors:
		r.effects = append(r.effects, Effect{Kind: Park, Mail: m, Repository: Failed, Cause: "loop", Text: fmt.Sprintf("it has visited more than %d processors", r.p.limits.Processors)})
	case r.parts >= r.p.limits.Parts:
		r.effects = append(r.effects, Effect{Kind: Park, Mail: m, Repository: Failed, Cause: "parts", Text: fmt.Sprintf("it is split into more than %d parts", r.p.limits.Parts)})
	default:
		r.parts++
		r.open = append(r.open, m)
	}
}

// send lets a mail go to a processor. why is for everybody, detail for operators.
func (r *run) send(m *Mail, processor, why, detail string) {
	m.Processor, m.Step = processor, 0
	m.Visited++
	if why != "" {
		delete(m.Attributes, AttributeDetail)
		m.set(AttributeError, r.p.limits.attribute(AttributeError, why))
	}
	if detail != "" {
		m.set(AttributeDetail, r.p.limits.attribute(AttributeDetail, detail))
	}
	r.enter(m)
}

// attribute is a text as the value of an attribute, cut where it is too long.
func (l *Limits) attribute(name, text string) string {
	return strings.ToValidUTF8(text[:min(len(text), max(l.Attribute-len(name), 0))], "")
}

// process follows a mail through its processor.
func (r *run) process(m *Mail) {
	steps := r.p.processors[m.Processor]
	for n := min(m.Step, len(steps)); n < len(steps); n++ {
		s := steps[n]
		m.Step = n
		found, err := s.match(m, r.w)
		if r.trace != nil {
			t := Trace{Processor: m.Processor, Step: n, Line: s.Line, Matched: slices.Clone(found), Others: without(m.Recipients, found)}
			if err != nil {
				t.Error = err.Error()
			}
			r.trace(t)
		}
		if err != nil {
			if s.OnError == OnErrorIgnore {
				continue
			}
			r.failed(m, s, n, err)
			return
		}
		if len(found) == 0 {
			continue
		}
		rest := without(m.Recipients, found)
		part := m
		if len(rest) > 0 {
			part = m.with(found)
		}
		goesOn := r.act(part, s, n)
		switch {
		case goesOn && len(rest) == 0:
			continue
		case goesOn:
			part.Step = n + 1
			r.enter(part)
		}
		if len(rest) == 0 {
			return
		}
		m = m.with(rest)
	}
	// Compile leaves no way here, unless the mail was at a step that a new configuration does not have.
	if len(m.Recipients) > 0 {
		r.send(m, m.Processor, "", "")
	}
}

// act carries out the action of a step, and tells whether the mail goes on to the next one.
func (r *run) act(m *Mail, s *Step, n int) (goesOn bool) {
	m.Step = n
	switch {
	case s.Action == "ToProcessor":
		r.send(m, s.to, s.Params["notice"], "")
		return false
	case s.run == nil:
		r.effects = append(r.effects, Effect{Kind: Call, Mail: m, Call: s})
		return false
	}
	effects, ends, err := s.run(m, r.w)
	if err != nil {
		if s.OnError == OnErrorIgnore {
			return true
		}
		r.failed(m, s, n, err)
		return false
	}
	for i := range effects {
		if !ends && effects[i].Mail == m { // the mail is changed further
			effects[i].Mail = m.with(m.Recipients)
		}
		if effects[i].Kind == Send {
			if effects[i].Mail.Visited++; !effects[i].Mail.sentOn() || effects[i].Mail.Visited > r.p.limits.Processors {
				effects[i] = Effect{Kind: Park, Mail: effects[i].Mail, Repository: Failed, Cause: "loop", Text: fmt.Sprintf("actions send it on and on: more than %d times, or through more than %d processors", maxSent, r.p.limits.Processors)}
			}
		}
	}
	r.effects = append(r.effects, effects...)
	return !ends
}

// failed does what a step says of its failure.
func (r *run) failed(m *Mail, s *Step, n int, err error) {
	m.Step = n
	switch s.OnError {
	case OnErrorPropagate:
		r.effects = append(r.effects, Effect{Kind: Retry, Mail: m, Text: err.Error()})
	case OnErrorIgnore:
		m.Step = n + 1
		r.enter(m)
	default:
		r.send(m, s.OnError, fmt.Sprintf("it failed at step %d of the processor %s", n, m.Processor), fmt.Sprintf("%s failed at %q: %v", m.Processor, s.Line, err))
	}
}
