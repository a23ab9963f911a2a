package maildir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/streampost/streampost/adapters/maildir"
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folders, _ := filepath.Glob(filepath.Join(root, ".*"))
	for _, dir := range append(folders, root, filepath.Join(root, "Plain", "Inner")) {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFoldersFlagsAndOrder(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{
		"cur/1700000002.b.host:2,FSa":        "B: 2\n\nx\n",
		"cur/1700000001.a.host:2,":           "A: 1\r\n\r\nx\r\n",
		"new/1700000003.c.host":              "C: 3\n\nno end",
		"cur/.hidden":                        "no",
		"tmp/1700000004.d.host":              "half",
		"dovecot-keywords":                   "0 work\n1 $Junk\n",
		".Sent.2020/cur/1.x:2,RT":            "S: 1\n\n",
		".Entw&APw-rfe/cur/1.y;2,DPb":        "D: 1\n\n",
		".A&-B/new/.keep":                    "",
		"Plain/Inner/cur/1700000001.z!2,S,x": "P: 1\n\n",
	})
	folders, _, err := maildir.Folders(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range folders {
		messages, _, err := f.Messages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got += f.Name + ":"
		for _, m := range messages {
			r, size, err := m.Open()
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if err != nil || int64(len(body)) != size || r.Close() != nil {
				t.Errorf("%s: %d octets of %d, %v", m.Path, len(body), size, err)
			}
			got += fmt.Sprintf(" %q %v", body, m.Flags)
		}
		got += "\n"
	}
	want := `INBOX: "A: 1\r\n\r\nx\r\n" [] "B: 2\r\n\r\nx\r\n" [\Flagged \Seen work] "C: 3\r\n\r\nno end" []
A&B:
Entwürfe: "D: 1\r\n\r\n" [\Draft $Forwarded]
Plain/Inner: "P: 1\r\n\r\n" [\Seen]
Sent/2020: "S: 1\r\n\r\n" [\Answered \Deleted]
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNotAMaildir(t *testing.T) {
	if _, _, err := maildir.Folders(t.Context(), t.TempDir()); err == nil {
		t.Error("an empty directory is accepted")
	}
	if _, _, err := maildir.Folders(t.Context(), "/does/not/exist"); err == nil {
		t.Error("a missing directory is accepted")
	}
}

// TestOnlyRegularFilesAreRead: a link or a pipe in a maildir costs neither somebody's secrets nor for ever, and is named.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, outside, map[string]string{"cur/secret": "S: 1\n\n", "keywords": "0 stolen\n"})
	write(t, root, map[string]string{"cur/1.a:2,a": "A: 1\n\n", ".Linked/new/.keep": ""})
	for link, target := range map[string]string{
		"cur/2.link:2,S": "cur/secret", ".Other": "", "dovecot-keywords": "keywords", "cur/3.dead": "nothing",
	} {
		if err := os.Symlink(filepath.Join(outside, target), filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(root, ".Linked", "cur")
	if err := errors.Join(os.Remove(linked), os.Symlink(filepath.Join(outside, "cur"), linked), syscall.Mkfifo(filepath.Join(root, "new", "4.pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(outside, "named") // by the user, so it is followed
	if err := os.Symlink(root, named); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{root, named} {
		folders, passed, err := maildir.Folders(t.Context(), root)
		if err != nil || len(folders) != 2 || folders[0].Name != "INBOX" {
			t.Fatalf("%v, %v", folders, err)
		}
		messages, more, err := folders[0].Messages(t.Context())
		if err != nil || len(messages) != 1 || messages[0].Key != "1.a" || len(messages[0].Flags) != 0 {
			t.Errorf("%v, %v", messages, err)
		}
		var got []string
		for _, p := range append(passed, more...) {
			rel, err := filepath.Rel(root, p.Path)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rel+": "+p.Why)
		}
		want := []string{
			".Linked/cur: it is a symbolic link", ".Other: it is a symbolic link", "cur/2.link:2,S: it is a symbolic link",
			"cur/3.dead: it is a symbolic link", "new/4.pipe: it is not a regular file",
		}
		if !slices.Equal(got, want) {
			t.Errorf("passed over: %q", got)
		}
		for _, name := range []string{"cur/2.link:2,S", "new/4.pipe"} {
			if _, _, err := (maildir.Message{Path: filepath.Join(root, name)}).Open(); !errors.Is(err, maildir.ErrNotRegular) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := (maildir.Folder{Dir: root}).Messages(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("reading outlasts its context: %v", err)
	}
}

// TestEmptyLevels: names that no mailbox can have.
func TestEmptyLevels(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{".a..b/new/1.x": "", "..c/new/1.y": "", ".d./new/1.z": ""})
	folders, _, err := maildir.Folders(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range folders {
		names = append(names, f.Name)
	}
	if want := []string{"INBOX", "Plain/Inner", "a/b", "c", "d"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

// FuzzNames: whatever files and folders are called, reading ends, a folder's name has no empty level, and flags are flags.
func FuzzNames(f *testing.F) {
	for _, s := range [][2]string{{".Sent.2020", "1700000001.a.host:2,FSa"}, {".Entw&APw-rfe", "1;2,DPb"}, {"a", "x!2,"}, {".a..b", ":2,:2,"}, {".&AC8-.&", "\xff"}, {"...", "-1."}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, folder, file string) {
		if !filepath.IsLocal(folder) || strings.Contains(folder, "/") || !filepath.IsLocal(file) || strings.Contains(file, "/") || strings.HasPrefix(file, ".") {
			t.Skip()
		}
		root := t.TempDir()
		dir := filepath.Join(root, folder)
		for _, sub := range []string{"cur", "new"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				t.Skip(err) // no name for this file system
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cur", file), []byte("x"), 0o600); err != nil {
			t.Skip(err)
		}
		folders, passed, err := maildir.Folders(t.Context(), root)
		if len(folders) == 0 {
			if err == nil {
				t.Fatalf("%q is no folder, and nothing says so", folder)
			}
			return
		}
		if err != nil || len(passed) > 0 {
			t.Fatal(passed, err)
		}
		for _, found := range folders {
			if slices.Contains(strings.Split(found.Name, "/"), "") {
				t.Errorf("%q became %q", folder, found.Name)
			}
			messages, _, err := found.Messages(t.Context())
			if err != nil || len(messages) != 1 || !strings.HasPrefix(file, messages[0].Key) {
				t.Fatalf("%q: %v, %v", file, messages, err)
			}
			for _, flag := range messages[0].Flags {
				if !strings.HasPrefix(flag, `\`) && !strings.HasPrefix(flag, "$") {
					t.Errorf("%q has the flag %q", file, flag)
				}
			}
		}
	})
}
