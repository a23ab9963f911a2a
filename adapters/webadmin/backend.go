package webadmin

import (
	"context"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/streams"
)

// Backend is the server behind the door.
type Backend struct {
	Directory Directory
	Accounts  Accounts
	Log       Log
	Views     Views
	// Metrics serves the Prometheus text format.
	Metrics http.Handler
	// Ready reports whether the server should be given work, and the details.
	Ready func(context.Context) (ready bool, report any)
	// Status tells what the server is and what it does.
	Status func(context.Context) (Status, error)
	// Doctor looks at all that an operator can get wrong.
	Doctor func(context.Context) []Finding
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Directory is door.Directory.
type Directory interface {
	AddDomain(ctx context.Context, actor, name string) error
	RemoveDomain(ctx context.Context, actor, name string) error
	Domains(ctx context.Context) ([]string, error)
	AddAccount(ctx context.Context, actor, address, password string) (door.Account, error)
	SetPassword(ctx context.Context, actor string, id domain.AccountID, password string) error
	SetDisabled(ctx context.Context, actor string, id domain.AccountID, disabled bool) error
	Erase(ctx context.Context, actor string, id domain.AccountID) error
	Accounts(ctx context.Context) ([]door.Account, error)
	Lookup(ctx context.Context, name string) (door.Account, error)
}

// Accounts is door.Accounts.
type Accounts interface {
	Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error)
	View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
	Ingest(ctx context.Context, r io.Reader) (door.Stored, error)
	Thread(ctx context.Context, id domain.AccountID, s *message.Summary) (domain.ThreadID, error)
}

// Log is the log of record.
type Log interface {
	// ReadAccount yields an account's entries after a position up to its present end.
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
	// Verify checks density, hash chain and decryptability of what scope names. It reports each damage and, now and then, how far it is. The
	// error is about the walk itself, never about what it found.
	Verify(ctx context.Context, scope Scope, damage func(Damage), progress func(Progress)) (Verified, error)
	// RotateMaster makes a new master key and wraps every account's key with it.
	RotateMaster(ctx context.Context, progress func(Progress)) (keys int, err error)
}

// Views are the projections and their rows.
type Views interface {
	// List tells how far every projection of every shard is.
	List(ctx context.Context) ([]Projection, error)
	// Rebuild empties what scope names and folds the log again.
	Rebuild(ctx context.Context, scope Scope, progress func(Progress)) (Rebuilt, error)
	// Verify folds the log into a shadow and reports each row that differs.
	Verify(ctx context.Context, scope Scope, difference func(Difference), progress func(Progress)) (Compared, error)
}

// Scope says what a long command is about; the zero Scope is everything.
type Scope struct {
	Account    domain.AccountID `json:"account,omitempty"`
	Stream     string           `json:"stream,omitempty"`
	Projection string           `json:"projection,omitempty"`
}

// Progress tells how far a long command is. Total is 0 when nobody knows.
type Progress struct {
	Done  uint64 `json:"done"`
	Total uint64 `json:"total,omitempty"`
	Unit  string `json:"unit"`
	At    string `json:"at,omitempty"` // what is being worked on
}

// Damage is one place where the log is not what was written.
type Damage struct {
	Stream  string           `json:"stream"`
	Account domain.AccountID `json:"account,omitempty"`
	Seq     domain.Seq       `json:"seq,omitempty"`
	Tx      domain.Tx        `json:"tx,omitempty"`
	Problem string           `json:"problem"`
}

// Verified is what a walk of the log saw.
type Verified struct {
	Entries  uint64 `json:"entries"`
	Accounts uint64 `json:"accounts"`
	Erased   uint64 `json:"erased"` // accounts whose key was destroyed on purpose
	Damages  uint64 `json:"damages"`
	Partial  bool   `json:"partial,omitempty"` // there were too many to go on
}

// Projection is how far one projection of one shard is.
type Projection struct {
	Name    string     `json:"name"`
	Version int        `json:"version"`
	Stream  string     `json:"stream"`
	Cursor  domain.Seq `json:"cursor"`
	Head    domain.Seq `json:"head"`
	Lag     uint64     `json:"lag"`        // entries
	LagTime float64    `json:"lagSeconds"` // age of the oldest entry that is not applied
	State   string     `json:"state"`
	Error   string     `json:"error,omitempty"`
}

// Rebuilt is what a rebuild did.
type Rebuilt struct {
	Entries uint64 `json:"entries"`
}

// Difference is one row that is not what the log says.
type Difference struct {
	Stream     string `json:"stream"`
	Projection string `json:"projection"`
	Table      string `json:"table"`
	Key        string `json:"key,omitempty"`
	Column     string `json:"column,omitempty"` // empty when a whole row is missing on one side
	View       string `json:"view"`
	Log        string `json:"log"` // what the log makes of it
}

// Compared is what a verification of views saw.
type Compared struct {
	Rows        uint64 `json:"rows"`
	Differences uint64 `json:"differences"`
}

// Status is what a server is and does.
type Status struct {
	Version   string            `json:"version"`
	Started   time.Time         `json:"started"`
	Data      string            `json:"data"`
	Hostname  string            `json:"hostname"`
	Listeners []Listener        `json:"listeners"`
	Accounts  int               `json:"accounts"`
	Domains   int               `json:"domains"`
	Streams   map[string]uint64 `json:"streams"` // head of each
	Memory    uint64            `json:"memoryBytes"`
	Ready     bool              `json:"ready"`
}

// Listener is one open address.
type Listener struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	TLS      string `json:"tls"` // "implicit", "starttls" or "none"
}

// Finding is one thing that doctor looked at.
type Finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // "ok", "warning" or "problem"
	Found  string `json:"found"`
	Hint   string `json:"hint,omitempty"`
}
