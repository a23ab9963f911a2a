// Package dnstest is a name server inside a test: what every test of the way of mail through DNS asks, so that none needs a network.
//
// It answers as a recursive server does, from a table of records, and misbehaves by name as real ones do.
package dnstest

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Behaviour is how questions for a name are answered.
type Behaviour int

// The behaviours. Honest is that of names of which nothing else is said.
const (
	Honest    Behaviour = iota
	ServFail            // "I cannot tell"
	Refused             // "I will not tell"
	Silent              // no answer at all
	Garbage             // octets that are no message
	Other               // the answer to another question
	Cut                 // truncated by UDP; whole by TCP
	CutAlways           // truncated by TCP, too
	Loop                // an alias of itself
)

// Server is one. Its methods may be called at any time.
type Server struct {
	Addr string // host:port, for UDP and TCP

	mu      sync.Mutex
	records []dns.RR
	ways    map[string]Behaviour
	asked   map[string]int
	signed  []string // zones
}

// Start runs a server for the time of a test, with records as a zone file has them.
func Start(t testing.TB, records ...string) *Server {
	t.Helper()
	s := &Server{ways: map[string]Behaviour{}, asked: map[string]int{}}
	s.Add(t, records...)
	s.Addr = Serve(t, s.answer)
	return s
}

// Serve answers by a function, by UDP and TCP on one port, whose address it gives.
func Serve(t testing.TB, handle dns.HandlerFunc) string {
	t.Helper()
	var l net.Listener
	var packets net.PacketConn
	for range 20 { // until the same port is free for both
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		_ = l.Close()
	}
	if packets == nil {
		t.Fatal("no port is free for UDP and TCP")
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: handle, ReadTimeout: time.Minute}, {PacketConn: packets, Handler: handle}} {
		started, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown(); <-done })
	}
	return l.Addr().String()
}

// Add adds records.
func (s *Server) Add(t testing.TB, records ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil || rr == nil {
			t.Fatalf("%q is no record: %v", r, err)
		}
		s.records = append(s.records, rr)
	}
}

// TXT adds a record of one text, however long.
func (s *Server) TXT(name, text string) {
	rr := &dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}}
	for text != "" {
		n := min(len(text), 255)
		rr.Txt = append(rr.Txt, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text[:n]))
		text = text[n:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, rr)
}

// Remove takes away the records of a name.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.records[:0:0]
	for _, rr := range s.records {
		if !strings.EqualFold(rr.Header().Name, dns.Fqdn(name)) {
			kept = append(kept, rr)
		}
	}
	s.records = kept
}

// Let has questions for a name answered in another way.
func (s *Server) Let(name string, way Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ways[strings.ToLower(dns.Fqdn(name))] = way
}

// Sign has answers about a zone validated: whoever asks for that hears so (RFC 6840 section 5.7).
func (s *Server) Sign(zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed = append(s.signed, strings.ToLower(dns.Fqdn(zone)))
}

// validated tells whether all names of an answer are of signed zones.
func (s *Server) validated(m *dns.Msg) bool {
	names := []string{m.Question[0].Name}
	for _, rr := range m.Answer {
		names = append(names, rr.Header().Name)
	}
	return !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(s.signed, func(zone string) bool { return dns.IsSubDomain(zone, strings.ToLower(name)) })
	})
}

// Asked is how many questions came for a name.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[strings.ToLower(dns.Fqdn(name))]
}

// aliases is how many CNAMEs are followed.
const aliases = 10

func (s *Server) answer(w dns.ResponseWriter, q *dns.Msg) {
	name := strings.ToLower(q.Question[0].Name)
	s.mu.Lock()
	s.asked[name]++
	way := s.ways[name]
	m := s.lookUp(q)
	m.AuthenticatedData = q.AuthenticatedData && s.validated(m)
	s.mu.Unlock()
	udp := w.LocalAddr().Network() == "udp"
	switch way {
	case ServFail:
		m.Answer, m.Rcode = nil, dns.RcodeServerFailure
	case Refused:
		m.Answer, m.Rcode = nil, dns.RcodeRefused
	case Silent:
		return
	case Garbage:
		_, _ = w.Write([]byte("\x00\x01no message"))
		return
	case Other:
		m.Question[0].Name = "other.example."
	case Cut:
		m.Truncated = udp
	case CutAlways:
		m.Truncated = true
	case Loop:
		m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: q.Question[0].Name}}
	}
	if m.Truncated {
		m.Answer = nil
	} else if udp {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = int(o.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

func (s *Server) lookUp(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	name := q.Question[0].Name
	for range aliases {
		exists, alias := false, ""
		for _, rr := range s.records {
			if !strings.EqualFold(rr.Header().Name, name) {
				// A name above another exists, without records (RFC 8020).
				exists = exists || strings.HasSuffix(strings.ToLower(rr.Header().Name), "."+strings.ToLower(name))
				continue
			}
			exists = true
			switch c, isAlias := rr.(*dns.CNAME); {
			case rr.Header().Rrtype == q.Question[0].Qtype:
				m.Answer = append(m.Answer, rr)
			case isAlias:
				m.Answer = append(m.Answer, rr)
				alias = c.Target
			}
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		if alias == "" {
			return m
		}
		name = alias
	}
	m.Answer, m.Rcode = nil, dns.RcodeServerFailure
	return m
}
