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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/streams"
)

const (
	token = "the-token"
	alice = domain.AccountID("0000000000000001")
)

// fake is a backend with one domain, one account and, behind it, the real account aggregate.
type fake struct {
	mu       sync.Mutex
	state    *account.State
	stored   []string // messages in the order in which they were appended
	password string
	disabled bool
	erased   bool
	damaged  bool
	broken   error // what AddDomain answers
	full     int   // messages after which the store is full; 0 is never
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
func (f *fake) Domains(context.Context) ([]string, error) { return nil, nil }
func (f *fake) AddAccount(_ context.Context, _, address, password string) (door.Account, error) {
	f.password = password
	return door.Account{ID: alice, Login: address, Addresses: []string{address}}, nil
}
func (f *fake) SetPassword(_ context.Context, _ string, _ domain.AccountID, password string) error {
	f.password = password
	return nil
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
	return []door.Account{{ID: alice, Login: "alice@example.org", Addresses: []string{"alice@example.org"}}}, nil
}
func (f *fake) Lookup(_ context.Context, name string) (door.Account, error) {
	if name != "alice@example.org" && name != string(alice) {
		return door.Account{}, domain.Errorf(domain.NotFound, "there is no account %s", name)
	}
	return door.Account{ID: alice, Login: "alice@example.org"}, nil
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

type views struct{ *fake }

func (views) List(context.Context) ([]webadmin.Projection, error) { return nil, nil }
func (views) Rebuild(ctx context.Context, scope webadmin.Scope, _ func(webadmin.Progress)) (webadmin.Rebuilt, error) {
	if scope.Projection == "forever" {
		<-ctx.Done()
		return webadmin.Rebuilt{}, ctx.Err()
	}
	return webadmin.Rebuilt{Entries: 7}, nil
}
func (views) Verify(_ context.Context, scope webadmin.Scope, difference func(webadmin.Difference), _ func(webadmin.Progress)) (webadmin.Compared, error) {
	difference(webadmin.Difference{Projection: scope.Projection, Table: "counters", View: "3", Log: "4"})
	return webadmin.Compared{Rows: 10, Differences: 1}, nil
}

func serve(t *testing.T, f *fake, limits webadmin.Limits) *httptest.Server {
	t.Helper()
	s, err := webadmin.New(webadmin.Config{
		Token: token, Logger: slog.New(slog.DiscardHandler), Limits: limits,
		Backend: webadmin.Backend{
			Directory: f, Accounts: f, Log: log{f}, Views: views{f},
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics\n") }),
			Ready:   func(context.Context) (bool, any) { return !f.damaged, map[string]string{"status": "as it is"} },
			Status:  func(context.Context) (webadmin.Status, error) { return webadmin.Status{Version: "test"}, nil },
			Doctor:  func(context.Context) []webadmin.Finding { return nil },
			Now:     func() time.Time { return time.Unix(1_700_000_000, 0) },
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
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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
		{"GET", "/v1/accounts", "", 200, `"login":"alice@example.org"`},
		{"GET", "/v1/accounts/carol@example.org", "", 404, `"type":"notFound"`},
		{"GET", "/v1/accounts/alice%40example.org", "", 200, `"mailboxes":[{"name":"INBOX"`},
		{"PUT", "/v1/accounts/alice@example.org/limits", `{"bytes":1000,"messages":2}`, 204, ``},
		{"PUT", "/v1/accounts/alice@example.org/limits", `{"bytes":-1}`, 400, `cannot be negative`},
		{"PUT", "/v1/accounts/alice@example.org/password", `{"password":"new"}`, 204, ``},
		{"PUT", "/v1/accounts/alice@example.org/disabled", `{"disabled":true}`, 204, ``},
		{"GET", "/v1/accounts/alice@example.org/log?from=3", "", 200, `{"item":{"account":"0000000000000001","tx":3,"stream":"ACCOUNTS_0","seq":30,`},
		{"GET", "/v1/accounts/alice@example.org/log?from=x", "", 400, `is not a number`},
		{"POST", "/v1/log/verify", "", 200, `{"result":{"entries":3,"accounts":1,"erased":0,"damages":0}}`},
		{"POST", "/v1/log/verify?account=carol@example.org", "", 404, `notFound`},
		{"GET", "/v1/projections", "", 200, `[]`},
		{"POST", "/v1/projections/rebuild", "", 200, `{"result":{"entries":7}}`},
		{"POST", "/v1/projections/verify?projection=counters", "", 200, `{"item":{"stream":"","projection":"counters","table":"counters","view":"3","log":"4"}}`},
		{"POST", "/v1/keys/rotate", "", 200, `{"result":{"keys":2}}`},
		{"GET", "/v1/doctor", "", 200, `[]`},
		{"GET", "/v1/status", "", 200, `"version":"test"`},
		{"DELETE", "/v1/accounts/alice@example.org", "", 204, ``},
		{"GET", "/v2", "", 404, `there is nothing at /v2`},
	} {
		status, body := ask(t, c.method, s.URL+c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
	if f.password != "new" || !f.disabled || !f.erased || f.state.Limits.Messages != 2 {
		t.Errorf("%+v", f)
	}
}

func TestTokenIsNeeded(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	for _, route := range webadmin.Routes {
		method, path, _ := strings.Cut(route.Pattern, " ")
		for _, header := range []string{"", "Bearer", "Bearer wrong", "Basic " + token, "Bearer " + token + "x"} {
			status, body := ask(t, method, s.URL+strings.NewReplacer("{account}", "a", "{domain}", "d").Replace(path), "", "Authorization", header)
			if (status == 401) == route.Public || !route.Public && !strings.Contains(body, `"type":"unauthorized"`) {
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
	s := serve(t, newFake(t), webadmin.Limits{Body: 100, HeaderTime: 20 * time.Millisecond})
	if status, body := ask(t, "POST", s.URL+"/v1/accounts", `{"address":"`+strings.Repeat("x", 200)+`"}`); status != 413 {
		t.Errorf("%d %s", status, body)
	}
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
