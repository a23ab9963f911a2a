package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/adapters/gate"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/metrics"
)

// TestDoctorLooksAtLists by the addresses of which each has one and not the other.
func TestDoctorLooksAtLists(t *testing.T) {
	server := dnstest.Start(t, "2.0.0.127.bl.example. A 127.0.0.2", "2.0.0.127.all.example. A 127.0.0.2", "1.0.0.127.all.example. A 127.0.0.2")
	cfg := config.Default()
	cfg.Outbound.Resolvers = []string{server.Addr}
	c := &core{cfg: &cfg, log: slog.New(slog.DiscardHandler), metrics: metrics.New()}
	if found := c.doctorLists(t.Context()); found != nil {
		t.Errorf("%v", found)
	}
	cfg.SMTP.Lists.Zones = []string{"bl.example score=60 answer=127.0.0.0/24", "all.example", "none.example"}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	found := c.doctorLists(t.Context())
	for i, want := range []string{"ok bl.example lists what it should", "warning all.example: it lists 127.0.0.1", "warning none.example: it does not list 127.0.0.2"} {
		if got := found[i].Status + " " + found[i].Found; !strings.HasPrefix(got, want) || found[i].Status != "ok" && found[i].Hint == "" {
			t.Errorf("%+v", found[i])
		}
	}
	lists, err := dnsLists(cfg.SMTP.Lists.Zones)
	if err != nil || lists[0].Score != 60 || !lists[0].Counts([4]byte{127, 0, 0, 255}) || lists[0].Counts([4]byte{127, 0, 1, 0}) || lists[1].Score != 100 {
		t.Errorf("%+v %v", lists, err)
	}
	cfg.SMTP.Lists.Zones = []string{"bl.example so"}
	if _, err := c.gate(gate.Rates{}, nil, nil); err == nil {
		t.Error("a list that cannot be read is taken")
	}
}
