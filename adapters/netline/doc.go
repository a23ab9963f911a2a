// Package netline is what every line protocol stands on: a listener that counts and refuses connections, and a connection that cannot be
// held open for nothing. SMTP (RFC 5321 section 4.5.3.2), IMAP (RFC 9051 section 5.4) and their relatives differ in their commands, but not in
// how a client can exhaust a server.
//
// Layers. A Conn lies below TLS: the protocol sees *tls.Conn or *Conn, and deadlines, counters and draining work the same for both. Of finds
// the Conn of either.
//
// Time. A request is what the client sends between two answers. Its first octet may take Limits.Idle; from then on the client must
// send at Limits.MinRate on average after Limits.Grace, counting only the time that the server spent waiting. So a message of any size
// may arrive over a slow line, and a client that sends an octet a minute is cut off. Nobody has to declare the beginning or the end of a transfer.
// The deadlines of a Conn are its own: those that others set last until the next Read or Write.
//
// Dead peers. A client in IDLE may rightly be silent for half an hour, and a NAT between it and us forgets connections sooner. TCP's keepalive reminds
// the NAT, and finds out within two more minutes when the client is gone: its connection ends as if it had closed it. It is not sent more often, because
// each probe wakes a telephone.
//
// Draining. Listener.Drain stops accepting and wakes each Conn that waits for the first octet of a request: its Read gives ErrDraining,
// on which the protocol says goodbye. A request that has begun is finished and answered.
package netline

import (
	"cmp"
	"time"
)

// Limits bound what the clients of one listener can use up. A zero field means its default.
type Limits struct {
	Connections int           // open connections in all; 1,000
	PerAddress  int           // open connections from one IPv4 address or one IPv6 /64; 100
	Idle        time.Duration // silence between an answer and the next request; 5 minutes (RFC 5321 section 4.5.3.2.7)
	Write       time.Duration // how long 32 KiB of answer may stay unread; 1 minute
	MinRate     int           // octets a second that a request must arrive with on average; 256
	Grace       time.Duration // how long a request may be slower than that; 1 minute
	ProxyHeader time.Duration // until a proxy has sent its header; 5 seconds
	KeepAlive   time.Duration // silence on the wire after which TCP asks whether the client is still there; 2 minutes
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 1000)
	l.PerAddress = cmp.Or(l.PerAddress, 100)
	l.Idle = cmp.Or(l.Idle, 5*time.Minute)
	l.Write = cmp.Or(l.Write, time.Minute)
	l.MinRate = cmp.Or(l.MinRate, 256)
	l.Grace = cmp.Or(l.Grace, time.Minute)
	l.ProxyHeader = cmp.Or(l.ProxyHeader, 5*time.Second)
	l.KeepAlive = cmp.Or(l.KeepAlive, 2*time.Minute)
	return l
}
