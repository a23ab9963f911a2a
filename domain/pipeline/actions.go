package pipeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/queue"
)

// action says what a step does to the mail of the recipients that it has found. It may change the mail; it gives the effects, and ends the mail or not.
type action func(m *Mail, w World) (effects []Effect, ends bool, err error)

// kind is how an action is made of its parameters.
type kind struct {
	params []string // those that it knows; what has a star must be there
	ends   bool     // it ends the mail whatever comes, or sends it to another processor
	make   func(p map[string]string, limits *Limits) (action, error)
}

// actions by name. The names are James's.
var actions map[string]kind

func init() {
	actions = map[string]kind{
		"ToProcessor":         {params: []string{"processor*", "notice"}, ends: true},
		"LocalDelivery":       {ends: true, make: ending(func(*Mail, map[string]string) Effect { return Effect{Kind: Deliver} })},
		"RemoteDelivery":      {ends: true, make: ending(func(*Mail, map[string]string) Effect { return Effect{Kind: Deliver} })},
		"Null":                {ends: true, make: ending(func(*Mail, map[string]string) Effect { return Effect{Kind: Drop} })},
		"ToRepository":        {params: []string{"repository*", "cause", "text"}, ends: true, make: toRepository},
		"Bounce":              {params: []string{"status", "text"}, ends: true, make: bounce},
		"DSNBounce":           {params: []string{"status", "text"}, ends: true, make: bounce},
		"AddHeader":           {params: []string{"name*", "value*"}, make: header1(true)},
		"SetMimeHeader":       {params: []string{"name*", "value*"}, make: header1(false)},
		"RemoveMimeHeader":    {params: []string{"name*"}, make: removeHeader},
		"AddSubjectPrefix":    {params: []string{"prefix*"}, make: addPrefix},
		"SetMailAttribute":    {params: []string{"name*", "value*"}, make: setAttribute},
		"RemoveMailAttribute": {params: []string{"name*"}, make: removeAttribute},
		"LogMessage":          {params: []string{"comment"}, make: logMessage},
		"Forward":             {params: []string{"to*"}, ends: true, make: send(true, false)},
		"Resend":              {params: []string{"to*", "sender"}, make: send(false, false)},
		"Redirect":            {params: []string{"to*", "sender"}, ends: true, make: send(true, true)},
		"NotifyPostmaster":    {params: []string{"to*"}, make: send(false, true)},
		"HTTP":                {params: []string{"url*", "timeout", "retries", "secret", "body"}, make: nil},
		"Custom":              {params: []string{"step*"}, make: nil},
	}
}

// Actions lists the names that there are.
func Actions() []string { return sorted(actions) }

func ending(effect func(*Mail, map[string]string) Effect) func(map[string]string, *Limits) (action, error) {
	return func(p map[string]string, _ *Limits) (action, error) {
		return func(m *Mail, _ World) ([]Effect, bool, error) {
			e := effect(m, p)
			e.Mail = m
			return []Effect{e}, true, nil
		}, nil
	}
}

func toRepository(p map[string]string, l *Limits) (action, error) {
	shelf, err := queue.Repository(p["repository"])
	if err != nil {
		return nil, err
	}
	return ending(func(m *Mail, p map[string]string) Effect {
		e := Effect{Kind: Park, Repository: shelf.Name(), Cause: p["cause"], Text: p["text"]}
		if e.Text == "" {
			e.Text = cmp.Or(m.Attributes[AttributeDetail], m.Attributes[AttributeError])
		}
		if e.Cause == "" {
			e.Cause = shelf.Name()
		}
		return e
	})(p, l)
}

func bounce(p map[string]string, l *Limits) (action, error) {
	if s := p["status"]; s != "" && (len(s) < 5 || s[:2] != "5." || strings.Trim(s, "0123456789.") != "") {
		return nil, domain.Errorf(domain.Invalid, "%q is no status of a failure such as 5.7.1 (RFC 3463)", s)
	}
	return ending(func(m *Mail, p map[string]string) Effect {
		e := Effect{Kind: Bounce, Status: p["status"], Text: p["text"]}
		if e.Status == "" {
			e.Status = "5.0.0"
		}
		if e.Text == "" {
			e.Text = m.Attributes[AttributeError]
		}
		return e
	})(p, l)
}

// changing is an action that only changes the mail.
func changing(change func(m *Mail, w World) error) action {
	return func(m *Mail, w World) ([]Effect, bool, error) { return nil, false, change(m, w) }
}

// maxEdits bounds the edits of one mail's header.
const maxEdits = 100

func (m *Mail) edit(e Edit) error {
	if len(m.Edits) >= maxEdits {
		return domain.Errorf(domain.TooLarge, "the header was edited %d times", maxEdits)
	}
	m.Edits = append(m.Edits, e)
	return nil
}

func header1(keep bool) func(map[string]string, *Limits) (action, error) {
	return func(p map[string]string, _ *Limits) (action, error) {
		e := Edit{Name: p["name"], Value: p["value"], Keep: keep}
		if err := checkEdit(e); err != nil {
			return nil, err
		}
		return changing(func(m *Mail, _ World) error { return m.edit(e) }), nil
	}
}

func removeHeader(p map[string]string, _ *Limits) (action, error) {
	var names []string
	for name := range strings.SplitSeq(p["name"], ",") {
		name = strings.TrimSpace(name)
		if err := checkEdit(Edit{Name: name}); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return changing(func(m *Mail, _ World) error {
		for _, name := range names {
			if err := m.edit(Edit{Name: name}); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

func addPrefix(p map[string]string, _ *Limits) (action, error) {
	if err := checkField("Subject", p["prefix"]); err != nil {
		return nil, err
	}
	return changing(func(m *Mail, w World) error {
		all, err := m.fields(w)
		if err != nil {
			return err
		}
		value := p["prefix"]
		for _, f := range all {
			if strings.EqualFold(f.name, "Subject") {
				if strings.HasPrefix(message.DecodeWords(f.value()), value) {
					return nil
				}
				value += " " + f.value()
				break
			}
		}
		return m.edit(Edit{Name: "Subject", Value: value})
	}), nil
}

// checkAttribute checks the name of an attribute that somebody wants to change. Errors: domain.Invalid.
func checkAttribute(name string) error {
	if name == AttributeSent {
		return domain.Errorf(domain.Invalid, "the attribute %s is what loops are found by, and stays", name)
	}
	return nil
}

func setAttribute(p map[string]string, l *Limits) (action, error) {
	if err := checkAttribute(p["name"]); err != nil {
		return nil, err
	}
	if len(p["name"])+len(p["value"]) > l.Attribute {
		return nil, domain.Errorf(domain.Invalid, "an attribute has %d octets at most", l.Attribute)
	}
	return changing(func(m *Mail, _ World) error {
		if _, has := m.Attributes[p["name"]]; !has && len(m.Attributes) >= l.Attributes {
			return domain.Errorf(domain.TooLarge, "a mail may have %d attributes", l.Attributes)
		}
		m.set(p["name"], p["value"])
		return nil
	}), nil
}

func (m *Mail) set(name, value string) {
	if m.Attributes == nil {
		m.Attributes = map[string]string{}
	}
	m.Attributes[name] = value
}

func removeAttribute(p map[string]string, _ *Limits) (action, error) {
	if err := checkAttribute(p["name"]); err != nil {
		return nil, err
	}
	return changing(func(m *Mail, _ World) error { delete(m.Attributes, p["name"]); return nil }), nil
}

func logMessage(p map[string]string, _ *Limits) (action, error) {
	return func(m *Mail, _ World) ([]Effect, bool, error) {
		return []Effect{{Kind: Log, Mail: m, Text: p["comment"]}}, false, nil
	}, nil
}

// maxSent bounds how many actions send a mail on, one after the other: each may make several mails of one.
const maxSent = 3

// sentOn counts that an action sends a mail on, and tells whether it may.
func (m *Mail) sentOn() bool {
	n, _ := strconv.Atoi(m.Attributes[AttributeSent]) // none is 0
	m.set(AttributeSent, strconv.Itoa(min(n, maxSent)+1))
	return n < maxSent
}

// send makes another mail of the message. With own, its sender is the null sender unless one is given: what comes of it is not told to who sent the first.
func send(ends, own bool) func(map[string]string, *Limits) (action, error) {
	return func(p map[string]string, _ *Limits) (action, error) {
		var to []string
		for text := range strings.SplitSeq(p["to"], ",") {
			a, err := delivery.ParseAddress(strings.TrimSpace(text))
			if err != nil {
				return nil, domain.Errorf(domain.Invalid, "to has %q, which is no address", text)
			}
			to = append(to, a.String())
		}
		if s := p["sender"]; s != "" && s != "<>" {
			if _, err := delivery.ParseAddress(s); err != nil {
				return nil, domain.Errorf(domain.Invalid, "sender is %q, which is no address", s)
			}
		}
		return func(m *Mail, _ World) ([]Effect, bool, error) {
			n := m.with(to)
			n.Processor, n.Step = "", 0
			n.set(AttributeServer, "true")
			switch s := p["sender"]; {
			case s == "<>" || s == "" && own:
				n.Sender = ""
			case s != "":
				n.Sender = s
			}
			sent := Effect{Kind: Send, Mail: n}
			switch {
			case ends && !own:
				sent.For = slices.Clone(m.Recipients)
			case !ends && p["sender"] == "": // Nobody has asked for it who could be told.
				sent.Notify = queue.Never
			}
			effects := []Effect{sent}
			if ends {
				effects = append(effects, Effect{Kind: Drop, Mail: m, Text: "it was sent on"})
			}
			return effects, ends, nil
		}, nil
	}
}
