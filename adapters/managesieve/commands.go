package managesieve

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sieve"
)

// phase is when a command may come.
type phase uint8

const (
	always phase = iota
	beforeLogin
	afterLogin
)

// command describes one for the table.
type command struct {
	needs       phase
	least, most int // arguments
	number      int // the place of the one that is a number, from 1; 0: all are strings
	run         func(ctx context.Context, c *conn, args []argument) error
}

var commands = map[string]command{}

func init() {
	commands["AUTHENTICATE"] = command{beforeLogin, 1, 2, 0, runAuthenticate}
	commands["STARTTLS"] = command{beforeLogin, 0, 0, 0, runStartTLS}
	commands["UNAUTHENTICATE"] = command{afterLogin, 0, 0, 0, runUnauthenticate}
	commands["LOGOUT"] = command{always, 0, 0, 0, func(_ context.Context, c *conn, _ []argument) error { c.ok("", "goodbye"); return errLogout }}
	commands["CAPABILITY"] = command{always, 0, 0, 0, func(_ context.Context, c *conn, _ []argument) error { c.capabilities(); c.ok("", ""); return nil }}
	commands["NOOP"] = command{always, 0, 1, 0, runNoop}
	commands["HAVESPACE"] = command{afterLogin, 2, 2, 2, runHaveSpace}
	commands["PUTSCRIPT"] = command{afterLogin, 2, 2, 0, runPutScript}
	commands["CHECKSCRIPT"] = command{afterLogin, 1, 1, 0, runCheckScript}
	commands["LISTSCRIPTS"] = command{afterLogin, 0, 0, 0, runListScripts}
	commands["SETACTIVE"] = command{afterLogin, 1, 1, 0, runSetActive}
	commands["GETSCRIPT"] = command{afterLogin, 1, 1, 0, runGetScript}
	commands["DELETESCRIPT"] = command{afterLogin, 1, 1, 0, runDeleteScript}
	commands["RENAMESCRIPT"] = command{afterLogin, 2, 2, 0, runRenameScript}
}

// mayLogin says whether credentials are safe on this connection.
func (c *conn) mayLogin() bool {
	return c.tls != nil || c.server.cfg.AllowInsecureAuth && c.raw.Local()
}

// capabilities writes what CAPABILITY shows (RFC 5804 section 1.7). It tells as much as the state of the connection allows.
func (c *conn) capabilities() {
	show := func(name string, value ...string) {
		c.string(name)
		for _, v := range value {
			c.out.WriteByte(' ')
			c.string(v)
		}
		c.out.WriteString("\r\n")
	}
	show("IMPLEMENTATION", strings.TrimSpace("Streampost "+c.server.cfg.Version))
	var offered []string
	if c.mayLogin() && !c.loggedIn() {
		offered = c.server.mechanisms.Offered(c.peer())
	}
	show("SASL", strings.Join(offered, " "))
	show("SIEVE", strings.Join(sieve.Capabilities(), " "))
	show("NOTIFY", sieve.NotifyMethods)
	show("MAXREDIRECTS", strconv.Itoa(sieve.MaxRedirects))
	if c.tls == nil && c.server.cfg.TLS != nil && !c.loggedIn() {
		show("STARTTLS")
	}
	if c.loggedIn() {
		show("OWNER", c.who.Login)
	}
	show("UNAUTHENTICATE") // RFC 5804 section 2.14.
	show("VERSION", "1.0")
}

// runStartTLS is STARTTLS (RFC 5804 section 2.2). Octets that came behind it in plain text are an attempt to have them run as if they had come inside TLS.
func runStartTLS(ctx context.Context, c *conn, _ []argument) error {
	switch {
	case c.tls != nil:
		return senseless("TLS is active already")
	case c.server.cfg.TLS == nil:
		return senseless("TLS is not available")
	case c.in.Buffered() > 0:
		return unclear("nothing may follow STARTTLS before the handshake")
	}
	c.ok("", "begin the TLS handshake")
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	c.capabilities() // RFC 5804 section 2.2: without being asked.
	c.ok("", "TLS is active")
	return nil
}

// runNoop is NOOP (RFC 5804 section 2.13).
func runNoop(_ context.Context, c *conn, args []argument) error {
	if len(args) == 0 {
		c.ok("", "done")
		return nil
	}
	c.out.WriteString("OK (TAG ")
	c.string(args[0].text)
	c.out.WriteString(") \"done\"\r\n")
	return nil
}

// runHaveSpace is HAVESPACE (RFC 5804 section 2.5).
func runHaveSpace(ctx context.Context, c *conn, args []argument) error {
	s, err := c.server.cfg.Accounts.Scripts(ctx, c.who.Account)
	if err != nil {
		return err
	}
	if err := s.Room(args[0].text, int(args[1].number)); err != nil {
		return err
	}
	c.ok("", "there is room")
	return nil
}

// warned answers OK with the warnings of a script (RFC 5804 section 1.3, WARNINGS).
func (c *conn) warned(warnings []sieve.Warning, text string) {
	if len(warnings) == 0 {
		c.ok("", text)
		return
	}
	lines := make([]string, min(len(warnings), 20))
	for i := range lines {
		lines[i] = warnings[i].String()
	}
	c.ok("WARNINGS", strings.Join(lines, "\r\n"))
}

// actor names the user in the log.
func (c *conn) actor() string { return "sieve:" + c.who.Login }

// runPutScript is PUTSCRIPT (RFC 5804 section 2.6).
func runPutScript(ctx context.Context, c *conn, args []argument) error {
	warnings, err := c.server.cfg.Accounts.PutScript(ctx, c.who.Account, c.actor(), args[0].text, args[1].text)
	if err == nil {
		c.warned(warnings, "stored")
	}
	return err
}

// runCheckScript is CHECKSCRIPT (RFC 5804 section 2.12): PUTSCRIPT that stores nothing.
func runCheckScript(_ context.Context, c *conn, args []argument) error {
	script, err := sieve.Compile(args[0].text)
	if err == nil {
		c.warned(script.Warnings, "the script is valid")
	}
	return err
}

// runListScripts is LISTSCRIPTS (RFC 5804 section 2.7).
func runListScripts(ctx context.Context, c *conn, _ []argument) error {
	s, err := c.server.cfg.Accounts.Scripts(ctx, c.who.Account)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Content)) {
		c.string(name)
		if name == s.Active {
			c.out.WriteString(" ACTIVE")
		}
		c.out.WriteString("\r\n")
	}
	c.ok("", "")
	return nil
}

// do decides a command of the account and says what was done.
func (c *conn) do(ctx context.Context, command account.Command, done string) error {
	_, err := c.server.cfg.Accounts.Do(ctx, c.who.Account, c.actor(), command)
	if err == nil {
		c.ok("", done)
	}
	return err
}

// runSetActive is SETACTIVE (RFC 5804 section 2.8); an empty name stops all scripts.
func runSetActive(ctx context.Context, c *conn, args []argument) error {
	return c.do(ctx, account.ActivateScript{Name: args[0].text}, "done")
}

// runGetScript is GETSCRIPT (RFC 5804 section 2.9).
func runGetScript(ctx context.Context, c *conn, args []argument) error {
	s, err := c.server.cfg.Accounts.Scripts(ctx, c.who.Account)
	if err != nil {
		return err
	}
	content, there := s.Content[args[0].text]
	if !there {
		return refused("NONEXISTENT", "there is no such script")
	}
	fmt.Fprintf(c.out, "{%d}\r\n%s\r\n", len(content), content)
	c.ok("", "")
	return nil
}

// runDeleteScript is DELETESCRIPT (RFC 5804 section 2.10).
func runDeleteScript(ctx context.Context, c *conn, args []argument) error {
	return c.do(ctx, account.DeleteScript{Name: args[0].text}, "deleted")
}

// runRenameScript is RENAMESCRIPT (RFC 5804 section 2.11).
func runRenameScript(ctx context.Context, c *conn, args []argument) error {
	return c.do(ctx, account.RenameScript{From: args[0].text, To: args[1].text}, "renamed")
}
