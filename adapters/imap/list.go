package imap

import (
	"context"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain/account"
	"golang.org/x/text/unicode/norm"
)

func init() {
	register(spec{name: "LIST", states: loggedIn, fresh: true, run: runList})
	register(spec{name: "LSUB", states: loggedIn, fresh: true, run: runLsub})
	for _, name := range []string{"CHILDREN", "LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE"} {
		advertise(name, whenAuthenticated)
	}
}

// maxPatterns bounds the patterns of one LIST, and maxWildcards the wildcards of one pattern.
const (
	maxPatterns  = 100
	maxWildcards = 100
)

// listing is one LIST response.
type listing struct {
	name       string
	attributes []string
	childInfo  bool // CHILDINFO ("SUBSCRIBED")
	owner      owner
	status     []uint64
	extras     []func(c *conn, name string) // send what further return options give
}

// listRequest is a parsed LIST (RFC 9051 section 6.3.9, RFC 5258).
type listRequest struct {
	patterns []string

	// Selection options.
	subscribed, recursive, specialUse bool
	// Return options.
	showSubscribed bool
	status         []string
	extras         []listExtra
	named          []string // the return options so far
}

// listExtra looks at a mailbox inside a View and gives what sends its finding behind the LIST response.
type listExtra func(c *conn, o owner, m *account.Mailbox) func(c *conn, name string)

// listReturns are further return options by name. Each parses what follows its name and adds to the request's extras. Extensions add theirs from init.
var listReturns = map[string]listReturn{}

type listReturn struct {
	capability string
	parse      func(d *wire.Decoder, r *listRequest) bool
}

// runList is LIST with the options of RFC 5258, RFC 5819 and RFC 6154. Children and special uses are shown to everybody: RFC 3348 and RFC 6154
// section 2 allow it and clients look for them.
func runList(ctx context.Context, c *conn, cmd *command) error {
	var r listRequest
	var reference string
	d := cmd.dec
	extended := false
	if !d.ExpectSP() {
		return d.Err()
	}
	if d.Next('(') {
		if extended = true; !d.ExpectList(func() bool { return r.selection(d) }) || !d.ExpectSP() {
			return d.Err()
		}
		if r.recursive && !r.subscribed && !r.specialUse { // RFC 5258 section 3.1.
			return wire.Syntaxf("RECURSIVEMATCH needs another selection option")
		}
	}
	if !d.ExpectMailbox(&reference) || !d.ExpectSP() {
		return d.Err()
	}
	pattern := func() bool {
		var p string
		ok := d.ExpectListMailbox(&p)
		r.patterns = append(r.patterns, p)
		return ok
	}
	if d.Next('(') {
		if extended = true; !d.ExpectList(pattern) {
			return d.Err()
		}
	} else if !pattern() {
		return d.Err()
	}
	if d.SP() {
		var word string
		if !d.ExpectName(&word) || word != "RETURN" && !d.Fail(wire.Syntaxf("LIST has no parameter of that name")) || !d.ExpectSP() ||
			!d.ExpectList(func() bool { return r.returns(c, d) }) {
			return d.Err()
		}
		extended = true
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	if !extended && r.patterns[0] == "" { // RFC 9051 section 6.3.9: a question for the separator.
		c.enc.Raw(`* LIST (\Noselect) "/" ""` + "\r\n")
		return nil
	}
	if err := r.prepare(reference); err != nil {
		return err
	}
	c.enableByStatus(r.status)
	found, err := r.find(ctx, c)
	if err != nil {
		return err
	}
	for _, l := range found {
		c.sendListing("LIST", l)
		if l.status != nil {
			c.sendStatus(l.owner, l.name, r.status, l.status)
		}
		for _, send := range l.extras {
			send(c, l.name)
		}
	}
	return nil
}

// runLsub is LSUB (RFC 3501 section 6.3.9).
func runLsub(ctx context.Context, c *conn, cmd *command) error {
	var reference, pattern string
	d := cmd.dec
	if !d.ExpectSP() || !d.ExpectMailbox(&reference) || !d.ExpectSP() || !d.ExpectListMailbox(&pattern) || !d.ExpectCRLF() {
		return d.Err()
	}
	r := listRequest{patterns: []string{pattern}, subscribed: true, recursive: strings.HasSuffix(pattern, "%")}
	if err := r.prepare(reference); err != nil {
		return err
	}
	found, err := r.find(ctx, c)
	for _, l := range found {
		// A level that is not subscribed but leads to one that is comes with \Noselect, whether it exists or not.
		attributes := []string(nil)
		if !slices.Contains(l.attributes, `\Subscribed`) {
			attributes = []string{`\Noselect`}
		}
		c.sendListing("LSUB", listing{name: l.name, attributes: attributes})
	}
	return err
}

func (r *listRequest) selection(d *wire.Decoder) bool {
	var option string
	if !d.ExpectName(&option) {
		return false
	}
	switch option {
	case "SUBSCRIBED":
		r.subscribed, r.showSubscribed = true, true
	case "RECURSIVEMATCH":
		r.recursive = true
	case "SPECIAL-USE":
		r.specialUse = true
	case "REMOTE": // there are no remote mailboxes to add.
	default:
		return d.Fail(wire.Syntaxf("LIST has no selection option of that name"))
	}
	return true
}

func (r *listRequest) returns(c *conn, d *wire.Decoder) bool {
	var option string
	if !d.ExpectName(&option) {
		return false
	}
	if slices.Contains(r.named, option) { // each costs something for every mailbox.
		return d.Fail(wire.Syntaxf("the return option %s is given twice", option))
	}
	r.named = append(r.named, option)
	switch option {
	case "SUBSCRIBED":
		r.showSubscribed = true
	case "CHILDREN", "SPECIAL-USE":
	case "STATUS": // RFC 5819.
		return d.ExpectSP() && c.expectStatusItems(d, &r.status)
	default:
		more, known := listReturns[option]
		if !known || c.without[more.capability] {
			return d.Fail(wire.Syntaxf("LIST has no return option of that name"))
		}
		return more.parse(d, r)
	}
	return true
}

// prepare brings the patterns into the form in which names are kept.
func (r *listRequest) prepare(reference string) error {
	if len(r.patterns) > maxPatterns {
		return wire.Syntaxf("LIST takes at most %d patterns", maxPatterns)
	}
	for i, p := range r.patterns {
		if p = reference + p; len(p) > account.MaxNameLength || strings.Count(p, "*")+strings.Count(p, "%") > maxWildcards {
			return wire.Syntaxf("a pattern has at most %d octets and %d wildcards", account.MaxNameLength, maxWildcards)
		}
		p = norm.NFC.String(p)
		if first, rest, deep := strings.Cut(p, "/"); deep && strings.EqualFold(first, account.Inbox) {
			p = account.Inbox + "/" + rest
		}
		r.patterns[i] = p
	}
	return nil
}

func (r *listRequest) matches(name string) bool {
	for _, p := range r.patterns {
		if name == account.Inbox {
			p = strings.ToUpper(p) // RFC 9051 section 6.3.9: INBOX matches in any case.
		}
		if matchPattern(p, name) {
			return true
		}
	}
	return false
}

func (c *conn) sendListing(response string, l listing) {
	c.enc.Raw("* ").Raw(response).SP().Flags(l.attributes).Raw(` "/" `).Mailbox(l.name)
	if l.childInfo {
		c.enc.Raw(` ("CHILDINFO" ("SUBSCRIBED"))`) // RFC 5258 section 3.5.
	}
	c.enc.CRLF()
}

// matchPattern matches a name with a pattern of LIST: "*" stands for anything, "%" for anything without a separator. It takes time
// proportional to the product of the lengths at the most, whatever the pattern.
func matchPattern(pattern, name string) bool {
	// active[i] means that pattern[:i] matches the part of the name that was read.
	active := make([]bool, len(pattern)+1)
	active[0] = true
	spread := func() {
		for i := range len(pattern) {
			if active[i] && (pattern[i] == '*' || pattern[i] == '%') {
				active[i+1] = true
			}
		}
	}
	spread()
	for n := range len(name) {
		c, any := name[n], false
		for i := len(pattern); i > 0; i-- {
			p := pattern[i-1]
			switch {
			case p == '*', p == '%' && c != '/':
				// A wildcard that was reached takes c and stays reached.
				active[i] = active[i] || active[i-1]
			case p == '%':
				active[i] = false
			default:
				active[i] = active[i-1] && p == c
			}
			any = any || active[i]
		}
		active[0] = false
		if !any {
			return false
		}
		spread()
	}
	return active[len(pattern)]
}
