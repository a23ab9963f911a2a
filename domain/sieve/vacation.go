package sieve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
)

// The times of vacation, in seconds. RFC 5230 section 4.1 and RFC 6131 section 2 leave them to the server, within limits.
const (
	vacationUsual = 7 * 86400
	vacationMost  = 365 * 86400
	vacationLeast = 60 // of :seconds; with :days it is one day
)

func init() {
	commands["vacation"] = &spec{needs: []string{"vacation", "vacation-seconds"}, takes: "s", command: buildVacation, tags: merge(copyTags, map[string]tagged{
		"days": {takes: 'n', group: "time"}, "seconds": {needs: "vacation-seconds", takes: 'n', group: "time"},
		"subject": {takes: 's'}, "from": {takes: 's'}, "addresses": {takes: 'l'}, "mime": {}, "handle": {takes: 's'},
	})}
}

// buildVacation is vacation (RFC 5230, RFC 6131).
func buildVacation(c *compiler, a *arguments) (step, error) {
	seconds := int64(vacationUsual)
	switch {
	case a.has("days"):
		seconds = min(max(a.tags["days"].n, 1), vacationMost/86400) * 86400
	case a.has("seconds"):
		seconds = min(max(a.tags["seconds"].n, vacationLeast), vacationMost)
	}
	reason, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	var tags [3]template
	for i, name := range []string{"subject", "from", "handle"} {
		if tags[i], err = c.optional(a, name); err != nil {
			return nil, err
		}
	}
	subject, from, handle := tags[0], tags[1], tags[2]
	var addresses []template
	if a.has("addresses") {
		if addresses, err = c.templates(a.tags["addresses"]); err != nil {
			return nil, err
		}
	}
	if s, ok := from.constant(); ok && a.has("from") {
		if _, _, ok := sender(s); !ok {
			return nil, a.tags["from"].errorf("%q is not an address", s)
		}
	}
	if s, ok := reason.constant(); ok && a.has("mime") && !entity(s) {
		return nil, a.place[0].errorf("with :mime there should be a MIME entity: Content- fields, an empty line, and a body")
	}
	fcc, err := c.fcc(a)
	if err != nil {
		return nil, err
	}
	same := digest(fmt.Sprintf("%q", []template{subject, from, reason}), fmt.Sprint(a.has("mime"))) // and not of what variables make of them, which the sender may choose
	return func(m *machine) error {
		if m.vacations++; m.vacations > 1 { // RFC 5230 section 4.7.
			return a.errorf("vacation comes once in a script")
		}
		text := m.expand(reason)
		why, err := m.unanswered(a.Position, m.expandAll(addresses))
		if err != nil {
			return err
		}
		if why != "" {
			m.notes = append(m.notes, "vacation answers nobody: "+why)
			return nil
		}
		name := m.expand(handle)
		if !a.has("handle") { // RFC 5230 section 4.2: without a handle, the same arguments are the same answer.
			name = same
		}
		person := m.ctx.From // A sender with many details is one.
		person.Local, _, _ = strings.Cut(person.Local, "+")
		name = digest(name, person.Key())
		if m.ctx.Seen != nil && m.ctx.Seen(RememberVacation, name) {
			m.notes = append(m.notes, "vacation answers nobody: the sender has had this answer")
			return nil
		}
		if m.ctx.Answered != nil && m.ctx.Answered() {
			m.notes = append(m.notes, "vacation answers nobody: the account has given as many answers as it may for now")
			return nil
		}
		l := &Letter{To: []string{m.ctx.From.String()}, Subject: m.expand(subject), Body: text, MIME: a.has("mime"), Auto: "auto-replied", Copy: fcc(m)} // RFC 5230 section 5.5.
		if l.MIME && !entity(text) {
			return a.place[0].errorf("with :mime there should be a MIME entity: Content- fields, an empty line, and a body")
		}
		if l.Subject == "" { // RFC 5230 section 5.2.
			values, err := m.values(a.Position, []string{"Subject"}, nil)
			if err != nil {
				return err
			}
			l.Subject = "Automated reply"
			if len(values) > 0 && values[0] != "" {
				l.Subject = "Auto: " + truncate(message.DecodeWords(values[0]), 500)
			}
		}
		if a.has("from") { // RFC 5230 section 4.3: an address that is not the user's is not used.
			if shown, address, ok := sender(m.expand(from)); ok && m.owns(address.String()) {
				l.From = shown
			}
		}
		if err := m.thread(a.Position, l); err != nil {
			return err
		}
		m.keepInMind(Remember{RememberVacation, name, seconds, true})
		return m.add(a.Position, Action{Kind: Vacation, Letter: l})
	}, nil
}

// thread makes a letter an answer to the message (RFC 5230 section 5.8, RFC 5322 section 3.6.4).
func (m *machine) thread(at Position, l *Letter) error {
	var values [3]string
	for i, name := range []string{"Message-ID", "References", "In-Reply-To"} {
		found, err := m.values(at, []string{name}, nil)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			values[i] = strings.Join(slices.DeleteFunc(strings.Fields(found[0]), func(word string) bool { return !isID(word) }), " ")
		}
	}
	if id := values[0]; isID(id) {
		l.InReplyTo = id
		before := cmp.Or(values[1], values[2])
		for len(before) > 2000 { // Those in the middle of a long thread are left out.
			_, before, _ = strings.Cut(before, " ")
		}
		l.References = strings.TrimSpace(before + " " + id)
	}
	return nil
}

// isID tells whether a word looks like a Message-ID that may stand in a line.
func isID(s string) bool {
	return len(s) < 900 && strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// automatic tells whether a value of Auto-Submitted says that a program sends the message (RFC 3834 section 5). What cannot be read says so, too.
func automatic(value string) bool {
	word, _, _ := strings.Cut(value, ";")
	return !strings.EqualFold(strings.TrimSpace(word), "no")
}

// robots are local parts that no person has (RFC 5230 section 4.6).
var robots = []string{"mailer-daemon", "listserv", "majordomo", "postmaster", "noreply", "no-reply", "donotreply", "do-not-reply", "bounce", "bounces"}

// unanswered says why a message has no automatic answer; empty if it may have one (RFC 3834 section 2, RFC 5230 sections 4.5 and 4.6).
func (m *machine) unanswered(at Position, addresses []string) (why string, err error) {
	from := m.ctx.From
	local := strings.ToLower(from.Local)
	switch {
	case m.ctx.Quiet != "":
		return m.ctx.Quiet, nil
	case from.IsNull():
		return "its sender is null", nil
	case m.owns(from.String()):
		return "its sender is the user", nil
	case strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request") || strings.HasSuffix(local, "-owner"):
		return "its sender is a list", nil
	}
	for _, robot := range robots { // With "bounces-list-id=person=example.org" a list knows whose mail comes back.
		if rest, is := strings.CutPrefix(local, robot); is && (rest == "" || strings.ContainsAny(rest[:1], "+-=")) || strings.HasSuffix(local, "-"+robot) {
			return "its sender is no person", nil
		}
	}
	if err := m.header.load(); err != nil {
		return "", err
	}
	for i := range m.header.fields {
		f := &m.header.fields[i]
		value := strings.ToLower(f.value())
		word, _, _ := strings.Cut(value, ";")
		word = strings.TrimSpace(word)
		switch name := asciiLower(f.name); {
		case strings.HasPrefix(name, "list-"):
			return "it comes by a list", nil
		case name == "auto-submitted" && automatic(value):
			return "a program has sent it", nil
		case name == "precedence" && (word == "bulk" || word == "list" || word == "junk"):
			return "it is bulk mail", nil
		case name == "x-auto-response-suppress" && (strings.Contains(value, "all") || strings.Contains(value, "oof") || strings.Contains(value, "autoreply")):
			return "its sender wants no answer", nil
		}
	}
	if err := m.spend(at, 1+len(m.header.fields)/16); err != nil {
		return "", err
	}
	known := map[string]bool{}
	for _, s := range addresses {
		if err := m.spend(at, 1); err != nil {
			return "", err
		}
		if a, err := delivery.ParseAddress(s); err == nil {
			known[a.Key()] = true
		}
	}
	fields, err := m.values(at, []string{"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"}, nil)
	if err != nil {
		return "", err
	}
	left := maxAddresses
	for _, f := range fields { // RFC 5230 section 4.5: who is named in the header was written to.
		all := message.ParseAddresses(f, left)
		left -= len(all)
		for _, found := range all {
			if err := m.spend(at, 4); err != nil {
				return "", err
			}
			address := delivery.Address{Local: found.Mailbox, Domain: found.Host}
			if found.Host != "" && (known[address.Key()] || m.owns(address.String())) {
				return "", nil
			}
		}
	}
	return "no address of the user is in To or Cc", nil
}
