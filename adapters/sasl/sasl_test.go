package sasl

import (
	"bytes"
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/xdg-go/scram"
)

const (
	alice    = "alice@example.org"
	password = "pencil"
	// old has the SCRAM-SHA-1 keys of RFC 5802 section 5, whose password is pencil too.
	old     = "old@example.org"
	oldKeys = "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE="
)

func newMechanisms(t testing.TB) *Mechanisms {
	n := doortest.Start(t)
	n.AddAccount(t, alice, password)
	n.AddAccount(t, "bob@example.org", "another")
	return &Mechanisms{Directory: n.Directory, Tokens: issuer{}, Protocol: "imap", Login: true}
}

// issuer vouches for whom the token itself names.
type issuer struct{}

func (issuer) Address(_ context.Context, token string) (string, error) {
	if token == "down" {
		return "", domain.Errorf(domain.Unavailable, "the issuer is down")
	}
	address, good := strings.CutPrefix(token, "good-")
	if !good {
		return "", domain.Errorf(domain.Denied, "the token is not good")
	}
	return address, nil
}

func (issuer) Configuration() (string, string) {
	return "https://id.example.org/.well-known/openid-configuration", "mail"
}

// talk is a dialogue: what the client says and how the server answers, in turns. A nil response is none at all.
func talk(t *testing.T, m *Mechanisms, name string, turns ...string) (door.Identity, error) {
	t.Helper()
	x, err := m.Begin(name, Client{Source: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i += 2 {
		challenge, done, err := x.Next(t.Context(), []byte(turns[i]))
		if done || err != nil {
			if i+1 < len(turns) {
				t.Fatalf("after %q the exchange ended: %v", turns[i], err)
			}
			return x.Identity(), err
		}
		if i+1 >= len(turns) || string(challenge) != turns[i+1] {
			t.Fatalf("after %q the server says %q", turns[i], challenge)
		}
	}
}

func TestPlainAndLogin(t *testing.T) {
	m := newMechanisms(t)
	for _, c := range []struct {
		name  string
		turns []string
		want  error // nil: alice comes in
	}{
		{"PLAIN", []string{"\x00" + alice + "\x00" + password}, nil},
		{"PLAIN", []string{"Alice@Example.ORG\x00" + alice + "\x00" + password}, nil},
		{"PLAIN", []string{"\x00ALICE@example.org\x00" + password}, nil},
		{"PLAIN", []string{"bob@example.org\x00" + alice + "\x00" + password}, ErrActing},
		{"PLAIN", []string{"\x00" + alice + "\x00wrong"}, errWrong},
		{"PLAIN", []string{"\x00nobody@example.org\x00" + password}, errWrong},
		{"PLAIN", []string{""}, ErrSyntax},
		{"PLAIN", []string{alice + "\x00" + password}, ErrSyntax},
		{"PLAIN", []string{"\x00\x00" + password}, ErrSyntax},
		{"PLAIN", []string{"\x00" + alice + "\x00" + password + "\x00"}, ErrSyntax},
		{"PLAIN", []string{"\x00" + alice + "\xff\x00" + password}, ErrSyntax},
		{"LOGIN", []string{alice, "Password:", password}, nil},
		{"LOGIN", []string{alice, "Password:", "wrong"}, errWrong},
		{"LOGIN", []string{""}, ErrSyntax},
	} {
		who, err := talk(t, m, c.name, c.turns...)
		if domain.KindOf(err) != domain.KindOf(c.want) || (c.want == ErrActing) != (err == ErrActing) || (err == nil) != (who.Login == alice) {
			t.Errorf("%s %q: %+v, %v", c.name, c.turns, who, err)
		}
	}
	x, _ := m.Begin("login", Client{})
	if prompt, done, err := x.Next(t.Context(), nil); string(prompt) != "Username:" || done || err != nil {
		t.Errorf("LOGIN begins with %q, %v, %v", prompt, done, err)
	}
	if _, err := m.Begin("CRAM-MD5", Client{}); err != ErrUnknown {
		t.Errorf("CRAM-MD5: %v", err)
	}
}

// TestWhatIsOffered: nothing is offered that could not work.
func TestWhatIsOffered(t *testing.T) {
	m := newMechanisms(t)
	offers := func(want string) {
		t.Helper()
		if got := strings.Join(m.Offered(Client{}), " "); got != want {
			t.Errorf("offered: %s", got)
		}
	}
	offers("SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN")
	if _, err := m.Directory.(*door.Directory).AddAccount(t.Context(), "test", old, oldKeys); err != nil {
		t.Fatal(err)
	}
	offers("SCRAM-SHA-256 SCRAM-SHA-1 OAUTHBEARER XOAUTH2 PLAIN LOGIN")
	m.Tokens, m.Login, m.Without = nil, false, []string{"SCRAM-SHA-256"}
	offers("SCRAM-SHA-1 PLAIN")
}

// TestTheExamplesOfTheRFCs replays what RFC 5802 section 5 and RFC 7677 section 3 print, with keys that an account was given in the two forms in which
// others write them. The user's name there is no address here, so that the library runs the exchange alone.
func TestTheExamplesOfTheRFCs(t *testing.T) {
	n := doortest.Start(t)
	for name, c := range map[string]struct {
		keys, nonce string
		turns       [][2]string
	}{
		"SCRAM-SHA-1": {oldKeys, "3rfcNHYJY1ZVvWVs7j", [][2]string{
			{"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"},
			{"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		}},
		"SCRAM-SHA-256": {
			"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
			"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", [][2]string{
				{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"},
				{"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
			},
		},
	} {
		user := strings.ToLower(name) + "@example.org"
		n.AddAccount(t, user, c.keys)
		digest, _, _ := scramName(name)
		server, err := generator(name).NewServer(func(string) (scram.StoredCredentials, error) {
			_, keys, err := n.Directory.Scram(t.Context(), digest, user)
			return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: int(keys.Iterations)}, StoredKey: keys.StoredKey, ServerKey: keys.ServerKey}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		exchange := server.WithNonceGenerator(func() string { return c.nonce }).NewConversation()
		for _, turn := range c.turns {
			if said, err := exchange.Step(turn[0]); said != turn[1] || err != nil {
				t.Errorf("%s: after %q the server says %q, %v", name, turn[0], said, err)
			}
		}
		if !exchange.Valid() {
			t.Errorf("%s: the proof is not accepted", name)
		}
	}
}

// generator is the library's idea of a mechanism.
func generator(name string) scram.HashGeneratorFcn {
	if strings.Contains(name, "SHA-1") {
		return scram.SHA1
	}
	return scram.SHA256
}

// clientOf is a SCRAM client for a mechanism.
func clientOf(t *testing.T, name, user, password string) *scram.Client {
	t.Helper()
	c, err := generator(name).NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// prove runs a whole exchange.
func prove(t *testing.T, m *Mechanisms, name string, c Client, talk *scram.ClientConversation) (door.Identity, error) {
	t.Helper()
	x, err := m.Begin(name, c)
	if err != nil {
		t.Fatal(err)
	}
	var challenge []byte
	for {
		said, err := talk.Step(string(challenge))
		if err != nil {
			t.Fatal(err)
		}
		var done bool
		if challenge, done, err = x.Next(t.Context(), []byte(said)); done || err != nil {
			if err == nil && !talk.Valid() {
				t.Error("the server did not prove that it knows the password")
			}
			return x.Identity(), err
		}
	}
}

func TestScram(t *testing.T) {
	m := newMechanisms(t)
	d := m.Directory.(*door.Directory)
	if _, err := d.AddAccount(t.Context(), "test", old, oldKeys); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, user, password string
		ok                   bool
	}{
		{"SCRAM-SHA-256", alice, password, true},
		{"SCRAM-SHA-256", alice, "wrong", false},
		{"SCRAM-SHA-256", "nobody@example.org", password, false},
		{"SCRAM-SHA-256", old, password, false}, // the keys are of another digest
		{"SCRAM-SHA-1", old, password, true},
		{"SCRAM-SHA-1", old, "wrong", false},
		{"SCRAM-SHA-1", alice, password, false},
		{"SCRAM-SHA-1", "nobody@example.org", password, false},
	} {
		who, err := prove(t, m, c.name, Client{}, clientOf(t, c.name, c.user, c.password).NewConversation())
		if (err == nil) != c.ok || (who.Login == c.user) != c.ok || err != nil && !domain.Is(err, domain.Denied) {
			t.Errorf("%s of %s with %s: %+v, %v", c.name, c.user, c.password, who, err)
		}
	}
	if who, err := m.Password(t.Context(), Client{}, old, password); err != nil || who.Login != old {
		t.Errorf("imported keys do not open PLAIN: %v", err)
	}
}

// TestStrangersLookLikeUsers: what a client sees before its proof tells nobody who exists, not even on asking twice.
func TestStrangersLookLikeUsers(t *testing.T) {
	m := newMechanisms(t)
	if _, err := m.Directory.(*door.Directory).AddAccount(t.Context(), "test", old, oldKeys); err != nil {
		t.Fatal(err)
	}
	challenge := func(name, user string) (salt, iterations string) {
		x, _ := m.Begin(name, Client{})
		said, _, err := x.Next(t.Context(), []byte("n,,n="+user+",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(string(said), ",")
		return fields[1], fields[2]
	}
	for name, real := range map[string]string{"SCRAM-SHA-256": alice, "SCRAM-SHA-1": old} {
		_, cost := challenge(name, real)
		one, i := challenge(name, "nobody@example.org")
		two, _ := challenge(name, "Nobody@Example.ORG")
		other, _ := challenge(name, "somebody@example.org")
		if one != two || one == other || i != cost {
			t.Errorf("%s: strangers get %s, %s and %s, %s; users %s", name, one, two, other, i, cost)
		}
	}
}

// secured is a TLS connection: the server's end of it, and the client's state.
func secured(t *testing.T, version uint16) (Client, tls.ConnectionState) {
	certificate, err := netline.SelfSigned(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	inner, err := netline.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := netline.New(inner, netline.Config{})
	t.Cleanup(func() { _ = l.Close() })
	state := make(chan tls.ConnectionState, 1)
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if err != nil {
			t.Error(err)
			close(state)
			return
		}
		state <- c.ConnectionState()
	}()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = accepted.Close() })
	secure := tls.Server(accepted, certificate.Config(0))
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := secure.ConnectionState()
	return Client{TLS: &server, Certificate: netline.Of(secure).Certificate()}, <-state
}

func TestChannelBinding(t *testing.T) {
	m := newMechanisms(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server, client := secured(t, version)
		if !slices.Contains(m.Offered(server), "SCRAM-SHA-256-PLUS") {
			t.Errorf("%x: offered are %v", version, m.Offered(server))
		}
		exporter, err := scram.NewTLSExporterBinding(&client)
		if err != nil {
			t.Fatal(err)
		}
		endPoint, err := scram.NewTLSServerEndpointBinding(&client)
		if err != nil {
			t.Fatal(err)
		}
		user := clientOf(t, "SCRAM-SHA-256", alice, password)
		for _, binding := range []scram.ChannelBinding{exporter, endPoint} {
			if who, err := prove(t, m, "SCRAM-SHA-256-PLUS", server, user.NewConversationWithChannelBinding(binding)); err != nil || who.Login != alice {
				t.Errorf("%x, %s: %+v, %v", version, binding.Type, who, err)
			}
		}
		// Somebody in between has two connections, and what binds them is not the same.
		elsewhere, _ := secured(t, version)
		for _, binding := range []scram.ChannelBinding{exporter, endPoint} {
			if _, err := prove(t, m, "SCRAM-SHA-256-PLUS", elsewhere, user.NewConversationWithChannelBinding(binding)); !domain.Is(err, domain.Denied) {
				t.Errorf("%x, %s: an exchange was passed on: %v", version, binding.Type, err)
			}
		}
		// RFC 5802 section 6: somebody hid from the client that we could bind.
		if _, err := prove(t, m, "SCRAM-SHA-256", server, user.NewConversationAdvertisingChannelBinding()); !domain.Is(err, domain.Denied) {
			t.Errorf("%x: a downgrade goes through: %v", version, err)
		}
		if _, err := prove(t, m, "SCRAM-SHA-256", server, user.NewConversation()); err != nil {
			t.Errorf("%x: a client that cannot bind: %v", version, err)
		}
		first := func(name, said string) error {
			x, err := m.Begin(name, server)
			if err == nil {
				_, _, err = x.Next(t.Context(), []byte(said))
			}
			return err
		}
		for _, c := range [][2]string{
			{"SCRAM-SHA-256-PLUS", "n,,n=" + alice + ",r=abc"},
			{"SCRAM-SHA-256-PLUS", "y,,n=" + alice + ",r=abc"},
			{"SCRAM-SHA-256", "p=tls-exporter,,n=" + alice + ",r=abc"},
			{"SCRAM-SHA-256-PLUS", "p=tls-unique,,n=" + alice + ",r=abc"},
		} {
			if err := first(c[0], c[1]); err == nil {
				t.Errorf("%s takes %q", c[0], c[1])
			}
		}
	}
	// Without TLS there is nothing to bind to, and a client that says so is right.
	if _, err := prove(t, m, "SCRAM-SHA-256", Client{}, clientOf(t, "", alice, password).NewConversationAdvertisingChannelBinding()); err != nil {
		t.Error(err)
	}
	if _, err := m.Begin("SCRAM-SHA-256-PLUS", Client{}); err != ErrUnknown {
		t.Errorf("-PLUS without TLS: %v", err)
	}
}

func TestBearerTokens(t *testing.T) {
	m := newMechanisms(t)
	const refused = `{"openid-configuration":"https://id.example.org/.well-known/openid-configuration","scope":"mail","status":"invalid_token"}`
	const refused2 = `{"schemes":"bearer","scope":"mail","status":"401"}`
	good := "auth=Bearer good-" + alice + "\x01\x01"
	for _, c := range []struct {
		name  string
		turns []string
		want  error
	}{
		{"OAUTHBEARER", []string{"n,a=" + alice + ",\x01host=mail.example.org\x01port=143\x01" + good}, nil}, // RFC 7628 section 4.1
		{"OAUTHBEARER", []string{"n,,\x01" + good}, nil},
		{"OAUTHBEARER", []string{"y,a=Alice@example.org,\x01auth=bearer good-" + alice + "\x01\x01"}, nil},
		{"OAUTHBEARER", []string{"n,a=bob@example.org,\x01" + good, refused, "\x01"}, ErrActing},
		{"OAUTHBEARER", []string{"n,a=nobody@example.org,\x01" + good, refused, "\x01"}, ErrActing},
		{"OAUTHBEARER", []string{"n,a=" + alice + ",\x01auth=Bearer bad\x01\x01", refused, "\x01"}, errWrong}, // section 4.2
		{"OAUTHBEARER", []string{"n,,\x01auth=Bearer good-nobody@example.org\x01\x01", refused, ""}, errWrong},
		{"OAUTHBEARER", []string{"n,,\x01auth=Bearer down\x01\x01"}, domain.Errorf(domain.Unavailable, "")},
		{"OAUTHBEARER", []string{"p=tls-exporter,,\x01" + good}, ErrSyntax},
		{"OAUTHBEARER", []string{"n,a=" + alice + "\x01" + good}, ErrSyntax},
		{"OAUTHBEARER", []string{"n,a=,\x01" + good}, ErrSyntax},
		{"OAUTHBEARER", []string{"n,a=a=b,\x01" + good}, ErrSyntax},
		{"OAUTHBEARER", []string{"n,,\x01auth=Basic YTpi\x01\x01"}, ErrSyntax},
		{"OAUTHBEARER", []string{"n,,\x01auth=Bearer \x01\x01"}, ErrSyntax},
		{"OAUTHBEARER", []string{"n,,\x01host=x\x01\x01"}, ErrSyntax},
		{"OAUTHBEARER", []string{"n,,\x01auth=Bearer x\x01"}, ErrSyntax},
		{"OAUTHBEARER", []string{""}, ErrSyntax},
		{"XOAUTH2", []string{"user=" + alice + "\x01" + good}, nil},
		{"XOAUTH2", []string{"user=" + alice + "\x01auth=Bearer bad\x01\x01", refused2, ""}, errWrong},
		{"XOAUTH2", []string{"user=bob@example.org\x01" + good, refused2, ""}, ErrActing},
		{"XOAUTH2", []string{alice + "\x01" + good}, ErrSyntax},
		{"XOAUTH2", []string{"user=" + alice}, ErrSyntax},
	} {
		who, err := talk(t, m, c.name, c.turns...)
		if domain.KindOf(err) != domain.KindOf(c.want) || (c.want == ErrActing) != (err == ErrActing) || (err == nil) != (who.Login == alice) {
			t.Errorf("%s %q: %+v, %v", c.name, c.turns, who, err)
		}
	}
}

// FuzzExchange: whatever a client says, an exchange ends by itself, says what can be sent, and lets nobody in who does not know the password.
func FuzzExchange(f *testing.F) {
	m := newMechanisms(f)
	m.Directory = impatient{m.Directory}
	server := Client{Source: "192.0.2.1"}
	for i, name := range Names {
		for _, said := range []string{"", "\x00a\x00b", "n,,n=a,r=b", "y,,n=a,r=b\nc=biws,r=b,p=AAAA", "p=tls-exporter,,n=a,r=b", "n,a=x=2C,n==3D,r=b,m=1",
			"n,a=a,\x01auth=Bearer x\x01\x01\n\x01", "user=a\x01auth=Bearer x\x01\x01\n", "a\nb", name} {
			f.Add(uint8(i), []byte(said))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, said []byte) {
		x, err := m.Begin(Names[int(which)%len(Names)], server)
		if err != nil {
			return
		}
		var response []byte
		rest := bytes.Split(said, []byte("\n"))
		for n := 0; ; n++ {
			challenge, done, err := x.Next(context.Background(), response)
			if done {
				t.Fatalf("%s lets in who says %q", x.Mechanism, said)
			}
			if err != nil {
				if x.Identity() != (door.Identity{}) {
					t.Fatalf("%s ends with %v and an identity", x.Mechanism, err)
				}
				if _, done, err := x.Next(context.Background(), response); done || err == nil {
					t.Fatalf("%s goes on after its end", x.Mechanism)
				}
				return
			}
			if len(challenge) > len(said)+512 || n > 4 {
				t.Fatalf("%s: challenge %d of %d octets", x.Mechanism, n, len(challenge))
			}
			response = []byte{}
			if n < len(rest) {
				response = rest[n]
			}
		}
	})
}

// impatient is a directory in which nobody waits, and no password takes time.
type impatient struct{ Directory }

func (impatient) Admit(context.Context, string, string) error { return nil }
func (impatient) Tried(string, string, error)                 {}
func (impatient) Login(context.Context, string, string, string, string) (door.Identity, error) {
	return door.Identity{}, errWrong
}
