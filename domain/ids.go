package domain

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
)

// AccountID names one account for ever: sixteen lower-case base32hex characters made from ten random bytes. It outlives changes of address
// and is safe as a NATS subject token, a file name and a SQL value.
type AccountID string

// DirectoryID is the pseudo-account whose log is the directory: domains, accounts, credentials and addresses.
const DirectoryID AccountID = "directory"

// TasksID is the pseudo-account whose log is the work that takes longer than a request, see package task.
const TasksID AccountID = "tasks"

// Pseudo tells the logs of the installation itself from those of accounts.
func (id AccountID) Pseudo() bool { return id == DirectoryID || id == TasksID }

var accountEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// NewAccountID makes an AccountID from random bytes that the caller supplies.
func NewAccountID(random [10]byte) AccountID {
	return AccountID(accountEncoding.EncodeToString(random[:]))
}

// ParseAccountID accepts what NewAccountID makes, DirectoryID and TasksID.
func ParseAccountID(s string) (AccountID, error) {
	if AccountID(s).Pseudo() {
		return AccountID(s), nil
	}
	raw, err := accountEncoding.DecodeString(s)
	if err != nil || len(s) != 16 || len(raw) != 10 || s != strings.ToLower(s) {
		return "", Errorf(Invalid, "%q is not an account id (sixteen characters of 0-9a-v)", s)
	}
	return AccountID(s), nil
}

// TaskID names one task for ever: a UUID (RFC 9562) in its usual form with hyphens, in lower case.
type TaskID string

// NewTaskID makes a TaskID, a UUID of version 4, from random bytes that the caller supplies.
func NewTaskID(random [16]byte) TaskID {
	random[6] = random[6]&0x0f | 0x40 // RFC 9562 section 5.4: the version
	random[8] = random[8]&0x3f | 0x80 // and section 4.1: the variant.
	h := hex.EncodeToString(random[:])
	return TaskID(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
}

// ParseTaskID reads a UUID of any version, in either case (RFC 9562 section 4).
func ParseTaskID(s string) (TaskID, error) {
	malformed := Errorf(Invalid, "%q is not a task's id (a UUID)", s)
	if len(s) != 36 {
		return "", malformed
	}
	for i, c := range []byte(s) {
		switch hyphen := i == 8 || i == 13 || i == 18 || i == 23; {
		case hyphen != (c == '-'), !hyphen && !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)):
			return "", malformed
		}
	}
	return TaskID(strings.ToLower(s)), nil
}

// Tx is an account's own transaction number: dense from 1 and sealed inside the log. It is the MODSEQ of RFC 7162, the JMAP state and the ETag.
type Tx uint64

// Seq is a position in a JetStream stream. It serves the append check and cursors only; no client ever sees one.
type Seq uint64

// MailboxID names a mailbox inside its account. It is dense from 1 in order of creation (1 is INBOX), survives renames and is never reused.
type MailboxID uint32

// EmailID names one immutable message inside its account (RFC 8474 EMAILID). Copies and moves keep it.
type EmailID uint64

// ThreadID groups emails of one conversation inside an account (RFC 8474 THREADID). It is the EmailID of the first of them.
type ThreadID uint64

// UID is a message's number in one mailbox (RFC 9051 section 2.3.1.1): rising, never reused while UIDVALIDITY stays.
type UID uint32

// BlobID is the content address of a sealed message: a keyed hash, which says nothing to those without the installation's secret.
type BlobID [32]byte

// String gives the hexadecimal form, which is also the object's name in a bucket.
func (b BlobID) String() string { return hex.EncodeToString(b[:]) }

// MarshalText serves JSON.
func (b BlobID) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// ParseBlobID reads the hexadecimal form.
func ParseBlobID(s string) (BlobID, error) {
	var id BlobID
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(id) {
		return id, Errorf(Invalid, "%q is not a blob id (64 hexadecimal digits)", s)
	}
	return BlobID(raw), nil
}

// BlobKey opens one blob. It travels only inside sealed transactions, so that destroying an account's key also closes its blobs.
type BlobKey [32]byte

// MarshalText hides the key from logs and JSON.
func (BlobKey) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// String hides the key from formatted output.
func (BlobKey) String() string { return "(secret)" }

// Format hides the key from every verb of package fmt.
func (BlobKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// BlobRef is all that is needed to read a blob back.
type BlobRef struct {
	ID   BlobID  `json:"id"`
	Key  BlobKey `json:"key"`
	Size int64   `json:"size"` // octets of plain text
}
