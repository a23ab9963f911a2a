package integration

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImapflowResynchronises lets imapflow (https://imapflow.com), the usual client library of Node, go away and come back. What it knows it is not told again,
// whatever happened to the server meanwhile. It is skipped where NODE_PATH does not lead to it.
func TestImapflowResynchronises(t *testing.T) {
	need(t, "node")
	if err := exec.Command("node", "-e", "require('imapflow')").Run(); err != nil {
		t.Skip("imapflow is not installed: npm install imapflow, and NODE_PATH")
	}
	s := demoServer(t)
	var got struct {
		Capabilities, Enabled []string
		MailboxID             bool `json:"mailboxId"`
		IDs                   bool `json:"ids"`
		UIDs                  []int
		Appended, Exists      int
		Validity, ModSeq      string
		Expunged              []struct {
			UID               int
			Vanished, Earlier bool
		}
		Flags []struct {
			UID   int
			Flags []string
		}
		Changed []struct {
			UID    int
			ModSeq bool
		}
	}
	out := client(t, "", "node", "testdata/imapflow.js", strconv.Itoa(1143+s.offset), "alice@example.org", password)
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !reflect.DeepEqual(got.Capabilities, []string{"CONDSTORE", "QRESYNC", "OBJECTID", "IDLE"}) || !got.MailboxID || !got.IDs || !slices.Contains(got.Enabled, "QRESYNC") {
		t.Errorf("imapflow sees %s", out)
	}
	if len(got.Expunged) != 2 || got.Expunged[0].UID != got.UIDs[1] || !got.Expunged[0].Earlier || got.Expunged[1].UID != got.UIDs[2] || got.Expunged[1].Earlier {
		t.Errorf("imapflow was told of the expunges %+v among %v", got.Expunged, got.UIDs)
	}
	if !slices.ContainsFunc(got.Flags, func(f struct {
		UID   int
		Flags []string
	}) bool {
		return f.UID == got.UIDs[0] && slices.Contains(f.Flags, `\Flagged`) && slices.Contains(f.Flags, "$Seen-by-flow")
	}) {
		t.Errorf("imapflow was told of the flags %+v", got.Flags)
	}
	if got.Exists != len(got.UIDs) || len(got.Changed) != 2 || got.Changed[0].UID != got.UIDs[0] || got.Changed[1].UID != got.Appended {
		t.Errorf("there are %d messages, and changed are %+v: %s", got.Exists, got.Changed, out)
	}
	s.stays(func(when string) {
		t.Helper()
		want := fmt.Sprintf(`{"told":[],"validity":"%s","modseq":"%s"}`, got.Validity, got.ModSeq)
		out := client(t, "", "node", "testdata/imapflow.js", strconv.Itoa(1143+s.offset), "alice@example.org", password, got.Validity, got.ModSeq)
		if strings.TrimSpace(out) != want {
			t.Errorf("%s: imapflow is told %s, and not %s", when, out, want)
		}
	})
}

// TestImaplibSpeaksCondstore does the same with Python's imaplib, which passes modifiers on as they are.
func TestImaplibSpeaksCondstore(t *testing.T) {
	need(t, "python3")
	s := demoServer(t)
	python := func(args ...string) []string {
		args = append([]string{"testdata/imaplib_resync.py", strconv.Itoa(1143 + s.offset), "alice@example.org", password}, args...)
		return strings.Split(strings.ReplaceAll(client(t, "", "python3", args...), "\r", ""), "\n")
	}
	got := python()
	if want := []string{"ENABLE OK", "STALE OK True", "CHANGED [True]"}; len(got) != 5 || !reflect.DeepEqual(got[:3], want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	state := strings.Fields(got[3]) // UIDVALIDITY and HIGHESTMODSEQ
	s.stays(func(when string) {
		t.Helper()
		if again := python(state...); again[0] != got[3] || again[1] != "CHANGED []" {
			t.Errorf("%s: the state was %q and is %q", when, got[3], again)
		}
	})
}
