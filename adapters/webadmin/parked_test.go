package webadmin_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/queue/queuetest"
	"github.com/streampost/streampost/projections/parking"
)

const parkedBlob = "Return-Path: <>\r\nSubject: hello\r\n\r\nHello.\r\n"

type parkedBlobs struct{}

func (parkedBlobs) Open(_ context.Context, _ domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(parkedBlob[off : off+n])), nil
}

// TestParkedMessagesAreGiven as they would travel: with what is put in front of them, to their end.
func TestParkedMessagesAreGiven(t *testing.T) {
	lots, err := parking.New(parking.Config{Queue: queuetest.New(), Blobs: parkedBlobs{}, Node: "mail1"})
	if err != nil {
		t.Fatal(err)
	}
	const head = "Delivered-To: team@example.org\r\n"
	e := &queue.Entry{Head: head, Skip: int64(len("Return-Path: <>\r\n")), Blob: queue.Blob{BlobRef: domain.BlobRef{Size: int64(len(parkedBlob))}}}
	key, err := lots.Park(t.Context(), "error", e, parking.Cause{Code: "loop"})
	if err != nil {
		t.Fatal(err)
	}
	door, err := webadmin.New(webadmin.Config{
		Tokens: webadmin.Tokens{All: token}, Logger: slog.New(slog.DiscardHandler), Backend: webadmin.Backend{Metrics: http.NotFoundHandler(), Parked: func() webadmin.Parked { return lots }},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(door)
	defer s.Close()
	for _, c := range []struct{ path, accept string }{{"/v1/parked/error/messages/" + key.String() + "/message", "*/*"}, {"/mailRepositories/error/mails/" + key.String(), "message/rfc822"}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Accept", c.accept)
		answer, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if want := head + "Subject: hello\r\n\r\nHello.\r\n"; err != nil || string(text) != want || answer.ContentLength != int64(len(want)) {
			t.Errorf("%s: %d octets, %q, %v", c.path, answer.ContentLength, text, err)
		}
	}
}
