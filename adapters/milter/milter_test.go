package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/integration/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// program is a milter in this process, which answers as it is told to at one stage and notes what it hears.
type program struct {
	gomilter.NoOpMilter
	at     string
	answer gomilter.Response
	change func(*gomilter.Modifier) error

	mu    sync.Mutex
	heard []string
}

func (p *program) hear(stage, text string) (gomilter.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, strings.TrimSpace(stage+" "+text))
	if p.at == stage {
		return p.answer, nil
	}
	return gomilter.RespContinue, nil
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.heard, "|")
}

func (p *program) Connect(host, family string, _ uint16, addr net.IP, _ *gomilter.Modifier) (gomilter.Response, error) {
	return p.hear("connect", fmt.Sprint(host, " ", family, " ", addr))
}
func (p *program) Helo(name string, _ *gomilter.Modifier) (gomilter.Response, error) {
	return p.hear("helo", name)
}
func (p *program) MailFrom(from string, _ *gomilter.Modifier) (gomilter.Response, error) {
	return p.hear("mail", from)
}
func (p *program) RcptTo(to string, _ *gomilter.Modifier) (gomilter.Response, error) {
	return p.hear("rcpt", to)
}
func (p *program) Header(name, value string, _ *gomilter.Modifier) (gomilter.Response, error) {
	return p.hear("header", fmt.Sprintf("%s=%q", name, value))
}
func (p *program) Headers(textproto.MIMEHeader, *gomilter.Modifier) (gomilter.Response, error) {
	return p.hear("eoh", "")
}
func (p *program) BodyChunk(chunk []byte, _ *gomilter.Modifier) (gomilter.Response, error) {
	return p.hear("body", fmt.Sprintf("%d %.20q", len(chunk), chunk))
}
func (p *program) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	if p.change != nil {
		if err := p.change(m); err != nil {
			return nil, err
		}
	}
	if p.at == "" {
		return gomilter.RespAccept, nil
	}
	return p.hear("eom", "")
}

// serve runs a program, and gives how it is reached.
func serve(t testing.TB, network string, p gomilter.Milter) Milter {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "milter")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &gomilter.Server{NewMilter: func() gomilter.Milter { return p }, Actions: gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptQuarantine | gomilter.OptChangeBody | gomilter.OptAddRcpt}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = l.Close(); <-done }) // Its own Close misses a listener that it does not serve yet.
	return Milter{Name: "p", Network: network, Address: l.Addr().String(), Time: time.Minute}
}

var client = &admission.Client{Address: []byte{192, 0, 2, 1}, Helo: "client.example.net"}

// outcome is what became of a message.
type outcome struct {
	at      string // the stage at which it was refused
	refusal string
	header  string
	junk    bool
	discard bool
	by      string
}

const message = "From: a@example.net\r\nSubject: a\r\n folded\tvalue\r\nX-Spam: forged\r\nno field\r\nX-Spam: twice\r\n"

// pass has a message pass milters.
func pass(t testing.TB, milters *Milters, body string) (o outcome) {
	t.Helper()
	m := milters.Begin(client, "c1-1")
	defer m.End()
	told := func(at string, r *admission.Refusal) bool {
		if r != nil {
			o.at, o.refusal = at, fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
		}
		return r != nil
	}
	if told("mail", m.Mail(t.Context(), "a@example.net")) || told("rcpt", m.Recipient(t.Context(), "b@example.org")) {
		return o
	}
	f, err := m.Message(t.Context(), []byte(message), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("\r\n" + body)), nil })
	if err != nil {
		t.Fatal(err)
	}
	told("message", f.Refusal)
	o.header, o.junk, o.discard, o.by = string(f.Header), f.Junk, f.Discard, f.By
	return o
}

// TestWhatAMilterHears: each stage in its order, by TCP and by a Unix socket.
func TestWhatAMilterHears(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		p := &program{}
		o := pass(t, New(Config{Milters: []Milter{serve(t, network, p)}, Hostname: "mx.example.org"}), "Hello.\r\n"+strings.Repeat("x", 70_000))
		if o != (outcome{header: message}) {
			t.Errorf("%+v", o)
		}
		want := `connect [192.0.2.1] tcp4 192.0.2.1|helo client.example.net|mail a@example.net|rcpt b@example.org|header From="a@example.net"|header Subject="a\n folded\tvalue"|header X-Spam="forged"|header X-Spam="twice"|eoh|body 65535 "Hello.\r\nxxxxxxxxxxxx"|body 4473 "xxxxxxxxxxxxxxxxxxxx"`
		if got := p.said(); got != want {
			t.Errorf("%s", got)
		}
	}
}

// TestAnswersOfMilters at each stage, and what follows from them.
func TestAnswersOfMilters(t *testing.T) {
	stages := map[string]string{"connect": "mail", "helo": "mail", "mail": "mail", "rcpt": "rcpt", "header": "message", "eoh": "message", "body": "message", "eom": "message"}
	for stage, at := range stages {
		for name, c := range map[string]struct {
			answer gomilter.Response
			want   outcome
		}{
			"reject":   {gomilter.RespReject, outcome{at: at, refusal: "550 5.7.1 Refused by a filter"}},
			"tempfail": {gomilter.RespTempFail, outcome{at: at, refusal: "451 4.7.1 A filter wants it later, try again"}},
			"own":      {gomilter.NewResponseStr('y', "554 5.7.9 Virus \x1b[2Jfound:\nEicar"), outcome{at: at, refusal: "554 5.7.9 Virus [2Jfound: Eicar"}},
			"bare":     {gomilter.NewResponseStr('y', "421 "), outcome{at: at, refusal: ""}},
			"accept":   {gomilter.RespAccept, outcome{header: message}},
			"discard":  {gomilter.RespDiscard, outcome{header: message, discard: true}},
		} {
			p := &program{at: stage, answer: c.answer}
			got := pass(t, New(Config{Milters: []Milter{serve(t, "tcp", p)}}), "x")
			if name == "bare" { // a reply without a text is none
				if got != (outcome{header: message}) && got.refusal != "451 4.7.1 Refused by a filter" {
					t.Errorf("%s at %s: %+v", name, stage, got)
				}
				continue
			}
			if got.refusal != "" {
				got.header = ""
			}
			if c.want.by = map[bool]string{true: "p"}[c.want.discard || c.want.at == "message"]; got != c.want {
				t.Errorf("%s at %s: %+v, want %+v", name, stage, got, c.want)
			}
		}
	}
}

// TestReplies: a milter's own code and text are made into a reply of SMTP, whatever they are.
func TestReplies(t *testing.T) {
	for _, c := range []struct {
		code int
		text string
		want string
	}{
		{550, "no", "550 5.7.1 no"}, {554, "5.6.0 bad", "554 5.6.0 bad"}, {450, "5.6.0 bad", "450 4.7.1 5.6.0 bad"}, {451, "4.3.2 busy", "451 4.3.2 busy"}, {250, "fine", "451 4.7.1 fine"}, {421, "bye", "451 4.7.1 bye"},
		{999, "", "451 4.7.1 Refused by a filter"}, {550, "5.99999.1 x", "550 5.7.1 5.99999.1 x"}, {550, "a\r\n250 b", "550 5.7.1 a 250 b"}, {-1, "x", "451 4.7.1 x"},
	} {
		r := reply(c.code, c.text)
		if got := fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text); got != c.want {
			t.Errorf("%d %q: %s", c.code, c.text, got)
		}
	}
}

// TestChangesOfMilters in their order, one milter after the other: the second sees what the first has done.
func TestChangesOfMilters(t *testing.T) {
	first := &program{change: func(m *gomilter.Modifier) error {
		for _, err := range []error{
			m.AddHeader("X-Virus", "clean"), m.ChangeHeader(2, "x-spam", "yes,\r\n score=5\nand more\x00"), m.ChangeHeader(1, "X-Spam", ""), m.InsertHeader(0, "X-Top", "1"), m.ChangeHeader(1, "X-New", "new"), m.ChangeHeader(7, "X-None", ""),
			m.AddHeader("no field", "x"), m.AddHeader("X-Long", strings.Repeat("x", maxValue+1)), m.AddHeader("X-Evil", "a\r\n\r\nbody\r\nX-Other: b"), m.InsertHeader(1000, "X-End", ""),
			m.AddRecipient("<evil@example.net>"), m.ReplaceBody([]byte("other")), m.Quarantine("looks bad"),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	}}
	second := &program{}
	o := pass(t, New(Config{Milters: []Milter{serve(t, "tcp", first), serve(t, "tcp", second)}}), "x")
	want := "X-Top: 1\r\nFrom: a@example.net\r\nSubject: a\r\n folded\tvalue\r\nno field\r\nX-Spam: yes,\r\n score=5\r\n\tand more\r\nX-Virus: clean\r\nX-New: new\r\nX-Evil: a\r\n\tbody\r\n\tX-Other: b\r\nX-End: \r\n"
	if o.header != want || !o.junk || o.discard || o.refusal != "" {
		t.Errorf("%+v\n%q\n%q", o, o.header, want)
	}
	if got := second.said(); !strings.Contains(got, `header X-Top="1"|`) || !strings.Contains(got, `header X-Spam="yes,\n score=5\n\tand more"|`) || strings.Contains(got, "forged") {
		t.Errorf("%s", got)
	}
}

// TestFailingMilters: those that fail, in whatever way, keep nobody's mail for good: it goes on without them, or the client comes again, as is configured.
func TestFailingMilters(t *testing.T) {
	negotiated := "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x31\x00\x00\x00\x00"
	var told []string
	for name, answer := range map[string]string{
		"closes": "", "garbage": "hello, this is a web server\r\n\r\n", "huge packet": "\xff\xff\xff\xffO", "empty packet": "\x00\x00\x00\x00", "other version": "\x00\x00\x00\x0dO\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
		"short negotiation": "\x00\x00\x00\x02O\x00", "unknown answer": negotiated + "\x00\x00\x00\x01?", "bad code": negotiated + "\x00\x00\x00\x07yabc x\x00", "short reply": negotiated + "\x00\x00\x00\x02y5",
		"progress without end": negotiated + strings.Repeat("\x00\x00\x00\x01p", 40_000), "changes too early": negotiated + "\x00\x00\x00\x05hX\x00y\x00",
	} {
		for _, later := range []bool{false, true} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() {
						defer c.Close()
						_, _ = io.WriteString(c, answer)
						if answer != "" {
							_, _ = io.Copy(io.Discard, c)
						}
					})
				}
			})
			bad := Milter{Name: "bad", Network: "tcp", Address: l.Addr().String(), Time: time.Minute, Later: later}
			good := &program{}
			o := pass(t, New(Config{Milters: []Milter{bad, serve(t, "tcp", good)}, Limits: Limits{Octets: 100_000}, Done: func(name, outcome string, _ time.Duration) { told = append(told, name+" "+outcome) }}), "x")
			want := outcome{header: message}
			if later {
				want = outcome{at: "mail", refusal: "451 4.7.1 The message cannot be looked at now, try again later"}
			}
			if o != want {
				t.Errorf("%s: %+v, want %+v", name, o, want)
			}
			if !later && (strings.Join(told, "|") != "bad failed|p accept" || !strings.Contains(good.said(), "|eoh|")) {
				t.Errorf("%s: %s; the other heard %s", name, told, good.said())
			}
			told = nil
			_ = l.Close()
			wg.Wait()
		}
	}
}

// TestFieldsAreShownInTheirBounds: no field is longer than what milters take in one packet, and each keeps its index and its octets.
func TestFieldsAreShownInTheirBounds(t *testing.T) {
	long, name := strings.Repeat("x", 150_000), strings.Repeat("N", maxShown+1)
	p := &program{change: func(m *gomilter.Modifier) error { return m.ChangeHeader(3, "X-A", "changed") }}
	m := New(Config{Milters: []Milter{serve(t, "tcp", p)}}).Begin(client, "c1-1")
	defer m.End()
	header := "X-A: " + long + "\r\n" + name + ": x\r\nX-A: 2\r\nX-A: 3\r\n"
	if m.Mail(t.Context(), "a@example.net") != nil || m.Recipient(t.Context(), "b@example.org") != nil {
		t.Fatal("refused")
	}
	f, err := m.Message(t.Context(), []byte(header), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("\r\nx")), nil })
	if want := strings.Replace(header, "X-A: 3", "X-A: changed", 1); err != nil || string(f.Header) != want {
		t.Errorf("%.100q, %d octets, %v", f.Header, len(f.Header), err)
	}
	if want := fmt.Sprintf("|header X-A=%q|header X-A=\"2\"|header X-A=\"3\"|eoh|", long[:maxShown-len("X-A")]); !strings.Contains(p.said(), want) {
		t.Errorf("shown %.200s, %d octets", p.said(), len(p.said()))
	}
}

// dying is a milter that fails at one recipient: it has nothing to say of it that the protocol knows.
type dying struct{ program }

func (d *dying) RcptTo(to string, m *gomilter.Modifier) (gomilter.Response, error) {
	if strings.HasPrefix(to, "dead@") {
		return nil, errors.New("dead")
	}
	return d.program.RcptTo(to, m)
}

// TestNothingPassesAMilterThatHasFailed, whatever was accepted before it failed, where the client is to come again.
func TestNothingPassesAMilterThatHasFailed(t *testing.T) {
	for _, later := range []bool{true, false} {
		bad := serve(t, "tcp", &dying{})
		bad.Later = later
		var told []string
		milters := New(Config{Milters: []Milter{bad, serve(t, "tcp", &program{})}, Done: func(_, outcome string, _ time.Duration) { told = append(told, outcome) }})
		m := milters.Begin(client, "c1-1")
		defer m.End()
		if m.Mail(t.Context(), "a@example.net") != nil || m.Recipient(t.Context(), "b@example.org") != nil {
			t.Fatal("refused before it failed")
		}
		for _, to := range []string{"dead@example.org", "c@example.org"} {
			if r := m.Recipient(t.Context(), to); (r != nil) != later || later && r.Code != 451 {
				t.Errorf("later=%t: %s: %+v", later, to, r)
			}
		}
		f, err := m.Message(t.Context(), []byte(message), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("\r\nx")), nil })
		if err != nil || (f.Refusal != nil) != later || later && f.Refusal.Code != 451 {
			t.Errorf("later=%t: %+v, %v", later, f.Refusal, err)
		}
		if want := map[bool]string{true: "failed", false: "failed accept"}[later]; strings.Join(told, " ") != want {
			t.Errorf("later=%t: told %s, want %s", later, told, want)
		}
	}
}

// TestSlowMilters have their time, and what ends a message ends their turn.
func TestSlowMilters(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nobody accepts: the kernel does, and nothing is said
	silent := New(Config{Milters: []Milter{{Name: "silent", Network: "tcp", Address: l.Addr().String(), Time: 50 * time.Millisecond, Later: true}}})
	if o := pass(t, silent, "x"); o.at != "mail" || !strings.HasPrefix(o.refusal, "451 4.7.1") {
		t.Errorf("%+v", o)
	}
	patient := New(Config{Milters: []Milter{{Name: "silent", Network: "tcp", Address: l.Addr().String(), Time: time.Hour}}})
	m := patient.Begin(client, "c1-2")
	ended := make(chan *admission.Refusal)
	go func() { ended <- m.Mail(context.Background(), "a@example.net") }()
	m.End()
	if r := <-ended; r != nil {
		t.Errorf("%+v", r)
	}
	nobody := New(Config{Milters: []Milter{{Name: "nobody", Network: "unix", Address: filepath.Join(t.TempDir(), "none")}}})
	if o := pass(t, nobody, "x"); o != (outcome{header: message}) {
		t.Errorf("%+v", o)
	}
}

// TestHeadersWithoutAnEnd: a message may be a header alone, whose last line ends with the message. What is put behind it is a line of its own.
func TestHeadersWithoutAnEnd(t *testing.T) {
	const last = "From: a\r\nSubject: buy"
	spam := field{"X-Spam", "X-Spam: yes\r\n"}
	for want, all := range map[string][]field{
		last + "\r\nX-Spam: yes\r\n":             inserted(fields([]byte(last)), 2, spam),
		last + "\r\nX-New: n\r\n":                replaced(fields([]byte(last)), "X-New", 1, "n"),
		"X-Spam: yes\r\n" + last:                 inserted(fields([]byte(last)), 0, spam),
		"From: a\r\nX-Spam: yes\r\nSubject: buy": inserted(fields([]byte(last)), 1, spam),
	} {
		if got := string(joined(all)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWhatIsCounted is what became of the message, not of one of its recipients, and of a sender who is refused as well.
func TestWhatIsCounted(t *testing.T) {
	for stage, want := range map[string]string{"mail": "p refuse", "rcpt": "p accept", "eom": "p refuse"} {
		var told []string
		milters := New(Config{Milters: []Milter{serve(t, "tcp", &program{at: stage, answer: gomilter.RespReject})}, Done: func(name, outcome string, _ time.Duration) { told = append(told, name+" "+outcome) }})
		m := milters.Begin(client, "c1-1")
		defer m.End()
		if m.Mail(t.Context(), "a@example.net") == nil {
			if r := m.Recipient(t.Context(), "b@example.org"); (r != nil) != (stage == "rcpt") {
				t.Errorf("%s: %+v", stage, r)
			}
			if _, err := m.Message(t.Context(), []byte(message), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("\r\nx")), nil }); err != nil {
				t.Error(err)
			}
		}
		if strings.Join(told, "|") != want {
			t.Errorf("refused at %s: told %s, want %s", stage, told, want)
		}
	}
}

// TestLinesThatAreNoFieldStay, however a milter names them.
func TestLinesThatAreNoFieldStay(t *testing.T) {
	for _, name := range []string{"", " ", "no field", "no field:", "\x00"} {
		for _, value := range []string{"", "x"} {
			if got := string(joined(replaced(fields([]byte(message)), name, 1, value))); got != message {
				t.Errorf("%q, %q: %q", name, value, got)
			}
		}
	}
}

// FuzzHeader: whatever a milter says, the header that comes out of it is one.
func FuzzHeader(f *testing.F) {
	f.Add("X-A", "b\r\nc", 1, 0)
	f.Fuzz(func(t *testing.T, name, value string, n, at int) {
		all := replaced(fields([]byte(message)), name, n, value)
		if one, ok := made(name, value); ok {
			all = inserted(all, at, one)
		}
		out := joined(all)
		if strings.Contains(string(out), "\r\n\r\n") || !strings.HasSuffix(string(out), "\r\n") || len(fields(out)) != len(all) {
			t.Errorf("%q", out)
		}
		for i, f := range fields(out) {
			if f.raw != all[i].raw {
				t.Errorf("%q is %q", f.raw, all[i].raw)
			}
		}
	})
}
