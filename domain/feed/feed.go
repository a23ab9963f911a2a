// Package feed is what other systems get to see of accounts' logs: one item for each event, as the webhooks and the event export give it.
//
// Invariants:
//   - An item says nothing of what a message says: no field of its header, no text, no name of a file, and no script, vacation or annotation of a user.
//     Only Content lets those through. Keys and verifiers never leave, with it or without.
//   - An item's ID, account/Tx/index, is the same whenever the event is given again, so receivers can drop doubles by it.
//   - The form is versioned: members are only added within a Version.
package feed

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Version is that of the form of items.
const Version = 1

// Item is one event. Its JSON has the members that the Standard Webhooks specification recommends (type, timestamp, data), and where the event stands.
type Item struct {
	Version   int              `json:"version"`
	ID        string           `json:"id"` // account/Tx/index
	Type      string           `json:"type"`
	Timestamp time.Time        `json:"timestamp"` // when it was decided, to the millisecond
	Account   domain.AccountID `json:"account"`   // "directory" for what concerns the installation
	Address   string           `json:"address,omitempty"`
	Tx        domain.Tx        `json:"tx"`
	Stream    string           `json:"stream"`
	Seq       domain.Seq       `json:"seq"`
	Index     int              `json:"index"` // of the event in its transaction, from 0
	Actor     string           `json:"actor,omitempty"`
	Data      json.RawMessage  `json:"data"`
}

// Place is where a transaction stands.
type Place struct {
	Account domain.AccountID
	Address string // of the account now; empty when it has none
	Stream  string
	Seq     domain.Seq
	Tx      domain.Tx
}

// Selection says which events are given. The zero Selection gives all of them.
type Selection struct {
	Kinds    []string // patterns of event names, an asterisk standing for anything: MessageAdded, Mailbox*
	Accounts []string // ids or addresses
	Domains  []string // of accounts' addresses, in lower case
	Content  bool     // also what messages, scripts, vacations and annotations say
}

// Check finds patterns that fit no event. Errors: domain.Invalid.
func (s *Selection) Check() error {
	names := event.Names()
	for _, pattern := range s.Kinds {
		if !slices.ContainsFunc(names, func(name string) bool { return fits(pattern, name) }) {
			return domain.Errorf(domain.Invalid, "no event is named %q: log show tells the names, such as MessageAdded or Mailbox*", pattern)
		}
	}
	return nil
}

func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// Directory reports whether events of the directory can be among those that are given.
func (s *Selection) Directory() bool {
	return slices.ContainsFunc(event.DirectoryNames(), s.kind)
}

func (s *Selection) kind(name string) bool {
	return len(s.Kinds) == 0 || slices.ContainsFunc(s.Kinds, func(pattern string) bool { return fits(pattern, name) })
}

// Named reports whether accounts are selected by address, so that a Place needs one.
func (s *Selection) Named() bool { return len(s.Accounts)+len(s.Domains) > 0 }

func (s *Selection) covers(id domain.AccountID, address string) bool {
	if !s.Named() {
		return true
	}
	address = strings.ToLower(address)
	if slices.ContainsFunc(s.Accounts, func(a string) bool { return a == string(id) || address != "" && strings.EqualFold(a, address) }) {
		return true
	}
	at := strings.LastIndexByte(address, '@')
	return at >= 0 && slices.Contains(s.Domains, address[at+1:])
}

// Items gives the selected events of a transaction, in order. lookup finds the present address of an account that an event of the directory is about; it
// gives an empty one for what is gone.
func (s *Selection) Items(at Place, t *event.Transaction, lookup func(domain.AccountID) string) ([]Item, error) {
	var items []Item
	for i, e := range t.Events {
		name := event.Name(e)
		if !s.kind(name) {
			continue
		}
		id, address := at.Account, at.Address
		if id == domain.DirectoryID {
			if id, address = about(e); address == "" && id != "" {
				address = lookup(id)
			}
		}
		if !s.covers(id, address) {
			continue
		}
		data, err := s.data(name, e)
		if err != nil {
			return nil, domain.Wrap(domain.Internal, err, "show an event")
		}
		items = append(items, Item{
			Version: Version, ID: fmt.Sprintf("%s/%d/%d", at.Account, at.Tx, i), Type: name, Timestamp: time.UnixMilli(t.At).UTC(), Account: at.Account, Address: strings.TrimPrefix(address, "@"),
			Tx: at.Tx, Stream: at.Stream, Seq: at.Seq, Index: i, Actor: t.Actor, Data: data,
		})
	}
	return items, nil
}

// about tells whom an event of the directory is about: an account, an address, or "@" and a domain.
func about(e event.Event) (id domain.AccountID, address string) {
	switch e := e.(type) {
	case *event.AccountAdded:
		return e.Account, e.Address
	case *event.AccountDisabled:
		return e.Account, ""
	case *event.AccountShared:
		return e.Account, ""
	case *event.AccountErased:
		return e.Account, ""
	case *event.AddressAdded:
		return e.Account, e.Address
	case *event.AddressRemoved:
		return "", e.Address
	case *event.PasswordChanged:
		return e.Account, ""
	case *event.AppPasswordAdded:
		return e.Account, ""
	case *event.AppPasswordRemoved:
		return e.Account, ""
	case *event.ReplicaPlaced:
		return e.Account, ""
	case *event.ReplicaRemoved:
		return e.Account, ""
	case *event.ReplicaPaused:
		return e.Account, ""
	case *event.MappingAdded:
		return "", e.Source
	case *event.MappingRemoved:
		return "", e.Source
	case *event.DomainAdded:
		return "", "@" + e.Name
	case *event.DomainRemoved:
		return "", "@" + e.Name
	case *event.DKIMKeyAdded:
		return "", "@" + e.Domain
	case *event.DKIMKeyActivated:
		return "", "@" + e.Domain
	case *event.DKIMKeyRetired:
		return "", "@" + e.Domain
	case *event.DKIMKeyRemoved:
		return "", "@" + e.Domain
	}
	return "", ""
}

// withheld are the members of events that only Content lets through: what messages say, and what users wrote. A mark's name may be an address or a
// Message-ID.
var withheld = map[string][]string{
	"MessageAdded": {"summary"}, "MessageRestored": {"summary"}, "SieveScriptStored": {"content"}, "VacationSet": {"subject", "text", "html"},
	"MetadataChanged": {"value"}, "MarkSet": {"name"},
}

// data is the human view of an event without its type.
func (s *Selection) data(name string, e event.Event) (json.RawMessage, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	hidden := withheld[name]
	arrived := event.Arrival(e)
	if arrived == nil && (len(hidden) == 0 || s.Content) {
		return text, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	if !s.Content {
		for _, member := range hidden {
			delete(members, member)
		}
	}
	if arrived != nil { // without the mask of its key
		members["blob"] = fmt.Appendf(nil, `{"id":%q,"size":%d}`, arrived.Blob.ID, arrived.Blob.Size)
	}
	return json.Marshal(members)
}
