package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/projections/processing"
)

// startHook starts an HTTP hook that parks what has "virus" in its header, and fails the first time that it is asked about what has "late"; its address is put into HOOK.
func startHook(ts *testscript.TestScript, _ bool, _ []string) {
	late := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q processing.Request
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch {
		case strings.Contains(q.Header, "virus"):
			_, _ = io.WriteString(w, `{"action":"park","repository":"virus","cause":"eicar","text":"the scanner found something"}`)
		case strings.Contains(q.Header, "late") && !late[q.ID]:
			late[q.ID] = true
			w.WriteHeader(http.StatusBadGateway)
		default:
			_, _ = io.WriteString(w, `{"header":[{"name":"X-Scanned","value":"yes"}]}`)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv("HOOK", s.URL)
}

// inbox waits until a user's INBOX has so many messages: inbox USER N
func inbox(ts *testscript.TestScript, _ bool, args []string) {
	var text string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, text = asked(ts, "data", "GET", "/users/"+args[0]+"/mailboxes/INBOX/messageCount", ""); strings.TrimSpace(text) == args[1] {
			return
		}
	}
	ts.Fatalf("%s has %s messages", args[0], text)
}

// TestWhatIsWrongWithAPipeline is found before the server starts.
func TestWhatIsWrongWithAPipeline(t *testing.T) {
	for step, want := range map[string]string{
		"root: RemoteAddrInNetwork=home -> Null,root: All -> Null": "no network", "root: All -> HTTP url=x onError=ignore,root: All -> Null": "no URL", "root: All -> HTTP url=http://x secret=/none,root: All -> Null": "secret of a hook",
		"root: All -> Nul": "no action", "root: RemoteAddrInNetwork=192.0.2.1 or SMTPIsAuthNetwork=2001:db8::/32 -> Null,root: All -> Null": "",
	} {
		_, err := compilePipeline(&config.Pipeline{Steps: strings.Split(step, ","), Visits: 30})
		if want == "" && err != nil || want != "" && (!domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", step, err)
		}
	}
}

func TestNetworksOfMatchers(t *testing.T) {
	program, err := compilePipeline(&config.Pipeline{Steps: []string{"root: RemoteAddrInNetwork=192.0.2.0/24,2001:db8::1 -> Null", "root: All -> Null"}, Visits: 30})
	if err != nil {
		t.Fatal(err)
	}
	in, networks := inNetworks(program), program.Networks()
	for address, want := range map[string]bool{"192.0.2.7": true, "::ffff:192.0.2.7": true, "192.0.3.7": false, "2001:db8::1": true, "2001:db8::2": false, "": false, "x": false} {
		if in(address, networks) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}

// TestThePageOfThePipeline names every matcher and action, and its examples are steps.
func TestThePageOfThePipeline(t *testing.T) {
	text, err := os.ReadFile("../../docs/pipeline.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(pipeline.Matchers(), pipeline.Actions(), []string{"lmtp", "visits", "parallel", "call_time"}) {
		if !regexp.MustCompile("[`.]"+name+"[`=]").Match(text) && !strings.Contains(string(text), "pipeline."+name) {
			t.Errorf("%s is not there", name)
		}
	}
	examples := regexp.MustCompile("(?m)^ +- '(root: [^']+)'$").FindAllStringSubmatch(string(text), -1)
	var lines []string
	for _, m := range examples {
		lines = append(lines, strings.Replace(m[1], "secret=/etc/streampost.hook ", "", 1))
	}
	if _, err := compilePipeline(&config.Pipeline{Steps: lines, Visits: 30}); err != nil || len(lines) < 3 {
		t.Errorf("%d examples: %v", len(lines), err)
	}
	for _, m := range regexp.MustCompile("`((?:root|transport): [^`]+)`").FindAllStringSubmatch(string(text), -1) {
		name, _, _ := strings.Cut(m[1], ":")
		if _, err := compilePipeline(&config.Pipeline{Steps: []string{m[1], name + ": All -> Null"}, Visits: 30}); err != nil {
			t.Error(err)
		}
	}
}

// transfer sends a file by James's route: transfer FILE
func transfer(ts *testscript.TestScript, _ bool, args []string) {
	if status, text := asked(ts, "data", "POST", "/mail-transfer-service", ts.ReadFile(args[0])); status != http.StatusCreated {
		ts.Fatalf("%d %s", status, text)
	}
}
