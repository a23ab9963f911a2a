package webadmin

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/streampost/streampost/domain"
)

// Error is the body of every answer that is not a success.
type Error struct {
	StatusCode int    `json:"statusCode"`
	Type       string `json:"type"`
	Message    string `json:"message"`
	Cause      string `json:"cause,omitempty"`
	Hint       string `json:"hint,omitempty"`
}

func (e *Error) Error() string {
	text := e.Message
	if e.Cause != "" {
		text += ": " + e.Cause
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// statuses is the one table from an error's kind to what REST answers.
var statuses = map[domain.Kind]struct {
	code int
	name string
}{
	domain.Internal:    {http.StatusInternalServerError, "ServerError"},
	domain.Invalid:     {http.StatusBadRequest, "InvalidArgument"},
	domain.NotFound:    {http.StatusNotFound, "notFound"},
	domain.Exists:      {http.StatusConflict, "WrongState"},
	domain.Denied:      {http.StatusForbidden, "forbidden"},
	domain.OverQuota:   {http.StatusInsufficientStorage, "overQuota"},
	domain.TooLarge:    {http.StatusRequestEntityTooLarge, "tooLarge"},
	domain.Conflict:    {http.StatusConflict, "conflict"},
	domain.Unavailable: {http.StatusServiceUnavailable, "unavailable"},
	domain.Corrupt:     {http.StatusInternalServerError, "corrupt"},
	domain.Erased:      {http.StatusGone, "erased"},
}

// errorOf gives the answer for an error. Operators may see the cause; an error that nobody classified shows only an id, and logged is true:
// the caller logs it with that id.
func errorOf(err error) (answer Error, id string) {
	var tooBig *http.MaxBytesError
	var known *domain.Error
	switch {
	case errors.As(err, &tooBig):
		err = domain.Errorf(domain.TooLarge, "the request body may have at most %d octets", tooBig.Limit)
		errors.As(err, &known)
	case !errors.As(err, &known) || known.Kind == domain.Internal:
		id = rand.Text()[:8]
		return Error{StatusCode: http.StatusInternalServerError, Type: "ServerError", Message: "internal error [" + id + "]", Hint: "the server's log has the cause under this id"}, id
	}
	status := statuses[known.Kind]
	answer = Error{StatusCode: status.code, Type: status.name, Message: known.Msg, Hint: known.Hint}
	if known.Err != nil {
		answer.Cause = known.Err.Error()
	}
	return answer, ""
}

// fail answers with an error and logs what the answer does not show.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	writeError(w, s.explain(r, err))
}

func (s *Server) explain(r *http.Request, err error) Error {
	answer, id := errorOf(err)
	if id != "" && r.Context().Err() == nil {
		s.log.Error("admin request failed", "id", id, "method", r.Method, "path", r.URL.Path, "err", err)
	}
	return answer
}

func writeError(w http.ResponseWriter, e Error) { writeJSON(w, e.StatusCode, e) }

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"statusCode":500,"type":"ServerError","message":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that went away hears nothing
}

// readJSON reads a request body strictly.
func readJSON(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil { // RFC 8259 section 2: a JSON text is one value.
		if _, err = dec.Token(); err == io.EOF {
			return nil
		}
		err = cmp.Or(err, errors.New("something follows the value"))
	}
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return err
		}
		return domain.Wrap(domain.Invalid, err, "the body is not the JSON that this route wants")
	}
	return nil
}
