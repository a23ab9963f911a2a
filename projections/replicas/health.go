package replicas

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
)

// Health is what a node can reach of what a replica on it needs.
type Health struct {
	Node    string `json:"node"`
	Witness bool   `json:"witness,omitempty"` // it keeps the log only
	// Answers is false when the node does not, and then nothing else is known.
	Answers bool   `json:"answers"`
	Error   string `json:"error,omitempty"`
	Log     Reach  `json:"log"`
	Blobs   Reach  `json:"blobs"`
	Keys    Reach  `json:"keys"`
}

// Reach is the outcome of one look.
type Reach struct {
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Found   string  `json:"found,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// OK tells whether a replica on the node has all that it needs. A witness needs nothing.
func (h *Health) OK() bool { return h.Answers && (h.Witness || h.Log.OK && h.Blobs.OK && h.Keys.OK) }

// Test has every node look whether it reaches the log, the blobs and the keys. Nodes that do not answer are among the answers. Keys that are not those of
// most nodes count as not reached. Errors: domain.Unavailable.
func (r *Replicas) Test(ctx context.Context) ([]Health, error) {
	members, there := r.cfg.Members()
	heard := map[string]Health{}
	err := r.cfg.Nodes.Ask(ctx, askHealth, struct{}{}, len(there), func(node string, said json.RawMessage, failure string) {
		h := Health{Error: failure}
		if failure == "" {
			if err := json.Unmarshal(said, &h); err != nil {
				h.Error = err.Error()
			}
		}
		h.Node, h.Answers = node, h.Error == ""
		heard[node] = h
	})
	if err != nil {
		return nil, err
	}
	var all []Health
	keys := map[string]int{}
	for _, node := range members {
		h, answers := heard[node]
		if !answers {
			h = Health{Node: node, Error: "it does not answer"}
		}
		if h.Keys.OK {
			keys[h.Keys.Found]++
		}
		all = append(all, h)
	}
	most := ""
	for found, n := range keys {
		if n > keys[most] {
			most = found
		}
	}
	for i := range all {
		if k := &all[i].Keys; k.OK && keys[k.Found] < keys[most] {
			k.OK, k.Error = false, "most other nodes have "+most
		}
	}
	slices.SortFunc(all, func(a, b Health) int { return strings.Compare(a.Node, b.Node) })
	return all, nil
}
