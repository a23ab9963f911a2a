package netline

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// whois answers every line with where its client is.
func whois(c *Conn) {
	r := bufio.NewReader(c)
	for {
		if _, err := r.ReadString('\n'); err != nil {
			return
		}
		local := ""
		if c.Local() {
			local = " local"
		}
		_, _ = io.WriteString(c, c.RemoteAddr().String()+" "+c.Source()+local+"\n")
	}
}

// header is a PROXY header as a proxy writes it.
func header(t *testing.T, version byte, source string) string {
	t.Helper()
	from, err := net.ResolveTCPAddr("tcp", source)
	if err != nil {
		t.Fatal(err)
	}
	to := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25), Port: 143}
	if from.IP.To4() == nil {
		to.IP = net.ParseIP("2001:db8::25")
	}
	octets, err := proxyproto.HeaderProxyFromAddrs(version, from, to).Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

func TestProxiesTellWhereClientsAre(t *testing.T) {
	l := listen(t, Config{Proxies: loopback}, whois)
	local, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ header, want string }{
		"version 1":        {header(t, 1, "198.51.100.7:4000"), "198.51.100.7:4000 198.51.100.7\n"},
		"version 2":        {header(t, 2, "198.51.100.7:4000"), "198.51.100.7:4000 198.51.100.7\n"},
		"IPv6":             {header(t, 2, "[2001:db8:1:2:3::4]:5"), "[2001:db8:1:2:3::4]:5 2001:db8:1:2::\n"},
		"IPv6 in text":     {header(t, 1, "[2001:db8::1]:5"), "[2001:db8::1]:5 2001:db8::\n"},
		"another's home":   {header(t, 2, "127.0.0.1:5"), "127.0.0.1:5 127.0.0.1\n"}, // which is not this machine's
		"nobody knows":     {"PROXY UNKNOWN\r\n", " 127.0.0.1\n"},
		"the proxy itself": {string(local), " 127.0.0.1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			client, r := dial(t, l)
			_, _ = io.WriteString(client, c.header+"x\n") // in one packet
			if got, err := r.ReadString('\n'); !strings.HasSuffix(got, c.want) {
				t.Errorf("%q, %v", got, err)
			}
			_, _ = io.WriteString(client, "and a second line\n")
			if got, err := r.ReadString('\n'); !strings.HasSuffix(got, c.want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestTheProxysHeaderComesBeforeTLS: what is encrypted begins behind it.
func TestTheProxysHeaderComesBeforeTLS(t *testing.T) {
	certificate, err := SelfSigned(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, Config{Proxies: loopback}, func(c *Conn) {
		secure, err := Handshake(t.Context(), c, certificate.Config(0), time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		defer secure.Close()
		_, _ = io.WriteString(secure, Of(secure).RemoteAddr().String()+"\n")
	})
	client, _ := dial(t, l)
	_, _ = io.WriteString(client, header(t, 2, "198.51.100.7:4000"))
	expect(t, bufio.NewReader(tls.Client(client, &tls.Config{InsecureSkipVerify: true})), "198.51.100.7:4000\n")
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	refused := make(chan struct{}, 100)
	l := listen(t, Config{Proxies: loopback, Refusal: "no\n", Limits: Limits{ProxyHeader: time.Minute}, OnLimit: func() { refused <- struct{}{} }}, whois)
	unix, err := proxyproto.HeaderProxyFromAddrs(2, &net.UnixAddr{Name: "/a", Net: "unix"}, &net.UnixAddr{Name: "/b", Net: "unix"}).Format()
	if err != nil {
		t.Fatal(err)
	}
	for _, sent := range []string{"a LOGIN x y\r\n", "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP4 999.1.1.1 1.2.3.4 1 2\r\n", "PROXY " + strings.Repeat("x", 200) + "\r\n",
		"\r\n\r\n\x00\r\nQUIT\nxxxxxxxxxxxxxx", string(unix)} {
		client, r := dial(t, l)
		_, _ = io.WriteString(client, sent)
		_ = client.(*net.TCPConn).CloseWrite()
		expect(t, r, "no\n")
		<-refused
	}
	// Who only looks whether somebody listens is no trouble.
	client, r := dial(t, l)
	_ = client.(*net.TCPConn).CloseWrite()
	expectEnd(t, r)
	if len(refused) > 0 {
		t.Error("a look was refused")
	}
}

// TestSlowHeadersHoldUpNobody: a proxy that says nothing is waited for beside the others, and not for ever.
func TestSlowHeadersHoldUpNobody(t *testing.T) {
	l := listen(t, Config{Proxies: loopback, Limits: Limits{Connections: 3}}, whois)
	dial(t, l)
	dial(t, l)
	client, r := dial(t, l)
	_, _ = io.WriteString(client, header(t, 1, "198.51.100.7:4000")+"x\n")
	expect(t, r, "198.51.100.7:4000 198.51.100.7\n")
	_, r = dial(t, l) // those that are waited for count as connections
	_, _ = r.ReadByte()

	l = listen(t, Config{Proxies: loopback, Limits: Limits{ProxyHeader: time.Millisecond}}, whois)
	_, r = dial(t, l)
	expectEnd(t, r)
}

// TestStrangersMayNotClaim: a client that is no proxy is itself, and cut off when it says that it is somebody else.
func TestStrangersMayNotClaim(t *testing.T) {
	for _, proxies := range [][]netip.Prefix{nil, {netip.MustParsePrefix("192.0.2.0/24")}} {
		l := listen(t, Config{Proxies: proxies}, whois)
		client, r := dial(t, l)
		_, _ = io.WriteString(client, "x\n")
		expect(t, r, client.LocalAddr().String()+"  local\n")
		_, _ = io.WriteString(client, "PROXY TCP4 is a line like any other later\n")
		expect(t, r, client.LocalAddr().String()+"  local\n")
		for _, version := range []byte{1, 2} {
			client, r := dial(t, l)
			_, _ = io.WriteString(client, header(t, version, "198.51.100.7:4000"))
			expectEnd(t, r)
		}
	}
}
