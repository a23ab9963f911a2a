package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"pgregory.net/rapid"
)

// world has the domain example.org with alice and bob.
type world struct {
	header string
	err    error
}

func (w world) LocalDomain(name string) bool { return strings.EqualFold(name, "example.org") }

func (w world) LocalRecipient(a string) (bool, error) {
	return a == "alice@example.org" || a == "bob@example.org", w.err
}

func (w world) InNetwork(address string, networks []string) bool {
	return slices.ContainsFunc(networks, func(n string) bool { return strings.HasPrefix(address, strings.TrimSuffix(n, "0/24")) })
}

func (w world) Header() (string, error) { return w.header, w.err }

const header = "Received: from a\r\n\tby b\r\nReceived: from c\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from\r\n home\r\nX-Spam-Flag: YES\r\nX-Spam-Score: 7.5\r\nList-Id: <l.example.com>\r\n"

func mail() *pipeline.Mail {
	return &pipeline.Mail{
		Sender: "carol@example.com", Recipients: []string{"alice@example.org", "nobody@example.org", "dave@example.net"}, Size: 2000, RemoteAddress: "192.0.2.7", RemoteHost: "mx.example.com",
		Attributes: map[string]string{"color": "red"},
	}
}

// compile makes a Program of the default processors and lines.
func compile(t testing.TB, lines ...string) *pipeline.Program {
	t.Helper()
	p, err := pipeline.Compile(pipeline.Lines(lines), []string{"scan"}, pipeline.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// told writes effects in short.
func told(effects []pipeline.Effect) string {
	var all []string
	for _, e := range effects {
		text := e.Kind.String()
		if e.Repository != "" {
			text += " in " + e.Repository
		}
		if e.Cause != "" {
			text += " (" + e.Cause + ")"
		}
		all = append(all, text+" "+strings.Join(e.Mail.Recipients, ","))
	}
	return strings.Join(all, "; ")
}

// TestDMARCMarksSpam also where no filter has written a field.
func TestDMARCMarksSpam(t *testing.T) {
	p := compile(t, "root: IsMarkedAsSpam -> ToRepository repository=spam", "root: All -> Null")
	m := mail()
	m.Junk = true
	if got := told(p.Advance(m, world{}, nil)); !strings.HasPrefix(got, "park in spam") {
		t.Error(got)
	}
}

// TestEveryMatcher finds whom it should.
func TestEveryMatcher(t *testing.T) {
	const everybody, nobody = "alice@example.org,nobody@example.org,dave@example.net", ""
	cases := []struct{ matcher, want string }{
		{"All", everybody}, {"not All", nobody},
		{"RecipientIs=ALICE@example.org,x@y", "alice@example.org"}, {"UserIs=dave", "dave@example.net"}, {"HostIs=example.NET", "dave@example.net"}, {"RecipientDomainIs=example.org", "alice@example.org,nobody@example.org"},
		{`RecipientIsRegex="[a-d].*@example\\..*"`, "alice@example.org,dave@example.net"}, {"RecipientIsLocal", "alice@example.org"}, {"HostIsLocal", "alice@example.org,nobody@example.org"},
		{"RecipientCountExceeds=2", everybody}, {"TooManyRecipients=3", nobody}, {"IsSingleRecipient", nobody},
		{"SenderIs=carol@example.com", everybody}, {"SenderIs=carol@example.org", nobody}, {"SenderHostIs=example.com", everybody}, {"SenderDomainIs=example.org", nobody}, {"SenderIsNull", nobody}, {"SenderIsLocal", nobody},
		{`SenderIsRegex=".*@example\\.com"`, everybody}, {"HasHeader=list-id", everybody}, {"HasHeader=X-None", nobody}, {"HasHeader=X-Spam-Flag=yes", everybody}, {"HasHeader=X-Spam-Flag=no", nobody},
		{"HasHeaderWithPrefix=x-spam-", everybody}, {"HasHeaderWithPrefix=x-ham-", nobody}, {`CompareNumericHeaderValue="X-Spam-Score >= 7.5"`, everybody}, {`CompareNumericHeaderValue="X-Spam-Score < 7"`, nobody},
		{`SubjectIs="Grüße from home"`, everybody}, {"SubjectStartsWith=Grüße", everybody}, {"SubjectStartsWith=home", nobody}, {"SubjectIsRegex=.*home", everybody},
		{"IsMarkedAsSpam", everybody}, {"IsFromMailingList", everybody}, {"SizeGreaterThan=1k", everybody}, {"SizeGreaterThan=1m", nobody}, {"RelayLimit=1", everybody}, {"RelayLimit=2", nobody},
		{"RemoteAddrInNetwork=192.0.2.0/24", everybody}, {"SMTPIsAuthNetwork=198.51.100.0/24", nobody}, {"RemoteAddrNotInNetwork=198.51.100.0/24", everybody}, {"SMTPAuthSuccessful", nobody},
		{"SMTPAuthUserIs=carol", nobody}, {"SentByMailet", nobody}, {"HasMailAttribute=color", everybody}, {`HasMailAttributeWithValue="color, red"`, everybody}, {`HasMailAttributeWithValue="color, blue"`, nobody}, {"HasException", nobody},
		{"HostIsLocal and not RecipientIsLocal", "nobody@example.org"}, {"(UserIs=dave or UserIs=alice and HostIs=example.net)", "dave@example.net"}, {"(UserIs=dave or UserIs=alice) and HostIs=example.net", "dave@example.net"},
		{"(HostIsLocal xor UserIs=alice,dave)", "nobody@example.org,dave@example.net"},
	}
	var tested []string
	for _, c := range cases {
		p := compile(t, "root: "+c.matcher+" and All -> ToRepository repository=found", "root: All -> Null")
		var found []string
		for _, e := range p.Advance(mail(), world{header: header}, nil) {
			if e.Kind == pipeline.Park {
				found = e.Mail.Recipients
			}
		}
		if got := strings.Join(found, ","); got != c.want {
			t.Errorf("%s found %q, want %q", c.matcher, got, c.want)
		}
		tested = append(tested, c.matcher)
	}
	for _, name := range pipeline.Matchers() {
		if !strings.Contains(strings.Join(tested, " "), name) {
			t.Errorf("%s is not tested", name)
		}
	}
}

// TestEveryAction does what it says.
func TestEveryAction(t *testing.T) {
	for _, c := range []struct{ steps, want string }{
		{"ToProcessor processor=relay-denied", "park in relay-denied (relay-denied) *"}, {"LocalDelivery", "deliver *"}, {"RemoteDelivery", "deliver *"}, {"Null", "drop *"},
		{`ToRepository repository=var/mail/mine cause=odd text="it is odd"`, "park in mine (odd) *"}, {"Bounce status=5.7.1", "bounce *"}, {"DSNBounce", "bounce *"},
		{"Forward to=x@example.net,y@example.net", "send x@example.net,y@example.net; drop *"}, {"Redirect to=x@example.net", "send x@example.net; drop *"}, {"Resend to=x@example.net", "send x@example.net; drop *"},
		{"NotifyPostmaster to=x@example.net", "send x@example.net; drop *"}, {"LogMessage comment=seen", "log *; drop *"}, {"HTTP url=http://127.0.0.1:1", "call *"}, {"Custom step=scan", "call *"},
		{"AddHeader name=X-A value=b", "drop *"}, {"SetMimeHeader name=X-Spam-Flag value=NO", "drop *"}, {"RemoveMimeHeader name=X-Spam-Flag,List-Id", "drop *"}, {"AddSubjectPrefix prefix=[list]", "drop *"},
		{"SetMailAttribute name=a value=b", "drop *"}, {"RemoveMailAttribute name=color", "drop *"},
	} {
		lines := []string{"root: All -> " + c.steps, "root: All -> Null"}
		if _, err := pipeline.Compile(pipeline.Lines(lines), []string{"scan"}, pipeline.Limits{}); err != nil {
			lines = lines[:1] // nothing is reached behind it
		}
		m := mail()
		m.Recipients = m.Recipients[:1]
		if got, want := told(compile(t, lines...).Advance(m, world{header: header}, nil)), strings.ReplaceAll(c.want, "*", "alice@example.org"); got != want {
			t.Errorf("%s: %s, want %s", c.steps, got, want)
		}
	}
}

func TestWhatActionsLeaveBehind(t *testing.T) {
	p := compile(t, `root: All -> SetMimeHeader name=X-Spam-Flag value=NO`, `root: IsMarkedAsSpam -> Null`, `root: All -> AddSubjectPrefix prefix=[list]`, `root: All -> AddSubjectPrefix prefix=[list]`,
		`root: All -> RemoveMimeHeader name=List-Id`, `root: IsFromMailingList -> Null`, `root: All -> SetMailAttribute name=color value=blue`, `root: HasMailAttributeWithValue="color,blue" -> LocalDelivery`, `root: All -> Null`)
	effects := p.Advance(mail(), world{header: header}, nil)
	if len(effects) != 1 || effects[0].Kind != pipeline.Deliver {
		t.Fatal(told(effects))
	}
	want := "Subject: [list] =?utf-8?q?Gr=C3=BC=C3=9Fe?= from home\r\nX-Spam-Flag: NO\r\nReceived: from a\r\n\tby b\r\nReceived: from c\r\nX-Spam-Score: 7.5\r\n"
	if got := pipeline.EditHeader(header, effects[0].Mail.Edits); got != want {
		t.Errorf("the header is\n%s", got)
	}
	long := pipeline.EditHeader("A: b\r\n", []pipeline.Edit{{Name: "X-Long", Value: strings.Repeat("word ", 40)}})
	for line := range strings.Lines(long) {
		if len(line) > 80 {
			t.Errorf("a line of %d octets: %q", len(line), line)
		}
	}
	m := mail()
	redirected := compile(t, "root: All -> Redirect to=x@example.net").Advance(m, world{}, nil)[0].Mail
	forwarded := compile(t, "root: All -> Forward to=x@example.net").Advance(m, world{}, nil)[0].Mail
	if redirected.Sender != "" || forwarded.Sender != "carol@example.com" || forwarded.Attributes[pipeline.AttributeServer] == "" || m.Attributes[pipeline.AttributeServer] != "" {
		t.Errorf("%+v, %+v", redirected, forwarded)
	}
}

// TestTheDefault does what James's configuration does.
func TestTheDefault(t *testing.T) {
	p := compile(t)
	if got, want := told(p.Advance(mail(), world{}, nil)), "deliver alice@example.org; park in local-address-error (local-address-error) nobody@example.org; park in relay-denied (relay-denied) dave@example.net"; got != want {
		t.Errorf("from outside: %s", got)
	}
	m := mail()
	m.Login = "alice"
	if got, want := told(p.Advance(m, world{}, nil)), "deliver alice@example.org; park in local-address-error (local-address-error) nobody@example.org; deliver dave@example.net"; got != want {
		t.Errorf("from a user: %s", got)
	}
	if got, want := told(p.Advance(mail(), world{err: errors.New("the directory is away")}, nil)), "retry alice@example.org,nobody@example.org,dave@example.net"; got != want {
		t.Errorf("without a directory: %s", got)
	}
	for name := range map[string]bool{"root": true, "transport": true, "local-delivery": true, "relay": true, "error": true, "bounces": true, "rrt-error": true, "relay-denied": true, "local-address-error": true} {
		if !p.Has(name) {
			t.Errorf("there is no processor %s", name)
		}
	}
}

func TestFailuresGoWhereTheStepSays(t *testing.T) {
	away := world{err: errors.New("the blob is away")}
	for onError, want := range map[string]string{
		"": "park in error (error) *", "onError=propagate": "retry *", "onError=ignore": "drop *", "onError=relay-denied": "park in relay-denied (relay-denied) *",
	} {
		m := mail()
		m.Recipients = []string{"dave@example.net"}
		effects := compile(t, "root: IsMarkedAsSpam -> ToRepository repository=spam "+onError, "root: All -> Null").Advance(m, away, nil)
		if got := told(effects); got != strings.ReplaceAll(want, "*", "dave@example.net") {
			t.Errorf("%q: %s", onError, got)
		}
		if onError == "" && !strings.Contains(effects[0].Text, "the blob is away") {
			t.Errorf("the cause is %q", effects[0].Text)
		}
	}
}

// TestAnswers of hooks and custom steps.
func TestAnswers(t *testing.T) {
	p := compile(t, "root: All -> Custom step=scan onError=propagate", "root: HasMailAttribute=seen -> LocalDelivery", "root: All -> Null")
	calls := p.Advance(mail(), world{}, nil)
	if len(calls) != 1 || calls[0].Kind != pipeline.Call || calls[0].Call.Params["step"] != "scan" {
		t.Fatal(told(calls))
	}
	for _, c := range []struct {
		answer pipeline.Answer
		want   string
	}{
		{pipeline.Answer{}, "drop alice@example.org,nobody@example.org,dave@example.net"},
		{pipeline.Answer{Attributes: map[string]string{"seen": "1"}, Recipients: []string{"Alice@EXAMPLE.org"}}, "drop nobody@example.org,dave@example.net; deliver alice@example.org"},
		{pipeline.Answer{Processor: "relay-denied"}, "park in relay-denied (relay-denied) alice@example.org,nobody@example.org,dave@example.net"},
		{pipeline.Answer{Processor: "nowhere"}, "park in error (no-processor) alice@example.org,nobody@example.org,dave@example.net"},
		{pipeline.Answer{Effect: &pipeline.Effect{Kind: pipeline.Park, Repository: "virus", Cause: "eicar"}}, "park in virus (eicar) alice@example.org,nobody@example.org,dave@example.net"},
		{pipeline.Answer{Err: errors.New("away")}, "retry alice@example.org,nobody@example.org,dave@example.net"},
		{pipeline.Answer{Attributes: map[string]string{"seen": "1"}, Rewrite: map[string][]string{"alice@example.org": {"\"x\"@example.net", "Dave@example.net"}, "NOBODY@example.org": {}}}, "drop nobody@example.org; deliver x@example.net,Dave@example.net"},
		{pipeline.Answer{Recipients: []string{}}, "drop alice@example.org,nobody@example.org,dave@example.net"},
	} {
		if got := told(p.Answered(calls[0].Mail, calls[0].Call, &c.answer, world{}, nil)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.answer, got, c.want)
		}
	}
}

// TestAMistakenAnswerIsAFailure as a whole: no part of it lets mail pass, or get lost.
func TestAMistakenAnswerIsAFailure(t *testing.T) {
	p := compile(t, "root: All -> AddHeader name=X-A value=b", "root: All -> Custom step=scan onError=propagate", "root: All -> Null")
	call := p.Advance(mail(), world{}, nil)[0]
	for _, c := range []struct {
		answer pipeline.Answer
		want   string
	}{
		{pipeline.Answer{Recipients: []string{"alice@example.org", "stranger@example.net"}}, `the recipient "stranger@example.net"`},
		{pipeline.Answer{Recipients: []string{"alice"}}, `the recipient "alice"`},
		{pipeline.Answer{Rewrite: map[string][]string{"stranger@example.net": {"x@example.net"}}}, `rewrites the recipient "stranger@example.net"`},
		{pipeline.Answer{Rewrite: map[string][]string{"alice@example.org": {}, "ALICE@example.org": {"x@example.net"}}}, "twice"},
		{pipeline.Answer{Rewrite: map[string][]string{"alice@example.org": {"nobody"}}}, "no address"},
		{pipeline.Answer{Edits: []pipeline.Edit{{Name: "received"}}}, "it stays"},
		{pipeline.Answer{Edits: []pipeline.Edit{{Name: "Return-Path", Value: "<x@example.net>", Keep: true}}}, "not for steps to write"},
		{pipeline.Answer{Edits: []pipeline.Edit{{Name: "X-B", Value: "ok"}, {Name: "a b", Value: "c"}}}, "not the name of a header field"},
		{pipeline.Answer{Edits: []pipeline.Edit{{Name: "X-B", Value: "c\r\nReceived: d"}}}, "control characters"},
		{pipeline.Answer{Edits: slices.Repeat([]pipeline.Edit{{Name: "X-B", Value: "c"}}, 100)}, "more than 100 times"},
	} {
		effects := p.Answered(call.Mail, call.Call, &c.answer, world{}, nil)
		if got := told(effects); got != "retry alice@example.org,nobody@example.org,dave@example.net" || !strings.Contains(effects[0].Text, c.want) || len(effects[0].Mail.Edits) != 1 {
			t.Errorf("%+v: %s (%s), want %s", c.answer, got, effects[0].Text, c.want)
		}
	}
}

func TestLoopsEnd(t *testing.T) {
	p := compile(t, "root: IsSingleRecipient -> ToProcessor processor=again", "root: All -> Null", "again: All -> ToProcessor processor=more", "more: IsSingleRecipient -> ToProcessor processor=again", "more: All -> Null")
	m := mail()
	m.Recipients = m.Recipients[:1]
	if got, want := told(p.Advance(m, world{}, nil)), "park in error (loop) alice@example.org"; got != want {
		t.Error(got)
	}
	m.Visited = 30
	if got, want := told(compile(t, "root: All -> Forward to=x@example.net").Advance(m, world{}, nil)), "park in error (loop) x@example.net; drop alice@example.org"; got != want {
		t.Error(got)
	}
}

// TestSendingOnDoesNotMultiply: steps that send on what they have sent come to an end, and check warns of them.
func TestSendingOnDoesNotMultiply(t *testing.T) {
	p := compile(t, "root: All -> Resend to=a@example.org", "root: All -> NotifyPostmaster to=b@example.org", "root: All -> Null")
	begun := mail()
	begun.Recipients = begun.Recipients[:1]
	open, ended, parked := []*pipeline.Mail{begun}, 0, 0
	for len(open) > 0 && ended < 1000 {
		var next []*pipeline.Mail
		for _, m := range open {
			for _, e := range p.Advance(m, world{}, nil) {
				switch e.Kind {
				case pipeline.Send:
					next = append(next, e.Mail)
				case pipeline.Park:
					parked++
				default:
					ended++
				}
			}
		}
		open = next
	}
	if ended != 1+2+4+8 || parked != 16 {
		t.Errorf("%d messages, %d parked", ended, parked)
	}
	begun.Attributes[pipeline.AttributeSent] = "2"
	p = compile(t, "root: All -> Custom step=scan", "root: All -> Null")
	call := p.Advance(begun, world{}, nil)[0]
	for value, want := range map[string]string{"": "park in error (error) ", "1": "park in error (error) ", "2": "drop "} { // A hook may say what it was told.
		if got := told(p.Answered(call.Mail, call.Call, &pipeline.Answer{Attributes: map[string]string{pipeline.AttributeSent: value}}, world{}, nil)); got != want+"alice@example.org" {
			t.Errorf("a hook answers that it was sent on %q times: %s", value, got)
		}
	}
	for _, c := range []struct {
		steps string
		want  int
	}{
		{"root: All -> Resend to=a@example.org; root: UserIs=bob -> Forward to=a@example.org; root: All -> Redirect to=b@example.org", 3},
		{"root: not SentByMailet -> NotifyPostmaster to=a@example.org; root: UserIs=bob and not SentByMailet -> Forward to=a@example.org; root: All -> Null", 0},
		{"root: UserIs=bob or not SentByMailet -> Forward to=a@example.org; root: All -> Null", 1},
		{"root: SentByMailet -> ToProcessor processor=transport; root: All -> Resend to=a@example.org; root: All -> Null", 0},
		{"other: All -> Forward to=a@example.org; root: All -> ToProcessor processor=other", 0},
	} {
		if all := compile(t, strings.Split(c.steps, "; ")...).Warnings(); len(all) != c.want {
			t.Errorf("%s: %q", c.steps, all)
		}
	}
}

// TestMistakesAreTold all at once, and where they are.
func TestMistakesAreTold(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"root All -> Null", "begins with the name of its processor"}, {"root: All Null", "-> and an action are missing"}, {"root: -> Null", "a matcher is missing"}, {"root: Alll -> Null", `no matcher "Alll"; there are All`},
		{"root: All -> Nul", `no action "Nul"; there are AddHeader`}, {"root: All -> ToProcessor", "needs the parameter processor"}, {"root: All -> ToProcessor processor=nowhere", `no processor "nowhere"; there are bounces`},
		{"root: All -> Null repository=a", "has no parameter repository"}, {`root: SubjectIs="a -> Null`, "a quote has no end"}, {"root: (All -> Null", "a ) is missing"}, {"root: All=1 -> Null", "it has no value"},
		{"root: RelayLimit=many -> Null", "is no number"}, {"root: RecipientIs -> Null", "needs a value"}, {"root: RecipientIs=a -> Null", "is no address"}, {"root: SenderIsRegex=( -> Null", "a value is missing"},
		{`root: SenderIsRegex="(" -> Null`, "no regular expression"}, {"root: RecipientIsLocal -> LocalDelivery", "may end with recipients left over"}, {"root: All -> LogMessage", "may end with recipients left over"},
		{"root: All -> Null onError=nowhere", `no processor "nowhere"`}, {"root: All -> Custom step=none", "no custom step"}, {`root: All -> ToRepository repository="a b"`, "not the name of a repository"},
		{"root: All -> Bounce status=4.0.0", "no status of a failure"}, {"root: All -> AddHeader name=Received value=x", "not for steps to write"}, {`root: All -> AddHeader name="a b" value=x`, "not the name of a header field"},
		{"root: All -> Forward to=nobody", "no address"}, {"root: All -> Null a=1 a=2", "twice"}, {"root: All -> ToProcessor processor=root", "in a circle for ever: root -> root"}, {"root: CompareNumericHeaderValue=x -> Null", "no comparison"},
		{"relay: All -> ToProcessor processor=root", "in a circle for ever"}, {"root: HasMailAttributeWithValue=x -> Null", "no attribute with a value"}, {"root: All -> RemoveMimeHeader name=Received", "stays"}, {"root: All -> RemoveMailAttribute name=sent-on", "stays"}, {"root: All -> SetMailAttribute name=sent-on value=0", "stays"}, {"root: All -> RemoveMimeHeader name=X-A,return-path", "stays"},
	} {
		lines := []string{c.line}
		if strings.HasPrefix(c.line, "relay:") {
			lines = append(lines, "transport: All -> ToProcessor processor=relay")
		}
		_, err := pipeline.Compile(pipeline.Lines(lines), nil, pipeline.Limits{})
		if !domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.line, err, c.want)
		}
	}
	if _, err := pipeline.Compile(pipeline.Lines([]string{"root: A -> Null", "root: All -> B", "root: All -> Null", "root: All -> Null"}), nil, pipeline.Limits{}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("%v", err)
	}
	if _, err := pipeline.Compile(pipeline.Lines([]string{"root: All -> Null", "root: All -> Null"}), nil, pipeline.Limits{}); err == nil || !strings.Contains(err.Error(), "never be reached") {
		t.Errorf("%v", err)
	}
	if _, err := pipeline.Compile(nil, nil, pipeline.Limits{}); err == nil || !strings.Contains(err.Error(), "no processor root") {
		t.Errorf("%v", err)
	}
}

// TestEveryRecipientEndsOnce, whatever the steps are.
func TestEveryRecipientEndsOnce(t *testing.T) {
	matcher := rapid.SampledFrom([]string{"All", "UserIs=alice", "not UserIs=alice", "HostIs=example.net", "IsSingleRecipient", "IsMarkedAsSpam", "HasMailAttribute=a", "RecipientIsLocal"})
	act := rapid.SampledFrom([]string{"Null", "LocalDelivery", "ToRepository repository=x", "DSNBounce", "ToProcessor processor=a", "ToProcessor processor=b", "SetMailAttribute name=a value=b", "AddHeader name=X value=y",
		"LogMessage", "Resend to=x@example.net", "Forward to=y@example.net", "Custom step=scan"})
	onError := rapid.SampledFrom([]string{"", " onError=ignore", " onError=propagate", " onError=b"})
	rapid.Check(t, func(r *rapid.T) {
		var lines []string
		for _, name := range []string{"root", "a", "b"} {
			for range rapid.IntRange(0, 4).Draw(r, "steps") {
				lines = append(lines, fmt.Sprintf("%s: %s -> %s%s", name, matcher.Draw(r, "matcher"), act.Draw(r, "action"), onError.Draw(r, "onError")))
			}
			lines = append(lines, name+": All -> "+rapid.SampledFrom([]string{"Null", "LocalDelivery", "ToProcessor processor=b", "ToProcessor processor=transport"}).Draw(r, "last"))
		}
		p, err := pipeline.Compile(pipeline.Lines(lines), []string{"scan"}, pipeline.Limits{})
		if err != nil {
			return
		}
		w := world{header: header}
		if rapid.Bool().Draw(r, "away") {
			w.err = errors.New("away")
		}
		m := mail()
		before := fmt.Sprintf("%+v", m)
		effects := p.Advance(m, w, nil)
		ends := map[string]int{}
		for n := 0; n < len(effects); n++ {
			if n > 10_000 {
				r.Fatal("it has no end")
			}
			e := effects[n]
			switch e.Kind {
			case pipeline.Call:
				effects = append(effects, p.Answered(e.Mail, e.Call, &pipeline.Answer{}, w, nil)...)
			case pipeline.Send, pipeline.Log:
			default:
				for _, to := range e.Mail.Recipients {
					ends[to]++
				}
			}
		}
		for _, to := range m.Recipients {
			if ends[to] != 1 {
				r.Fatalf("%s ends %d times: %s\n%s", to, ends[to], told(effects), strings.Join(lines, "\n"))
			}
		}
		if after := fmt.Sprintf("%+v", m); after != before {
			r.Fatalf("the mail was changed: %s", after)
		}
	})
}

func FuzzLines(f *testing.F) {
	for _, line := range pipeline.Defaults {
		f.Add(line)
	}
	f.Add(`root: not (SubjectIs="a \"b\"" xor HasHeader=X=y) and All -> HTTP url="http://x/?a=b" onError=ignore`)
	f.Fuzz(func(t *testing.T, line string) {
		p, err := pipeline.Compile(pipeline.Lines([]string{line}), nil, pipeline.Limits{})
		if err == nil {
			p.Advance(mail(), world{header: header}, nil)
		} else if !domain.Is(err, domain.Invalid) {
			t.Fatal(err)
		}
	})
}

func BenchmarkDefault(b *testing.B) {
	p := compile(b)
	m := mail()
	m.Recipients = m.Recipients[:1]
	for b.Loop() {
		p.Advance(m, world{}, nil)
	}
}
