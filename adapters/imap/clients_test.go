package imap

import (
	"testing"

	"github.com/streampost/streampost/domain"
)

// A client that is known to stumble says who it is, and is offered less from then on.
func TestClientsAreOfferedLess(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Without = []string{"SEARCH=FUZZY"}
		c.Clients = []ClientRule{
			{Fields: map[string]string{"name": "some *"}, Below: "5.10", Without: []string{"condstore", "MOVE", "AUTH=PLAIN"}},
			{Fields: map[string]string{"name": "Some Mail", "os": "Android"}, Without: []string{"IDLE"}},
		}
	})
	c := s.dial()
	c.cmd("CAPABILITY").has("* CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=PLAIN ...")
	c.cmd(`ID ("NAME" "Some Mail" "version" "5.9.1")`).want("* ID ...", "OK [CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=SCRAM-SHA-256 ...] ID completed")
	c.cmd("AUTHENTICATE PLAIN %s", b64("\x00"+alice+"\x00"+password)).no("[CANNOT] ...")
	c.cmd("LOGIN %s %s", alice, password).ok("[CAPABILITY ... IDLE ...] ...")
	for _, name := range []string{"CONDSTORE", "QRESYNC", "MOVE", "SEARCH=FUZZY"} {
		c.cmd("CAPABILITY").hasNot("* CAPABILITY ... " + name + " ...")
	}
	c.cmd("ENABLE QRESYNC").want("* ENABLED", "OK ...")
	s.deliver("INBOX", mail(1))
	c.cmd("SELECT INBOX").ok()
	c.cmd("MOVE 1 Trash").bad("unknown command")
	c.cmd("FETCH 1 (MODSEQ)").bad()
	c.cmd("FETCH 1 (UID)").has("* 1 FETCH (UID 1)").ok()

	for _, other := range []string{
		`("name" "Some Mail" "version" "5.10")`, `("name" "Another" "version" "5.9")`, `("version" "5.9")`, `("name" "Some Mail")`, `NIL`,
	} {
		c := s.dial()
		c.cmd("ID %s", other).want("* ID ...", "OK ID completed")
		c.cmd("LOGIN %s %s", alice, password).ok()
		c.cmd("CAPABILITY").has("* CAPABILITY ... CONDSTORE ... IDLE ... MOVE ...").ok()
	}

	// Rules add up, and what a client says last counts.
	c = s.login()
	c.cmd(`ID ("name" "some mail" "version" "2beta" "os" "android")`).ok("[CAPABILITY ...] ...")
	c.cmd("IDLE").bad("unknown command")
	c.cmd("CAPABILITY").hasNot("* CAPABILITY ... MOVE ...")
	c.cmd("ID NIL").ok("[CAPABILITY ... IDLE ... MOVE ...] ...")
}

func TestSwitchesAreCapabilities(t *testing.T) {
	s := start(t)
	for _, cfg := range []Config{
		{Without: []string{"CONDSTOR"}}, {Clients: []ClientRule{{Fields: map[string]string{"name": "x"}, Without: []string{"X-NONE"}}}},
	} {
		cfg.Accounts, cfg.Directory = s.Accounts, s.Directory
		if _, err := New(cfg); !domain.Is(err, domain.Invalid) {
			t.Errorf("%+v: %v", cfg.Without, err)
		}
	}
}

func TestVersionsAreCompared(t *testing.T) {
	for _, x := range []struct {
		a, b string
		less bool
	}{
		{"5.9", "5.10", true}, {"5.10", "5.9", false}, {"5", "5.0", false}, {"5", "5.0.1", true}, {"5.2b", "5.2", false}, {"x", "1", true}, {"16.0.1", "16", false}, {"", "0", false},
		{"99999999999999999999", "1", false},
	} {
		if earlier(x.a, x.b) != x.less {
			t.Errorf("%q before %q: %v", x.a, x.b, !x.less)
		}
	}
}
