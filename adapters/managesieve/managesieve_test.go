package managesieve_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/managesieve"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door/doortest"

	"crypto/tls"
)

const (
	login    = "alice@example.org"
	password = "correct horse battery"
)

// dialogue is a client that says lines and expects lines.
type dialogue struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	node *doortest.Node
	id   domain.AccountID
	addr string
}

// talk starts a server and connects to it.
func talk(t *testing.T) *dialogue {
	t.Helper()
	n := doortest.Start(t)
	d := &dialogue{t: t, node: n, id: n.AddAccount(t, login, password)}
	cert, err := netline.SelfSigned(filepath.Join(t.TempDir(), "tls"), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	s, err := managesieve.New(managesieve.Config{
		Accounts: n.Accounts, Directory: n.Directory, TLS: cert.Config(tls.VersionTLS12), AllowInsecureAuth: true,
		Limits: managesieve.Limits{FailureDelay: time.Millisecond, Failures: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l, false) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	d.addr = l.Addr().String()
	d.connect()
	return d
}

func (d *dialogue) connect() {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	d.conn, d.in = conn, bufio.NewReader(conn)
	d.until(`OK "Streampost ready"`)
}

// say sends text, with CRLF behind it.
func (d *dialogue) say(format string, args ...any) *dialogue {
	d.t.Helper()
	if _, err := fmt.Fprintf(d.conn, format+"\r\n", args...); err != nil {
		d.t.Fatal(err)
	}
	return d
}

// expect reads one line for each pattern, in which * stands for anything.
func (d *dialogue) expect(patterns ...string) *dialogue {
	d.t.Helper()
	for _, p := range patterns {
		line, err := d.in.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if err != nil || !regexp.MustCompile("^"+strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, ".*")+"$").MatchString(line) {
			d.t.Fatalf("the server says %q (%v), want %q", line, err, p)
		}
	}
	return d
}

// until reads lines up to one that begins with text.
func (d *dialogue) until(text string) (lines []string) {
	d.t.Helper()
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			d.t.Fatalf("%v instead of %q after %q", err, text, lines)
		}
		if lines = append(lines, strings.TrimRight(line, "\r\n")); strings.HasPrefix(line, text) {
			return lines
		}
	}
}

func plain(secret string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + login + "\x00" + secret))
}

func (d *dialogue) login() *dialogue {
	d.t.Helper()
	return d.say(`AUTHENTICATE "PLAIN" "%s"`, plain(password)).expect(`OK "logged in"`)
}

// put stores a script by a literal.
func (d *dialogue) put(name, script string) *dialogue {
	d.t.Helper()
	return d.say("PUTSCRIPT \"%s\" {%d+}\r\n%s", name, len(script), script)
}

// RFC 5804 section 2: every command, in the order of its examples.
func TestDialogue(t *testing.T) {
	d := talk(t)
	d.say(`LISTSCRIPTS`).expect(`NO "log in first"`)
	d.say(`AUTHENTICATE "PLAIN" {%d+}`+"\r\n%s", len(plain(password)), plain(password)).expect(`OK "logged in"`)
	d.say(`AUTHENTICATE "PLAIN"`).expect(`NO "already logged in"`)
	caps := strings.Join(d.say("capability").until("OK"), "\n")
	for _, want := range []string{`"SASL" ""`, `"OWNER" "alice@example.org"`, `"VERSION" "1.0"`, "fileinto", "imap4flags", `"NOTIFY" "mailto"`, `"MAXREDIRECTS" "4"`, `"IMPLEMENTATION" "Streampost`} {
		if !strings.Contains(caps, want) {
			t.Errorf("%q lacks %q", caps, want)
		}
	}
	if strings.Contains(caps, "extlists") {
		t.Errorf("%q offers what is not there", caps)
	}
	d.say(`HAVESPACE "myscript" 999999`).expect(`NO (QUOTA/MAXSIZE) "*"`)
	d.say(`HAVESPACE "foobar" 435`).expect(`OK "there is room"`)
	d.put("foo", "#comment\r\nInvalidSieveCommand\r\n").expect(`NO "line 3, column 1: *"`)
	d.put("mysievescript", "require [\"fileinto\"];\r\nif envelope :contains \"to\" \"tmartin+sent\" { fileinto \"INBOX.sent\"; }\r\n").
		expect(`NO "line 2, column 4: envelope needs require \"envelope\""`)
	d.put("summer", "require [\"fileinto\"];\r\nkeep;\r\n").expect(`OK (WARNINGS) "line 1, column 9: *"`)
	d.put("vacation_script", "discard;\r\n").expect(`OK "stored"`)
	d.say(`LISTSCRIPTS`).expect(`"summer"`, `"vacation_script"`, `OK`)
	d.say(`SETACTIVE "baz"`).expect(`NO (NONEXISTENT) "*"`)
	d.say(`SETACTIVE "vacation_script"`).expect(`OK "done"`)
	d.say(`LISTSCRIPTS`).expect(`"summer"`, `"vacation_script" ACTIVE`, `OK`)
	d.say(`GETSCRIPT "vacation_script"`).expect(`{10}`, `discard;`, ``, `OK`)
	d.say(`GETSCRIPT "none"`).expect(`NO (NONEXISTENT) "*"`)
	d.say(`DELETESCRIPT "vacation_script"`).expect(`NO (ACTIVE) "*"`)
	d.say(`RENAMESCRIPT "vacation_script" "summer"`).expect(`NO (ALREADYEXISTS) "*"`)
	d.say(`RENAMESCRIPT "vacation_script" "away"`).expect(`OK "renamed"`)
	d.say(`LISTSCRIPTS`).expect(`"away" ACTIVE`, `"summer"`, `OK`)
	d.say(`SETACTIVE ""`).expect(`OK "done"`)
	d.say(`DELETESCRIPT "away"`).expect(`OK "deleted"`)
	d.say(`CHECKSCRIPT "redirect \"nobody\";"`).expect(`NO "*is not an address*"`)
	d.say(`CHECKSCRIPT "keep;"`).expect(`OK "the script is valid"`)
	d.say(`NOOP`).expect(`OK "done"`)
	d.say(`NOOP "STARTTLS-SYNC-42"`).expect(`OK (TAG "STARTTLS-SYNC-42") "done"`)
	d.say(`UNAUTHENTICATE`).expect(`OK "logged out"`)
	d.say(`LISTSCRIPTS`).expect(`NO "log in first"`)
	d.login().say(`LISTSCRIPTS`).expect(`"summer"`, `OK`)
	d.say(`LOGOUT`).expect(`OK "goodbye"`)
}

func TestStartTLS(t *testing.T) {
	d := talk(t)
	d.say("STARTTLS").expect(`OK "begin the TLS handshake"`)
	secure := tls.Client(d.conn, &tls.Config{InsecureSkipVerify: true})
	d.conn, d.in = secure, bufio.NewReader(secure)
	if caps := d.until(`OK "TLS is active"`); strings.Contains(strings.Join(caps, " "), "STARTTLS") {
		t.Errorf("%q offers STARTTLS again", caps)
	}
	d.login()

	d.connect()
	d.say("STARTTLS\r\nLISTSCRIPTS").expect(`BYE "nothing may follow STARTTLS*"`)
}

func TestFailedLogins(t *testing.T) {
	d := talk(t)
	d.say(`AUTHENTICATE "PLAIN" "%s"`, plain("wrong")).expect(`NO "user name or password is wrong"`)
	d.say(`AUTHENTICATE "PLAIN" "%s"`, plain("wrong")).expect(`BYE "user name or password is wrong"`)
}

// Whatever is wrong with a command, what follows it is the next command or the end of the connection.
func TestHostileInput(t *testing.T) {
	d := talk(t)
	d.say(`PUTSCRIPT "a" {20000+}` + "\r\n" + strings.Repeat("LOGOUT\r\n", 2500)).expect(`NO (QUOTA/MAXSIZE) "*"`)
	d.say(`NOOP`).expect(`OK "done"`)
	d.say(`12345`).expect(`NO "a command is letters"`)
	d.say(`NOOP noop`).expect(`NO "an argument is a string or a number"`)
	d.say(`NOOP "a" "b" "c" "d" "e"`).expect(`NO "too many arguments"`)
	d.say(`FROBNICATE`).expect(`NO "unknown command"`)
	for text, want := range map[string]string{
		`NOOP {5}`:                           `BYE "a literal is {octets+}"`,
		`NOOP {99999999999+}`:                `BYE "a literal is {octets+}"`,
		`NOOP {4200000000+}`:                 `BYE "the literal is too long"`,
		`NOOP x {10+}` + "\r\nLOGOUT\r\n":    `BYE "an argument is a string or a number"`,
		`NOOP "` + strings.Repeat("x", 9000): `BYE "the line is too long"`,
		"NOOP \"a\rb\"":                      `BYE "a quoted string stays on its line"`,
	} {
		d.connect()
		d.say("%s", text).expect(want)
	}
	d.connect()
	for range 5 {
		d.say("WRONG").expect(`NO "unknown command"`)
	}
	d.expect(`BYE "too many commands that make no sense"`)
}
