package integration

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

var keep = flag.String("keep", "", "make the data directory of a version that is about to be tagged, such as v0.1.0, and keep it for TestUpgrade")

// Of each version there is a data directory, as its server left it, and what a client saw in it.
const upgrades = "testdata/upgrade"

// TestUpgrade opens the data directories of all versions that were tagged: clients see what they saw, and log and views are whole. Views of the
// version before are beside, so that this build goes on from them or makes its own.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	if *keep != "" {
		keepDirectory(t, *keep)
	}
	kept, err := filepath.Glob(filepath.Join(upgrades, "*.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range tagged(t) {
		if !slices.Contains(kept, filepath.Join(upgrades, version+".tar.gz")) {
			t.Errorf("%s is tagged, and no data directory of it is kept: check it out and run this test with -keep %[1]s", version)
		}
	}
	if len(kept) == 0 {
		t.Fatal("no data directory of an older version is kept")
	}
	for _, archive := range kept {
		for _, views := range []string{"with its views", "without views"} {
			t.Run(strings.TrimSuffix(filepath.Base(archive), ".tar.gz")+" "+views, func(t *testing.T) {
				s := idleServer(t)
				unpack(t, archive, s.data)
				if views == "without views" {
					if err := os.RemoveAll(filepath.Join(s.data, "views")); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(filepath.Join(s.data, "seen.txt"))
				if err != nil {
					t.Fatal(err)
				}
				s.start("")
				if got := s.seen(); got != string(want) {
					t.Errorf("a client sees\n%s\nand saw\n%s", got, want)
				}
				s.clean()
				if answer := s.deliver("after the upgrade"); !strings.HasPrefix(answer, "250") {
					t.Errorf("mail is answered with %s", answer)
				}
				s.run("account", "restore", "alice@example.org", "--at", "2", "--deleted-only")
				s.clean()
			})
		}
	}
}

// tagged lists the versions that the repository knows; none where there is no repository.
func tagged(t *testing.T) []string {
	out, err := exec.Command("git", "tag", "--list", "v*").Output()
	if err != nil {
		t.Logf("tags are not known: %v", err)
	}
	return strings.Fields(string(out))
}

// keepDirectory lets a server live through everything that leaves something in the log, and keeps its directory.
func keepDirectory(t *testing.T, version string) {
	s := idleServer(t)
	s.start("")
	for i := range 6 {
		if answer := s.deliver(fmt.Sprintf("message %d", i)); !strings.HasPrefix(answer, "250") {
			t.Fatal(answer)
		}
	}
	s.imap("CREATE Work", "CREATE Work/2026 (USE (\\Archive))", "CREATE Doomed", "SUBSCRIBE Work", "SELECT INBOX", `STORE 1:3 +FLAGS (\Seen $Forwarded own-keyword)`,
		"COPY 1:4 Work", "COPY 1:2 Doomed", "MOVE 2 Work/2026", `STORE 4 +FLAGS (\Deleted)`, "EXPUNGE", "RENAME Work Office", "DELETE Doomed", "UNSUBSCRIBE Office")
	s.run("account", "add", "carol@example.org", "--password", password)
	s.run("account", "quota", "carol@example.org", "--storage", "1MiB")
	s.run("account", "add", "gone@example.org", "--password", password)
	s.run("account", "erase", "gone@example.org", "--yes")
	s.run("account", "disable", "bob@example.org")
	s.run("vault", "restore", "alice@example.org", "subject:message")
	s.run("keys", "rotate")
	s.run("snapshot", "make", "alice@example.org")
	s.run("projection", "rebuild", "--projection", "counters")
	s.imap("SELECT Office", `STORE 1 -FLAGS (\Seen)`)
	s.clean()
	seen := s.seen()
	s.kill(syscall.SIGTERM)
	if err := os.WriteFile(filepath.Join(s.data, "seen.txt"), []byte(seen), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(upgrades, 0o755); err != nil {
		t.Fatal(err)
	}
	pack(t, s.data, filepath.Join(upgrades, version+".tar.gz"))
}

// seen is all that a client learns of alice's mailboxes.
func (s *server) seen() string {
	s.t.Helper()
	c, err := imapclient.DialInsecure(s.addr(1143), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("alice@example.org", password).Wait(); err != nil {
		s.t.Fatal(err)
	}
	boxes, err := c.List("", "*", &imap.ListOptions{ReturnSubscribed: true}).Collect()
	if err != nil {
		s.t.Fatal(err)
	}
	var text strings.Builder
	for _, box := range boxes {
		state, err := c.Select(box.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %v validity %d next %d\n", box.Mailbox, box.Attrs, state.UIDValidity, state.UIDNext)
		if state.NumMessages == 0 {
			continue
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		messages, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{
			UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{whole},
		}).Collect()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range messages {
			flags := slices.DeleteFunc(m.Flags, func(f imap.Flag) bool { return f == `\Recent` })
			slices.Sort(flags)
			fmt.Fprintf(&text, "  %d %v %s %d %q %x\n", m.UID, flags, m.InternalDate.UTC(), m.RFC822Size, m.Envelope.Subject, sha256.Sum256(m.FindBodySection(whole)))
		}
	}
	return text.String()
}

func pack(t *testing.T, dir, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, _ := gzip.NewWriterLevel(f, gzip.BestCompression) // the level exists
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Size: info.Size(), Mode: int64(info.Mode().Perm())}); err != nil {
			return err
		}
		content, err := os.Open(path)
		if err != nil {
			return err
		}
		defer content.Close()
		_, err = io.Copy(w, content)
		return err
	})
	for _, end := range []func() error{w.Close, z.Close} {
		if closed := end(); err == nil {
			err = closed
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, fs.FileMode(h.Mode))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, r); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
