package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// documented reads from the operator's guide what a user may publish and subscribe to, for a prefix instead of "mail" and a number of shards.
func documented(t testing.TB, prefix string, shards int) (publish, subscribe []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "operator.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "| streams S | publish |")
	section, _, ended := strings.Cut(section, "**A cluster.**")
	if !found || !ended {
		t.Fatal("the operator's guide lists no permissions")
	}
	own := strings.NewReplacer("mail.", prefix+".", "mail_", prefix+"_").Replace
	if prefix == "" {
		own = strings.NewReplacer("mail.", "", "mail_", "").Replace
	}
	quoted, stream := regexp.MustCompile("`([^`]+)`"), regexp.MustCompile(`\.S(\.>)?$`)
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) == 3 { // the second table
			for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
				subscribe = append(subscribe, own(m[1]))
			}
		}
		if len(cells) != 4 {
			continue
		}
		var names []string
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			switch name := own(m[1]); {
			case strings.HasSuffix(name, "_n"):
				for n := range shards {
					names = append(names, strings.TrimSuffix(name, "n")+fmt.Sprint(n))
				}
			case !strings.Contains(name, "."): // not a key of the configuration
				names = append(names, name)
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			if !stream.MatchString(m[1]) {
				publish = append(publish, own(m[1]))
				continue
			}
			for _, name := range names {
				publish = append(publish, stream.ReplaceAllString(m[1], "."+name+"$1"))
			}
		}
	}
	return publish, subscribe
}

// member gives one of a server's users with exactly the documented permissions.
func member(t testing.TB, name, prefix string, shards int) string {
	publish, subscribe := documented(t, prefix, shards)
	return fmt.Sprintf("{ user: %q, password: %q, permissions { publish: %s, subscribe: %s } }", name, name+"'s password", list(publish), list(subscribe))
}

func list(all []string) string {
	var quoted []string
	for _, s := range all {
		quoted = append(quoted, fmt.Sprintf("%q", s))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// TestExternalNATSIsShared: two installations share one account of a server, told apart by their prefixes, and a third has none. Each user has exactly
// the permissions that the operator's guide lists, with which everything works, and needs all of them.
func TestExternalNATSIsShared(t *testing.T) {
	t.Parallel()
	const shards = 2
	nats := startNATS(t, "trace: true\nmax_traced_msg_len: 1\nauthorization { users = ["+member(t, "one", "one", shards)+", "+member(t, "two", "two", shards)+", "+member(t, "plain", "", shards)+"] }")
	all := map[string]*server{}
	for _, name := range []string{"one", "two", "plain"} {
		s := external(t, nats.flags("user="+name, "password="+name+"'s password", fmt.Sprintf("shards=%d", shards), "prefix="+strings.TrimPrefix(name, "plain"))...)
		s.flags = append(s.flags, "--set", "outbound.routes=example.net 127.0.0.1:1") // where nobody listens
		if name == "one" {
			s.flags = append(s.flags, "--set", "blobs.kind=jetstream", "--set", "archive.kind=jetstream")
		}
		s.start("")
		all[name] = s
	}
	for name, s := range all {
		s.accepts("to " + name)
	}
	for name, s := range all {
		s.subjects("to " + name)
		for other := range all {
			if got := s.imap("SELECT INBOX", `SEARCH SUBJECT "to `+other+`"`); other != name && strings.Contains(got, "SEARCH ") && !strings.Contains(got, "* SEARCH\r\n") {
				t.Errorf("%s has mail to %s: %s", name, other, got)
			}
		}
		operate(t, s)
	}
	if out := refuses(t, nats.flags("user=one", "password=one's password", "prefix=two")...); !strings.Contains(out, "does not let this user look at stream two_KEYS") || !strings.Contains(out, "docs/operator.md") {
		t.Errorf("on the other's log the server says\n%s", out)
	}
	for _, s := range all {
		s.kill(syscall.SIGTERM)
	}
	listenWith(t, nats.url(), "one", filepath.Join(all["one"].data, "keys"), shards)

	said, err := os.ReadFile(filepath.Join(nats.dir, "nats.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(said)) {
		if intruder := strings.Contains(line, "/user:one") && (strings.Contains(line, "two_KEYS") || strings.Contains(line, "_INBOX.two")); strings.Contains(line, "Violation") && !intruder {
			t.Errorf("a permission is missing: %s", line)
		}
	}
	unused, shard := map[string]bool{}, regexp.MustCompile(`_ACCOUNTS_\d+`) // chance decides which of them has an account
	publish, subscribe := documented(t, "one", shards)
	for _, subject := range append(publish, subscribe...) {
		unused[shard.ReplaceAllString(subject, "_ACCOUNTS")] = true
	}
	published := regexp.MustCompile(`\[(?:H?PUB|SUB) (\S+)`)
	for _, m := range published.FindAllStringSubmatch(string(said), -1) {
		used := shard.ReplaceAllString(m[1], "_ACCOUNTS")
		for subject := range unused {
			if prefix, wild := strings.CutSuffix(subject, ">"); used == subject || wild && strings.HasPrefix(used, prefix) {
				delete(unused, subject)
			}
		}
	}
	for subject := range unused {
		t.Errorf("the permission %s is documented and never used", subject)
	}
}

// operate runs what an operator runs.
func operate(t *testing.T, s *server) {
	t.Helper()
	if got := s.run("doctor"); !strings.Contains(got, "ok       durability") || strings.Contains(got, "problem") {
		t.Errorf("doctor says\n%s", got)
	}
	s.clean()
	if got := s.run("log", "show", "alice@example.org"); !strings.Contains(got, "MessageAdded") {
		t.Errorf("log show says\n%s", got)
	}
	for range 2 { // what is stored anew takes the place of what there was
		s.run("snapshot", "make", "alice@example.org")
		if got := s.imap("APPEND INBOX {5+}\r\nhello"); !strings.Contains(got, " OK ") {
			t.Errorf("an APPEND is answered %q", got)
		}
	}
	if !submit(s.addr(1587), "leaves", "x@example.net") {
		t.Error("a message to others was not accepted")
	}
	if got := s.run("trace", "leaves@laptop"); !strings.Contains(got, "x@example.net") {
		t.Errorf("the trace is\n%s", got)
	}
	queued := strings.Fields(strings.TrimSpace(s.run("queue", "list", "--limit", "1")))
	for n, word := range queued {
		if len(word) == 16 && n > 0 {
			s.run("queue", "show", word)
			break
		}
	}
	s.run("queue", "clear")
	s.run("blob", "gc")
	s.run("account", "erase", "bob@example.org", "--yes")
	s.run("keys", "rotate")
	_, _ = s.tryWith(nil, append([]string{"account", "unblock", "nobody@example.org"}, s.flags...)...) // of whom nothing is known here; other nodes are told
	s.run("projection", "rebuild", "--all")
	s.clean()
	s.kill(syscall.SIGTERM)
	for _, command := range [][]string{{"log", "verify"}, {"projection", "verify"}, {"doctor"}, {"task", "list"}, {"projection", "list"}, {"log", "show", "alice@example.org"}} { // and without a server
		if out, err := s.tryWith(nil, append(command, s.flags...)...); err != nil {
			t.Errorf("%v without a server: %v\n%s", command, err, out)
		}
	}
	s.start("")
	s.accepts("after all that")
	s.subjects("after all that")
}

// listenWith runs a listener on an installation's log, gives it a dead letter and takes everything away again.
func listenWith(t *testing.T, url, name, keys string, shards int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	outside, err := natsd.Dial(ctx, natsd.ExternalConfig{URL: url, User: name, Password: name + "'s password", Prefix: name})
	must(err)
	defer func() { _ = outside.Close(ctx) }()
	master, err := streams.LoadMaster(keys)
	must(err)
	log, err := streams.Open(ctx, streams.Config{Conn: outside.Conn(), Master: master, Topology: streams.Topology{Prefix: name, Shards: shards}})
	must(err)
	defer func() { _ = log.Close(ctx) }()
	listeners, err := listen.Open(ctx, listen.Config{Log: log})
	must(err)
	defer func() { _ = listeners.Close(ctx) }()
	failed := make(chan struct{}, 1)
	must(listeners.Add(ctx, listen.Listener{
		Name: "hears", Version: 1, Directory: true, Retry: listen.Retry{Attempts: 1},
		Handle: func(_ context.Context, entries []streams.Entry) (int, error) {
			select {
			case failed <- struct{}{}: // the first becomes a dead letter
				return 0, fmt.Errorf("on purpose")
			default:
				return len(entries), nil
			}
		},
	}))
	must(await(ctx, func() (bool, error) {
		s := listeners.Status(ctx)[0]
		return s.Lag == 0 && s.Handled > 0 && s.DeadLetters == 1 && len(s.Streams) == shards+1, nil
	}))
	if done, err := listeners.Redeliver(ctx, listen.Selection{}, nil); err != nil || done.Successful != 1 {
		t.Errorf("the redelivery gives %+v, %v", done, err)
	}
	listeners.Stop("hears-1") // hands the consumers over
	known, err := listeners.Known(ctx)
	must(err)
	if !slices.Contains(known, "hears-1") {
		t.Errorf("the listeners are %v", known)
	}
	must(listeners.Remove(ctx, "hears-1"))
}

// await asks until the answer is yes.
func await(ctx context.Context, yes func() (bool, error)) error {
	for {
		done, err := yes()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
