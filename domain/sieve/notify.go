package sieve

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
)

// NotifyMethods are the schemes of URIs by which scripts can notify (RFC 5804 section 1.7).
const NotifyMethods = "mailto"

func init() {
	commands["notify"] = &spec{needs: []string{"enotify"}, takes: "s", command: buildNotify, tags: merge(copyTags, map[string]tagged{
		"from": {takes: 's'}, "importance": {takes: 's'}, "options": {takes: 'l'}, "message": {takes: 's'},
	})}
	tests["valid_notify_method"] = &spec{needs: []string{"enotify"}, takes: "l", test: buildValidNotify}
	tests["notify_method_capability"] = &spec{needs: []string{"enotify"}, tags: matchTags, takes: "ssl", test: buildNotifyCapability}
}

// buildNotify is notify (RFC 5435 section 3) by mail (RFC 5436). It never touches the implicit keep.
func buildNotify(c *compiler, a *arguments) (step, error) {
	method, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	if s, ok := method.constant(); ok {
		if _, err := mailto(s); err != nil {
			return nil, a.place[0].errorf("%v", err)
		}
	}
	var tags [3]template
	for i, name := range []string{"from", "importance", "message"} {
		if tags[i], err = c.optional(a, name); err != nil {
			return nil, err
		}
	}
	from, importance, text := tags[0], tags[1], tags[2]
	if s, ok := importance.constant(); ok && a.has("importance") && levels[s] == "" {
		return nil, a.tags["importance"].errorf(":importance is 1, 2 or 3")
	}
	fcc, err := c.fcc(a)
	if err != nil {
		return nil, err
	}
	return func(m *machine) error {
		l, err := mailto(m.expand(method))
		if err != nil {
			return a.place[0].errorf("%v", err)
		}
		if m.ctx.Quiet != "" {
			m.notes = append(m.notes, "notify tells nobody: "+m.ctx.Quiet)
			return nil
		}
		values, err := m.values(a.Position, []string{"Auto-Submitted"}, nil)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(values, automatic) { // RFC 5436 section 2.8, lest notifications loop.
			m.notes = append(m.notes, "notify tells nobody: a program has sent the message")
			return nil
		}
		subject, err := m.values(a.Position, []string{"Subject"}, nil)
		if err != nil {
			return err
		}
		switch { // RFC 5436 section 2.3.
		case a.has("message"):
			l.Subject = truncate(m.expand(text), 500)
		case l.Subject == "" && len(subject) > 0:
			l.Subject = truncate(message.DecodeWords(subject[0]), 500)
		}
		if l.Subject == "" {
			l.Subject = "New mail"
		}
		if l.Body == "" {
			l.Body = "A message from " + m.ctx.From.Path() + " has arrived for " + m.ctx.To.String() + ".\n"
		}
		if shown, address, ok := sender(m.expand(from)); ok && m.owns(address.String()) { // RFC 5436 section 2.1: only an address of the user is believed.
			l.From = shown
		}
		if l.Auto = "auto-notified"; m.ctx.To.IsASCII() { // RFC 5436 section 2.7; a parameter has no other letters (RFC 3834 section 5).
			l.Auto += "; owner-email=" + quoted(m.ctx.To.String())
		}
		level := levels[m.expand(importance)]
		if level == "" {
			level = levels["2"]
		}
		l.Fields = append(l.Fields, "Importance: "+level)
		l.Copy = fcc(m)
		return m.send(a.Position, Action{Kind: Notify, Letter: l})
	}, nil
}

// levels are the values of :importance (RFC 5435 section 3.4) in the words of RFC 2156.
var levels = map[string]string{"1": "high", "2": "normal", "3": "low"}

// mailto reads the URI of a notification (RFC 6068). Fields that only the server may write are passed over (RFC 5436 section 2.5), and so are all but a few others.
func mailto(uri string) (*Letter, error) {
	rest, ok := strings.CutPrefix(asciiLower(uri), "mailto:")
	if !ok {
		return nil, plainError("this server notifies by mailto: only")
	}
	rest = uri[len(uri)-len(rest):]
	path, query, _ := strings.Cut(rest, "?")
	l := &Letter{}
	if err := l.addressees(&l.To, path); err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(field, "=")
		text, err := unescape(value)
		if err != nil {
			return nil, err
		}
		switch asciiLower(name) {
		case "to":
			err = l.addressees(&l.To, value)
		case "cc":
			err = l.addressees(&l.Cc, value)
		case "subject":
			l.Subject = text
		case "body":
			l.Body = truncate(text, maxVariable)
		}
		if err != nil {
			return nil, err
		}
	}
	if n := len(l.To) + len(l.Cc); n == 0 || n > MaxRedirects {
		return nil, plainError("a mailto: URI for notifications names one to four addresses")
	}
	return l, nil
}

// addressees adds addresses that stand in a URI with commas between them.
func (l *Letter) addressees(list *[]string, text string) error {
	for part := range strings.SplitSeq(text, ",") {
		plain, err := unescape(strings.TrimSpace(part))
		if plain == "" && err == nil {
			continue
		}
		a, wrong := delivery.ParseAddress(plain)
		if err != nil || wrong != nil {
			return plainError("the URI has something that is not an address")
		}
		*list = append(*list, a.String())
	}
	return nil
}

// unescape undoes percent-encoding (RFC 3986 section 2.1).
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		octet, err := hex.DecodeString(s[i+1 : min(i+3, len(s))])
		if err != nil || len(octet) != 1 {
			return "", plainError("the URI has a wrong escape")
		}
		b.Write(octet)
		i += 2
	}
	return b.String(), nil
}

type plainError string

func (e plainError) Error() string { return string(e) }

// buildValidNotify is valid_notify_method (RFC 5435 section 4).
func buildValidNotify(c *compiler, a *arguments) (predicate, error) {
	return everything(c, a.place[0], func(_ *machine, uri string) bool { _, err := mailto(uri); return err == nil })
}

// buildNotifyCapability is notify_method_capability (RFC 5435 section 5). Whether somebody looks at mail is not known (RFC 5436 section 2.2).
func buildNotifyCapability(c *compiler, a *arguments) (predicate, error) {
	uri, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	what, err := c.template(a.place[1].Position, a.place[1].strings[0])
	if err != nil {
		return nil, err
	}
	match, err := c.matcher(a, a.place[2])
	return func(m *machine) (bool, error) {
		if _, err := mailto(m.expand(uri)); err != nil || !strings.EqualFold(m.expand(what), "online") {
			return false, nil
		}
		return match.any(m, []string{"maybe"})
	}, err
}

// encodeURL is the modifier :encodeurl (RFC 5435 section 6).
func encodeURL(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || strings.IndexByte("-._~", c) >= 0 { // RFC 3986 section 2.3.
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}
