package natsd

import (
	"context"
	"time"
)

// On a busy machine elections take longer than anybody wants to wait for a stop.
func init() { handOverTime = time.Minute }

// HandOver is what a stop does first.
func (s *Server) HandOver(ctx context.Context) (gave int, left []string) { return s.handOver(ctx) }

// PeerOf is peerOf.
var PeerOf = peerOf

// Peer is the id by which the other servers know this one.
func (s *Server) Peer() string { return s.nats.Load().Node() }

// Die ends what a crash would end.
func (s *Server) Die() {
	s.conn.Close()
	s.system.Close()
	s.halt()
	_ = s.lock.Close()
}

// Size is how many members the server takes the cluster to have.
func (s *Server) Size() int {
	info, err := s.nats.Load().Jsz(nil)
	if err != nil || info.Meta == nil {
		return 0
	}
	return info.Meta.Size
}

// Routes is how many connections to other servers there are.
func (s *Server) Routes() int { return s.nats.Load().NumRoutes() }

// HandshakeTime is how many seconds the listener allows for TLS.
func (cfg Config) HandshakeTime() float64 {
	opts, err := cfg.options()
	if err != nil {
		return 0
	}
	return opts.TLSTimeout
}
