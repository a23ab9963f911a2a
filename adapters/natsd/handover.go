package natsd

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
)

// This file makes a planned stop of a node cheap: what a node leads others lead before it goes. The servers elect a new leader only four to nine seconds
// after they have heard the last of one that just went; one that steps down names the next.

// handOverTime bounds how long a node that stops waits until others lead. Only tests change it.
var handOverTime = 5 * time.Second

const (
	// handOverEvery is how often it looks, and steps down again where it was chosen once more.
	handOverEvery = 20 * time.Millisecond
	// commandTime bounds one answer of the leader of the cluster, which is lost when another is elected meanwhile.
	commandTime = 5 * time.Second
)

// handOver has other nodes lead what this one leads. It returns when they do, or when there is nobody who could, or after handOverTime; and tells how much it gave
// up, and what of that nobody leads yet.
func (s *Server) handOver(ctx context.Context) (gave int, left []string) {
	if s.system == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handOverTime)
	defer cancel()
	began, given := time.Now(), map[string]bool{}
	tick := time.NewTicker(handOverEvery)
	defer tick.Stop()
	for {
		still, err := s.stepDown(ctx, given)
		if err == nil && len(still) == 0 {
			s.cfg.Logger.Debug("other nodes lead the log", "streams", len(given), "took", time.Since(began).Round(time.Millisecond))
			return len(given), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.cfg.Logger.Warn("this node stops before another leads what it led; to notice that takes the others some seconds", "streams", still, "error", err)
			return len(given), still
		}
	}
}

// theCluster stands for the group that decides where streams lie.
const theCluster = "the cluster"

// stepDown gives up what this node leads and another could, notes it in given, and tells what of all that was given up no other node leads yet.
func (s *Server) stepDown(ctx context.Context, given map[string]bool) (left []string, err error) {
	info, err := s.nats.Load().Jsz(&server.JSzOptions{Account: account, Accounts: true, Streams: true})
	if err != nil {
		return nil, err
	}
	self := s.nats.Load().Name()
	look := func(name, leader string, replicas []*server.PeerInfo, step func() error) {
		able := slices.ContainsFunc(replicas, func(p *server.PeerInfo) bool { return p.Name != self && p.Current && !p.Offline })
		if leader == self && able {
			given[name] = true
			err = errors.Join(err, step())
		}
		if given[name] && (leader == self || leader == "") {
			left = append(left, name)
		}
	}
	for _, a := range info.AccountDetails {
		for _, stream := range a.Streams {
			if stream.Cluster != nil {
				look(stream.Name, stream.Cluster.Leader, stream.Cluster.Replicas, func() error { return s.nats.Load().JetStreamStepdownStream(account, stream.Name) })
			}
		}
	}
	if info.Meta != nil {
		look(theCluster, info.Meta.Leader, info.Meta.Replicas, func() error { return s.command(ctx, server.JSApiLeaderStepDown, nil) })
	}
	return left, err
}

// command asks the leader of the cluster for what only the system account may.
func (s *Server) command(ctx context.Context, subject string, request any) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return domain.Wrap(domain.Internal, err, "ask the leader of the cluster")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	m, err := s.system.RequestWithContext(ctx, subject, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return &domain.Error{
			Kind: domain.Unavailable, Msg: "the cluster has no leader: more than half of its members must be there", Err: err,
			Hint: "start those that are missing; cluster status tells which there are",
		}
	}
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "ask the leader of the cluster")
	}
	var answer server.ApiResponse
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return domain.Wrap(domain.Internal, err, "read the answer of the leader of the cluster")
	}
	if answer.Error != nil {
		return domain.Wrap(domain.Unavailable, answer.Error, "the leader of the cluster refuses")
	}
	return nil
}
