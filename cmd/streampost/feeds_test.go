package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/streampost/streampost/domain/feed"
)

// hookReceiver takes webhooks whose signature it can verify with the second of two secrets.
type hookReceiver struct {
	mu    sync.Mutex
	down  bool
	items []feed.Item
	wrong string
}

// receivers are those of all scripts, which run at the same time.
var receivers sync.Map

// receiver starts a receiver of webhooks and puts its URL into RECEIVER, or has it fail or work: receiver [down|up]
func receiver(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		r := &hookReceiver{}
		s := httptest.NewServer(r)
		ts.Defer(s.Close)
		receivers.Store(ts.Getenv("WORK"), r)
		ts.Setenv("RECEIVER", s.URL+"/s3cret")
		return
	}
	r := receiverOf(ts)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = args[0] == "down"
}

func receiverOf(ts *testscript.TestScript) *hookReceiver {
	r, ok := receivers.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("there is no receiver")
	}
	return r.(*hookReceiver)
}

func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if kind := filepath.Base(q.URL.Path); strings.HasPrefix(kind, "learn") { // as the controller of rspamd answers
		if !strings.HasPrefix(string(body), "Return-Path: <>") || q.Header.Get("Password") != "q1" {
			r.wrong = kind + " " + string(body)
		}
		r.items = append(r.items, feed.Item{ID: strconv.Itoa(len(r.items)), Type: kind, Address: q.Header.Get("Deliver-To")})
		_, _ = io.WriteString(w, `{"success":true}`)
		return
	}
	key, _ := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, q.Header.Get("webhook-id")+"."+q.Header.Get("webhook-timestamp")+"."+string(body))
	var item feed.Item
	switch {
	case err != nil || q.URL.Path != "/s3cret":
		r.wrong = q.URL.Path
	case !slices.Contains(strings.Fields(q.Header.Get("webhook-signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))):
		r.wrong = "the signature " + q.Header.Get("webhook-signature")
	case json.Unmarshal(body, &item) != nil || item.ID != q.Header.Get("webhook-id") || strings.Contains(strings.ToLower(string(body)), "s3cret"):
		r.wrong = string(body)
	}
	r.items = append(r.items, item)
	w.WriteHeader(http.StatusNoContent)
}

// says has a user do something by IMAP at $OFFSET, and waits until each command is done: says USER PASSWORD COMMAND...
func says(ts *testscript.TestScript, _ bool, args []string) {
	offset, err := strconv.Atoi(ts.Getenv("OFFSET"))
	ts.Check(err)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", 1143+offset))
	ts.Check(err)
	defer c.Close()
	ts.Check(c.SetDeadline(time.Now().Add(3 * time.Minute)))
	in := bufio.NewReader(c)
	for n, command := range append([]string{"LOGIN " + args[0] + ` "` + args[1] + `"`}, args[2:]...) {
		_, err := fmt.Fprintf(c, "a%d %s\r\n", n, command)
		ts.Check(err)
		for done := false; !done; {
			line, err := in.ReadString('\n')
			ts.Check(err)
			if done = strings.HasPrefix(line, fmt.Sprintf("a%d ", n)); done && !strings.HasPrefix(line, fmt.Sprintf("a%d OK", n)) {
				ts.Fatalf("%s: %s", command, line)
			}
		}
	}
}

// received waits until the receiver has so many events of a type, each once, of an account: received TYPE [N ADDRESS]
func received(ts *testscript.TestScript, _ bool, args []string) {
	want := 1
	if len(args) > 1 {
		var err error
		want, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	r := receiverOf(ts)
	got := 0
	for deadline := time.Now().Add(2 * time.Minute); got < want && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got = 0
		ids := map[string]bool{}
		r.mu.Lock()
		for _, item := range r.items {
			if item.Type == args[0] && (len(args) < 3 || item.Address == args[2]) {
				got++
				if ids[item.ID] {
					r.wrong = item.ID + " came twice"
				}
				ids[item.ID] = true
			}
		}
		wrong := r.wrong
		r.mu.Unlock()
		if wrong != "" {
			ts.Fatalf("the receiver was given %s", wrong)
		}
	}
	if got != want {
		ts.Fatalf("the receiver has %d of %s, want %d", got, args[0], want)
	}
}

// exportedFiles checks that files of events have each once, those of an account in order, and nothing of what messages say: exported DIRECTORY
func exportedFiles(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	last, seen, messages := map[string]uint64{}, map[string]bool{}, 0
	for _, name := range names {
		f, err := os.Open(name)
		ts.Check(err)
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			var item feed.Item
			ts.Check(json.Unmarshal(s.Bytes(), &item))
			if strings.Contains(strings.ToLower(s.Text()), "s3cret") || seen[item.ID] || uint64(item.Tx) < last[string(item.Account)] {
				ts.Fatalf("%s: %s", name, s.Text())
			}
			last[string(item.Account)], seen[item.ID] = uint64(item.Tx), true
			if item.Type == "MessageAdded" && item.Address == "carol@example.org" {
				messages++
			}
		}
	}
	if messages < 3 || last["directory"] == 0 {
		ts.Fatalf("%d messages of carol, the directory up to %d, in %q", messages, last["directory"], names)
	}
}
