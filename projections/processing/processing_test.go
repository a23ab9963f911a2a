package processing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/queue/queuetest"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections/outgoing"
	"github.com/streampost/streampost/projections/processing"
)

// store keeps blobs in memory.
type store struct {
	mu    sync.Mutex
	blobs []string
	full  bool
}

func (s *store) Put(_ context.Context, r io.Reader) (ref domain.BlobRef, err error) {
	b, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return ref, domain.Errorf(domain.Unavailable, "the disk is full")
	}
	s.blobs = append(s.blobs, string(b))
	ref.ID[0], ref.Size = byte(len(s.blobs)), int64(len(b))
	return ref, err
}

func (s *store) Open(_ context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return io.NopCloser(strings.NewReader(s.blobs[ref.ID[0]-1][off : off+n])), nil
}

// people are alice and bob at example.org.
type people struct{ err error }

func (people) LocalDomain(name string) bool { return name == "example.org" }

func (p people) Rewrite(_ context.Context, a delivery.Address) (*rewriting.Resolution, error) {
	if p.err != nil {
		return nil, p.err
	}
	if address := a.String(); address == "alice@example.org" || address == "bob@example.org" {
		return &rewriting.Resolution{}, nil
	}
	return nil, domain.Errorf(domain.NotFound, "nobody")
}

// hooks answer in turn.
type hooks struct {
	replies []any
	asked   []processing.Request
}

func (h *hooks) Ask(_ context.Context, _ processing.Destination, r *processing.Request) (*processing.Reply, error) {
	h.asked = append(h.asked, *r)
	reply := h.replies[min(len(h.asked), len(h.replies))-1]
	if err, is := reply.(error); is {
		return nil, err
	}
	return reply.(*processing.Reply), nil
}

// site is a pipeline on a queue in memory.
type site struct {
	t     *testing.T
	log   *queuetest.Log
	store *store
	cfg   processing.Config
	now   time.Time
	hooks *hooks
}

const (
	top     = "Return-Path: <carol@example.com>\r\n"
	message = "Received: from a\r\nSubject: hello\r\nX-Spam-Flag: NO\r\n\r\nHello.\r\n"
)

func newSite(t *testing.T, lines ...string) *site {
	t.Helper()
	s := &site{t: t, log: queuetest.New(), store: &store{}, now: time.UnixMilli(1_000_000), hooks: &hooks{}}
	program, err := pipeline.Compile(pipeline.Lines(lines), []string{"filter"}, pipeline.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	id := uint64(100)
	s.cfg = processing.Config{
		Requeue: func(_ context.Context, e *queue.Entry, to []queue.Recipient) ([]queue.Record, error) {
			return outgoing.Split(e, to, func() queue.ID { id++; return queue.ID(id) }, s.now.UnixMilli())
		},
		Queue: s.log, Blobs: s.store, Directory: people{}, Program: program, Node: "mail1", Hook: s.hooks, Clock: func() time.Time { return s.now }, Random: func() uint64 { id++; return id },
		InNetwork: func(string, []string) bool { return false },
		Bounce: func(e *queue.Entry, outcomes []queue.Outcome) (*queue.Entry, error) {
			return &queue.Entry{ID: 1, Recipients: []queue.Recipient{{Address: e.Sender}}, Domain: "example.com", Error: fmt.Sprintf("%s %s %s %s", outcomes[0].Recipient.Address, outcomes[0].Status, outcomes[0].Text, outcomes[0].Peer)}, nil
		},
	}
	return s
}

func (s *site) processor() *processing.Processor {
	s.t.Helper()
	p, err := processing.New(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// arriving is a message from carol.
func (s *site) arriving(to ...string) *queue.Entry {
	blob, err := s.store.Put(s.t.Context(), strings.NewReader(top+message))
	if err != nil {
		s.t.Fatal(err)
	}
	e := &queue.Entry{
		Transfer: "c-1", MessageID: "<1@x>", Sender: "carol@example.com", Blob: queue.Blob{BlobRef: blob}, Skip: int64(len(top)), Parking: queue.Parking{RemoteAddress: "192.0.2.1", RemoteHost: "mx.example.com"},
	}
	for _, a := range to {
		e.Recipients = append(e.Recipients, queue.Recipient{Address: a})
	}
	return e
}

func (s *site) accept(e *queue.Entry, want bool) {
	s.t.Helper()
	taken, err := s.processor().Accept(s.t.Context(), e, nil)
	if err != nil || taken != want {
		s.t.Fatalf("taken %v, %v", taken, err)
	}
}

// handle claims what is on the spool and due, and hands it to the pipeline, until nothing is.
func (s *site) handle() (handled int) {
	s.t.Helper()
	for ; handled < 100; handled++ {
		var ids []queue.ID
		s.log.View(func(st *queue.State) {
			b, _ := st.On(queue.Spool).Next(s.now.UnixMilli(), 1, func(string) bool { return false })
			for _, i := range b.Items {
				ids = append(ids, i.ID)
			}
		})
		if len(ids) == 0 {
			return handled
		}
		if err := s.log.Append(s.t.Context(), queue.Record{Claim: &queue.Claim{IDs: ids, Node: "mail1", Boot: "a", Until: 1 << 60}}); err != nil {
			s.t.Fatal(err)
		}
		entries, _ := s.log.Entries(s.t.Context(), ids)
		if err := s.processor().Handle(s.t.Context(), entries[0], processing.Holder{Node: "mail1", Boot: "a"}); err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Fatal("it has no end")
	return 0
}

// lies checks what lies where: shelf by shelf, the recipients.
func (s *site) lies(want string) {
	s.t.Helper()
	var got []string
	shelves := []queue.Shelf{queue.Outgoing, queue.Spool}
	s.log.View(func(st *queue.State) { shelves = append(shelves, st.Parked()...) })
	for _, shelf := range shelves {
		var to []string
		for _, e := range s.log.On(shelf) {
			for _, r := range e.Recipients {
				to = append(to, r.Address)
			}
		}
		if len(to) > 0 {
			slices.Sort(to)
			got = append(got, shelf.Name()+": "+strings.Join(to, " "))
		}
	}
	if text := strings.Join(got, "; "); text != want {
		s.t.Errorf("there is %s\nwant %s", text, want)
	}
}

func (s *site) parked(name string) *queue.Entry {
	s.t.Helper()
	shelf, _ := queue.Repository(name)
	all := s.log.On(shelf)
	if len(all) != 1 {
		s.t.Fatalf("%s has %d messages", name, len(all))
	}
	return all[0]
}

// TestWhatIsOnlyDelivered costs no append.
func TestWhatIsOnlyDelivered(t *testing.T) {
	s := newSite(t)
	s.accept(s.arriving("alice@example.org", "bob@example.org"), false)
	user := s.arriving("alice@example.org", "dave@example.net")
	user.Login = "alice"
	s.accept(user, false)
	if s.log.Appends != 0 {
		t.Errorf("%d appends", s.log.Appends)
	}
}

// TestOneAppendForAll that becomes of a message.
func TestOneAppendForAll(t *testing.T) {
	s := newSite(t)
	s.accept(s.arriving("alice@example.org", "nobody@example.org", "dave@example.net"), true)
	s.lies("outgoing: alice@example.org; local-address-error: nobody@example.org; relay-denied: dave@example.net")
	if s.log.Appends != 1 {
		t.Errorf("%d appends", s.log.Appends)
	}
	e := s.parked("local-address-error")
	if e.Error != "there is no such mailbox" || e.Parking.Cause != "local-address-error" || e.Parking.Processor != "local-address-error" || e.Parking.RemoteAddress != "192.0.2.1" || e.Parking.Times != 1 || e.Parking.First != 1_000_000 {
		t.Errorf("%+v", e)
	}
	s.log.Full = true
	if _, err := s.processor().Accept(t.Context(), s.arriving("nobody@example.org"), nil); !domain.Is(err, domain.Unavailable) {
		t.Error(err)
	}
}

// TestJunkStaysJunk when steps take it: its recipients find it where DMARC wants it.
func TestJunkStaysJunk(t *testing.T) {
	s := newSite(t, "root: All -> AddHeader name=X-Seen value=yes", "root: All -> LocalDelivery")
	e := s.arriving("alice@example.org")
	e.Junk = true
	s.accept(e, true)
	if all := s.log.On(queue.Outgoing); len(all) != 1 || !all[0].Junk {
		t.Errorf("%+v", all)
	}
}

func TestHeadersAreEdited(t *testing.T) {
	s := newSite(t, "root: UserIs=alice -> SetMimeHeader name=X-Spam-Flag value=YES", "root: All -> RemoteDelivery")
	s.accept(s.arriving("alice@example.org", "bob@example.org"), true)
	s.lies("outgoing: alice@example.org bob@example.org")
	for _, e := range s.log.On(queue.Outgoing) {
		text, want := s.store.blobs[e.Blob.ID[0]-1], top+message
		if e.Recipients[0].Address == "alice@example.org" {
			want = top + "X-Spam-Flag: YES\r\nReceived: from a\r\nSubject: hello\r\n\r\nHello.\r\n"
		}
		if text != want || e.Size() != int64(len(want)-len(top)) {
			t.Errorf("%s gets %q", e.Recipients[0].Address, text)
		}
	}
	s.store.full = true // then it waits
	e := s.arriving2("alice@example.org")
	s.accept(e, true)
	s.lies("outgoing: alice@example.org bob@example.org; spool: alice@example.org")
	s.handle()
	s.store.full = false
	s.now = s.now.Add(time.Hour)
	s.handle()
	s.lies("outgoing: alice@example.org alice@example.org bob@example.org")
}

// arriving2 is a message whose blob is there already.
func (s *site) arriving2(to ...string) *queue.Entry {
	e := &queue.Entry{Transfer: "c-2", Sender: "carol@example.com", Skip: int64(len(top))}
	e.Blob.ID[0], e.Blob.Size = 1, int64(len(top+message))
	for _, a := range to {
		e.Recipients = append(e.Recipients, queue.Recipient{Address: a})
	}
	return e
}

// TestFieldsInFront of a message, which came back from the queue, are seen, edited and kept; only signatures are not, since they are of the message as it was.
func TestFieldsInFront(t *testing.T) {
	s := newSite(t, `root: HasHeader=Delivered-To=team@example.org -> AddHeader name=X-Seen value=yes`, "root: HasHeader=X-Seen -> HTTP url=http://127.0.0.1:1/ body=true", "root: All -> RemoteDelivery")
	s.hooks.replies = []any{&processing.Reply{}}
	e := s.arriving("dave@example.net")
	const head = "DKIM-Signature: v=1\r\nDelivered-To: team@example.org\r\n"
	e.Head = head
	s.accept(e, true)
	s.handle()
	if len(s.hooks.asked) != 1 || string(s.hooks.asked[0].Message) != head+message || s.hooks.asked[0].Size != int64(len(head+message)) {
		t.Errorf("%+v", s.hooks.asked)
	}
	const want = "X-Seen: yes\r\nDelivered-To: team@example.org\r\n" + message
	all := s.log.On(queue.Outgoing)
	if len(all) != 1 || all[0].Head != "" || s.store.blobs[all[0].Blob.ID[0]-1] != top+want {
		t.Errorf("%q, %+v", s.store.blobs, all)
	}
}

// TestWhatSendersAskFor goes on with who takes a recipient's place; of copies that they have not asked for they hear nothing. Mappings are asked for who was not there before.
func TestWhatSendersAskFor(t *testing.T) {
	given := queue.Recipient{Address: "alice@example.org", Original: "rfc822;sales@example.org", Notify: queue.OnDelay}
	for _, c := range []struct {
		line, sender, envelope string
		want                   queue.Recipient
	}{
		{"Forward to=bob@example.net", "carol@example.com", "e-1", queue.Recipient{Address: "bob@example.net", Original: given.Original, Notify: given.Notify}},
		{"Forward to=alice@example.org", "carol@example.com", "e-1", given},
		{"Redirect to=bob@example.net sender=root@example.org", "root@example.org", "", queue.Recipient{Address: "bob@example.net"}},
		{"Resend to=alice@example.org", "carol@example.com", "", queue.Recipient{Address: "alice@example.org", Notify: queue.Never}},
		{"Resend to=bob@example.net sender=root@example.org", "root@example.org", "", queue.Recipient{Address: "bob@example.net"}},
		{"NotifyPostmaster to=root@example.org", "", "", queue.Recipient{Address: "root@example.org", Notify: queue.Never}},
	} {
		lines := []string{"root: All -> " + c.line}
		if strings.HasPrefix(c.line, "Resend") || strings.HasPrefix(c.line, "Notify") {
			lines = append(lines, "root: All -> RemoteDelivery")
		}
		s := newSite(t, lines...)
		e := s.arriving()
		e.Recipients, e.EnvelopeID, e.Final = []queue.Recipient{given}, "e-1", true
		s.accept(e, true)
		sent := s.log.On(queue.Spool)
		if len(sent) != 1 || !slices.Equal(sent[0].Recipients, []queue.Recipient{c.want}) || sent[0].Final || sent[0].Sender != c.sender || sent[0].EnvelopeID != c.envelope {
			t.Errorf("%s: %+v", c.line, sent)
		}
		for _, still := range s.log.On(queue.Outgoing) {
			if !still.Final || still.Recipients[0] != given || still.EnvelopeID != "e-1" {
				t.Errorf("%s: %+v", c.line, still)
			}
		}
	}
	// Of several whose place one takes, it has what any of them was to have.
	s := newSite(t, "root: All -> Forward to=bob@example.net")
	e := s.arriving()
	e.Recipients = []queue.Recipient{{Address: "alice@example.org", Notify: queue.Never}, {Address: "dave@example.org", Notify: queue.OnSuccess}, {Address: "erin@example.org"}}
	s.accept(e, true)
	if sent := s.log.On(queue.Spool); len(sent) != 1 || sent[0].Recipients[0] != (queue.Recipient{Address: "bob@example.net", Notify: queue.OnSuccess | queue.OnFailure | queue.OnDelay}) {
		t.Errorf("%+v", sent)
	}
}

// TestRewrittenRecipients have what the sender asked of those in whose place they come, however often that happens.
func TestRewrittenRecipients(t *testing.T) {
	s := newSite(t, "root: All -> HTTP url=http://127.0.0.1:1/", "root: All -> HTTP url=http://127.0.0.1:2/", "root: RecipientIs=erin@example.org -> Forward to=frank@example.net", "root: All -> RemoteDelivery")
	s.hooks.replies = []any{
		&processing.Reply{Rewrite: map[string][]string{"alice@example.org": {"bob@example.org", "x@example.net"}, "dave@example.org": {"erin@example.org"}}},
		&processing.Reply{Rewrite: map[string][]string{"bob@example.org": {"y@example.net"}}},
		&processing.Reply{}, // of what is sent on
	}
	e := s.arriving()
	e.Recipients = []queue.Recipient{{Address: "alice@example.org", Notify: queue.Never}, {Address: "dave@example.org", Original: "rfc822;d@example.com", Notify: queue.OnSuccess}, {Address: "z@example.net"}}
	s.accept(e, true)
	s.handle()
	var got []string
	for _, e := range s.log.On(queue.Outgoing) {
		for _, r := range e.Recipients {
			got = append(got, fmt.Sprintf("%s %s %s", r.Address, r.Original, r.Notify))
		}
	}
	slices.Sort(got)
	if want := []string{"frank@example.net rfc822;d@example.com SUCCESS", "x@example.net rfc822;alice@example.org NEVER", "y@example.net rfc822;alice@example.org NEVER", "z@example.net  "}; !slices.Equal(got, want) {
		t.Errorf("%q instead of %q", got, want)
	}
}

// TestMappingsOfNewRecipients are asked, and those of others are not again.
func TestMappingsOfNewRecipients(t *testing.T) {
	s := newSite(t, "root: All -> HTTP url=http://127.0.0.1:1/", "root: All -> ToRepository repository=lot")
	s.hooks.replies = []any{&processing.Reply{Rewrite: map[string][]string{"dave@example.org": {"bob@example.org"}}}}
	e := s.arriving("alice@example.org", "dave@example.org")
	e.Final = true
	s.accept(e, true)
	s.handle()
	var got []string
	for _, e := range s.log.On("parked/lot") {
		got = append(got, fmt.Sprint(e.Recipients[0].Address, len(e.Recipients), e.Final))
	}
	if slices.Sort(got); !slices.Equal(got, []string{"alice@example.org1 true", "bob@example.org1 false"}) {
		t.Errorf("%q", got)
	}
}

// TestHooks: the message is durable before anybody is asked.
func TestHooks(t *testing.T) {
	for _, c := range []struct {
		reply any
		want  string
	}{
		{&processing.Reply{}, "outgoing: alice@example.org nobody@example.org"},
		{&processing.Reply{Action: "drop"}, ""},
		{&processing.Reply{Action: "park", Repository: "virus", Cause: "eicar", Text: "it is bad"}, "virus: alice@example.org nobody@example.org"},
		{&processing.Reply{Action: "park", Repository: "no such name"}, "error: alice@example.org nobody@example.org"},
		{&processing.Reply{Action: "bounce", Text: "no"}, "outgoing: carol@example.com"},
		{&processing.Reply{Action: "deliver", Recipients: []string{"alice@example.org"}}, "outgoing: alice@example.org"},
		{&processing.Reply{Action: "processor", Processor: "relay-denied"}, "relay-denied: alice@example.org nobody@example.org"},
		{&processing.Reply{Rewrite: map[string][]string{"nobody@example.org": {"bob@example.org", "x@example.net"}}}, "outgoing: alice@example.org bob@example.org x@example.net"},
		{&processing.Reply{Rewrite: map[string][]string{"nobody@example.org": {"nobody"}}}, "error: alice@example.org nobody@example.org"},
		{&processing.Reply{Action: "drop", Recipients: []string{"stranger@example.org"}}, "error: alice@example.org nobody@example.org"},
		{&processing.Reply{Header: []pipeline.Edit{{Name: "Received"}}}, "error: alice@example.org nobody@example.org"},
		{&processing.Reply{Action: "dance"}, "error: alice@example.org nobody@example.org"},
		{errors.New("nobody answers"), "error: alice@example.org nobody@example.org"},
	} {
		s := newSite(t, "root: All -> AddHeader name=X-Seen value=yes", "root: All -> HTTP url=http://127.0.0.1:1/ body=true", "root: All -> RemoteDelivery")
		s.hooks.replies = []any{c.reply}
		s.accept(s.arriving("alice@example.org", "nobody@example.org"), true)
		s.lies("spool: alice@example.org nobody@example.org")
		if len(s.hooks.asked) != 0 {
			t.Error("it was asked before the message was durable")
		}
		s.handle()
		s.lies(c.want)
		q := s.hooks.asked[0]
		if q.Header != "X-Seen: yes\r\nReceived: from a\r\nSubject: hello\r\nX-Spam-Flag: NO\r\n" || string(q.Message) != message || q.RemoteHost != "mx.example.com" || q.ID != "c-1" || len(q.Recipients) != 2 {
			t.Errorf("%+v", q)
		}
	}
}

// TestWhatCannotBeDoneNow is tried again where it was, and parked in the end.
func TestWhatCannotBeDoneNow(t *testing.T) {
	s := newSite(t, "root: UserIs=alice -> ToProcessor processor=local-delivery", "root: All -> HTTP url=http://127.0.0.1:1/ onError=propagate", "root: All -> Null")
	s.hooks.replies = []any{errors.New("away"), errors.New("still away"), &processing.Reply{Action: "deliver"}}
	s.accept(s.arriving("alice@example.org", "bob@example.org"), true)
	s.handle()
	s.lies("outgoing: alice@example.org; spool: bob@example.org") // alice has hers once
	waiting := s.log.On(queue.Spool)[0]
	if waiting.Error != "away" || waiting.Parking.Step != 1 || waiting.Parking.Processor != "root" {
		t.Errorf("%+v", waiting)
	}
	if s.handle() != 0 {
		t.Error("it was not left alone")
	}
	s.now = s.now.Add(time.Hour)
	s.handle()
	if e := s.log.On(queue.Spool)[0]; e.ID != waiting.ID || e.Error != "still away" {
		t.Errorf("%+v", e)
	}
	s.now = s.now.Add(2 * time.Hour)
	s.handle()
	s.lies("outgoing: alice@example.org bob@example.org")

	s = newSite(t, "root: All -> HTTP url=http://127.0.0.1:1/ onError=propagate", "root: All -> Null")
	s.hooks.replies = []any{errors.New("away")}
	s.cfg.Limits.Attempts = 3
	s.accept(s.arriving("alice@example.org"), true)
	for range 3 {
		s.handle()
		s.now = s.now.Add(2 * time.Hour)
	}
	if e := s.parked("error"); e.Parking.Cause != "too-often" || e.Error != "away" || e.Parking.Processor != "root" {
		t.Errorf("%+v", e)
	}
}

func TestADirectoryThatIsAway(t *testing.T) {
	s := newSite(t)
	s.cfg.Directory = people{domain.Errorf(domain.Unavailable, "the directory is away")}
	s.accept(s.arriving("alice@example.org"), true)
	s.handle()
	s.lies("spool: alice@example.org")
	s.cfg.Directory = people{}
	s.now = s.now.Add(time.Hour)
	s.handle()
	s.lies("outgoing: alice@example.org")
}

func TestSendingOn(t *testing.T) {
	s := newSite(t, "root: SenderIsNull -> ToProcessor processor=transport", "root: UserIs=alice -> Redirect to=dave@example.net", "root: All -> ToProcessor processor=transport")
	s.accept(s.arriving("alice@example.org", "bob@example.org"), true)
	s.lies("outgoing: bob@example.org; spool: dave@example.net")
	s.handle()
	s.lies("outgoing: bob@example.org dave@example.net")
	loop := newSite(t, "root: All -> Forward to=alice@example.org")
	loop.accept(loop.arriving("alice@example.org"), true)
	loop.handle()
	if e := loop.parked("error"); e.Parking.Cause != "loop" {
		t.Errorf("%+v", e)
	}
}

// TestFailedDeliveries come to the processor bounces, which tells the sender what the peer said.
func TestFailedDeliveries(t *testing.T) {
	s := newSite(t, "bounces: UserIs=keep -> ToRepository repository=failed", "bounces: All -> DSNBounce")
	for n, to := range []string{"keep@example.net", "no@example.net"} {
		e := s.arriving(to)
		o := &queue.Outcome{Recipient: e.Recipients[0], Fate: queue.Failed, Status: "5.1.1", Text: "550 who?", Peer: "mx.example.net"}
		if err := s.log.Append(t.Context(), queue.Record{Put: processing.Bounces(e, o, queue.ID(n+10), 5)}); err != nil {
			t.Fatal(err)
		}
	}
	s.handle()
	s.lies("outgoing: carol@example.com; failed: keep@example.net")
	if e := s.log.On(queue.Outgoing)[0]; e.Error != "no@example.net 5.1.1 550 who? mx.example.net" {
		t.Error(e.Error)
	}
	null := s.arriving("no@example.net")
	null.Sender = ""
	if err := s.log.Append(t.Context(), queue.Record{Put: processing.Bounces(null, &queue.Outcome{Recipient: null.Recipients[0], Text: "no"}, 20, 5)}); err != nil {
		t.Fatal(err)
	}
	s.handle()
	if e := s.parked("dead"); e.Parking.Cause != "undeliverable" || e.Error != "no" {
		t.Errorf("%+v", e)
	}
}

// TestABounceIsNotSentOnForEver: where what failed is sent on, and fails there as well, it is parked in the end.
func TestABounceIsNotSentOnForEver(t *testing.T) {
	s := newSite(t, "bounces: All -> Forward to=dead@far.example")
	e := s.arriving("x@far.example")
	for n := range queue.ID(40) {
		o := &queue.Outcome{Recipient: e.Recipients[0], Fate: queue.Failed, Status: "5.1.1", Text: "no"}
		if err := s.log.Append(t.Context(), queue.Record{Put: processing.Bounces(e, o, 5000+n, s.now.UnixMilli())}); err != nil {
			t.Fatal(err)
		}
		s.handle()
		out := s.log.On(queue.Outgoing)
		if len(out) == 0 {
			break
		}
		e = out[0]
		if err := s.log.Append(t.Context(), queue.Record{Change: &queue.Change{IDs: []queue.ID{e.ID}, Remove: true}}); err != nil {
			t.Fatal(err)
		}
	}
	if p := s.parked("error"); p.Parking.Cause != "loop" {
		t.Errorf("%+v", p)
	}
}

// filter is a custom step that takes no mail for bob, marks what has a word in it, and writes down what it sees.
type filter struct {
	seen   *[]string
	marked bool
}

func (f *filter) note(format string, args ...any) error {
	*f.seen = append(*f.seen, fmt.Sprintf(format, args...))
	return nil
}

func (f *filter) MailFrom(_ context.Context, sender string, attributes map[string]string) error {
	return f.note("MAIL %s %d", sender, len(attributes))
}

func (f *filter) RcptTo(_ context.Context, to string) (bool, error) {
	if to == "panic@example.org" {
		panic("a mistake")
	}
	return to != "bob@example.org", f.note("RCPT %s", to)
}

func (f *filter) Header(_ context.Context, name, value string) error {
	return f.note("%s: %s", name, value)
}

func (f *filter) Body(_ context.Context, piece []byte) error {
	f.marked = f.marked || strings.Contains(string(piece), "Hello")
	return f.note("%q", piece)
}

func (f *filter) EndOfMessage(context.Context) (*pipeline.Answer, error) {
	if f.marked {
		return &pipeline.Answer{Attributes: map[string]string{"marked": "yes"}}, nil
	}
	return nil, nil
}

func TestCustomSteps(t *testing.T) {
	s := newSite(t, "root: All -> Custom step=filter", "root: HasMailAttribute=marked -> ToRepository repository=marked", "root: All -> Null")
	var seen []string
	s.cfg.Custom = map[string]func() processing.Filter{"filter": func() processing.Filter { return &filter{seen: &seen} }}
	s.accept(s.arriving("alice@example.org", "bob@example.org"), true)
	s.handle()
	s.lies("marked: alice@example.org")
	if got, want := strings.Join(seen, "|"), `MAIL carol@example.com 0|RCPT alice@example.org|RCPT bob@example.org|Received: from a|Subject: hello|X-Spam-Flag: NO|"Hello.\r\n"`; got != want {
		t.Errorf("it saw %s", got)
	}
	s.accept(s.arriving("panic@example.org"), true)
	s.handle()
	if e := s.parked("error"); !strings.Contains(e.Error, "the step panics: a mistake") {
		t.Errorf("%+v", e)
	}
}

// wanderer is a filter whose answer names who it says.
type wanderer struct {
	filter
	names []string
}

func (f *wanderer) EndOfMessage(context.Context) (*pipeline.Answer, error) {
	return &pipeline.Answer{Recipients: f.names}, nil
}

// TestWhomACustomStepNames: those that it took, however it writes them; a stranger is a mistake, which drops nobody.
func TestWhomACustomStepNames(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"Alice@EXAMPLE.org", "BOB@example.org"}, "outgoing: alice@example.org"},
		{[]string{"alice@example.org", "stranger@example.org"}, "error: alice@example.org bob@example.org"},
	} {
		s := newSite(t, "root: All -> Custom step=filter", "root: All -> RemoteDelivery")
		s.cfg.Custom = map[string]func() processing.Filter{"filter": func() processing.Filter { return &wanderer{filter{seen: new([]string)}, c.names} }}
		s.accept(s.arriving("alice@example.org", "bob@example.org"), true)
		s.handle()
		s.lies(c.want)
	}
}

func TestTrials(t *testing.T) {
	s := newSite(t, "root: SubjectIs=hello -> ToRepository repository=hello", "root: All -> ToProcessor processor=transport")
	found, err := s.processor().Try(t.Context(), &processing.Trial{Sender: "<>", Recipients: []string{"alice@example.org"}, Message: "Subject: hello\n\nHello.\n"})
	if err != nil || len(found.Steps) != 1 || found.Effects[0].Repository != "hello" || s.log.Appends != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = s.processor().Try(t.Context(), &processing.Trial{Sender: "a@b", Recipients: []string{"x@example.org", "alice@example.org"}, Processor: "transport"}); err != nil || len(found.Effects) != 2 || len(found.Steps[0].Others) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	for _, bad := range []processing.Trial{{Recipients: nil}, {Recipients: []string{"nobody"}}, {Sender: "nobody", Recipients: []string{"a@b"}}, {Recipients: []string{"a@b"}, Processor: "none"}} {
		if _, err := s.processor().Try(t.Context(), &bad); !domain.Is(err, domain.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestDestinations(t *testing.T) {
	for _, bad := range []map[string]string{{"url": "ftp://x"}, {"url": "http://x", "timeout": "soon"}, {"url": "http://x", "retries": "11"}, {"url": "http://x", "body": "yes"}} {
		if _, err := processing.ParseDestination(bad); !domain.Is(err, domain.Invalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if d, err := processing.ParseDestination(map[string]string{"url": "https://x", "timeout": "3s", "retries": "0", "secret": "f"}); err != nil || d.Timeout != 3*time.Second || d.Retries != 0 || d.Secret != "f" {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestOperatorsSend messages, whose lines may end as they like.
func TestOperatorsSend(t *testing.T) {
	s := newSite(t)
	send := func(text string) error {
		_, err := s.processor().Inject(t.Context(), "admin-1", strings.NewReader(text), 1000)
		return err
	}
	if err := send("From: Alice <alice@example.org>\nTo: x@example.net, alice@example.org\nCc: X@example.net\nBcc: bob@example.org\n\nHello.\n"); err != nil {
		t.Fatal(err)
	}
	text := s.store.blobs[0]
	if !strings.Contains(text, "\r\n\r\nHello.\r\n") || strings.Contains(text, "Bcc") || !strings.Contains(text, "Message-ID: <admin-1@localhost>\r\n") || !strings.Contains(text, "\r\nDate: ") && !strings.HasPrefix(text, "Date: ") {
		t.Errorf("%q", text)
	}
	s.handle()
	s.lies("outgoing: X@example.net alice@example.org bob@example.org x@example.net")
	for text, kind := range map[string]domain.Kind{
		"To: x@example.net\n\n": domain.Invalid, "From: alice@example.org\n\n": domain.Invalid, "From: alice@example.org\nTo: " + strings.Repeat("x", 300) + "@example.net\n\n": domain.Invalid,
		"From: alice@example.org\nTo: x@example.net\n\n" + strings.Repeat("x", 1000): domain.TooLarge,
	} {
		if err := send(text); !domain.Is(err, kind) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// TestAStopIsNoFailure of a step: the message stays where it is.
func TestAStopIsNoFailure(t *testing.T) {
	s := newSite(t, "root: All -> HTTP url=http://127.0.0.1:1/", "root: All -> Null")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s.hooks.replies = []any{context.Canceled}
	s.accept(s.arriving("alice@example.org"), true)
	appends := s.log.Appends
	if err := s.processor().Handle(ctx, s.log.On(queue.Spool)[0], processing.Holder{}); !domain.Is(err, domain.Unavailable) || s.log.Appends != appends {
		t.Errorf("%v, %d appends", err, s.log.Appends-appends)
	}
	if taken, err := s.processor().Accept(ctx, s.arriving("bob@example.org"), nil); !taken || err != nil {
		t.Errorf("%v, %v", taken, err)
	}
	s.lies("spool: alice@example.org bob@example.org")
}

// BenchmarkAccept is what the default pipeline costs a message that is only delivered.
func BenchmarkAccept(b *testing.B) {
	program, err := pipeline.Compile(pipeline.Lines(nil), nil, pipeline.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := processing.New(processing.Config{
		Queue: queuetest.New(), Blobs: &store{}, Directory: people{}, Program: program, Node: "mail1", InNetwork: func(string, []string) bool { return false },
		Bounce: func(*queue.Entry, []queue.Outcome) (*queue.Entry, error) { return nil, errors.New("none") }, Requeue: func(context.Context, *queue.Entry, []queue.Recipient) ([]queue.Record, error) {
			return nil, errors.New("none")
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	local := map[string]bool{"alice@example.org": true}
	for b.Loop() {
		if taken, err := p.Accept(b.Context(), &queue.Entry{Sender: "carol@example.com", Recipients: []queue.Recipient{{Address: "alice@example.org"}}}, local); taken || err != nil {
			b.Fatal(taken, err)
		}
	}
}
