package domain

import (
	"errors"
	"fmt"
)

// Kind says who is to blame for an error and so what a protocol answers, what is logged and whether a retry can help.
type Kind uint8

// The kinds of error. The zero Kind is Internal: an error that nobody classified is ours.
const (
	Internal    Kind = iota // a fault of this program
	Invalid                 // the request breaks a rule
	NotFound                // the thing named does not exist
	Exists                  // the thing named exists already
	Denied                  // the caller may not do this
	OverQuota               // a storage or message limit is reached
	TooLarge                // one thing exceeds a documented limit
	Conflict                // somebody else wrote first, again and again
	Unavailable             // a part is down or full for now: retry later
	Corrupt                 // stored bytes are not what was written
	Erased                  // the account's key was destroyed on purpose
)

var kindNames = [...]string{"internal", "invalid", "not-found", "exists", "denied", "over-quota", "too-large", "conflict", "unavailable", "corrupt", "erased"}

func (k Kind) String() string { return kindNames[k] }

// Error is the one error type that crosses package borders. Msg is safe to show to the client; Err is for the operator; Hint tells the
// operator what to do.
type Error struct {
	Kind Kind
	Msg  string
	Hint string
	Err  error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Msg + ": " + e.Err.Error()
	}
	return e.Msg
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose whole message may be shown to the client. Use Wrap where an inner error is for the operator only.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// Wrap puts what was being done, and a kind, around an error whose own text is for the operator only.
func Wrap(kind Kind, err error, doing string) *Error {
	return &Error{Kind: kind, Msg: doing, Err: err}
}

// KindOf finds the kind of the outermost Error in err's chain; Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
