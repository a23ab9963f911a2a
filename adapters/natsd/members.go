package natsd

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/streampost/streampost/domain"
)

// This file takes members out of a cluster for good. Nothing is needed to take one in: it joins, and streams that lack a copy get one there.

// Placement tells where the copies of a stream lie, in the words of the server that leads it.
type Placement struct {
	Stream string
	Want   int    // copies that it must have
	Group  string // of servers, that agrees on it; empty for a stream with one copy
	Leader string // empty while there is none
	Last   uint64 // its newest sequence
	Silent bool   // nobody answers for it: the rest may be unknown
	Copies []PlacedCopy
}

// PlacedCopy is one of them.
type PlacedCopy struct {
	Node    string // its name; its id where only that is known
	Current bool   // it has all that was agreed on, or is so little behind that it counts
	Offline bool
}

// On tells whether a node has a copy.
func (p *Placement) On(node string) bool {
	return slices.ContainsFunc(p.Copies, func(c PlacedCopy) bool { return c.Node == node })
}

// Without counts the copies that are current and not on a node.
func (p *Placement) Without(node string) (n int) {
	for _, c := range p.Copies {
		if c.Node != node && c.Current && !c.Offline {
			n++
		}
	}
	return n
}

// peerOf is the id that servers write of a server into what they agree on. Its name they know only from having met it since their own start.
func peerOf(name string) string {
	const size, digits = 8, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	for i := range size {
		sum[i] = digits[int(sum[i])%len(digits)]
	}
	return string(sum[:size])
}

// nameOf is the name of a member, or its id where the server does not know the name.
func nameOf(p *server.PeerInfo) string {
	if p.Peer != "" && peerOf(p.Name) != p.Peer {
		return p.Peer
	}
	return p.Name
}

// Member finds a member by its name: the word for it in Members, which is an id where this server has not met it since its own start.
func (g *Gathered) Member(name string) (member string, ok bool) {
	for _, member := range []string{name, peerOf(name)} {
		if slices.Contains(g.Members, member) {
			return member, true
		}
	}
	return "", false
}

// listTime bounds a list of streams: the leader of the cluster waits four seconds for those who lead them.
const listTime = 10 * time.Second

// Placements tells where all streams of the cluster lie, those without a log of ours among them, and those for which nobody answers.
// Errors: domain.Unavailable.
func (s *Server) Placements(ctx context.Context) (all []Placement, err error) {
	streams, missing, err := s.allStreams(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range streams {
		all = append(all, placed(info, slices.Contains(missing, info.Config.Name)))
	}
	for _, name := range missing {
		if !slices.ContainsFunc(all, func(p Placement) bool { return p.Stream == name }) {
			all = append(all, Placement{Stream: name, Silent: true})
		}
	}
	slices.SortFunc(all, func(a, b Placement) int { return strings.Compare(a.Stream, b.Stream) })
	return all, nil
}

// placements is Placements that waits for an election to end.
func (s *Server) placements(ctx context.Context) ([]Placement, error) {
	ctx, cancel := context.WithTimeout(ctx, expelTime)
	defer cancel()
	for {
		all, err := s.Placements(ctx)
		if err == nil {
			return all, nil
		}
		select {
		case <-time.After(moveEvery):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// allStreams lists all streams, and the names of those for which nobody answers, of which some may be listed too. Error: domain.Unavailable.
func (s *Server) allStreams(ctx context.Context) (all []*server.StreamInfo, missing []string, err error) {
	for offset, total := 0, 1; offset < total; offset += server.JSApiListLimit {
		page, err := s.listStreams(ctx, offset)
		if err != nil {
			return nil, nil, domain.Wrap(domain.Unavailable, err, "list the streams of the cluster")
		}
		all, missing, total = append(all, page.Streams...), append(missing, page.Missing...), page.Total
	}
	return all, missing, nil
}

// listStreams asks for some of all streams. The client of JetStream would leave out for which nobody answers.
func (s *Server) listStreams(ctx context.Context, offset int) (page *server.JSApiStreamListResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	request, err := json.Marshal(server.JSApiStreamListRequest{ApiPagedRequest: server.ApiPagedRequest{Offset: offset}})
	if err != nil {
		return nil, err
	}
	m, err := s.conn.RequestWithContext(ctx, server.JSApiStreamList, request)
	if err != nil {
		return nil, err
	}
	page = new(server.JSApiStreamListResponse)
	if err = json.Unmarshal(m.Data, page); err == nil && page.Error != nil {
		err = page.Error
	}
	return page, err
}

func placed(info *server.StreamInfo, silent bool) Placement {
	p := Placement{Stream: info.Config.Name, Want: info.Config.Replicas, Last: info.State.LastSeq, Silent: silent}
	c := info.Cluster
	if c == nil {
		return p
	}
	p.Group = c.RaftGroup
	if p.Leader = c.Leader; p.Leader != "" {
		p.Copies = append(p.Copies, PlacedCopy{Node: c.Leader, Current: true})
	}
	for _, r := range c.Replicas {
		p.Copies = append(p.Copies, PlacedCopy{Node: nameOf(r), Current: r.Current, Offline: r.Offline})
	}
	return p
}

// Evacuate moves the copies of a member that lives to others, and returns when it has none left that another could take. left tells now and then how
// many are still there. Errors: domain.Unavailable.
func (s *Server) Evacuate(ctx context.Context, node string, left func(streams int)) error {
	request := server.JSApiMetaServerEvacuateRequest{Peer: s.peer(node)}
	if err := s.command(ctx, server.JSApiEvacuateServer, request); err != nil {
		return err
	}
	return s.until(ctx, left, func(p *Placement) bool { return p.On(node) })
}

// peer is the id of a member, which is given by its name or by its id.
func (s *Server) peer(member string) string {
	if g := s.Gathered(); slices.Contains(g.unmet, member) {
		return member
	}
	return peerOf(member)
}

// Remove takes a member out of the cluster for ever, and returns when every stream that had a copy there has enough elsewhere, or as many as there are
// nodes. The member is what Gathered.Member gives. A server that is removed while it lives keeps nothing from then on. With force, streams for which
// nobody answers are not waited for. Errors: domain.NotFound for who is no member, domain.Unavailable.
func (s *Server) Remove(ctx context.Context, member string, force bool, left func(streams int)) error {
	if g := s.Gathered(); !slices.Contains(g.Members, member) {
		return domain.Errorf(domain.NotFound, "%s is no member of the cluster: %s are", member, strings.Join(g.Members, ", "))
	}
	if err := s.expel(ctx, member); err != nil {
		return err
	}
	return s.until(ctx, left, func(p *Placement) bool {
		here := len(s.Gathered().Nodes)
		return p.Silent && !force || p.On(member) || !p.Silent && p.Without(member) < min(p.Want, here)
	})
}

const (
	// moveEvery is how often it is looked how far streams have moved.
	moveEvery = 200 * time.Millisecond
	// expelTime bounds how long a removal, or where streams lie, is asked for again: while another member comes or goes, or another leader is elected.
	expelTime = 30 * time.Second
)

// expel has the leader of the cluster remove a member. An answer may be lost with the leader, so who is no member any more was removed.
func (s *Server) expel(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, expelTime)
	defer cancel()
	request := server.JSApiMetaServerRemoveRequest{Server: node, Peer: s.peer(node)}
	for {
		err := s.command(ctx, server.JSApiRemoveServer, request)
		if g := s.Gathered(); err == nil || g.Leader != "" && !slices.Contains(g.Members, node) {
			return nil
		}
		select {
		case <-time.After(moveEvery):
		case <-ctx.Done():
			return err
		}
	}
}

// until waits until no stream is still moving.
func (s *Server) until(ctx context.Context, left func(int), moving func(*Placement) bool) error {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	for {
		all, err := s.Placements(ctx)
		n := 0
		for i := range all {
			if moving(&all[i]) {
				n++
			}
		}
		if err == nil {
			if left(n); n == 0 {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return domain.Wrap(domain.Unavailable, ctx.Err(), "wait until the streams have moved")
		}
	}
}
