// Package tikatest is a double of an Apache Tika server for tests: PUT /tika as the server of Tika 2 and 3 answers it, and its troubles.
package tikatest

import (
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// File is what the double was sent.
type File struct{ Type, Name, Content string }

// Server is the double. It knows one format: a file that begins with TEXT:, the rest of which is its text.
type Server struct {
	URL string

	mu    sync.Mutex
	files []File
	fault func(w http.ResponseWriter, r *http.Request) bool
}

// New starts a Server that ends with the test.
func New(t testing.TB) *Server {
	s := new(Server)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Fault has f answer requests instead, as long as it returns true; nil ends that.
func (s *Server) Fault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Status answers every request with a status.
func Status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
}

// Hang answers nothing until the client goes away.
func Hang(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }

// Files tells what was sent so far.
func (s *Server) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.files)
}

// ServeHTTP is of http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body)
	_, disposition, _ := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
	s.mu.Lock()
	s.files = append(s.files, File{r.Header.Get("Content-Type"), disposition["filename"], string(content)})
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	text, known := strings.CutPrefix(string(content), "TEXT:")
	switch {
	case r.URL.Path != "/tika":
		w.WriteHeader(http.StatusNotFound)
	case r.Method != http.MethodPut:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !strings.HasPrefix(r.Header.Get("Accept"), "text/plain"):
		w.WriteHeader(http.StatusNotAcceptable)
	case r.Header.Get("Content-Type") == "application/x-unknown":
		w.WriteHeader(http.StatusUnsupportedMediaType)
	case !known: // damaged, or locked with a password
		w.WriteHeader(http.StatusUnprocessableEntity)
	case text == "":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
		_, _ = io.WriteString(w, "\n"+text+"\n")
	}
}
