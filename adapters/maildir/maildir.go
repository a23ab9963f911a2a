// Package maildir reads maildirs and their folders, so that they can be imported.
//
// A maildir holds one file for each message, in new/ or cur/; what a client knows of it is in the file's name behind ":2,". Folders are
// either directories whose names begin with a dot and have dots between levels (Maildir++), or plain directories inside each other. Maildir++
// names are in modified UTF-7 (RFC 3501 section 5.1.3). A dovecot-keywords file gives the letters a to z their names.
//
// Only regular files and true directories are read. Behind a symbolic link may lie what is not the owner's, behind a named pipe nothing for ever; both
// are passed over, and named. Empty levels of a folder's name count for nothing, for a mailbox name has none: .a..b is a/b.
package maildir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain/delivery"
)

// Folder is one maildir.
type Folder struct {
	Name string // full mailbox name with "/" between levels; INBOX for the top
	Dir  string
}

// Message is one file of a Folder.
type Message struct {
	Path  string
	Key   string // the name without flags, which stays when flags change
	Date  time.Time
	Flags []string
}

// PassedOver is something that lies where mail is expected and is not read.
type PassedOver struct{ Path, Why string }

// Folders finds the maildir at root and all folders below it, in order of name, INBOX first.
func Folders(ctx context.Context, root string) (found []Folder, passed []PassedOver, err error) {
	root += string(filepath.Separator) // The root may be a symbolic link: the user has named it.
	if isMaildir(root) {
		found = append(found, Folder{"INBOX", filepath.Clean(root)})
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err := cmp.Or(err, ctx.Err()); err != nil || path == root {
			return err
		}
		if slices.Contains([]string{"cur", "new", "tmp"}, d.Name()) {
			if d.Type()&fs.ModeSymlink != 0 {
				passed = append(passed, PassedOver{path, symlink})
			}
			return skip(d)
		}
		if d.Type()&fs.ModeSymlink != 0 && isDir(os.Stat(path)) {
			passed = append(passed, PassedOver{path, symlink})
		}
		if !d.IsDir() || !isMaildir(path) {
			return nil // a level of the plain layout that holds folders only
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		found = append(found, Folder{mailboxName(rel), path})
		return nil
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s is not a maildir: it has no directories cur and new", filepath.Clean(root))
	}
	slices.SortStableFunc(found, func(a, b Folder) int {
		if a.Name == "INBOX" || b.Name == "INBOX" {
			return cmp.Compare(b2i(a.Name != "INBOX"), b2i(b.Name != "INBOX"))
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return found, passed, err
}

const symlink = "it is a symbolic link"

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func isDir(info fs.FileInfo, err error) bool { return err == nil && info.IsDir() }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func isMaildir(dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if !isDir(os.Lstat(filepath.Join(dir, sub))) {
			return false
		}
	}
	return true
}

// mailboxName turns ".Work.2020" and "Work/2020" into "Work/2020".
func mailboxName(rel string) string {
	var levels []string
	for level := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		if dotted, ok := strings.CutPrefix(level, "."); ok {
			levels = append(levels, strings.Split(dotted, ".")...)
		} else {
			levels = append(levels, level)
		}
	}
	for i := range levels {
		if plain, ok := decodeUTF7(levels[i]); ok {
			levels[i] = strings.ReplaceAll(plain, "/", "_")
		}
	}
	return cmp.Or(strings.Join(slices.DeleteFunc(levels, func(l string) bool { return l == "" }), "/"), "INBOX")
}

// Messages lists the files of a folder in the order in which they were delivered.
func (f Folder) Messages(ctx context.Context) (all []Message, passed []PassedOver, err error) {
	keywords, err := f.keywords()
	if err != nil {
		return nil, nil, err
	}
	for _, sub := range []string{"cur", "new"} {
		dir := filepath.Join(f.Dir, sub)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			if !e.Type().IsRegular() {
				passed = append(passed, PassedOver{filepath.Join(dir, e.Name()), what(e.Type())})
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // a mail program moved it just now
			}
			if err != nil {
				return nil, nil, err
			}
			key, letters := cutFlags(e.Name())
			m := Message{Path: filepath.Join(dir, e.Name()), Key: key, Date: info.ModTime()}
			if sub == "cur" {
				m.Flags = flags(letters, keywords)
			}
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Message) int {
		return cmp.Or(cmp.Compare(delivered(a), delivered(b)), cmp.Compare(a.Key, b.Key))
	})
	return all, passed, nil
}

// what says why a file is none.
func what(mode fs.FileMode) string {
	if mode&fs.ModeSymlink != 0 {
		return symlink
	}
	return "it is not a regular file"
}

// ErrNotRegular is what OpenFile gives for what is not a file of its own.
var ErrNotRegular = errors.New("it is not a regular file")

// OpenFile opens a regular file, and waits for nobody at anything else. A file that is replaced by something else meanwhile counts as that.
func OpenFile(path string) (*os.File, error) {
	seen, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if got, err := file.Stat(); err != nil || !os.SameFile(seen, got) {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}, err, file.Close())
	}
	return file, nil
}

// delivered is the Unix time with which a file's name begins.
func delivered(m Message) int64 {
	digits, _, _ := strings.Cut(m.Key, ".")
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return n
	}
	return m.Date.Unix()
}

// cutFlags parts a name at ":2,"; copies made on other systems have ";2," or "!2,".
func cutFlags(name string) (key, letters string) {
	for _, mark := range []string{":2,", ";2,", "!2,"} {
		if key, letters, ok := strings.Cut(name, mark); ok {
			letters, _, _ = strings.Cut(letters, ",")
			return key, letters
		}
	}
	return name, ""
}

var letterFlags = map[rune]string{'S': `\Seen`, 'R': `\Answered`, 'F': `\Flagged`, 'D': `\Draft`, 'T': `\Deleted`, 'P': "$Forwarded"}

func flags(letters string, keywords map[rune]string) (list []string) {
	for _, letter := range letters {
		if flag := cmp.Or(letterFlags[letter], keywords[letter]); flag != "" {
			list = append(list, flag)
		}
	}
	return list
}

// keywords reads dovecot-keywords: lines of a number, which stands for the letter a, b and so on, and a name.
func (f Folder) keywords() (map[rune]string, error) {
	file, err := OpenFile(filepath.Join(f.Dir, "dovecot-keywords"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotRegular) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 64<<10)) // 26 names
	names := map[rune]string{}
	for line := range strings.Lines(string(text)) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < 26 {
			names['a'+rune(n)] = name
		}
	}
	return names, err
}

// Open reads a message with CRLF line ends. size is what it gives in all.
func (m Message) Open() (r io.ReadCloser, size int64, err error) {
	file, err := OpenFile(m.Path)
	if err != nil {
		return nil, 0, err
	}
	size, err = io.Copy(io.Discard, delivery.CRLF(file))
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close() // it was only read
		return nil, 0, err
	}
	return struct {
		io.Reader
		io.Closer
	}{delivery.CRLF(file), file}, size, nil
}
