package maildir_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	folders, err := maildir.Folders(root)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range folders {
		messages, err := f.Messages()
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
	if _, err := maildir.Folders(t.TempDir()); err == nil {
		t.Error("an empty directory is accepted")
	}
	if _, err := maildir.Folders("/does/not/exist"); err == nil {
		t.Error("a missing directory is accepted")
	}
}
