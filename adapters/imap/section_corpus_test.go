package imap

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/textproto"
	"github.com/streampost/streampost/domain/message"
)

// corpus gives the names of real messages.
func corpus(t *testing.T) []string {
	dir := os.Getenv("STREAMPOST_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	if len(files) == 0 {
		t.Skip("no corpus: set STREAMPOST_CORPUS to a directory of .eml files")
	}
	return files
}

// withCRLF gives a message as it travels.
func withCRLF(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// isHeader reports whether a header consists of fields and ends in an empty line. Another one go-imap rewrites or refuses, so that it is no
// oracle for what lies behind.
func isHeader(header []byte) bool {
	body, ended := bytes.CutSuffix(header, []byte("\r\n\r\n"))
	if !ended {
		return string(header) == "\r\n"
	}
	for i, line := range bytes.Split(body, []byte("\r\n")) {
		name, _, colon := bytes.Cut(line, []byte(":"))
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if folded && i == 0 || !folded && (!colon || len(name) == 0 || bytes.ContainsAny(name, " \t")) {
			return false
		}
	}
	return true
}

// notClosed are the messages whose parts end differently, and why.
var notClosed = map[string]string{
	"go-enmime--testdata_mail_epilogue-sample.eml": `"--boundary-->" is no delimiter (RFC 2046 section 5.1.1: only white space may follow)`,
}

// Every section of every real message is what go-imap finds by parsing the message.
func TestSectionsAgreeWithGoIMAP(t *testing.T) {
	compared, silent := 0, 0
	for _, file := range corpus(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw = withCRLF(raw)
		scanner := message.NewScanner()
		_, _ = scanner.Write(raw)
		root := scanner.Finish().Root
		clean := true
		root.All(func(p *message.Part, _ int) bool {
			clean = clean && isHeader(raw[p.Start:p.Body])
			return clean
		})
		if !clean || imapserver.ExtractBodySection(bytes.NewReader(raw), &goimap.FetchItemBodySection{}) == nil {
			continue
		}
		check := func(path []uint32, kind sectionKind, specifier goimap.PartSpecifier) {
			s := section{path: path, kind: kind}
			at, found := s.locate(&root)
			if !found {
				t.Errorf("%s: no section %v %s", filepath.Base(file), path, specifier)
				return
			}
			item := goimap.FetchItemBodySection{Specifier: specifier}
			for _, n := range path {
				item.Part = append(item.Part, int(n))
			}
			want := imapserver.ExtractBodySection(bytes.NewReader(raw), &item)
			if len(want) == 0 && at.from < at.to { // go-imap gives nothing of a multipart that does not end.
				silent++
				return
			}
			compared++
			if !bytes.Equal(raw[at.from:at.to], want) && notClosed[filepath.Base(file)] == "" {
				t.Errorf("%s: section %v %s has %d octets, want %d", filepath.Base(file), path, specifier, at.to-at.from, len(want))
			}
		}
		message := func(path []uint32) {
			check(path, headerOf, goimap.PartSpecifierHeader)
			check(path, textOf, goimap.PartSpecifierText)
		}
		var part func(path []uint32)
		part = func(path []uint32) {
			check(path, contentOf, goimap.PartSpecifierNone)
			check(path, mimeOf, goimap.PartSpecifierMIME)
			p := root.Section(path...)
			if p.Embedded != nil {
				message(path)
			}
			for n := uint32(1); root.Section(append(slices.Clone(path), n)...) != nil; n++ {
				part(append(slices.Clone(path), n))
			}
		}
		check(nil, contentOf, goimap.PartSpecifierNone)
		message(nil)
		for n := uint32(1); root.Section(n) != nil; n++ {
			part([]uint32{n})
		}
	}
	t.Logf("%d sections compared; of %d go-imap gives nothing", compared, silent)
	if silent > compared/100 {
		t.Errorf("go-imap gives nothing of %d sections, only %d could be compared", silent, compared)
	}
}

// A client parses the ENVELOPE and BODYSTRUCTURE of every real message, gets its octets back unchanged, and sees what go-imap extracts.
func TestEnvelopesAgreeWithGoIMAP(t *testing.T) {
	s := start(t)
	var names []string
	var raws [][]byte
	for _, file := range corpus(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.deliver("INBOX", string(raw))
		names, raws = append(names, filepath.Base(file)), append(raws, raw)
	}
	c, err := imapclient.DialInsecure(s.plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(alice, password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	messages, err := c.Fetch(goimap.SeqSet{{Start: 1, Stop: 0}}, &goimap.FetchOptions{
		Envelope: true, RFC822Size: true, InternalDate: true, Flags: true, UID: true,
		BodyStructure: &goimap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*goimap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	if err != nil || len(messages) != len(raws) {
		t.Fatalf("%d of %d messages, %v", len(messages), len(raws), err)
	}
	compared, different := 0, 0
	for i, m := range messages {
		if !bytes.Equal(m.BodySection[0].Bytes, raws[i]) || m.RFC822Size != int64(len(raws[i])) {
			t.Errorf("%s: BODY[] is not what was delivered", names[i])
		}
		header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raws[i])))
		if err != nil {
			continue
		}
		want := imapserver.ExtractEnvelope(header)
		compared++
		for field, pair := range map[string][2]any{
			"subject": {words(m.Envelope.Subject), words(want.Subject)},
			"id":      {m.Envelope.MessageID, want.MessageID},
			"from":    {m.Envelope.From, want.From},
			"to":      {m.Envelope.To, want.To},
			"cc":      {m.Envelope.Cc, want.Cc},
		} {
			// go-imap gives nothing for what it cannot parse and for groups; there it is no oracle.
			if v := reflect.ValueOf(pair[1]); v.Len() > 0 && fmt.Sprint(pair[0]) != fmt.Sprint(pair[1]) {
				different++
				t.Logf("%s: %s\n\t got %.150q\n\twant %.150q", names[i], field, fmt.Sprint(pair[0]), fmt.Sprint(pair[1]))
			}
		}
	}
	// Those are lists that go-imap breaks off at a syntax error, and encoded words inside quotes, which our header text has decoded by the
	// client and go-imap's has not.
	if t.Logf("%d envelopes compared, %d fields differ", compared, different); different > compared/50 {
		t.Errorf("%d of %d envelopes differ", different, compared)
	}
}

// words joins a text's words with single spaces.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
