package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/ops/cluster"
)

// wiretap is a cable between nodes that somebody listens to.
type wiretap struct {
	net.Listener

	printed // what it hears
}

// listenIn lays a cable to an address.
func listenIn(t *testing.T, to string) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &wiretap{Listener: l}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(in, to)
		}
	}()
	return w
}

func (w *wiretap) pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			defer func() { done <- struct{}{} }()
			octets := make([]byte, 64<<10)
			for {
				n, err := way[0].Read(octets)
				if err != nil {
					return
				}
				_, _ = w.Write(octets[:n]) // it never fails
				if _, err := way[1].Write(octets[:n]); err != nil {
					return
				}
			}
		}()
	}
	<-done
}

// secrets is what nobody may learn, by what it is.
type secrets map[string][]string

// add notes a secret and the ways in which it may be written.
func (s secrets) add(what, text string) {
	s[what] = append(s[what], text, base64.StdEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text)))
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) >= 16 {
		s[what] = append(s[what], string(raw), hex.EncodeToString(raw))
	}
}

// found is what of all that is in some octets.
func (s secrets) found(octets []byte) (all []string) {
	for what, forms := range s {
		for _, form := range forms {
			if bytes.Contains(octets, []byte(form)) {
				all = append(all, what)
				break
			}
		}
	}
	return all
}

// contents are the octets and the names of all files below a directory.
func contents(t *testing.T, dir string) []byte {
	t.Helper()
	var all bytes.Buffer
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		octets, err := os.ReadFile(path)
		all.WriteString(path + "\n")
		all.Write(octets)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all.Bytes()
}

// learned reads from the operator's guide what an attacker learns where, of what this test plants.
func learned(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "operator.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "| who has | learns | does not learn |")
	section, _, ended := strings.Cut(section, "\n\n")
	if !found || !ended {
		t.Fatal("the operator's guide does not say what an attacker learns")
	}
	rows := map[string]string{}
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && !strings.Contains(line, "---") {
			rows[strings.TrimSpace(cells[1])] = cells[2]
		}
	}
	return rows
}

// TestClusterTellsNobody what it keeps: addresses, subjects, bodies, names of mailboxes, passwords and keys are planted, and looked for in the log's files, the
// blobs, the archive and the traffic between nodes. What can be seen there is what the operator's guide says, row by row.
func TestClusterTellsNobody(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_REPLICAS") == "" {
		t.Skip("STREAMPOST_TEST_REPLICAS is not set")
	}
	shared := t.TempDir()
	all := formed(t, 3, "archive.kind=directory", "archive.directory="+filepath.Join(shared, "archive"), "archive.every=200ms",
		"blobs.kind=directory", "blobs.directory_is_shared=true", "blobs.directory="+filepath.Join(shared, "blobs"), "cluster.advertise=127.0.0.1:9")
	var taps []*wiretap
	for i, s := range all {
		for n, flag := range s.flags {
			if flag == "--join" {
				s.flags = s.flags[:n]
				break
			}
		}
		for j, other := range all {
			if i != j {
				w := listenIn(t, other.addr(6222))
				taps = append(taps, w)
				s.flags = append(s.flags, "--join", w.Addr().String())
			}
		}
	}
	all[0].launch("")
	for _, s := range all[1:] {
		s.join()
	}
	for _, s := range all {
		s.ready("")
	}
	planted := secrets{}
	const mark = "6f1e2d3c"
	all[1].run("account", "add", "planted-user-"+mark+"@example.org", "--password", "planted-password-"+mark)
	message := "From: planted-sender-" + mark + "@example.net\r\nSubject: planted-subject-" + mark + "\r\n\r\nplanted-body-" + mark + "\r\n"
	if got := all[2].imap("CREATE planted-mailbox-"+mark, fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(message), message)); !strings.Contains(got, "a2 OK ") {
		t.Fatalf("the plants are answered %s", got)
	}
	for _, what := range []string{"user", "password", "sender", "subject", "body", "mailbox"} {
		planted.add(what, "planted-"+what+"-"+mark)
	}
	planted.add("password", password)
	files, err := filepath.Glob(filepath.Join(all[0].data, "keys", "*.key"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the master keys are %v, %v", files, err)
	}
	for what, file := range map[string]string{"master key": files[0], "shared secret": filepath.Join(all[0].data, cluster.File)} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		planted.add(what, strings.TrimSpace(string(text)))
	}
	var account struct{ ID string }
	if err := json.Unmarshal([]byte(all[0].run("account", "show", "alice@example.org", "--json")), &account); err != nil {
		t.Fatal(err)
	}
	planted.add("id of the account", account.ID)
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, _ := all[0].try("log", "verify", "--archive", "alice@example.org") // of all, it would find what it notes of itself
		if strings.Contains(out, " 0 entries not archived yet, 0 damaged") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log is not archived: %s", out)
		}
	}
	for _, s := range all {
		s.kill(syscall.SIGTERM)
	}
	var traffic []byte
	for _, w := range taps {
		traffic = append(traffic, w.Bytes()...)
	}
	if len(traffic) < 100_000 {
		t.Errorf("only %d octets went between the nodes", len(traffic))
	}
	places := map[string][]byte{
		"`log/` of a node or a witness, or the disk of an external NATS": contents(t, filepath.Join(all[1].data, "log")),
		"the bucket or directory of blobs":                               contents(t, filepath.Join(shared, "blobs")),
		"the bucket or directory of the archive":                         contents(t, filepath.Join(shared, "archive")),
		"the network between nodes":                                      traffic,
		"`views/`, or the database of views":                             contents(t, filepath.Join(all[1].data, "views")),
	}
	rows := learned(t)
	for place, octets := range places {
		learns, documented := rows[place]
		if !documented {
			t.Errorf("the operator's guide does not say what is learned from %s", place)
			continue
		}
		seen := planted.found(octets)
		t.Logf("%d octets of %s show %q", len(octets), place, seen)
		for what := range planted {
			shown := false
			for _, s := range seen {
				shown = shown || s == what
			}
			if said := strings.Contains(learns, "`"+what+"`"); shown != said {
				t.Errorf("%s shows the %s: %v, and the operator's guide says %v", place, what, shown, said)
			}
		}
		delete(rows, place)
	}
	for row := range rows {
		if !strings.Contains(row, "keys/") { // which opens all the others
			t.Errorf("the row %q is not tested", row)
		}
	}
}
