package outgoing_test

import (
	"reflect"
	"testing"

	"github.com/streampost/streampost/domain/queue/queuetest"
	"github.com/streampost/streampost/projections/outgoing"
)

// TestEntriesHaveAllOfAMail but what is only said of how it is put into the queue.
func TestEntriesHaveAllOfAMail(t *testing.T) {
	var m outgoing.Mail
	queuetest.Fill(&m)
	mail, e := reflect.TypeOf(m), reflect.ValueOf(m.Entry()).Elem()
	for i := range mail.NumField() {
		name := mail.Field(i).Name
		switch name {
		case "Sign", "Unclear":
			continue
		case "Top":
			name = "Head"
		}
		if f := e.FieldByName(name); !f.IsValid() || f.IsZero() {
			t.Errorf("an entry has not the %s of its mail", name)
		}
	}
}
