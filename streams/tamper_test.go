package streams_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// sealed reads an entry as the stream has it.
func (n *node) sealed(id domain.AccountID, seq domain.Seq) (subject string, data []byte) {
	n.t.Helper()
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		n.t.Fatal(err)
	}
	ctx := deadline(n.t)
	s, err := js.Stream(ctx, n.log.StreamOf(id))
	if err != nil {
		n.t.Fatal(err)
	}
	m, err := s.GetMsg(ctx, uint64(seq))
	if err != nil {
		n.t.Fatal(err)
	}
	return m.Subject, m.Data
}

// inject puts bytes into the log behind its back, as somebody with access to NATS could.
func (n *node) inject(subject string, data []byte) {
	n.t.Helper()
	js, err := jetstream.New(n.server.Conn())
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := js.Publish(deadline(n.t), subject, data); err != nil {
		n.t.Fatal(err)
	}
}

// TestTampering injects what an attacker with access to the stream could, and wants it found by Verify with account and transaction, and
// every reader stopped there.
func TestTampering(t *testing.T) {
	cases := []struct {
		name string
		// tamper gets a log in which alice has transactions 1 and 2, and bob has 1 to 3, and returns how many sound entries alice has.
		tamper func(n *node, alice, bob *writer)
		keys   bool // found with keys only
		want   string
	}{
		{
			name: "truncated",
			tamper: func(n *node, alice, _ *writer) {
				subject, data := n.sealed(alice.id, alice.at.Seq)
				n.inject(subject, data[:40])
			},
			want: "truncated",
		}, {
			name: "empty",
			tamper: func(n *node, alice, _ *writer) {
				subject, _ := n.sealed(alice.id, alice.at.Seq)
				n.inject(subject, nil)
			},
			want: "truncated",
		}, {
			name: "replayed",
			tamper: func(n *node, alice, _ *writer) {
				n.inject(n.sealed(alice.id, alice.at.Seq))
			},
			want: "transaction 2 is here again where 3 should be",
		}, {
			name: "of another account",
			tamper: func(n *node, alice, bob *writer) {
				subject, _ := n.sealed(alice.id, alice.at.Seq)
				_, data := n.sealed(bob.id, bob.at.Seq)
				n.inject(subject, data)
			},
			want: "does not follow the entry before it",
		}, {
			name: "one bit of the ciphertext flipped",
			tamper: func(n *node, alice, _ *writer) {
				// A sound third transaction, damaged on its way: take it from a twin of alice's log.
				subject, data := n.sealed(alice.id, alice.at.Seq)
				third := forge(data, alice.at)
				n.inject(subject, third)
			},
			keys: true,
			want: "does not open",
		}, {
			name: "unknown version",
			tamper: func(n *node, alice, _ *writer) {
				subject, data := n.sealed(alice.id, alice.at.Seq)
				data[0] = 9
				n.inject(subject, data)
			},
			want: "unknown version 9",
		}, {
			name: "left out",
			tamper: func(n *node, alice, _ *writer) {
				subject, data := n.sealed(alice.id, alice.at.Seq)
				fifth := forge(data, streams.Position{Tx: alice.at.Tx + 2, Hash: alice.at.Hash})
				n.inject(subject, fifth)
			},
			want: "transaction 5 is here where 3 should be",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := startNode(t, shards(1))
			ctx := deadline(t)
			alice, bob := n.writer(), n.writer()
			for i := range 3 {
				if i < 2 {
					alice.append("%d", i)
				}
				bob.append("%d", i)
			}
			c.tamper(n, alice, bob)

			for _, opts := range []streams.VerifyOptions{{}, {Account: alice.id}, {Keys: true}, {Keys: true, Account: alice.id}} {
				report, err := n.log.Verify(ctx, opts, nil)
				if err != nil {
					t.Fatal(err)
				}
				if c.keys && !opts.Keys {
					continue
				}
				if len(report.Findings) != 1 {
					t.Fatalf("verify %+v finds %+v", opts, report.Findings)
				}
				f := report.Findings[0]
				if f.Account != alice.id || f.Tx != 3 || f.Seq != 6 || f.Stream != "ACCOUNTS_0" || !strings.Contains(f.What, c.want) {
					t.Errorf("verify %+v finds %v, want %q", opts, &f, c.want)
				}
			}
			if report, err := n.log.Verify(ctx, streams.VerifyOptions{Keys: true, Account: bob.id}, nil); err != nil || len(report.Findings) != 0 {
				t.Errorf("the other account: %+v, %v", report, err)
			}

			seen := 0
			err := n.log.Follow(ctx, "ACCOUNTS_0", 0, func(batch []streams.Entry) error {
				seen += len(batch)
				return nil
			})
			var f *streams.Finding
			if wantKind(t, err, domain.Corrupt); !errors.As(err, &f) || f.Account != alice.id || f.Tx != 3 || f.Seq != 6 {
				t.Errorf("Follow ends with %v", err)
			}
			if seen != 5 {
				t.Errorf("Follow delivered %d entries before the damage, want 5", seen)
			}
			if notes, err := n.notes(alice.id); len(notes) != 2 || !domain.Is(err, domain.Corrupt) {
				t.Errorf("ReadAccount gives %q, %v", notes, err)
			}
			_, err = n.log.Append(ctx, alice.id, alice.at, note("over it"))
			wantKind(t, err, domain.Conflict)
		})
	}
}

// forge makes the header of an entry that follows a position, in front of a ciphertext that belongs elsewhere.
func forge(sealed []byte, after streams.Position) []byte {
	b := append([]byte(nil), sealed...)
	b[16] = byte(after.Tx + 1)
	copy(b[17:49], after.Hash[:])
	return b
}

// TestReordered swaps two entries of one account in the stream's file.
func TestReordered(t *testing.T) {
	n := startNode(t, shards(1))
	ctx := deadline(t)
	alice := n.writer()
	alice.append("first")
	alice.append("other") // of the same length
	alice.append("third")
	subject, first := n.sealed(alice.id, 1)
	_, second := n.sealed(alice.id, 2)

	// A stream with the same entries in another order is what a malicious server would serve: build it under a fresh account's subject.
	twin := n.account()
	twinSubject := strings.TrimSuffix(subject, string(alice.id)) + string(twin)
	n.inject(twinSubject, second)
	n.inject(twinSubject, first)
	report, err := n.log.Verify(ctx, streams.VerifyOptions{}, nil)
	if err != nil || len(report.Findings) != 2 {
		t.Fatalf("verify finds %+v, %v", report.Findings, err)
	}
	for i, want := range []string{"transaction 2 is here where 1 should be", "transaction 1 is here again where 3 should be"} {
		if f := report.Findings[i]; f.Account != twin || f.What != want {
			t.Errorf("finding %d is %v, want %q", i, &f, want)
		}
	}
}

// TestBitFlippedOnDisk damages the stream's file while the server is down. Whether the server notices depends on how it stopped; we must.
func TestBitFlippedOnDisk(t *testing.T) {
	for _, stop := range []string{"clean", "killed"} {
		for _, place := range []string{"sequence", "body", "end"} {
			t.Run(fmt.Sprintf("%s/%s", stop, place), func(t *testing.T) {
				n := startNode(t, shards(1))
				alice := n.writer()
				for i := range 50 {
					alice.append("entry number %d", i)
				}
				n.stop()
				if stop == "killed" { // as if the process had died: the note that it runs is still there
					if err := os.WriteFile(filepath.Join(n.dir, "log", "running"), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				block := filepath.Join(n.dir, "log", "jetstream", "$G", "streams", "ACCOUNTS_0", "msgs", "1.blk")
				content, err := os.ReadFile(block)
				if err != nil {
					t.Fatal(err)
				}
				subject := bytes.SplitN(content, []byte("accounts.0."), 26)
				record := len(content) - len(subject[25]) - len("accounts.0.") - 22 // where the 25th record begins
				at := map[string]int{"sequence": record + 4 + 6, "body": record + 280, "end": len(content) - 20}[place]
				content[at] ^= 4
				if err := os.WriteFile(block, content, 0o600); err != nil {
					t.Fatal(err)
				}

				err = n.start()
				if place != "body" || stop == "killed" { // the server would not survive it, or would cut off what follows
					if wantKind(t, err, domain.Corrupt); !strings.Contains(err.Error(), "1.blk at offset") {
						t.Errorf("refused without a place: %v", err)
					}
					if after, err := os.ReadFile(block); err != nil || !bytes.Equal(after, content) {
						t.Errorf("the refused log was changed (%v)", err)
					}
					found, err := natsd.Inspect(filepath.Join(n.dir, "log"))
					if err != nil || len(found) != 1 || found[0].Stream != "ACCOUNTS_0" || found[0].File != block {
						t.Errorf("Inspect finds %v, %v", found, err)
					}
					return
				}
				if err != nil {
					t.Fatalf("an old entry that cannot be read keeps the log from opening: %v", err)
				}
				report, err := n.log.Verify(deadline(t), streams.VerifyOptions{Keys: true}, nil)
				if err != nil || len(report.Findings) == 0 {
					t.Fatalf("verify finds %+v, %v", report, err)
				}
				for i := range report.Findings {
					t.Logf("found: %v", &report.Findings[i])
				}
				seen := 0
				err = n.log.Follow(deadline(t), "ACCOUNTS_0", 0, func(batch []streams.Entry) error {
					if seen += len(batch); n.config.Damaged && seen >= 20 {
						return errors.New("read all that is left")
					}
					return nil
				})
				if err == nil || seen >= 50 {
					t.Errorf("Follow delivered %d entries and ended with %v", seen, err)
				}
			})
		}
	}
}
