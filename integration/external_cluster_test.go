package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/integration/ports"
)

// startCluster starts a cluster of three servers with JetStream.
func startCluster(t testing.TB) []*natsProcess {
	t.Helper()
	var all []*natsProcess
	var routes []string
	var routed [3]int // ports
	for i := range routed {
		routed[i] = ports.Free(t)
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", routed[i]))
	}
	for i, port := range routed {
		n := newNATS(t, fmt.Sprintf("cluster { name: mail, listen: \"127.0.0.1:%d\", routes: [%s] }", port, strings.Join(routes, ", ")))
		n.name, n.dir = fmt.Sprintf("outside-%d", i+1), disk(t, i)
		n.launch()
		all = append(all, n)
	}
	for _, n := range all {
		n.ready("?js-meta-only=true")
	}
	return all
}

// clusterFlags make a Streampost keep its log and its blobs in a cluster, three times.
func clusterFlags(all []*natsProcess) []string {
	var urls, monitors []string
	for _, n := range all {
		urls, monitors = append(urls, n.url()), append(monitors, n.address())
	}
	return append(settings("url="+strings.Join(urls, ","), "monitor="+strings.Join(monitors, ","), "replicas=3", "shards=1"), "--set", "blobs.kind=jetstream")
}

// leader finds the server that leads a stream, by what the servers say of themselves.
func leader(t testing.TB, all []*natsProcess, stream string) *natsProcess {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, n := range all {
			answer, err := http.Get(n.address() + "/jsz?accounts=true&streams=true")
			if err != nil {
				continue
			}
			var said struct {
				Accounts []struct {
					Streams []struct {
						Name    string
						Cluster struct{ Leader string }
					} `json:"stream_detail"`
				} `json:"account_details"`
			}
			err = json.NewDecoder(answer.Body).Decode(&said)
			_ = answer.Body.Close()
			if err != nil {
				continue
			}
			for _, a := range said.Accounts {
				for _, s := range a.Streams {
					if s.Name == stream && s.Cluster.Leader == n.name {
						return n
					}
				}
			}
		}
	}
	t.Fatalf("nobody leads %s", stream)
	return nil
}

// TestExternalNATSCluster keeps three copies of the log and kills or stops whoever leads an account's stream while eight connections deliver. Two of three
// servers go on by themselves, and nothing that was acknowledged is lost; a server that comes back catches up.
func TestExternalNATSCluster(t *testing.T) {
	waits(t)
	rounds := 4
	all := startCluster(t)
	t.Run("one server is not told of", func(t *testing.T) {
		flags := append(clusterFlags(all), settings(fmt.Sprintf("monitor=%s,%s", all[0].address(), all[1].address()))...)
		if out := refuses(t, flags...); !strings.Contains(out, "2 of the 3 servers with JetStream in the cluster are known") {
			t.Errorf("the server says\n%s", out)
		}
	})
	t.Run("blobs in a directory of one node", func(t *testing.T) {
		flags := append(clusterFlags(all), append(settings("replicas=1"), "--set", "blobs.kind=directory")...)
		if out := refuses(t, flags...); !strings.Contains(out, `NATS cluster "mail"`) || !strings.Contains(out, "set blobs.kind to jetstream") || !strings.Contains(out, "blobs.one_node") {
			t.Errorf("the server says\n%s", out)
		}
	})
	s := external(t, clusterFlags(all)...)
	s.start("")
	if got := s.run("doctor"); strings.Count(got, "sync_interval: always") != 3 {
		t.Errorf("doctor says\n%s", got)
	}
	load := s.load()
	for n := range rounds {
		load.wait(50)
		victim := leader(t, all, "ACCOUNTS_0")
		began := time.Now()
		if n%2 == 0 {
			victim.kill()
		} else {
			victim.signal(syscall.SIGSTOP)
		}
		load.wait(50) // with two of three
		t.Logf("without %s, 50 messages were accepted within %v", victim.name, time.Since(began).Round(time.Millisecond))
		if n%2 == 0 {
			victim.launch()
		} else {
			victim.signal(syscall.SIGCONT)
		}
		for _, n := range all {
			n.ready("")
		}
	}
	load.wait(50)
	load.end()
	s.kill(syscall.SIGTERM)
	s.start("")
	s.accepts("afterwards")
	s.kill(syscall.SIGTERM)
	t.Run("with another number of replicas", func(t *testing.T) {
		out, err := s.tryWith(nil, append([]string{"log", "verify"}, append(slices.Clone(s.flags), "--set", "streams.replicas=1")...)...)
		if err == nil || !strings.Contains(out, "has replicas 3, but must have 1") {
			t.Errorf("the command says %v\n%s", err, out)
		}
	})
	s.start("")
	s.subjects("afterwards")
	s.clean()
}

// TestListenersOutliveLeaders kills and stops whoever leads the stream that a listener reads, and whoever leads Watermill's.
func TestListenersOutliveLeaders(t *testing.T) {
	waits(t)
	all := startCluster(t)
	var urls []string
	for _, n := range all {
		urls = append(urls, n.url())
	}
	r := newReaders(t, strings.Join(urls, ","), 3)
	for range 20 {
		r.work("in peace")
	}
	r.caughtUp("in peace")
	for _, stream := range []string{"mail_ACCOUNTS_0", "mail_TOPIC_notices", "mail_ACCOUNTS_1"} {
		victim := leader(t, all, stream)
		victim.kill()
		r.work("without " + stream + "'s leader")
		r.caughtUp("without " + stream + "'s leader")
		victim.launch()
		r.work("while it catches up")
		for _, n := range all {
			n.ready("")
		}
	}
	victim := leader(t, all, "mail_ACCOUNTS_0")
	victim.signal(syscall.SIGSTOP)
	r.work("while the leader is stopped")
	r.caughtUp("while the leader is stopped")
	victim.signal(syscall.SIGCONT)
	r.work("at the end")
	r.caughtUp("at the end")
	r.whole()
}
