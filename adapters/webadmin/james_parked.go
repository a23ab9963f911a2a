package webadmin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/parking"
)

// JamesPath is a repository's name as James writes it.
func JamesPath(name string) string { return "var/mail/" + name }

type jamesRepository struct {
	Repository string `json:"repository"`
	Path       string `json:"path"`
}

type jamesRepositorySize struct {
	jamesRepository
	Size int `json:"size"`
}

// jamesParked is a mail as James shows it. The last five are there if they are asked for.
type jamesParked struct {
	Name        string              `json:"name"`
	Sender      string              `json:"sender"`
	Recipients  []string            `json:"recipients"`
	State       string              `json:"state"`
	Error       string              `json:"error"`
	RemoteHost  string              `json:"remoteHost"`
	RemoteAddr  string              `json:"remoteAddr"`
	LastUpdated string              `json:"lastUpdated"`
	Attributes  map[string]string   `json:"attributes,omitempty"`
	PerHeaders  map[string]any      `json:"perRecipientsHeaders,omitempty"`
	Headers     map[string][]string `json:"headers,omitempty"`
	TextBody    *string             `json:"textBody,omitempty"`
	HTMLBody    *string             `json:"htmlBody,omitempty"`
	MessageSize *int64              `json:"messageSize,omitempty"`
}

type jamesMove struct {
	MailRepository string `json:"mailRepository"`
}

var jamesParkedFilter = []Query{
	{"limit", "At most so many; all if absent, 100,000 at most"}, {"offset", "Pass over so many"}, {"updatedBefore", "Only those that were parked longer ago, such as 2h"}, {"updatedAfter", "Only those that were parked since"},
	{"sender", "Only from this address"}, {"recipient", "Only to this address"}, {"remoteAddress", "Only those that came from this address"}, {"remoteHost", "Only those that came from this host"},
}

var jamesReprocess = []Query{{"action", "reprocess; absent: the body says where to move to"}, {"queue", "spool"}, {"processor", "Where to begin"}, {"consume", "false: a copy is processed, and the mail stays"}}

func (s *Server) jamesRepositories(w http.ResponseWriter, _ *http.Request) error {
	lots, err := s.lots()
	if err != nil {
		return err
	}
	all := []jamesRepository{}
	for _, r := range lots.Repositories() {
		all = append(all, ofJames(r.Name))
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// ofJames is how James names a repository: by its path, and by its path as it stands in addresses.
func ofJames(name string) jamesRepository {
	return jamesRepository{JamesPath(name), strings.ReplaceAll(JamesPath(name), "/", "%2F")}
}

func (s *Server) jamesMakeRepository(w http.ResponseWriter, r *http.Request) error {
	if _, _, _, err := s.parkedAt(r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) jamesRepository(w http.ResponseWriter, r *http.Request) error {
	_, at, _, err := s.parkedAt(r)
	if err == nil {
		writeJSON(w, http.StatusOK, jamesRepositorySize{ofJames(at.Name), at.Size})
	}
	return err
}

func (s *Server) jamesParkedMails(w http.ResponseWriter, r *http.Request) error {
	lots, at, _, err := s.parkedAt(r)
	if err != nil {
		return err
	}
	f, err := s.parkedFilterOf(r, "updatedBefore", "updatedAfter")
	if err != nil {
		return err
	}
	offset, err := number(r, "offset", 0)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", jamesMost)
	if err == nil && limit == 0 {
		err = domain.Errorf(domain.Invalid, "limit must be greater than 0")
	}
	if err != nil {
		return err
	}
	page, err := lots.List(at.Name, &f, 0, int(min(offset, 1<<30)), int(min(limit, jamesMost)))
	if err != nil {
		return err
	}
	keys := []string{}
	for _, m := range page.Messages {
		keys = append(keys, m.Key.String())
	}
	writeJSON(w, http.StatusOK, keys)
	return nil
}

func (s *Server) jamesParkedMail(w http.ResponseWriter, r *http.Request) error {
	lots, e, err := s.parkedEntry(r)
	if err != nil {
		return err
	}
	if strings.Contains(r.Header.Get("Accept"), messageType) {
		return s.sendParked(w, r, lots, e)
	}
	m := jamesParked{
		Name: e.ID.String(), Sender: e.Sender, Recipients: []string{}, State: e.Parking.Processor, Error: e.Error, RemoteHost: e.Parking.RemoteHost, RemoteAddr: e.Parking.RemoteAddress,
		LastUpdated: time.UnixMilli(e.Parking.Last).UTC().Format(time.RFC3339Nano),
	}
	for _, to := range e.Recipients {
		m.Recipients = append(m.Recipients, to.Address)
	}
	for field := range strings.SplitSeq(r.URL.Query().Get("additionalFields"), ",") {
		if err := s.addParkedField(r.Context(), lots, e, &m, field); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, m)
	return nil
}

// addParkedField adds what James calls an additional field.
func (s *Server) addParkedField(ctx context.Context, lots Parked, e *queue.Entry, m *jamesParked, field string) error {
	switch field {
	case "":
	case "attributes":
		m.Attributes = e.Attributes
	case "perRecipientsHeaders": // there are none
		m.PerHeaders = map[string]any{}
	case "messageSize":
		size := e.Size()
		m.MessageSize = &size
	case "headers":
		text, err := parkedHeader(ctx, lots, e)
		if err != nil {
			return err
		}
		m.Headers = headerFields(string(text))
	case "textBody", "htmlBody":
		text, html, err := s.parkedTexts(ctx, lots, e)
		if err != nil {
			return err
		}
		m.TextBody, m.HTMLBody = text, html
	default:
		return domain.Errorf(domain.Invalid, "%q is not one of attributes, headers, textBody, htmlBody, messageSize and perRecipientsHeaders", field)
	}
	return nil
}

// headerFields reads a header: names as they are, and unfolded values.
func headerFields(text string) map[string][]string {
	fields := map[string][]string{}
	for name, value := range pipeline.Fields(text, nil) {
		name = strings.ToValidUTF8(name, "\ufffd")
		fields[name] = append(fields[name], strings.ToValidUTF8(value, "\ufffd"))
	}
	return fields
}

func (s *Server) jamesDeleteParked(w http.ResponseWriter, r *http.Request) error {
	lots, at, key, err := s.parkedAt(r)
	if err != nil {
		return err
	}
	if _, err := lots.Delete(r.Context(), &parking.Order{Repository: at.Name, Filter: queue.Filter{IDs: []queue.ID{key}}, By: actor}, nil); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) jamesClearParked(w http.ResponseWriter, r *http.Request) error {
	_, at, _, err := s.parkedAt(r)
	if err != nil {
		return err
	}
	return s.submit(w, r, TaskParkedClear, parking.Order{Repository: at.Name})
}

func (s *Server) jamesPatchParked(w http.ResponseWriter, r *http.Request) error {
	lots, at, key, err := s.parkedAt(r)
	if err != nil {
		return err
	}
	o, kind := parking.Order{Repository: at.Name, By: actor}, TaskReprocessAll
	if key != 0 {
		o.Filter.IDs, kind = []queue.ID{key}, TaskReprocessOne
		if _, err := lots.Entry(r.Context(), at.Name, key); err != nil {
			return err
		}
	}
	p := r.URL.Query()
	switch action := p.Get("action"); action {
	case "reprocess":
	case "":
		var body jamesMove
		if err := readJSON(r, &body); err != nil {
			return err
		}
		o.To = body.MailRepository
		if _, err := lots.Move(r.Context(), &o, nil); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return domain.Errorf(domain.Invalid, "action=%q is not one of those supported: reprocess", action)
	}
	switch target := p.Get("queue"); target {
	case "", string(queue.Spool):
		o.Processor = p.Get("processor")
	case QueueName:
		o.Processor = pipeline.Relay
	default:
		return domain.Errorf(domain.Invalid, "there is no queue %q: those of parked mail are spool and %s", target, QueueName)
	}
	if text := p.Get("consume"); text != "" {
		consume, err := strconv.ParseBool(text)
		if err != nil {
			return domain.Errorf(domain.Invalid, "consume is true or false, not %q", text)
		}
		o.Keep = !consume
	}
	for name, to := range map[string]*int{"limit": &o.Limit, "maxRetries": &o.Filter.MaxTimes} {
		n, err := number(r, name, 0)
		if err == nil && n == 0 && p.Get(name) != "" {
			err = domain.Errorf(domain.Invalid, "%s must be greater than 0", name)
		}
		if err != nil {
			return err
		}
		*to = int(min(n, 1<<30))
	}
	return s.submit(w, r, kind, o)
}
