package event

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// kinds lists every event by its field number in message Event of transaction.proto. Numbers are for ever.
// 1-99 change an account, 100-199 the directory, 200-299 the tasks.
var kinds = map[uint32]func() Event{
	1:   func() Event { return new(MailboxCreated) },
	2:   func() Event { return new(MailboxRenamed) },
	3:   func() Event { return new(MailboxDeleted) },
	4:   func() Event { return new(SpecialUseChanged) },
	5:   func() Event { return new(SubscriptionChanged) },
	6:   func() Event { return new(KeywordCreated) },
	7:   func() Event { return new(LimitsChanged) },
	8:   func() Event { return new(MetadataChanged) },
	9:   func() Event { return new(AccessKeysReset) },
	10:  func() Event { return new(MessageAdded) },
	11:  func() Event { return new(MessagesCopied) },
	12:  func() Event { return new(MessagesMoved) },
	13:  func() Event { return new(FlagsChanged) },
	14:  func() Event { return new(MessagesExpunged) },
	15:  func() Event { return new(RightsChanged) },
	16:  func() Event { return new(Promoted) },
	17:  func() Event { return new(SieveScriptStored) },
	18:  func() Event { return new(SieveScriptRenamed) },
	19:  func() Event { return new(SieveScriptDeleted) },
	20:  func() Event { return new(MessageRestored) },
	21:  func() Event { return new(MessagesPurged) },
	22:  func() Event { return new(SieveScriptActivated) },
	23:  func() Event { return new(MarkSet) },
	24:  func() Event { return new(VacationSet) },
	100: func() Event { return new(DomainAdded) },
	101: func() Event { return new(DomainRemoved) },
	102: func() Event { return new(AccountAdded) },
	103: func() Event { return new(AccountDisabled) },
	104: func() Event { return new(AccountErased) },
	105: func() Event { return new(AddressAdded) },
	106: func() Event { return new(AddressRemoved) },
	107: func() Event { return new(PasswordChanged) },
	108: func() Event { return new(AppPasswordAdded) },
	109: func() Event { return new(AppPasswordRemoved) },
	110: func() Event { return new(AccountShared) },
	111: func() Event { return new(ReplicaPlaced) },
	112: func() Event { return new(ReplicaRemoved) },
	113: func() Event { return new(ReplicaPaused) },
	114: func() Event { return new(EnrolmentSet) },
	115: func() Event { return new(EnrolmentRemoved) },
	116: func() Event { return new(MappingAdded) },
	117: func() Event { return new(MappingRemoved) },
	120: func() Event { return new(DKIMKeyAdded) },
	121: func() Event { return new(DKIMKeyActivated) },
	122: func() Event { return new(DKIMKeyRetired) },
	123: func() Event { return new(DKIMKeyRemoved) },
	200: func() Event { return new(TaskCreated) },
	201: func() Event { return new(TaskStarted) },
	202: func() Event { return new(TaskProgressed) },
	203: func() Event { return new(TaskCompleted) },
	204: func() Event { return new(TaskFailed) },
	205: func() Event { return new(TaskCancelRequested) },
	206: func() Event { return new(TaskCancelled) },
	207: func() Event { return new(TaskAbandoned) },
	208: func() Event { return new(TasksForgotten) },
}

// numbers is the inverse of kinds.
var numbers = func() map[reflect.Type]uint32 {
	m := make(map[reflect.Type]uint32, len(kinds))
	for n, make := range kinds {
		m[reflect.TypeOf(make())] = n
	}
	return m
}()

// Name gives an event's type name, as transaction.proto spells it.
func Name(e Event) string { return reflect.TypeOf(e).Elem().Name() }

// Names lists the names of the events of accounts and of the directory, in the order of their numbers.
func Names() []string { return namesBetween(1, 199) }

// DirectoryNames lists those of the directory alone.
func DirectoryNames() []string { return namesBetween(100, 199) }

func namesBetween(first, last uint32) (names []string) {
	for _, n := range slices.Sorted(maps.Keys(kinds)) {
		if n >= first && n <= last {
			names = append(names, Name(kinds[n]()))
		}
	}
	return names
}

// Marshal encodes a transaction.
func Marshal(t *Transaction) []byte {
	c := &coder{encoding: true}
	t.fields(c)
	return c.out
}

// Unmarshal decodes a transaction. It refuses what it does not know with UnknownError, and malformed bytes with domain.Corrupt.
func Unmarshal(b []byte) (*Transaction, error) {
	t := new(Transaction)
	if err := decode(b, maxDepth, t.fields); err != nil {
		return nil, fmt.Errorf("decode transaction: %w", err)
	}
	return t, nil
}

func (t *Transaction) fields(c *coder) {
	c.Bytes(1, t.ID[:])
	c.Sint(2, &t.At)
	c.String(3, &t.Actor)
	repeated(c, 4, &t.Events, eventFields)
}

func eventFields(e *Event) func(*coder) {
	return func(c *coder) {
		if c.encoding {
			number := numbers[reflect.TypeOf(*e)]
			c.nested(protowire.Number(number), (*e).fields)
			return
		}
		if len(c.raw) != 1 {
			c.fail(errWire)
			return
		}
		make, known := kinds[uint32(c.raw[0].number)]
		if !known {
			return // decode reports the unclaimed field as UnknownError
		}
		*e = make()
		c.Message(c.raw[0].number, true, (*e).fields)
	}
}

// MarshalJSON gives the human view: each event with its name as "type". It is for reading, not for storage, and hides keys and verifiers.
func (t *Transaction) MarshalJSON() ([]byte, error) {
	type plain Transaction
	view := struct {
		ID string `json:"id"`
		*plain
		Events []json.RawMessage `json:"events"`
	}{ID: fmt.Sprintf("%x", t.ID), plain: (*plain)(t)}
	for _, e := range t.Events {
		body, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		head := fmt.Appendf(nil, `{"type":%q`, Name(e))
		if len(body) > 2 {
			head = append(head, ',')
		}
		view.Events = append(view.Events, append(head, body[1:]...))
	}
	return json.Marshal(view)
}
