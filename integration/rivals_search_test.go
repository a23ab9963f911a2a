package integration

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/text"
)

// Each command of SEARCH, SORT and THREAD is given to Streampost and to another server with the same messages. The answers are the same, but for
// the messages of docs/differences.md, each of which is there for a reason.

func TestFindsWhatDovecotFinds(t *testing.T) {
	server := demoServer(t)
	r := newRivalry(t, dial(t, "Streampost", server.addr(1143), "alice@example.org", password), dovecot(t))
	t.Run("SORT", r.sort)
	t.Run("THREAD", r.thread)
	t.Run("SEARCH", r.search)
	t.Run("FETCH", r.fetch)
}

func TestFindsWhatCyrusFinds(t *testing.T) {
	if own, _ := filepath.Glob("testdata/*.eml"); len(corpus(t)) == len(own) {
		t.Skip("what docs/differences.md says of Cyrus is about a corpus that is not here (STREAMPOST_CORPUS): this test did not run")
	}
	server := demoServer(t)
	r := newRivalry(t, dial(t, "Streampost", server.addr(1143), "alice@example.org", password), cyrusSession(t))
	t.Run("SORT", r.sort)
	t.Run("THREAD", r.thread)
	t.Run("SEARCH", r.search)
	t.Run("FETCH", r.fetch)
}

// rivalry is two servers with the same messages.
type rivalry struct {
	us, them  *session
	messages  []*known // the one with UID 1 is the first
	explained map[string][]string
}

// known is what the tests know of a message.
type known struct {
	file    string
	root    message.Part
	doc     text.Document
	dated   bool
	unicode bool // all its text is in US-ASCII or UTF-8
	tab     bool // its subject has a tab, as where it goes on in another line
	plain   bool // it is text alone: no HTML, no messages in it, nothing that is meant to have parts and has none
}

var tabbed = regexp.MustCompile(`(?i)(?:^|\n)subject:[^\n]*(?:\n [^\n]*)*(?:\t|\n\t)`)

func newRivalry(t *testing.T, us, them *session) *rivalry {
	r := &rivalry{us: us, them: them, explained: explained(t, them.name)}
	names, texts := library(t, us, them)
	for i, raw := range texts {
		s := message.NewScanner()
		_, _ = s.Write(raw)
		summary := s.Finish()
		doc, err := text.Read(&summary, func(off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(raw[off : off+n])), nil
		}, text.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		k := &known{file: names[i], root: summary.Root, doc: doc, dated: summary.SentAt != 0, plain: true, unicode: true, tab: tabbed.Match(raw)}
		summary.Root.All(func(p *message.Part, _ int) bool {
			if charset := strings.ToLower(p.Param("charset")); p.Type == "text" && charset != "utf-8" && charset != "us-ascii" && charset != "" {
				k.unicode = false
			}
			k.plain = k.plain && (p.Type == "multipart" && len(p.Parts) > 0 || p.Type == "text" && p.Subtype == "plain")
			return true
		})
		r.messages = append(r.messages, k)
	}
	return r
}

var explainedRow = regexp.MustCompile("(?m)^\\| ([A-Za-z, ]+) \\| ([A-Z, ]+) \\| `([^`]+)` \\| .+ \\|$")

// explained reads the table of docs/differences.md: the messages about which a server differs, by what the difference is seen in.
func explained(t *testing.T, server string) map[string][]string {
	page, err := os.ReadFile("../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, row := range explainedRow.FindAllStringSubmatch(string(page), -1) {
		if !slices.Contains(strings.Split(row[1], ", "), server) {
			continue
		}
		for _, what := range strings.Split(row[2], ", ") {
			all[what] = append(all[what], row[3])
		}
	}
	return all
}

// among gives the search key for the messages that are not explained to differ in something, and that pass a test.
func (r *rivalry) among(pass func(*known) bool, what ...string) string {
	var uids []string
	for i, m := range r.messages {
		is := slices.ContainsFunc(what, func(w string) bool { return slices.Contains(r.explained[w], m.file) })
		if tab := slices.Contains(what, "SUBJECT") && m.tab && r.them.name == "Cyrus"; !is && !tab && (pass == nil || pass(m)) {
			uids = append(uids, fmt.Sprint(i+1))
		}
	}
	return "UID " + strings.Join(uids, ",")
}

func (r *rivalry) name(uid string) string {
	var n int
	if _, err := fmt.Sscan(uid, &n); err != nil || n < 1 || n > len(r.messages) {
		return uid
	}
	return r.messages[n-1].file
}

func (r *rivalry) sort(t *testing.T) {
	keys := map[string][]string{"ARRIVAL": nil, "CC": {"CC"}, "DATE": {"DATE"}, "FROM": {"FROM"}, "SIZE": nil, "SUBJECT": {"SUBJECT"}, "TO": {"TO"},
		"DISPLAYFROM": {"DISPLAYFROM"}, "DISPLAYTO": {"DISPLAYTO"}, "REVERSE SUBJECT DATE": {"SUBJECT", "DATE"}, "TO REVERSE FROM": {"TO", "FROM"}}
	for key, what := range keys {
		among := r.among(nil, what...)
		ours, theirs := strings.Fields(r.us.answer("SORT", "UID SORT (%s) UTF-8 %s", key, among)), strings.Fields(r.them.answer("SORT", "UID SORT (%s) UTF-8 %s", key, among))
		if len(ours) != len(theirs) {
			t.Errorf("%s: %s gives %.200q, Streampost %.200q", key, r.them.name, theirs, ours)
			continue
		}
		for _, uid := range displaced(ours, theirs) {
			t.Errorf("%s: %s is number %d, and %d with %s", key, r.name(uid), slices.Index(ours, uid), slices.Index(theirs, uid), r.them.name)
		}
		for _, w := range what { // what is explained is there
			if ours, theirs := r.us.answer("SORT", "UID SORT (%s) UTF-8 ALL", key), r.them.answer("SORT", "UID SORT (%s) UTF-8 ALL", key); ours == theirs && r.has(r.explained[w]) {
				t.Errorf("%s: docs/differences.md explains differences that there are not", w)
			}
		}
	}
}

// has tells whether some of the files are among the messages.
func (r *rivalry) has(files []string) bool {
	return slices.ContainsFunc(r.messages, func(m *known) bool { return slices.Contains(files, m.file) })
}

func (r *rivalry) thread(t *testing.T) {
	for _, algorithm := range []string{"ORDEREDSUBJECT", "REFERENCES", "REFS"} {
		among := r.among(nil, "DATE", "SUBJECT", "THREAD", algorithm)
		ours, theirs := r.us.answer("THREAD", "UID THREAD %s UTF-8 %s", algorithm, among), r.them.answer("THREAD", "UID THREAD %s UTF-8 %s", algorithm, among)
		if ours != theirs {
			a, b := strings.Split(strings.ReplaceAll(ours, ")(", ")\n("), "\n"), strings.Split(strings.ReplaceAll(theirs, ")(", ")\n("), "\n")
			if algorithm == "REFS" { // whose ties are open
				slices.Sort(a)
				slices.Sort(b)
			}
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Errorf("%s: number %d is %s, and %s with %s (%s)", algorithm, i, a[i], b[i], r.them.name, r.name(strings.Trim(strings.Fields(a[i])[0], "()")))
					break
				}
			}
		}
	}
}

func (r *rivalry) search(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	compare := func(among, key string) {
		command := "UID SEARCH CHARSET UTF-8 " + among + " " + key
		ours, theirs := strings.Fields(r.us.answer("SEARCH", "%s", command)), strings.Fields(r.them.answer("SEARCH", "%s", command))
		for _, uid := range ours {
			if !slices.Contains(theirs, uid) {
				t.Errorf("%q: %s does not find %s", key, r.them.name, r.name(uid))
			}
		}
		for _, uid := range theirs {
			if !slices.Contains(ours, uid) {
				t.Errorf("%q: only %s finds %s", key, r.them.name, r.name(uid))
			}
		}
	}
	searched := func(m *known) bool { return m.plain && (r.them.name != "Cyrus" || m.unicode && m.root.Type == "text") } // see the rules of docs/differences.md
	all, plain := map[string]string{}, r.among(searched, "TEXT")
	for _, key := range []string{"SUBJECT", "FROM", "TO", "CC", "HEADER"} {
		all[key] = r.among(nil, key)
	}
	for _, m := range r.messages {
		if random.IntN(len(r.messages)/150+1) > 0 {
			continue
		}
		for _, k := range []struct{ key, in string }{
			{"SUBJECT", m.doc.Subject}, {"FROM", strings.Join(m.doc.From, " ")}, {"TO", strings.Join(m.doc.To, " ")}, {"CC", strings.Join(m.doc.Cc, " ")},
		} {
			if part, ok := partOf(random, k.in); ok {
				compare(all[k.key], k.key+" "+part)
			}
		}
		if n := len(m.doc.Fields); n > 0 {
			f := m.doc.Fields[random.IntN(n)]
			name := fmt.Sprintf("{%d+}\r\n%s", len(f.Name), f.Name)
			if part, ok := partOf(random, f.Value); ok {
				compare(all["HEADER"], "HEADER "+name+" "+part)
			}
			compare(all["HEADER"], "HEADER "+name+` ""`)
		}
		if part, ok := partOf(random, m.doc.Body); ok && searched(m) && random.IntN(3) == 0 {
			compare(plain, "BODY "+part)
			compare(plain, "TEXT "+part)
		}
	}
	dated := r.among(func(m *known) bool { return m.dated }, "DATE")
	for _, date := range []string{"1-Jan-2003", "2-Feb-2010", "25-Jun-2010", "3-Jan-2020"} {
		for _, key := range []string{"SENTBEFORE", "SENTON", "SENTSINCE"} {
			compare(dated, key+" "+date)
		}
		for _, key := range []string{"BEFORE", "ON", "SINCE"} {
			compare("ALL", key+" "+date)
		}
	}
	for _, key := range []string{"LARGER 1000", "SMALLER 1000", "NOT LARGER 5000", "OR SMALLER 500 LARGER 20000", "1:10,*", "UID 5:*", "NOT 2:4", "HEADER X-Nothing \"\"", "NOT (OR SEEN 3)",
		"KEYWORD $None", "UNKEYWORD $None", "NEW", "OLD", "RECENT", "UNDELETED", "YOUNGER 86400", "OLDER 86400"} {
		compare("ALL", key)
	}
}

// partOf gives some letters and digits that stand side by side, as a literal.
func partOf(random *rand.Rand, of string) (string, bool) {
	words := regexp.MustCompile(`[\pL\pN]{2,}`).FindAllString(of, -1)
	if len(words) == 0 {
		return "", false
	}
	letters := []rune(words[random.IntN(len(words))])
	from := random.IntN(len(letters) - 1)
	part := string(letters[from : from+2+random.IntN(len(letters)-from-1)])
	return fmt.Sprintf("{%d+}\r\n%s", len(part), part), true
}

// displaced gives the elements of two orders of the same things that stand elsewhere: those outside a longest common subsequence.
func displaced(a, b []string) (moved []string) {
	place := map[string]int{}
	for i, x := range b {
		place[x] = i
	}
	var tails []int // the indexes in a of the least last elements of sequences of each length
	before := make([]int, len(a))
	for i, x := range a {
		at, _ := slices.BinarySearchFunc(tails, place[x], func(j, p int) int { return place[a[j]] - p })
		if before[i] = -1; at > 0 {
			before[i] = tails[at-1]
		}
		if at == len(tails) {
			tails = append(tails, i)
		}
		tails[at] = i
	}
	stays := map[string]bool{}
	if len(tails) > 0 {
		for i := tails[len(tails)-1]; i >= 0; i = before[i] {
			stays[a[i]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(a), func(x string) bool { return stays[x] })
}

// library appends the same messages to a new mailbox of two servers and selects it: those that are made for it, and those of the corpus. What the
// other server refuses, Streampost does not get either.
func library(t *testing.T, us, them *session) (names []string, texts [][]byte) {
	t.Helper()
	for _, s := range []*session{us, them} {
		s.ask("DELETE Library") // of the run before
		if _, tagged := s.ask("CREATE Library"); !strings.HasPrefix(tagged, "OK") {
			t.Fatalf("%s: %s", s.name, tagged)
		}
	}
	put := func(name string, raw []byte) {
		t.Helper()
		for _, s := range []*session{them, us} {
			_, tagged := s.ask("APPEND Library \"%02d-Jan-2020 10:%02d:00 +0000\" {%d+}\r\n%s", len(texts)%28+1, len(texts)%60, len(raw), raw)
			if !strings.HasPrefix(tagged, "OK") {
				if s == us {
					t.Fatalf("Streampost does not take %s: %s", name, tagged)
				}
				return
			}
		}
		names, texts = append(names, name), append(texts, raw)
	}
	for i, lines := range made {
		put(fmt.Sprint("made ", i+1), []byte(strings.Join(lines, "\r\n")+"\r\n"))
	}
	for _, file := range corpus(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if raw = crlf(raw); len(raw) <= 1<<20 && bytes.IndexByte(raw, 0) < 0 {
			put(filepath.Base(file), raw)
		}
	}
	for _, s := range []*session{us, them} {
		if _, tagged := s.ask("SELECT Library"); !strings.HasPrefix(tagged, "OK") {
			t.Fatalf("%s: %s", s.name, tagged)
		}
	}
	t.Logf("%d messages", len(texts))
	return names, texts
}

// made are messages that ask for what real ones seldom do.
var made = [][]string{
	{"Subject: lunch", "From: ann@example.org", "Message-ID: <1@made>", "Date: Fri, 3 Jan 2020 10:00:00 +0000", "", "the first"},
	{"Subject: Re: [list] lunch (fwd)", "From: Bob <bob@example.org>", "Message-ID: <2@made>", "References: <1@made>", "Date: Fri, 3 Jan 2020 12:00:00 +0200", "", "an answer"},
	{"Subject: [Fwd: Re: LUNCH]", "From: Carol <carol@example.org>", "Message-ID: <3@made>", "Date: Fri, 3 Jan 2020 09:00:00 +0000", "", "no references"},
	{"Subject: re [2] : lunch", "From: \"Dora\" <dora@example.org>", "Message-ID: <4@made>", "In-Reply-To: <2@made> from yesterday", "Date: 4 Jan 20 10:00 GMT", "", "by In-Reply-To"},
	{"Subject: =?utf-8?B?R3LDvMOfZQ==?=", "From: =?iso-8859-1?Q?J=FCrgen?= <j@example.org>", "Message-ID: <5@made>", "", "greetings"},
	{"Subject: =?utf-8?q?Re=3A_Gr=C3=BC?= =?utf-8?q?=C3=9Fe?=", "From: j@example.org", "Message-ID: <6@made>", "", "decoded, it is an answer"},
	{"From: nobody@example.org", "Message-ID: <7@made>", "", "no subject"},
	{"Subject:", "From: nobody@example.org", "Message-ID: <8@made>", "", "an empty one"},
	{"Subject: a loop", "Message-ID: <9@made>", "References: <10@made>", "Date: Sat, 4 Jan 2020 10:00:00 +0000", "", "one"},
	{"Subject: another loop", "Message-ID: <10@made>", "References: <9@made>", "Date: Sat, 4 Jan 2020 11:00:00 +0000", "", "two"},
	{"Subject: twice", "Message-ID: <11@made>", "Date: Sat, 4 Jan 2020 10:00:00 +0000", "", "one"},
	{"Subject: the same id", "Message-ID: <11@made>", "Date: Sat, 4 Jan 2020 11:00:00 +0000", "", "two"},
	{"Subject: to the missing", "Message-ID: <12@made>", "References: <missing@made>", "Date: Sat, 4 Jan 2020 10:00:00 +0000", "", "one"},
	{"Subject: to the same", "Message-ID: <13@made>", "References: <missing@made>", "Date: Sat, 4 Jan 2020 09:00:00 +0000", "", "two"},
	{"Subject: quoted", "Message-ID: <\"14\"@made>", "Date: Sat, 4 Jan 2020 09:00:00 +0000", "", "its id is quoted"},
	{"Subject: to the quoted", "Message-ID: <15@made>", "References: <14@made>", "Date: Sat, 4 Jan 2020 10:00:00 +0000", "", "RFC 5256 section 3"},
	{"Subject: \t many   spaces", "To: A <a@example.org>, B <b@example.org>", "Cc: <c@example.org>", "Bcc: d@example.org", "", "here"},
	{"Subject: many spaces", "To: a@example.net", "Date: Wed, 1 Jan 2020 00:30:00 +0100", "", "there"},
	{"Subject: koi", "Content-Type: text/plain; charset=koi8-r", "Content-Transfer-Encoding: base64", "", "8NLJ18XU"},
	{"Subject: quoted-printable", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "", "na=C3=AFve words that go =", "on, T=C3=B6ne"},
	{"Subject: =?iso-2022-jp?B?GyRCRWw1fkVUGyhC?=", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", "\u6771\u4eac\u90fd\u306b\u4f4f\u3080"},
	{"X-Empty:", "Subject: [a] [b] re [c] : blobs", "Message-ID: <16@made>", "", "here"},
	{"Subject: [a][b]blobs", "Message-ID: <17@made>", "", "and there"},
	{"Subject: [only]", "Message-ID: <18@made>", "", "a blob"},
	{"Subject: Fwd: fw: FWD: [only]", "Message-ID: <19@made>", "", "a blob"},
}
