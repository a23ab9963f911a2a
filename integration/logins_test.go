package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// identities is an OpenID Connect issuer in this process. It gives a token of whomever is asked for.
func identities(t *testing.T) (issuer string, token func(address string) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "one"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	provider := httptest.NewServer(mux)
	t.Cleanup(provider.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": provider.URL, "jwks_uri": provider.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one"}}})
	})
	return provider.URL, func(address string) string {
		claims := map[string]any{"iss": provider.URL, "aud": "mail", "email": address, "exp": time.Now().Add(time.Hour).Unix()}
		text, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// TestWaysToLogIn: curl brings a token and an app password, to IMAP, POP3 and submission; mbsync, whose SASL is Cyrus's, proves that it knows the password.
func TestWaysToLogIn(t *testing.T) {
	t.Parallel()
	need(t, "curl", "mbsync")
	issuer, token := identities(t)
	s := idleServer(t)
	s.flags = []string{"--set", "logins.oidc.issuer=" + issuer, "--set", "logins.oidc.audience=mail"}
	s.start("")
	inbox, bearer := "imaps://"+s.addr(1993)+"/INBOX", token("alice@example.org")
	for name, args := range map[string][]string{
		"OAUTHBEARER":           {inbox, "-X", "NOOP", "-u", "alice@example.org:", "--oauth2-bearer", bearer},
		"OAUTHBEARER with POP3": {"pop3s://" + s.addr(1995) + "/", "-u", "alice@example.org:", "--oauth2-bearer", bearer},
	} {
		if out := client(t, "", "curl", append([]string{"-sSk"}, args...)...); strings.Contains(out, "curl:") {
			t.Errorf("%s: %s", name, out)
		}
	}
	if out, err := exec.Command("curl", "-sSk", inbox, "-X", "NOOP", "-u", "alice@example.org:", "--oauth2-bearer", token("nobody@example.org")).CombinedOutput(); err == nil {
		t.Errorf("somebody else's token lets alice in: %s", out)
	}

	phone := strings.TrimSpace(s.run("account", "app-password", "add", "alice@example.org", "phone"))
	const text = "From: alice@example.org\r\nTo: bob@example.org\r\nSubject: by the phone\r\n\r\nHello.\r\n"
	client(t, text, "curl", "-sSk", "smtps://"+s.addr(1465), "--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.org", "-T", "-", "-u", "alice@example.org:"+phone)
	client(t, "", "curl", "-sSk", inbox, "-X", "NOOP", "-u", "alice@example.org:"+phone)
	if list := s.run("account", "app-password", "list", "alice@example.org"); !strings.Contains(list, "phone") || strings.HasSuffix(strings.TrimSpace(list), "-") {
		t.Errorf("after it was used:\n%s", list)
	}
	s.run("account", "app-password", "rm", "alice@example.org", "phone")
	if out, err := exec.Command("curl", "-sSk", inbox, "-X", "NOOP", "-u", "alice@example.org:"+phone).CombinedOutput(); err == nil {
		t.Errorf("a password that was taken away: %s", out)
	}

	said := []string{"method=OAUTHBEARER by=token", `by="app password phone"`}
	if modules, _ := filepath.Glob("/usr/lib/*/sasl2/libscram.so"); len(modules) == 0 {
		t.Log("Cyrus SASL has no SCRAM here (libsasl2-modules): mbsync did not try it")
	} else {
		dir := t.TempDir()
		config := filepath.Join(dir, "mbsyncrc")
		write(t, config, fmt.Sprintf("IMAPAccount demo\nHost 127.0.0.1\nPort %d\nUser alice@example.org\nPass %q\nSSLType None\nAuthMechs SCRAM-SHA-256\n\n"+
			"IMAPStore far\nAccount demo\n\nMaildirStore near\nPath %[3]s/\nInbox %[3]s/INBOX\n\nChannel all\nFar :far:\nNear :near:\n", 1143+s.offset, password, dir))
		client(t, "", "mbsync", "-V", "--list", "-c", config, "all")
		said = append(said, "method=SCRAM-SHA-256 by=password")
	}
	s.kill(15)
	for _, line := range said {
		if !strings.Contains(s.out.String(), line) {
			t.Errorf("the log does not say %s", line)
		}
	}
}
