package webadmin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/sieve"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/nodes"
)

const (
	token = "the-token"
	alice = domain.AccountID("0000000000000001")
	bob   = account.Identifier("0000000000000002")
)

// fake is a backend with one domain, one account and, behind it, the real account aggregate.
type fake struct {
	mu       sync.Mutex
	state    *account.State
	stored   []string // messages in the order in which they were appended
	password string
	disabled bool
	shared   bool
	erased   bool
	damaged  bool
	domains  []string
	broken   error // what AddDomain answers
	tasks    webadmin.Tasks
	full     int // messages after which the store is full; 0 is never
	apps     []door.AppPassword

	webadmin.Rewriting // a real one, where it is needed
}

func newFake(t *testing.T) *fake {
	f := &fake{state: account.New()}
	for _, c := range []account.Command{account.Open{UIDValidity: 1}} {
		if _, err := f.Do(t.Context(), alice, "test", c); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fake) AddDomain(context.Context, string, string) error { return f.broken }
func (f *fake) RemoveDomain(_ context.Context, _, name string) error {
	return domain.Errorf(domain.Exists, "addresses in %s are left", name)
}
func (f *fake) Domains(context.Context) ([]string, error) { return f.domains, nil }
func (f *fake) AddAccount(_ context.Context, _, address, password string) (door.Account, error) {
	f.password = password
	return door.Account{ID: alice, Login: address, Addresses: []string{address}}, nil
}
func (f *fake) SetPassword(_ context.Context, _ string, _ domain.AccountID, password string) error {
	f.password = password
	return nil
}
func (f *fake) CheckPassword(password string) error {
	if len(password) < 3 {
		return domain.Errorf(domain.Invalid, "too short")
	}
	return nil
}
func (f *fake) SetShared(_ context.Context, _ string, _ domain.AccountID, shared bool) error {
	f.shared = shared
	return nil
}
func (f *fake) Identifier(_ context.Context, name string) (account.Identifier, error) {
	ids := map[string]account.Identifier{"bob@example.org": bob, "-bob@example.org": "-" + bob, "anyone": account.Anyone, "alice@example.org": account.Identifier(alice)}
	if ids[name] == "" {
		return "", domain.Errorf(domain.NotFound, "there is no user of that name")
	}
	return ids[name], nil
}
func (f *fake) NameOf(_ context.Context, who account.Identifier) (string, error) {
	return strings.Replace(string(who), string(bob), "bob@example.org", 1), nil
}
func (f *fake) SetDisabled(_ context.Context, _ string, _ domain.AccountID, disabled bool) error {
	f.disabled = disabled
	return nil
}
func (f *fake) Erase(context.Context, string, domain.AccountID) error {
	f.erased = true
	return nil
}
func (f *fake) Accounts(context.Context) ([]door.Account, error) {
	return []door.Account{{ID: alice, Login: "alice@example.org", Addresses: []string{"alice@example.org"}, Disabled: f.disabled}}, nil
}
func (f *fake) AddAppPassword(_ context.Context, _ string, _ domain.AccountID, name string, expires time.Time, protocols []string) (string, error) {
	if slices.ContainsFunc(f.apps, func(p door.AppPassword) bool { return p.Name == name }) {
		return "", domain.Errorf(domain.Exists, "the account has an app password %q already", name)
	}
	f.apps = append(f.apps, door.AppPassword{Name: name, Created: time.Unix(0, 0).UTC(), Expires: &expires, Protocols: protocols})
	return "abcd-efgh", nil
}
func (f *fake) RemoveAppPassword(_ context.Context, _ string, _ domain.AccountID, name string) error {
	f.apps = slices.DeleteFunc(f.apps, func(p door.AppPassword) bool { return p.Name == name })
	return nil
}
func (f *fake) Blocks() []door.Block {
	return []door.Block{{Name: "192.0.2.1", Source: true, Failures: 31, Last: time.Unix(0, 0).UTC(), Delay: 2}}
}
func (f *fake) Unblock(name string) error {
	if name != "192.0.2.1" {
		return domain.Errorf(domain.NotFound, "no failed logins of %s are known", name)
	}
	return nil
}
func (f *fake) AppPasswords(context.Context, domain.AccountID) ([]door.AppPassword, error) {
	return f.apps, nil
}
func (f *fake) Authenticate(_ context.Context, login, password string) (door.Identity, error) {
	if login != "alice@example.org" || password != f.password {
		return door.Identity{}, domain.Errorf(domain.Denied, "the login name or the password is wrong")
	}
	return door.Identity{Account: alice, Login: login}, nil
}
func (f *fake) Lookup(_ context.Context, name string) (door.Account, error) {
	if name != "alice@example.org" && name != string(alice) {
		return door.Account{}, domain.Errorf(domain.NotFound, "there is no account %s", name)
	}
	return door.Account{ID: alice, Login: "alice@example.org", Disabled: f.disabled}, nil
}

func (f *fake) PutScript(ctx context.Context, id domain.AccountID, actor, name, content string) ([]sieve.Warning, error) {
	script, err := sieve.Compile(content)
	if err != nil {
		return nil, err
	}
	_, err = f.Do(ctx, id, actor, account.PutScript{Name: name, Content: content})
	return script.Warnings, err
}

func (f *fake) Do(_ context.Context, _ domain.AccountID, _ string, c account.Command) (door.Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events, err := account.Decide(f.state, c)
	if err != nil || len(events) == 0 {
		return door.Outcome{}, err
	}
	tx := f.state.Tx + 1
	for _, e := range events {
		f.state.Apply(tx, e)
		if added, ok := e.(*event.MessageAdded); ok {
			f.stored = append(f.stored, added.Summary.Preview)
		}
	}
	return door.Outcome{Tx: tx, Events: events}, nil
}

func (f *fake) View(_ context.Context, _ domain.AccountID, look func(*account.State) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return look(f.state)
}

func (f *fake) Ingest(_ context.Context, r io.Reader) (door.Stored, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return door.Stored{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full > 0 && len(f.stored) >= f.full {
		return door.Stored{}, domain.Errorf(domain.Unavailable, "the disk is full")
	}
	return door.Stored{Blob: domain.BlobRef{Size: int64(len(text))}, Summary: message.Summary{Preview: string(text), SentAt: 1_000_000_000}}, nil
}

func (f *fake) Thread(context.Context, domain.AccountID, *message.Summary) (domain.ThreadID, error) {
	return 0, nil
}

// log is the other half of the backend, apart because Verify has another meaning in each.
type log struct{ *fake }

func (l log) ReadAccount(context.Context, domain.AccountID, domain.Seq) iter.Seq2[streams.Entry, error] {
	return func(yield func(streams.Entry, error) bool) {
		for tx := domain.Tx(1); tx <= 3; tx++ {
			e := streams.Entry{Account: alice, Stream: "ACCOUNTS_0", Seq: domain.Seq(tx * 10), Tx: tx, Transaction: &event.Transaction{Actor: "test", Events: []event.Event{&event.MailboxCreated{Name: "INBOX"}}}}
			if !yield(e, nil) {
				return
			}
		}
		if l.damaged {
			yield(streams.Entry{}, domain.Errorf(domain.Corrupt, "Tx 4 is not what was written"))
		}
	}
}

func (l log) Verify(_ context.Context, _ webadmin.Scope, damage func(webadmin.Damage), progress func(webadmin.Progress)) (webadmin.Verified, error) {
	progress(webadmin.Progress{Done: 1, Total: 2, Unit: "entries"})
	if l.damaged {
		damage(webadmin.Damage{Stream: "ACCOUNTS_0", Account: alice, Tx: 4, Problem: "changed"})
		return webadmin.Verified{Entries: 4, Damages: 1}, nil
	}
	return webadmin.Verified{Entries: 3, Accounts: 1}, nil
}

func (l log) RotateMaster(context.Context, func(webadmin.Progress)) (int, error) { return 2, nil }

type kept struct{ *fake }

func (k kept) List(_ context.Context, f func(webadmin.Snapshot) error) error {
	return f(webadmin.Snapshot{Account: alice, Tx: 3, Octets: 100})
}

func (k kept) Remove(_ context.Context, id domain.AccountID) error {
	if id != alice {
		return domain.Errorf(domain.Unavailable, "the disk is away")
	}
	return nil
}

type views struct{ *fake }

func (views) Plan(context.Context) ([]webadmin.Planned, error) { return nil, nil }
func (views) Prune(context.Context, webadmin.ViewScope) (webadmin.DroppedViews, error) {
	return webadmin.DroppedViews{Generations: 2}, nil
}
func (views) Discard(_ context.Context, scope webadmin.ViewScope) (webadmin.DroppedViews, error) {
	return webadmin.DroppedViews{}, domain.Errorf(domain.Invalid, "mail is not served without projection %s", scope.Projection)
}
func (views) Digests(_ context.Context, scope webadmin.ViewScope, mailboxes bool) ([]webadmin.Digested, error) {
	list := []webadmin.Digested{{Stream: "ACCOUNTS_0", Projection: "counters", Version: 1, Generation: 2, Seq: 3, Digests: map[string]account.Digest{"a": 1 << 63}}}
	if mailboxes {
		list[0].Mailboxes = map[domain.AccountID]map[domain.MailboxID]account.Digest{"a": {1: 2}}
	}
	return list, nil
}
func (views) Count(_ context.Context, scope webadmin.ViewScope, opt webadmin.CountOptions, miscount func(webadmin.Miscount), _ func(webadmin.Progress)) (webadmin.Counted, error) {
	miscount(webadmin.Miscount{Projection: scope.Projection, Kept: 1, Rows: 2})
	return webadmin.Counted{Rows: 10, Miscounts: 1}, nil
}
func (views) List(context.Context) ([]webadmin.Projection, error) { return nil, nil }
func (views) Rebuild(ctx context.Context, scope webadmin.ViewScope, _ webadmin.RebuildOptions, _ func(webadmin.Progress)) (webadmin.Rebuilt, error) {
	if scope.Projection == "forever" {
		<-ctx.Done()
		return webadmin.Rebuilt{}, ctx.Err()
	}
	return webadmin.Rebuilt{Entries: 7}, nil
}
func (views) Verify(_ context.Context, scope webadmin.ViewScope, _ webadmin.VerifyOptions, difference func(webadmin.Difference), _ func(webadmin.Progress)) (webadmin.Compared, error) {
	difference(webadmin.Difference{Projection: scope.Projection, Table: "counters", View: "3", Log: "4"})
	return webadmin.Compared{Rows: 10, Differences: 1}, nil
}

// checks are two health checks, of which one follows the fake.
type checks struct{ *fake }

func (checks) Names() []string { return []string{"log", "free space"} }

func (c checks) Run(_ context.Context, names ...string) webadmin.HealthReport {
	report := webadmin.HealthReport{Status: "healthy"}
	for _, name := range c.Names() {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		found := webadmin.HealthCheck{Name: name, Escaped: url.PathEscape(name), Status: "healthy"}
		if name == "log" && c.damaged {
			found.Status, found.Cause = "degraded", "one entry is damaged"
			report.Status = "degraded"
		}
		report.Checks = append(report.Checks, found)
	}
	return report
}

func serve(t *testing.T, f *fake, limits webadmin.Limits) *httptest.Server {
	t.Helper()
	s, err := webadmin.New(webadmin.Config{
		Tokens: webadmin.Tokens{All: token, NoDelete: "no-delete", ReadOnly: "read-only"}, Logger: slog.New(slog.DiscardHandler), Limits: limits,
		Backend: webadmin.Backend{
			RepairLog: func(_ context.Context, order webadmin.RepairOrder, told func(nodes.Repaired)) (webadmin.LogRepair, error) {
				told(nodes.Repaired{Node: "b", Stream: order.Stream, Bad: "lacks 7 entries", Done: !order.DryRun})
				return webadmin.LogRepair{Copies: 3, Bad: 1}, nil
			},
			Grow: func(_ context.Context, progress func(webadmin.Progress)) (webadmin.Grown, error) {
				progress(webadmin.Progress{Done: 1, Total: 2, Unit: "streams"})
				return webadmin.Grown{Streams: 2, Copies: 3, Scaled: 2}, nil
			},
			RemoveNode: func(_ context.Context, node string, force bool, progress func(webadmin.Progress)) (webadmin.RemovedNode, error) {
				if node == "a" && !force {
					return webadmin.RemovedNode{}, domain.Errorf(domain.Conflict, "node a is still needed")
				}
				if force {
					progress(webadmin.Progress{Done: 1, Total: 1, Unit: "streams"})
				}
				return webadmin.RemovedNode{Node: node, Members: []string{"a"}, Copies: 3}, nil
			},
			Directory: f, Names: &keyring{}, Accounts: f, Log: log{f}, Views: views{f}, Tasks: f.tasks, Snapshots: kept{f}, Listeners: &letters{all: sampleLetters()}, Webhooks: hooks{}, Health: checks{f}, NewAccount: account.Limits{Messages: 1000},
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics\n") }),
			Damaged: func(context.Context) string {
				if f.damaged {
					return "the log is damaged"
				}
				return ""
			},
			Ready:  func(context.Context) (bool, any) { return !f.damaged, map[string]string{"status": "as it is"} },
			Status: func(context.Context) (webadmin.Status, error) { return webadmin.Status{Version: "test"}, nil },
			Doctor: func(context.Context) []webadmin.Finding { return nil },
			Now:    func() time.Time { return time.Unix(1_700_000_000, 0) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return &httptest.Server{URL: "http://" + l.Addr().String()}
}

// ask sends a request and gives status and body.
func ask(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func TestDialogue(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, webadmin.Limits{})
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/healthz", "", 200, `{"status":"healthy"}`},
		{"GET", "/readyz", "", 200, `{"status":"as it is"}`},
		{"GET", "/metrics", "", 200, `metrics`},
		{"GET", "/v1/domains", "", 200, `[]`},
		{"PUT", "/v1/domains/example.org", "", 204, ``},
		{"DELETE", "/v1/domains/example.org", "", 409, `{"statusCode":409,"type":"WrongState","message":"addresses in example.org are left"}`},
		{"POST", "/v1/accounts", `{"address":"bob@example.org","password":"s3cret"}`, 201, `"login":"bob@example.org"`},
		{"POST", "/v1/accounts", `{"address":"bob@example.org"}`, 400, `a password is needed`},
		{"POST", "/v1/accounts", `{"adress":"bob@example.org"}`, 400, `unknown field`},
		{"POST", "/v1/accounts", `{`, 400, `"type":"InvalidArgument"`},
		{"POST", "/v1/accounts", `{"address":"dave@example.org","password":"s3cret"}{}`, 400, `something follows the value`},
		{"POST", "/v1/accounts", `{"address":"dave@example.org","password":"s3cret"}}`, 400, `"type":"InvalidArgument"`},
		{"GET", "/v1/accounts", "", 200, `"login":"alice@example.org"`},
		{"GET", "/v1/accounts/carol@example.org", "", 404, `"type":"notFound"`},
		{"GET", "/v1/accounts/alice%40example.org", "", 200, `"mailboxes":[{"name":"INBOX"`},
		{"PUT", "/v1/accounts/alice@example.org/limits", `{"bytes":1000,"messages":2}`, 204, ``},
		{"PUT", "/v1/accounts/alice@example.org/limits", `{"bytes":-1}`, 400, `cannot be negative`},
		{"PUT", "/v1/accounts/alice@example.org/password", `{"password":"ab"}`, 400, `too short`},
		{"PUT", "/v1/accounts/alice@example.org/password", `{"password":"ab","short":true}`, 204, ``},
		{"POST", "/v1/accounts", `{"address":"eve@example.org","password":"ab"}`, 400, `min_password`},
		{"PUT", "/v1/accounts/alice@example.org/password", `{"password":"new"}`, 204, ``},
		{"GET", "/v1/accounts/alice@example.org/app-passwords", "", 200, `[]`},
		{"POST", "/v1/accounts/alice@example.org/app-passwords", `{"name":"old phone","expires":"2027-01-31T00:00:00Z","protocols":["imap"]}`, 201, `{"name":"old phone","password":"abcd-efgh"}`},
		{"POST", "/v1/accounts/alice@example.org/app-passwords", `{"name":"old phone"}`, 409, `already`},
		{"GET", "/v1/accounts/alice@example.org/app-passwords", "", 200, `[{"name":"old phone","created":"1970-01-01T00:00:00Z","expires":"2027-01-31T00:00:00Z","protocols":["imap"]}]`},
		{"DELETE", "/v1/accounts/alice@example.org/app-passwords/old%20phone", "", 204, ``},
		{"GET", "/v1/accounts/alice@example.org/app-passwords", "", 200, `[]`},
		{"PUT", "/v1/accounts/alice@example.org/disabled", `{"disabled":true}`, 204, ``},
		{"PUT", "/v1/accounts/alice@example.org/shared", `{"shared":true}`, 204, ``},
		{"POST", "/v1/accounts", `{"address":"sales@example.org","shared":true}`, 201, `"shared":true`},
		{"POST", "/v1/accounts", `{"address":"sales@example.org","shared":true,"password":"ab"}`, 400, `too short`},
		{"GET", "/v1/accounts/alice@example.org/log?from=3", "", 200, `{"item":{"account":"0000000000000001","tx":3,"stream":"ACCOUNTS_0","seq":30,`},
		{"GET", "/v1/accounts/alice@example.org/log?from=x", "", 400, `is not a number`},
		{"GET", "/v1/blocks", "", 200, `[{"name":"192.0.2.1","source":true,"failures":31,"last":"1970-01-01T00:00:00Z","delay":2}]`},
		{"DELETE", "/v1/blocks/192.0.2.1", "", 204, ``},
		{"DELETE", "/v1/blocks/alice@example.org", "", 404, `no failed logins`},
		{"POST", "/v1/log/verify", "", 200, `{"result":{"entries":3,"accounts":1,"erased":0,"keys":0,"damages":0}}`},
		{"POST", "/v1/log/verify?account=carol@example.org", "", 404, `notFound`},
		{"POST", "/v1/log/repair?stream=ACCOUNTS_0&dryRun=true", "", 200, `{"item":{"node":"b","stream":"ACCOUNTS_0","bad":"lacks 7 entries","done":false}}`},
		{"POST", "/v1/log/repair?dryRun=perhaps", "", 400, `neither true nor false`},
		{"GET", "/v1/projections", "", 200, `[]`},
		{"POST", "/v1/projections/rebuild?all=true", "", 200, `{"result":{"entries":7}}`},
		{"POST", "/v1/projections/rebuild?projection=counters", "", 200, `{"result":{"entries":7}}`},
		{"POST", "/v1/projections/rebuild", "", 400, `or say all=true`},
		{"POST", "/v1/projections/rebuild?all=false&dryRun=true", "", 400, `it is not said what to rebuild`},
		{"POST", "/v1/projections/rebuild?all=true&stream=ACCOUNTS_0", "", 400, `all means everything`},
		{"POST", "/v1/projections/verify?projection=counters", "", 200, `{"item":{"stream":"","projection":"counters","table":"counters","view":"3","log":"4"}}`},
		{"GET", "/v1/snapshots", "", 200, `"tx":3,"made":"0001-01-01T00:00:00Z","octets":100,"behind":0}}`},
		{"DELETE", "/v1/snapshots/alice@example.org", "", 204, ``},
		{"POST", "/v1/projections/rebuild?all=true&fromSnapshot=yes", "", 400, `neither true nor false`},
		{"POST", "/v1/keys/rotate", "", 200, `{"result":{"keys":2}}`},
		{"GET", "/v1/doctor", "", 200, `[]`},
		{"GET", "/v1/cluster", "", 404, `this server stands alone`},
		{"POST", "/v1/cluster/grow", "", 200, `{"result":{"streams":2,"copies":3,"scaled":2}}`},
		{"DELETE", "/v1/cluster/nodes/b", "", 200, `{"result":{"node":"b","members":["a"],"copies":3}}`},
		{"DELETE", "/v1/cluster/nodes/a?force=true", "", 200, `{"progress":{"done":1,"total":1,"unit":"streams","percent":100}}`},
		{"DELETE", "/v1/cluster/nodes/a", "", 200, `{"error":{"statusCode":409,`},
		{"GET", "/v1/status", "", 200, `"version":"test"`},
		{"DELETE", "/v1/accounts/alice@example.org", "", 204, ``},
		{"GET", "/v2", "", 404, `there is nothing at /v2`},
		{"PATCH", "/v1/domains", "", 405, `{"statusCode":405,"type":"methodNotAllowed","message":"PATCH does nothing at /v1/domains"}`},
		{"DELETE", "/metrics", "", 405, `methodNotAllowed`},
	} {
		status, body := ask(t, c.method, s.URL+c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
	if f.password != "" || !f.disabled || !f.shared || !f.erased || f.state.Limits.Messages != 2 {
		t.Errorf("%+v", f)
	}
}

// TestAllow: who uses a wrong method learns the right ones (RFC 9110 section 15.5.6).
func TestAllow(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	for path, want := range map[string]string{"/v1/domains": "GET, HEAD", "/v1/domains/example.org": "PUT, DELETE", "/v1/projections/rebuild": "POST, DELETE"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got := answer.Header.Get("Allow"); answer.StatusCode != http.StatusMethodNotAllowed || got != want {
			t.Errorf("%s: %d, Allow: %s, want %s", path, answer.StatusCode, got, want)
		}
	}
}

func TestTokenIsNeeded(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	for _, route := range webadmin.Routes {
		method, path, _ := strings.Cut(route.Pattern, " ")
		for _, header := range []string{"", "Bearer", "Bearer wrong", "Basic " + token, "Bearer " + token + "x"} {
			status, body := ask(t, method, s.URL+strings.NewReplacer("{account}", "a", "{domain}", "d", "{user}", "u", "{mailbox}", "m", "{name}", "n").Replace(path), "", "Authorization", header)
			if (status == 401) == route.Public || !route.Public && method != "HEAD" && !strings.Contains(body, `"type":"unauthorized"`) {
				t.Errorf("%s with %q: %d %s", route.Pattern, header, status, body)
			}
		}
	}
}

func TestUnknownErrorShowsOnlyAnID(t *testing.T) {
	f := newFake(t)
	f.broken = errors.New("the secret is hunter2")
	if status, body := ask(t, "PUT", serve(t, f, webadmin.Limits{}).URL+"/v1/domains/x", ""); status != 500 || strings.Contains(body, "hunter2") || !strings.Contains(body, "internal error [") {
		t.Errorf("%d %s", status, body)
	}
}

func TestLimits(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{Body: 100})
	if status, body := ask(t, "POST", s.URL+"/v1/accounts", `{"address":"`+strings.Repeat("x", 200)+`"}`); status != 413 {
		t.Errorf("%d %s", status, body)
	}
	s = serve(t, newFake(t), webadmin.Limits{HeaderTime: 20 * time.Millisecond})
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost")
	if rest, err := io.ReadAll(c); err != nil || strings.Contains(string(rest), "200") { // it ends when the server gives up
		t.Errorf("%q %v", rest, err)
	}
}

func TestDamageIsReported(t *testing.T) {
	f := newFake(t)
	f.damaged = true
	s := serve(t, f, webadmin.Limits{})
	if status, body := ask(t, "POST", s.URL+"/v1/log/verify", ""); status != 200 || !strings.Contains(body, `"tx":4,"problem":"changed"`) || !strings.Contains(body, `"damages":1`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := ask(t, "GET", s.URL+"/v1/accounts/alice@example.org/log", ""); status != 200 || !strings.HasSuffix(body, `{"error":{"statusCode":500,"type":"corrupt","message":"Tx 4 is not what was written"}}`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := ask(t, "GET", s.URL+"/readyz", ""); status != 503 {
		t.Error(status)
	}
	if status, body := ask(t, "GET", s.URL+"/healthz", ""); status != 200 || !strings.Contains(body, `"cause":"the log is damaged","status":"degraded"`) {
		t.Errorf("%d %s", status, body)
	}
}

// A client that goes away ends the work.
func TestCancel(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/v1/projections/rebuild?projection=forever", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	ended := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// Shutdown in the cleanup of serve hangs, and fails, if the work goes on.
}

func imported(t *testing.T, s *httptest.Server, body io.Reader) (items []webadmin.Imported, last webadmin.Line) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/accounts/alice@example.org/messages", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		last = webadmin.Line{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if last.Item != nil {
			var m webadmin.Imported
			if err := json.Unmarshal(last.Item, &m); err != nil {
				t.Fatal(err)
			}
			items = append(items, m)
		}
	}
	return items, last
}

func TestImportKeepsOrderAndGoesOnAfterRefusals(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, webadmin.Limits{Message: 1 << 20})
	var body bytes.Buffer
	w := webadmin.ImportWriter{W: &body}
	var want []string
	for i := range 100 {
		h := webadmin.ImportHeader{Mailbox: "Archive/2019/May", Flags: []string{`\Seen`, "work"}, Internal: int64(1000 + i), Ref: fmt.Sprint(i)}
		text := fmt.Sprintf("Subject: %d\r\n\r\n", i)
		switch i {
		case 20: // larger than what is kept in memory
			text += strings.Repeat("x", 500_000)
		case 30:
			text += strings.Repeat("x", 2_000_000)
		case 40:
			h.Flags = []string{"not a flag"}
		case 50:
			h.Mailbox = "bad//name"
		case 60:
			h.Mailbox, h.Internal = "inbox", 0
		}
		h.Size = int64(len(text))
		if err := w.Add(h, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if i != 30 && i != 40 && i != 50 {
			want = append(want, text)
		}
	}
	items, last := imported(t, s, &body)
	if string(last.Result) != `{"imported":97,"refused":3}` || len(items) != 100 {
		t.Fatalf("%d items, %s %v", len(items), last.Result, last.Error)
	}
	for i, m := range items {
		kind := map[int]string{30: "tooLarge", 40: "InvalidArgument", 50: "InvalidArgument"}[i]
		if m.Ref != fmt.Sprint(i) || (m.Error == nil) != (kind == "") || m.Error != nil && m.Error.Type != kind {
			t.Errorf("%d: %+v %v", i, m, m.Error)
		}
	}
	if _, left := f.state.Mailbox("bad"); left {
		t.Error("a refused mailbox name left its superior behind")
	}
	for i := range want {
		if f.stored[i] != want[i] {
			t.Fatalf("message %d is not where it should be", i)
		}
	}
	archive, ok := f.state.Mailbox("Archive/2019/May")
	if !ok || archive.Len() != 96 || archive.Internal[1] != 1001 || !f.state.Subscribed["Archive/2019"] {
		t.Errorf("%+v", f.state)
	}
	if inbox, _ := f.state.Mailbox("INBOX"); inbox.Len() != 1 || inbox.Internal[0] != 1_000_000_000 {
		t.Errorf("%+v", inbox)
	}
}

func TestImportStopsWhenTheServerCannot(t *testing.T) {
	f := newFake(t)
	f.full = 5
	var body bytes.Buffer
	for i := range 1000 {
		if err := (webadmin.ImportWriter{W: &body}).Add(webadmin.ImportHeader{Mailbox: "INBOX", Size: 1, Ref: fmt.Sprint(i)}, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	items, last := imported(t, serve(t, f, webadmin.Limits{}), &body)
	if last.Error == nil || last.Error.Type != "unavailable" || len(items) > 100 {
		t.Errorf("%d items, then %+v", len(items), last)
	}
}

func TestImportThatBreaksOff(t *testing.T) {
	for name, body := range map[string]string{
		"in a header":      `{"mailbox":"INBOX"`,
		"in a message":     `{"mailbox":"INBOX","size":10}` + "\nabc",
		"in a large one":   `{"mailbox":"INBOX","size":1000000}` + "\nabc",
		"with a bad size":  `{"mailbox":"INBOX","size":-1}` + "\n",
		"without a header": "\n",
	} {
		f := newFake(t)
		items, last := imported(t, serve(t, f, webadmin.Limits{}), strings.NewReader(body))
		refused := len(items) == 1 && items[0].Error != nil
		if len(f.stored) > 0 || last.Error == nil && !refused || last.Error != nil && last.Error.Type != "InvalidArgument" {
			t.Errorf("%s: %v %+v", name, items, last)
		}
	}
}
