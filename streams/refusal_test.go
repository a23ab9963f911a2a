package streams

import (
	"errors"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// TestRefusal: which answers of a server end an append, and which only ask for patience.
func TestRefusal(t *testing.T) {
	answer := func(code, kind int, text string) error {
		return &jetstream.APIError{Code: code, ErrorCode: jetstream.ErrorCode(kind), Description: text}
	}
	for name, c := range map[string]struct {
		cause error
		ends  bool
		full  bool
	}{
		"no answer":                       {nats.ErrTimeout, false, false},
		"the subject stands elsewhere":    {answer(400, 10071, "wrong last sequence: 7"), false, false},
		"another message is in flight":    {answer(400, 10164, "wrong last sequence"), false, false},
		"the leader is not ready":         {answer(503, 10163, "expected last sequence per subject temporarily unavailable"), false, false},
		"JetStream is starting":           {answer(503, 10008, "JetStream system temporarily unavailable"), false, false},
		"somebody else leads":             {answer(500, 10009, "JetStream cluster can not handle request"), false, false},
		"the server is closing":           {answer(503, 10077, "store is closed"), false, false},
		"the disk is full":                {answer(503, 10077, "write: no space left on device"), true, true},
		"the account has no room":         {answer(400, 10002, "resource limits exceeded for account"), true, true},
		"the server has no room":          {answer(503, 10023, "insufficient resources"), true, true},
		"the stream is sealed":            {answer(400, 10109, "invalid operation on sealed stream"), true, false},
		"the stream takes short messages": {answer(400, 10054, "message size exceeds maximum allowed"), true, false},
	} {
		err := refusal(c.cause)
		if (err != nil) != c.ends || errors.Is(err, syscall.ENOSPC) != c.full || c.ends && !domain.Is(err, domain.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPassing: a server that will answer otherwise soon has not said that an entry is missing.
func TestPassing(t *testing.T) {
	for _, c := range []struct {
		code, kind int
		want       bool
	}{{503, 10008, true}, {500, 10009, true}, {500, 10118, true}, {404, 10037, false}, {404, 10059, false}} {
		if got := passing(&jetstream.APIError{Code: c.code, ErrorCode: jetstream.ErrorCode(c.kind)}); got != c.want {
			t.Errorf("%d: %v", c.kind, got)
		}
	}
	if passing(nats.ErrTimeout) {
		t.Error("a server that says nothing is taken for one that does")
	}
}
