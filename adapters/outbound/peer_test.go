package outbound

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/dane"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/integration/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// peer is a server that answers as it is told. Its answers are by the beginning of a command; "" is the greeting, "." the end of a message. An answer of "close" closes, one of
// "hang" never comes.
type peer struct {
	t       *testing.T
	address netip.AddrPort
	answers map[string][]string // in turn; the last one stays
	tls     *tls.Config

	mu    sync.Mutex
	lines []string // of all dialogues
	mails []string
	conns int
	all   sync.WaitGroup
}

var usual = map[string]string{
	"": "220 peer ready", "EHLO": "250-peer\r\n250-PIPELINING\r\n250-SIZE 10000\r\n250-8BITMIME\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES", "HELO": "250 peer", "MAIL": "250 2.1.0 OK",
	"RCPT": "250 2.1.5 OK", "DATA": "354 go on", ".": "250 2.0.0 Queued as 7", "RSET": "250 OK", "QUIT": "221 bye", "STARTTLS": "220 go on", "AUTH": "235 2.7.0 in", "BDAT": "250 2.0.0 Queued as 8",
}

func newPeer(t *testing.T, answers map[string][]string) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, address: l.Addr().(*net.TCPAddr).AddrPort(), answers: maps.Clone(answers)}
	var conns sync.Map
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
			p.all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		p.all.Wait()
	})
	return p
}

// answer gives the next answer to a command.
func (p *peer) answer(command string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, list := range p.answers {
		if name == command || name != "" && name != "." && strings.HasPrefix(command, name) {
			if len(list) > 1 {
				p.answers[name] = list[1:]
			}
			return list[0]
		}
	}
	verb, _, _ := strings.Cut(command, " ")
	return usual[verb]
}

// say sends an answer, and tells whether the dialogue goes on.
func (p *peer) say(c net.Conn, answer string) bool {
	switch answer {
	case "close":
		return false
	case "hang":
		_, _ = io.Copy(io.Discard, c)
		return false
	case "":
		answer = "502 5.5.1 what?"
	}
	_, err := io.WriteString(c, answer+"\r\n")
	return err == nil
}

func (p *peer) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	p.mu.Lock()
	p.conns++
	p.mu.Unlock()
	if !p.say(c, p.answer("")) {
		return
	}
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		p.mu.Lock()
		p.lines = append(p.lines, line)
		p.mu.Unlock()
		answer := p.answer(line)
		if size, is := strings.CutPrefix(line, "BDAT "); is {
			n, _ := strconv.Atoi(strings.TrimSuffix(size, " LAST"))
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			p.took(string(b))
		}
		if !p.say(c, answer) {
			return
		}
		switch {
		case line == "QUIT":
			return
		case line == "DATA" && strings.HasPrefix(answer, "354"):
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			p.took(text.String())
			if !p.say(c, p.answer(".")) {
				return
			}
		case line == "STARTTLS" && strings.HasPrefix(answer, "220"):
			if p.tls == nil {
				_, _ = io.WriteString(c, "this is no TLS\r\n")
				return
			}
			secure := tls.Server(c, p.tls)
			if secure.HandshakeContext(context.Background()) != nil {
				return
			}
			c, r = secure, bufio.NewReader(secure)
		}
	}
}

func (p *peer) took(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mails = append(p.mails, text)
}

// heard gives the commands that begin so.
func (p *peer) heard(begin string) (lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if strings.HasPrefix(l, begin) {
			lines = append(lines, l)
		}
	}
	return lines
}

// connections is how many there were.
func (p *peer) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

func (p *peer) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mails
}

// certificate makes one for names, which the pool trusts.
func certificate(t *testing.T, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// names is a resolver that knows what it is told. A host's address is made up; dial brings it to the peer.
type names struct {
	mx     map[string][]delivery.Exchanger
	hosts  map[string]*peer // nil: it has an address where nobody listens
	errors map[string]error
	local  map[string]bool // hosts whose address is this machine's
	signed map[string]bool // names about which answers are validated
	tlsa   map[string][]dane.Record
	forged bool                    // those are not validated
	extra  map[string][]netip.Addr // more addresses of hosts, where nobody listens

	mu      sync.Mutex
	dialled []string // addresses, behind those that they were dialled from
}

func (n *names) MX(_ context.Context, name string) ([]delivery.Exchanger, bool, error) {
	if err := n.errors["MX "+name]; err != nil {
		return nil, false, err
	}
	return n.mx[name], n.signed[name], nil
}

func (n *names) TLSA(_ context.Context, name string) ([]dane.Record, bool, error) {
	if err := n.errors[name]; err != nil {
		return nil, false, err
	}
	return n.tlsa[name], !n.forged, nil
}

// Addresses are of the network that RFC 2544 sets apart, by the host's name.
func (n *names) Addresses(_ context.Context, host string) ([]netip.Addr, bool, error) {
	if err := n.errors[host]; err != nil {
		return nil, false, err
	}
	if _, known := n.hosts[host]; !known {
		return nil, false, nil
	}
	if n.local[host] {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:0.0.0.0"), netip.MustParseAddr("::%lo")}, false, nil
	}
	return append(slices.Clone(n.extra[host]), n.address(host)), n.signed[host], nil
}

func (n *names) address(host string) netip.Addr {
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, host)
	v := sum.Sum32()
	return netip.AddrFrom4([4]byte{198, 18, byte(v >> 8), byte(v)})
}

func (n *names) dial(ctx context.Context, source netip.Addr, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.dialled = append(n.dialled, strings.TrimPrefix(source.String()+" ", "invalid IP ")+at.Addr().String())
	n.mu.Unlock()
	for host, p := range n.hosts {
		if n.address(host) == at.Addr() && p != nil {
			return new(net.Dialer).DialContext(ctx, network, p.address.String())
		}
	}
	return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("connection refused")}
}

var errLater = domain.Errorf(domain.Unavailable, "the name server says SERVFAIL")

// to makes a resolver under which example.net has the given exchangers, by falling preference.
func to(peers ...*peer) *names {
	n := &names{mx: map[string][]delivery.Exchanger{}, hosts: map[string]*peer{}, errors: map[string]error{}}
	for i, p := range peers {
		host := fmt.Sprintf("mx%d.example.net", i+1)
		n.mx["example.net"] = append(n.mx["example.net"], delivery.Exchanger{Host: host, Preference: uint16(10 * (i + 1))})
		n.hosts[host] = p
	}
	return n
}

func newSender(t *testing.T, n *names, change ...func(*Config)) *Sender {
	t.Helper()
	cfg := Config{Hostname: "mail.example.org", Resolver: n, Dial: n.dial, Shuffle: func(int, func(i, j int)) {}, Limits: Limits{Idle: time.Minute}}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

const text = "Subject: hi\r\n\r\n.dot\r\n..two\r\nHello.\r\n"

func mail(to ...string) *queue.Entry {
	e := &queue.Entry{ID: 1, Sender: "alice@example.org", Domain: "example.net", Blob: queue.Blob{BlobRef: domain.BlobRef{Size: int64(len(text))}}}
	if len(to) == 0 {
		to = []string{"bob@example.net"}
	}
	for _, a := range to {
		e.Recipients = append(e.Recipients, queue.Recipient{Address: a})
	}
	return e
}

func open(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }

// send delivers and writes the outcomes in short.
func send(t *testing.T, s *Sender, e *queue.Entry) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	outcomes, reached := s.Deliver(ctx, e, open)
	var b strings.Builder
	if !reached {
		b.WriteString("unreachable; ")
	}
	for i, o := range outcomes {
		if i > 0 {
			b.WriteString("; ")
		}
		name, _, _ := strings.Cut(o.Recipient.Address, "@")
		fmt.Fprintf(&b, "%s %s %s", name, o.Fate, o.Status)
	}
	if len(outcomes) != len(e.Recipients) {
		t.Errorf("%d outcomes for %d recipients", len(outcomes), len(e.Recipients))
	}
	return b.String()
}
