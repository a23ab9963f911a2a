package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/dns/dnstest"
)

// TestWhatCannotBeVerifiedWaits: mail for a domain whose policy is known, or whose certificates are kept back, stays in the queue and says why.
func TestWhatCannotBeVerifiedWaits(t *testing.T) {
	t.Parallel()
	names := dnstest.Start(t, "example.net. MX 10 mx.example.net.", "mx.example.net. A 192.0.2.1", "example.com. MX 10 mx.example.com.", "mx.example.com. A 192.0.2.2")
	names.Sign("example.net")
	names.Let("_25._tcp.mx.example.net", dnstest.ServFail)
	s := idleServer(t)
	s.flags = []string{"--set", "hostname=mail.example.org", "--set", "outbound.resolvers=" + names.Addr, "--set", "outbound.tls_reports=mail"}
	s.start("")
	s.kill(syscall.SIGTERM)
	if _, err := os.Stat(filepath.Join(s.data, "mta-sts.json")); !os.IsNotExist(err) {
		t.Errorf("a policy is known: %v", err)
	}
	policy := `{"example.com":{"id":"1","policy":{"mode":"enforce","mx":["other.example.com"],"maxAge":604800000000000},"fetched":"` + time.Now().UTC().Format(time.RFC3339) + `"}}`
	if err := os.WriteFile(filepath.Join(s.data, "mta-sts.json"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start("")
	if !submit(s.addr(1587), "guarded", "bob@example.net", "carol@example.com") {
		t.Fatal("the server does not take a message")
	}
	var out string
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out = s.run("queue", "list", "--json")
		if strings.Contains(out, "which certificate mx.example.net has to have") && strings.Contains(out, "the host mx.example.com is none of those that the policy of example.com") {
			break
		}
	}
	if !strings.Contains(out, "which certificate mx.example.net has to have") || !strings.Contains(out, "the host mx.example.com is none of those that the policy of example.com") {
		t.Errorf("%s", out)
	}
	s.kill(syscall.SIGTERM)
	counts, err := os.ReadFile(filepath.Join(s.data, "tls-reports.json"))
	if err != nil || !strings.Contains(string(counts), "dnssec-invalid") || !strings.Contains(string(counts), "validation-failure") {
		t.Errorf("the node has not kept how TLS went: %s, %v", counts, err)
	}
}
