package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Limits bound what a mail may cost. A zero field means its default.
type Limits struct {
	Processors int // that a mail visits; 30
	Attributes int // of a mail; 100
	Attribute  int // octets of the name and the value of one; 4 KiB
	Steps      int // of all processors together; 1,000
	Parts      int // into which one look splits a mail; 1,000
}

// OnError is what a step does when it fails, other than sending the mail to a processor.
const (
	OnErrorIgnore    = "ignore"    // the mail goes on as if the step were not there
	OnErrorPropagate = "propagate" // the mail is tried again later, at this step
)

// Step is a matcher and an action.
type Step struct {
	Line    string // as it is written
	Action  string
	Params  map[string]string
	OnError string // a processor, ignore or propagate

	match matcher
	run   action // nil: it is for others to carry out
	to    string // the processor that it sends to
	all   bool   // it takes every recipient
	ends  bool

	made, foreign bool // it takes all mail that was made here; it takes none
}

// Program is compiled processors. It is not changed any more.
type Program struct {
	processors map[string][]*Step
	limits     Limits
	networks   []string
}

// The processors at which mail begins.
const (
	Root    = "root"
	Relay   = "relay"
	Bounces = "bounces"
	Failed  = "error"
)

// Defaults are James's processors.
var Defaults = []string{
	`root: All -> ToProcessor processor=transport`,
	`transport: RecipientIsLocal -> ToProcessor processor=local-delivery onError=propagate`,
	`transport: HostIsLocal -> ToProcessor processor=local-address-error notice="there is no such mailbox"`,
	`transport: SMTPAuthSuccessful or SentByMailet -> ToProcessor processor=relay`,
	`transport: All -> ToProcessor processor=relay-denied notice="nobody logged in, and the recipient is elsewhere"`,
	`local-delivery: All -> LocalDelivery`,
	`relay: All -> RemoteDelivery`,
	`bounces: All -> DSNBounce`,
	`error: All -> ToRepository repository=error`,
	`rrt-error: All -> ToRepository repository=rrt-error cause=loop`,
	`relay-denied: All -> ToRepository repository=relay-denied`,
	`local-address-error: All -> ToRepository repository=local-address-error`,
}

// Lines are the steps of a configuration: those of processors that it does not name are the defaults.
func Lines(given []string) []string {
	named := map[string]bool{}
	for _, text := range given {
		name, _, _ := strings.Cut(text, ":")
		named[strings.TrimSpace(name)] = true
	}
	var lines []string
	for _, text := range Defaults {
		if name, _, _ := strings.Cut(text, ":"); !named[name] {
			lines = append(lines, text)
		}
	}
	return append(lines, given...)
}

// Compile makes a Program of lines; custom are the names of custom steps that there are. Errors: domain.Invalid, which says every mistake.
func Compile(lines, custom []string, limits Limits) (*Program, error) {
	limits.Processors = cmp.Or(limits.Processors, 30)
	limits.Attributes = cmp.Or(limits.Attributes, 100)
	limits.Attribute = cmp.Or(limits.Attribute, 4<<10)
	limits.Steps = cmp.Or(limits.Steps, 1000)
	limits.Parts = cmp.Or(limits.Parts, 1000)
	p := &Program{processors: map[string][]*Step{}, limits: limits}
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if len(lines) > limits.Steps {
		fault("there are %d steps, more than %d", len(lines), limits.Steps)
		lines = nil
	}
	for _, text := range lines {
		l, err := parseLine(text)
		if err != nil {
			fault("%q: %v", text, err)
			continue
		}
		s, err := l.compile(text, custom, &p.limits)
		if err != nil {
			fault("%q: %v", text, err)
			continue
		}
		p.processors[l.processor] = append(p.processors[l.processor], s)
		l.matcher.walk(func(e *expression) {
			if strings.HasSuffix(e.name, "Network") {
				set, _ := words(e.value) // compile has read it
				p.networks = append(p.networks, sorted(set)...)
			}
		})
	}
	if len(faults) == 0 {
		p.check(fault)
	}
	if len(faults) > 0 {
		return nil, domain.Errorf(domain.Invalid, "%s", strings.Join(faults, "\n"))
	}
	return p, nil
}

func (l *line) compile(text string, custom []string, limits *Limits) (*Step, error) {
	k, known := actions[l.action]
	if !known {
		return nil, domain.Errorf(domain.Invalid, "there is no action %q; there are %s", l.action, strings.Join(Actions(), ", "))
	}
	s := &Step{Line: strings.TrimSpace(text), Action: l.action, Params: l.params, OnError: cmp.Or(l.params["onError"], Failed), all: l.matcher.all(), ends: k.ends, to: l.params["processor"]}
	s.made, s.foreign = l.matcher.op == "" && l.matcher.name == "SentByMailet", l.matcher.excludes("SentByMailet")
	for _, name := range l.order {
		if name != "onError" && !slices.Contains(k.params, name) && !slices.Contains(k.params, name+"*") {
			return nil, domain.Errorf(domain.Invalid, "%s has no parameter %s", l.action, name)
		}
	}
	for _, name := range k.params {
		if name, needed := strings.CutSuffix(name, "*"); needed && l.params[name] == "" {
			return nil, domain.Errorf(domain.Invalid, "%s needs the parameter %s", l.action, name)
		}
	}
	if l.action == "Custom" && !slices.Contains(custom, l.params["step"]) {
		return nil, domain.Errorf(domain.Invalid, "there is no custom step %q; there are: %s", l.params["step"], strings.Join(custom, ", "))
	}
	if l.action != "ToProcessor" {
		s.to = ""
	}
	var err error
	if s.match, err = l.matcher.compile(); err != nil {
		return nil, err
	}
	if k.make != nil {
		if s.run, err = k.make(l.params, limits); err != nil {
			return nil, fmt.Errorf("action %s: %w", l.action, err)
		}
	}
	return s, nil
}

// check looks at the processors together.
func (p *Program) check(fault func(string, ...any)) {
	for _, name := range []string{Root, Failed, Bounces, Relay} {
		if len(p.processors[name]) == 0 {
			fault("there is no processor %s, which has to be there", name)
		}
	}
	for _, name := range p.Processors() {
		steps := p.processors[name]
		if last := steps[len(steps)-1]; !last.all || !last.ends {
			fault("processor %s may end with recipients left over: its last step has to take All, and to deliver, park, bounce, drop or send to a processor; it is %q", name, last.Line)
		}
		for n, s := range steps {
			if s.all && s.ends && n < len(steps)-1 {
				fault("%q can never be reached, because %q takes all mail", steps[n+1].Line, s.Line)
			}
			if s.to != "" && p.processors[s.to] == nil {
				fault("%q: there is no processor %q; there are %s", s.Line, s.to, strings.Join(p.Processors(), ", "))
			}
			if s.OnError != OnErrorIgnore && s.OnError != OnErrorPropagate && p.processors[s.OnError] == nil {
				fault("%q: onError is ignore, propagate or a processor, and there is no processor %q", s.Line, s.OnError)
			}
		}
	}
	for _, name := range p.Processors() {
		if circle := p.circle(name); circle != nil {
			fault("mail goes in a circle for ever: %s", strings.Join(circle, " -> "))
		}
	}
}

// Warnings tells what is allowed and hardly meant: steps of root that send on what they have sent themselves.
func (p *Program) Warnings() (all []string) {
	for _, s := range p.processors[Root] {
		if s.made && s.ends {
			return all
		}
		switch s.Action {
		case "Resend", "Forward", "Redirect", "NotifyPostmaster":
			if !s.foreign {
				all = append(all, fmt.Sprintf("%q is also for what it sends itself, which begins at root again: have it match only what is \"not SentByMailet\"", s.Line))
			}
		}
	}
	return all
}

// circle follows where a processor sends all mail that is left at its end.
func (p *Program) circle(name string) (path []string) {
	for at := name; ; {
		steps := p.processors[at]
		path = append(path, at)
		if len(path) > 1 && at == name {
			if slices.Min(path) == name { // one of those in the circle tells
				return path
			}
			return nil
		}
		if len(steps) == 0 || steps[len(steps)-1].to == "" || slices.Contains(path[:len(path)-1], at) {
			return nil
		}
		at = steps[len(steps)-1].to
	}
}

// Processors lists the names that there are.
func (p *Program) Processors() []string { return sorted(p.processors) }

// Has tells whether there is a processor.
func (p *Program) Has(name string) bool { return p.processors[name] != nil }

// Steps gives the steps of a processor.
func (p *Program) Steps(name string) []*Step { return p.processors[name] }

// Networks lists those that matchers name, as they are written: what they mean is for the World to say.
func (p *Program) Networks() []string { return p.networks }

// Repositories lists those that steps park mail in.
func (p *Program) Repositories() (names []string) {
	for _, steps := range p.processors {
		for _, s := range steps {
			if s.Action == "ToRepository" {
				names = append(names, s.Params["repository"])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
