package imap

import (
	"context"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
)

// states is a set of the connection states of RFC 9051 section 3.
type states uint8

const (
	notAuthenticated states = 1 << iota
	authenticated           // without a selected mailbox
	mailboxSelected

	loggedIn = authenticated | mailboxSelected
	anyState = notAuthenticated | loggedIn
)

// handler runs one command: it parses the arguments with cmd.dec, calls ExpectCRLF, does what is asked and writes untagged data to c.enc.
// The tagged answer follows from what it returns: OK for nil (cmd.ok chooses its code and text), BAD for a *wire.SyntaxError, NO with the
// response code of table kinds for a *domain.Error, and NO [SERVERBUG] with a number that is in the log for everything else.
type handler func(ctx context.Context, c *conn, cmd *command) error

// command is one command line while it runs.
type command struct {
	tag  string
	name string // upper case, without the prefix UID
	uid  bool   // it came as "UID name"
	dec  *wire.Decoder

	code, text string // of the tagged OK
	answered   bool   // the command has written its own tagged OK
	updated    bool   // the command has told all that has changed in the selected mailbox
	late       error  // why it has not told all of it
}

// ok sets the response code (without brackets; may be empty) and the text of the tagged OK.
func (cmd *command) ok(code, text string) { cmd.code, cmd.text = code, text }

// spec describes a command for the table.
type spec struct {
	name   string
	states states // in which it may be given
	uid    bool   // "UID name" exists as well
	fresh  bool   // it shows what may just have been changed through another node of a cluster
	asks   bool   // it does nothing but ask for what has changed
	writes bool   // it changes the selected mailbox, so it is refused after EXAMINE
	// numbered commands speak of sequence numbers: no EXPUNGE may come while one runs, unless it is the UID form
	// (RFC 9051 section 7.5.1).
	numbered bool
	// capabilities are advertised to authenticated clients. When configuration switches all of them off, the command is unknown.
	capabilities []string
	run          handler
}

// capability is advertised when its condition holds.
type capability struct {
	name string
	when func(c *conn) bool
}

// requires names the capability without which another one makes no sense, so that both are switched off together.
var requires = map[string]string{
	"RIGHTS=texk": aclName, "LIST-MYRIGHTS": aclName,
	qresync: condstore, "JMAPACCESS": objectID, "LIST-METADATA": "METADATA", "URLAUTH=BINARY": "URLAUTH",
	"ESORT": "SORT", "CONTEXT=SORT": "SORT", "SORT=DISPLAY": "SORT",
	"QUOTASET": "QUOTA", "QUOTA=RES-STORAGE": "QUOTA", "QUOTA=RES-MESSAGE": "QUOTA", "QUOTA=RES-MAILBOX": "QUOTA",
}

var (
	commands     = map[string]*spec{}
	capabilities []capability
)

// register puts a command into the table. Files call it from init.
func register(s spec) {
	if _, taken := commands[s.name]; taken {
		panic("command " + s.name + " is registered twice")
	}
	commands[s.name] = &s
	for _, name := range s.capabilities {
		advertise(name, whenAuthenticated)
	}
}

// advertise puts a capability that is not tied to one command into the table.
func advertise(name string, when func(c *conn) bool) {
	if !slices.ContainsFunc(capabilities, func(known capability) bool { return known.name == name }) {
		capabilities = append(capabilities, capability{name, when})
	}
}

func always(*conn) bool                { return true }
func whenAuthenticated(c *conn) bool   { return c.state() != notAuthenticated }
func whenUnauthenticated(c *conn) bool { return c.state() == notAuthenticated }

// capabilityList is what CAPABILITY shows at this moment, the versions first.
func (c *conn) capabilityList() []string {
	var list []string
	for _, known := range capabilities {
		if !c.without[known.name] && known.when(c) {
			list = append(list, c.server.parameter(known.name))
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		if version := strings.HasPrefix(a, "IMAP4"); version != strings.HasPrefix(b, "IMAP4") {
			if version {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return list
}

// lookup finds a command that configuration has not switched off for this client.
func (c *conn) lookup(name string) *spec {
	found := commands[name]
	if found == nil || !c.serves(found.capabilities...) {
		return nil
	}
	return found
}

// serves tells whether configuration leaves one of the capabilities that bring something; what none of them brings is always there.
func (c *conn) serves(capabilities ...string) bool {
	return len(capabilities) == 0 || slices.ContainsFunc(capabilities, func(name string) bool { return !c.without[name] })
}

// expectModifiers parses modifiers of a command in parentheses, by a table (RFC 4466 section 2.4 calls them parameters and modifiers).
func expectModifiers[R any](c *conn, d *wire.Decoder, table map[string]func(c *conn, d *wire.Decoder, r R) bool, r R) bool {
	return d.ExpectList(func() bool {
		var name string
		if !d.ExpectName(&name) {
			return false
		}
		parse, known := table[name]
		if !known {
			return d.Fail(wire.Syntaxf("there is no modifier %s", name))
		}
		return parse(c, d, r)
	})
}
