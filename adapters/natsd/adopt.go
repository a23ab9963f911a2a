package natsd

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/streampost/streampost/domain"
)

// This file makes the log of a server that stood alone that of the first node of a cluster. A cluster serves only streams that its members have agreed on,
// and a member deletes what else is on its disk. So what is there is written down as agreed on, in the form of the snapshot that a member keeps of that:
// by a cluster of one, with every stream in one copy. The streams themselves are left as they are.
//
// The snapshot appears by one rename. Before it, the directory is that of a server which stands alone; after it, that of a node.

// adoptDir is where the snapshot is made, below Config.Dir.
const adoptDir = "adopt"

// metaGroup is the name of the group in which the members of a cluster agree on streams.
const metaGroup = "_meta_"

// metaDir is where a node keeps what was agreed on.
func (cfg *Config) metaDir() string {
	return filepath.Join(cfg.Dir, server.JetStreamStoreDir, server.DEFAULT_SYSTEM_ACCOUNT, "_js_", metaGroup)
}

// adopt makes a node's directory of one that a server kept which stood alone. It does nothing where that has been done, or nothing is there.
// Errors: domain.Corrupt for a log that cannot be loaded whole, domain.Unavailable.
func (cfg *Config) adopt(ctx context.Context) error {
	if there(cfg.metaDir()) || !there(cfg.streamsDir()) {
		return nil
	}
	// Once more it is started alone: that finds damage, cuts off what a crash has left, and syncs everything when it stops.
	alone := Config{Dir: cfg.Dir, Logger: cfg.Logger, Failpoint: cfg.Failpoint}
	s, err := Start(ctx, alone)
	if err == nil {
		err = s.Close(context.WithoutCancel(ctx))
	}
	if err != nil {
		return err
	}
	agreed, err := cfg.assignments()
	if err != nil {
		return err
	}
	made := filepath.Join(cfg.Dir, adoptDir)
	if err := os.RemoveAll(made); err != nil {
		return storageError(err, "write to the log directory")
	}
	peers := alonePeers(peerOf(cfg.Cluster.Node))
	snapshots := filepath.Join(made, "snapshots")
	err = makeDir(snapshots)
	if err == nil {
		err = errors.Join(
			writeDurably(filepath.Join(made, "peers.idx"), peers),
			writeDurably(filepath.Join(snapshots, "snap.1.1"), groupSnapshot(metaGroup, peers, s2.Encode(nil, agreed))),
			syncDir(snapshots), syncDir(made),
		)
	}
	if err == nil {
		err = makeDir(filepath.Dir(cfg.metaDir()))
	}
	if err == nil {
		err = errors.Join(os.Rename(made, cfg.metaDir()), syncDir(filepath.Dir(cfg.metaDir())))
	}
	if err != nil {
		return storageError(err, "write to the log directory")
	}
	return nil
}

// What members agree on, as the server writes it.
type (
	assignedStream struct {
		Client    server.ClientInfo   `json:"client"`
		Created   time.Time           `json:"created"`
		Config    server.StreamConfig `json:"stream"`
		Group     assignedGroup       `json:"group"`
		Sync      string              `json:"sync"`
		Consumers []assignedConsumer
	}
	assignedConsumer struct {
		Client  server.ClientInfo     `json:"client"`
		Created time.Time             `json:"created"`
		Name    string                `json:"name"`
		Stream  string                `json:"stream"`
		Config  server.ConsumerConfig `json:"consumer"`
		Group   assignedGroup         `json:"group"`
	}
	assignedGroup struct {
		Name      string             `json:"name"`
		Peers     []string           `json:"peers"`
		Storage   server.StorageType `json:"store"`
		Cluster   string             `json:"cluster"`
		Preferred string             `json:"preferred"`
	}
)

// assignments writes down which streams, with which durable consumers, are on the disk, as if this node had been chosen for each.
func (cfg *Config) assignments() ([]byte, error) {
	client, peer := server.ClientInfo{Account: account, Cluster: clusterName}, peerOf(cfg.Cluster.Node)
	group := func(kind string, storage server.StorageType) assignedGroup {
		return assignedGroup{Name: kind + "-R1F-" + rand.Text()[:8], Peers: []string{peer}, Storage: storage, Cluster: clusterName, Preferred: peer}
	}
	dirs, err := os.ReadDir(cfg.streamsDir())
	if err != nil {
		return nil, storageError(err, "list the streams of the log")
	}
	var all []assignedStream
	for _, dir := range dirs {
		var stream server.FileStreamInfo
		if err := readMeta(filepath.Join(cfg.streamsDir(), dir.Name()), &stream); err != nil {
			return nil, err
		}
		s := assignedStream{Client: client, Created: stream.Created, Config: stream.StreamConfig, Group: group("S", stream.Storage), Sync: "$JSC.SYNC." + rand.Text()[:8]}
		consumers, err := os.ReadDir(filepath.Join(cfg.streamsDir(), dir.Name(), "obs"))
		if passing(err) != nil {
			return nil, storageError(err, "list the consumers of the log")
		}
		for _, c := range consumers {
			var consumer server.FileConsumerInfo
			if err := readMeta(filepath.Join(cfg.streamsDir(), dir.Name(), "obs", c.Name()), &consumer); err != nil {
				return nil, err
			}
			if consumer.Durable != "" {
				s.Consumers = append(s.Consumers, assignedConsumer{
					Client: client, Created: consumer.Created, Name: consumer.Name, Stream: stream.Name, Config: consumer.ConsumerConfig, Group: group("C", server.FileStorage),
				})
			}
		}
		all = append(all, s)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "write down the streams of the log")
	}
	return text, nil
}

// readMeta reads what the server wrote of a stream or a consumer into its directory.
func readMeta(dir string, into any) error {
	text, err := os.ReadFile(filepath.Join(dir, server.JetStreamMetaFile))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return domain.Wrap(domain.Corrupt, err, "read what "+dir+" is")
	}
	return nil
}

// alonePeers is the state of a group of one: its size, how many members are known, these, and that it is nobody's extension.
func alonePeers(peer string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, 1)
	return binary.LittleEndian.AppendUint16(append(b, peer...), 0)
}

// groupSnapshot is the first snapshot of a group: term and index, both 1, the length of the peers, these, the content, and a checksum.
func groupSnapshot(group string, peers, content []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, 1)
	b = binary.LittleEndian.AppendUint64(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(peers)))
	b = append(append(b, peers...), content...)
	key := sha256.Sum256([]byte(group))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		panic(err) // the key has the right length
	}
	_, _ = sum.Write(b) // a hash takes everything
	return sum.Sum(b)
}

// writeDurably writes a new file.
func writeDurably(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// Scale gives streams that have fewer copies than that as many, one after the other, and returns when all are whole. Streams go on meanwhile.
// left tells now and then how many are still to do. Error: domain.Unavailable.
func (s *Server) Scale(ctx context.Context, copies int, left func(streams int)) error {
	for {
		all, missing, err := s.allStreams(ctx)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			return domain.Errorf(domain.Unavailable, "nobody answers for %s", strings.Join(missing, ", "))
		}
		var small []*server.StreamInfo
		for _, info := range all {
			if info.Config.Replicas < copies {
				small = append(small, info)
			}
		}
		if left(len(small)); len(small) == 0 {
			return nil
		}
		if err := s.scale(ctx, &small[0].Config, copies); err != nil {
			return err
		}
	}
}

// scale gives one stream more copies and waits for them.
func (s *Server) scale(ctx context.Context, stream *server.StreamConfig, copies int) error {
	stream.Replicas = copies
	request, err := json.Marshal(stream)
	if err != nil {
		return domain.Wrap(domain.Internal, err, "ask for more copies of "+stream.Name)
	}
	asked, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	m, err := s.conn.RequestWithContext(asked, "$JS.API.STREAM.UPDATE."+stream.Name, request)
	var answer server.ApiResponse
	if err == nil {
		err = json.Unmarshal(m.Data, &answer)
	}
	if err == nil && answer.Error != nil {
		err = answer.Error
	}
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "ask for more copies of "+stream.Name)
	}
	return s.until(ctx, func(int) {}, func(p *Placement) bool {
		return p.Stream == stream.Name && (p.Silent || len(p.Copies) < copies || p.Without("") < copies || !s.followed(ctx, stream.Name, copies))
	})
}

// followed tells whether the durable consumers of a stream have as many copies as the stream, which they get after it.
func (s *Server) followed(ctx context.Context, stream string, copies int) bool {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	for offset, total := 0, 1; offset < total; {
		request := fmt.Appendf(nil, `{"offset":%d}`, offset)
		m, err := s.conn.RequestWithContext(ctx, "$JS.API.CONSUMER.LIST."+stream, request)
		var page server.JSApiConsumerListResponse
		if err != nil || json.Unmarshal(m.Data, &page) != nil || page.Error != nil || len(page.Missing) > 0 {
			return false
		}
		for _, c := range page.Consumers {
			inherits := c.Config != nil && c.Config.Durable != "" && c.Config.Replicas == 0
			if inherits && (c.Cluster == nil || len(c.Cluster.Replicas) < copies-1 || slices.ContainsFunc(c.Cluster.Replicas, func(p *server.PeerInfo) bool { return !p.Current })) {
				return false
			}
		}
		offset, total = offset+max(len(page.Consumers), 1), page.Total
	}
	return true
}
