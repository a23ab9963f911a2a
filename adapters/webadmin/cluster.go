package webadmin

import (
	"net/http"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/promotion"
	"github.com/streampost/streampost/streams/nodes"
)

// Cluster is the nodes that answer, and which of them lead what.
type Cluster struct {
	// Node is the one that was asked.
	Node string `json:"node"`
	// Copies is how many nodes must keep each stream.
	Copies int `json:"copies"`
	// Quorum is how many nodes must agree on a change.
	Quorum  int             `json:"quorum"`
	Nodes   []nodes.Status  `json:"nodes"`
	Streams []ClusterStream `json:"streams"`
	// Failover is what the node in charge of it says; absent where it is switched off.
	Failover *promotion.Charge `json:"failover,omitempty"`
	// Findings are what is wrong or risky; empty when nothing is.
	Findings []string `json:"findings"`
}

// ClusterStream is a stream with its leader and its copies.
type ClusterStream struct {
	Stream string           `json:"stream"`
	Leader string           `json:"leader"`
	Last   uint64           `json:"last"` // the highest of all copies
	Copies []ClusterReplica `json:"copies"`
}

// ClusterReplica is one node's copy.
type ClusterReplica struct {
	Node    string `json:"node"`
	Last    uint64 `json:"last"`
	Behind  uint64 `json:"behind"` // entries, at the moment of the answers
	Lacks   uint64 `json:"lacks"`  // entries up to its last: damage
	Current bool   `json:"current"`
	Bad     string `json:"bad,omitempty"` // why it should be filled anew
}

// ErrAlone says that a command wants a cluster and there is none.
var ErrAlone = &domain.Error{
	Kind: domain.NotFound, Msg: "this server stands alone: it is no node of a cluster",
	Hint: "streampost cluster init begins one; see \"A cluster\" in the operator's guide",
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) error {
	if s.b.Cluster == nil {
		return ErrAlone
	}
	c, err := s.b.Cluster(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, c)
	}
	return err
}

// RemovedNode is what a cluster is without a node.
type RemovedNode struct {
	Node    string   `json:"node"`
	Members []string `json:"members"` // that are left
	Copies  int      `json:"copies"`  // that the log has, or would have with as many nodes
}

func (s *Server) removeNode(w http.ResponseWriter, r *http.Request) error {
	if s.b.RemoveNode == nil {
		return ErrAlone
	}
	force, err := truth(r, "force")
	if err != nil {
		return err
	}
	out := s.lines(w, r)
	sum, err := s.b.RemoveNode(out.ctx, r.PathValue("node"), force, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

// Grown is a log of which every stream has its copies.
type Grown struct {
	Streams int `json:"streams"`
	Copies  int `json:"copies"`
	Scaled  int `json:"scaled"` // streams that had fewer
}

func (s *Server) grow(w http.ResponseWriter, r *http.Request) error {
	if s.b.Grow == nil {
		return ErrAlone
	}
	out := s.lines(w, r)
	sum, err := s.b.Grow(out.ctx, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

// RepairOrder says which copies of the log are to be filled anew: those that are bad among them.
type RepairOrder struct {
	Stream string // empty: of all streams
	Node   string // empty: on all nodes
	DryRun bool
}

// LogRepair counts what was found and done.
type LogRepair struct {
	Copies   int `json:"copies"` // that were looked at
	Bad      int `json:"bad"`
	Repaired int `json:"repaired"`
	Refused  int `json:"refused"` // because too few other nodes have all of it
	// Silent are the members of the cluster that do not answer, whose copies nobody has looked at.
	Silent []string `json:"silent,omitempty"`
}

func (s *Server) repairLog(w http.ResponseWriter, r *http.Request) error {
	if s.b.RepairLog == nil {
		return ErrAlone
	}
	dry, err := truth(r, "dryRun")
	if err != nil {
		return err
	}
	order := RepairOrder{Stream: r.URL.Query().Get("stream"), Node: r.URL.Query().Get("node"), DryRun: dry}
	out := s.lines(w, r)
	sum, err := s.b.RepairLog(out.ctx, order, func(one nodes.Repaired) { _ = out.item(one) })
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}
