package webadmin

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"math"
	"net/http"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/sieve"
	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/nodes"
)

// Backend is the server behind the door.
type Backend struct {
	Directory Directory
	Accounts  Accounts
	Log       Log
	Views     Views
	Tasks     Tasks
	Snapshots Snapshots
	Vault     Vault
	Listeners Listeners
	Webhooks  Webhooks
	Queue     func() Queue    // nil, or gives nil, while it cannot be read
	Parked    func() Parked   // likewise
	Pipeline  func() Pipeline // likewise
	Names     Names           // nil where there is no directory
	Health    Health
	// Trace gives what is known of a message, by its Message-ID; nil where nothing is.
	Trace func(ctx context.Context, id string) ([]trace.Record, error)
	// NewAccount are the limits of accounts that are created without any.
	NewAccount account.Limits
	// Metrics serves the Prometheus text format.
	Metrics http.Handler
	// Ready reports whether the server should be given work, and the details.
	Ready func(context.Context) (ready bool, report any)
	// Damaged says what is damaged although the server works; empty when nothing is known to be. It may be nil.
	Damaged func(context.Context) string
	// Status tells what the server is and what it does.
	Status func(context.Context) (Status, error)
	// Cluster asks all nodes; nil where there is one server only.
	Cluster func(context.Context) (Cluster, error)
	// Replicas are those of accounts on nodes; nil where there is one server only.
	Replicas Replicas
	// RemoveNode takes a node out of the cluster for ever; nil where there is one server only. What would lose the quorum or a copy is refused without force.
	RemoveNode func(ctx context.Context, node string, force bool, progress func(Progress)) (RemovedNode, error)
	// Grow gives every stream of the log as many copies as it is to have; nil where there is one server only.
	Grow func(ctx context.Context, progress func(Progress)) (Grown, error)
	// RepairLog fills bad copies of the log anew; nil where there is one server only.
	RepairLog func(ctx context.Context, order RepairOrder, told func(nodes.Repaired)) (LogRepair, error)
	// Promotions move accounts between nodes; nil where there is one server only.
	Promotions Promotions
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
	CheckPassword(password string) error
	SetShared(ctx context.Context, actor string, id domain.AccountID, shared bool) error
	Identifier(ctx context.Context, name string) (account.Identifier, error)
	NameOf(ctx context.Context, who account.Identifier) (string, error)
	SetDisabled(ctx context.Context, actor string, id domain.AccountID, disabled bool) error
	Erase(ctx context.Context, actor string, id domain.AccountID) error
	Accounts(ctx context.Context) ([]door.Account, error)
	Lookup(ctx context.Context, name string) (door.Account, error)
	Authenticate(ctx context.Context, login, password string) (door.Identity, error)
	AppPasswords
	Blocks
	Rewriting
}

// Accounts is door.Accounts.
type Accounts interface {
	Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (door.Outcome, error)
	View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error
	PutScript(ctx context.Context, id domain.AccountID, actor, name, content string) ([]sieve.Warning, error)
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
	// List tells of every generation of every projection of every shard.
	List(ctx context.Context) ([]Projection, error)
	// Rebuild folds the log again into new rows, which then replace those that scope names.
	Rebuild(ctx context.Context, scope ViewScope, opt RebuildOptions, progress func(Progress)) (Rebuilt, error)
	// Verify folds the log into a shadow and reports each row that differs.
	Verify(ctx context.Context, scope ViewScope, opt VerifyOptions, difference func(Difference), progress func(Progress)) (Compared, error)
	// Digests reads the digests that views keep of the rows of each account; with mailboxes those of each mailbox as well.
	Digests(ctx context.Context, scope ViewScope, mailboxes bool) ([]Digested, error)
	// Count adds up the digests of rows and reports each that is not the one which is kept.
	Count(ctx context.Context, scope ViewScope, opt CountOptions, miscount func(Miscount), progress func(Progress)) (Counted, error)
	// Plan says what this build has still to do until every projection of its versions is complete.
	Plan(ctx context.Context) ([]Planned, error)
	// Prune drops the generations of other versions.
	Prune(ctx context.Context, scope ViewScope) (DroppedViews, error)
	// Discard drops all rows of a projection without which mail is served.
	Discard(ctx context.Context, scope ViewScope) (DroppedViews, error)
}

// ViewScope says which rows a command is about; the zero value is all.
type ViewScope struct {
	Projection string             `json:"projection,omitempty"`
	Stream     string             `json:"stream,omitempty"`
	Accounts   []domain.AccountID `json:"accounts,omitempty"`
	// Mailbox, by path, and UID narrow a comparison to one mailbox of one account, and to one message in it.
	Mailbox string     `json:"mailbox,omitempty"`
	UID     domain.UID `json:"uid,omitempty"`
}

// RebuildOptions say how rows are made anew.
type RebuildOptions struct {
	Throttle int     `json:"throttle,omitempty"` // entries a second at most; 0: no bound
	CPU      float64 `json:"cpu,omitempty"`      // share of the time in which it works; 0: all
	DryRun   bool    `json:"dryRun,omitempty"`
	Verify   bool    `json:"verify,omitempty"`
	// FromSnapshot takes rows of named accounts with long logs from their snapshots, as far as these can be used.
	FromSnapshot bool `json:"fromSnapshot,omitempty"`
}

// VerifyOptions say how rows are compared.
type VerifyOptions struct {
	Sample float64 // of the accounts; 0: all
	Salt   uint64  // another one chooses other accounts
	CPU    float64
	Repair bool

	Throttle int  // entries a second at most; 0: no bound
	Digests  bool // compare the digests of rows only
}

// CountOptions say how rows are counted.
type CountOptions struct {
	CPU    float64
	Repair bool
}

// Digested is the digests that one generation of a projection keeps, as of one position of its stream.
type Digested struct {
	Stream     string                    `json:"stream"`
	Projection string                    `json:"projection"`
	Version    int                       `json:"version"`
	Generation int                       `json:"generation"`
	Seq        domain.Seq                `json:"seq"`
	Digests    map[string]account.Digest `json:"digests"` // by account; empty: of rows that are no account's
	// Mailboxes are the digests of messages, by account and mailbox, of the projection mailboxes where they are wanted.
	Mailboxes map[domain.AccountID]map[domain.MailboxID]account.Digest `json:"mailboxes,omitempty"`
}

// Miscount is a digest that rows do not add up to.
type Miscount struct {
	Stream     string         `json:"stream"`
	Projection string         `json:"projection"`
	Account    string         `json:"account,omitempty"`
	Kept       account.Digest `json:"kept"`
	Rows       account.Digest `json:"rows"`
	Damage     string         `json:"damage,omitempty"` // why rows cannot be read at all
}

// Counted is what counting saw.
type Counted struct {
	Rows      uint64 `json:"rows"`
	Accounts  uint64 `json:"accounts"`
	Miscounts uint64 `json:"miscounts"`
	Repaired  uint64 `json:"repaired,omitempty"`
}

// Scope says what a long command is about; the zero Scope is everything.
type Scope struct {
	Account    domain.AccountID `json:"account,omitempty"`
	Stream     string           `json:"stream,omitempty"`
	Projection string           `json:"projection,omitempty"`

	Archive bool `json:"archive,omitempty"` // of a verification: of the archive instead of the log
	Mend    bool `json:"mend,omitempty"`    // and write anew what is wrong there
}

// Progress tells how far a long command is. Total is 0 when nobody knows.
type Progress struct {
	Done  uint64 `json:"done"`
	Total uint64 `json:"total,omitempty"`
	Unit  string `json:"unit"`
	At    string `json:"at,omitempty"` // what is being worked on

	Phase string  `json:"phase,omitempty"`
	Rate  float64 `json:"rate,omitempty"` // of Unit a second
	Left  float64 `json:"left,omitempty"` // seconds, by that rate

	Percent float64 `json:"percent,omitempty"` // of Total, to a tenth; written into the JSON by itself
}

// MarshalJSON adds the percentage where there is a total.
func (p Progress) MarshalJSON() ([]byte, error) {
	type plain Progress
	if p.Total > 0 {
		p.Percent = math.Floor(1000*float64(min(p.Done, p.Total))/float64(p.Total)) / 10 // never 100 before the end
	}
	return json.Marshal(plain(p))
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
	Keys     uint64 `json:"keys"`   // records of the stream of keys that were opened
	Damages  uint64 `json:"damages"`
	Partial  bool   `json:"partial,omitempty"` // there were too many to go on

	Segments uint64 `json:"segments,omitempty"` // of the archive
	Behind   uint64 `json:"behind,omitempty"`   // entries that are not archived yet
	Mended   bool   `json:"mended,omitempty"`   // what was wrong was written anew
}

// Projection tells of one generation of a projection in a shard.
type Projection struct {
	Name       string     `json:"name"`
	Version    int        `json:"version"`
	Stream     string     `json:"stream"`
	Generation int        `json:"generation"` // 0: there is none yet
	Cursor     domain.Seq `json:"cursor"`
	Head       domain.Seq `json:"head"`
	Lag        uint64     `json:"lag"`        // entries
	LagTime    float64    `json:"lagSeconds"` // age of the oldest entry that is not applied
	Octets     int64      `json:"octets"`
	State      string     `json:"state"`
	Phase      string     `json:"phase,omitempty"` // of one that is building
	Error      string     `json:"error,omitempty"`
}

// Rebuilt is what a rebuild did, or would do.
type Rebuilt struct {
	Entries uint64    `json:"entries"`
	Seconds float64   `json:"seconds,omitempty"`
	Pause   float64   `json:"pauseSeconds,omitempty"` // for which projecting stood still at the longest
	Plan    []Planned `json:"plan,omitempty"`         // of a dry run
}

// Planned is what a projection has in a shard and what is to be done.
type Planned struct {
	Stream     string  `json:"stream"`
	Projection string  `json:"projection"`
	Version    int     `json:"version"`
	Has        []Held  `json:"has"`
	Work       string  `json:"work"`
	Entries    uint64  `json:"entries"`
	Seconds    float64 `json:"seconds"`
	Octets     int64   `json:"octets"`
}

// Held is a generation that is there.
type Held struct {
	Generation int        `json:"generation"`
	Version    int        `json:"version"`
	Ready      bool       `json:"ready"`
	Cursor     domain.Seq `json:"cursor"`
	Octets     int64      `json:"octets"`
}

// DroppedViews counts generations that were dropped.
type DroppedViews struct {
	Generations int `json:"generations"`
}

// Difference is one row that is not what the log says.
type Difference struct {
	Stream     string           `json:"stream"`
	Projection string           `json:"projection"`
	Table      string           `json:"table"`
	Account    domain.AccountID `json:"account,omitempty"`
	Key        string           `json:"key,omitempty"`
	Column     string           `json:"column,omitempty"` // empty when a whole row is missing on one side
	View       string           `json:"view"`
	Log        string           `json:"log"`          // what the log makes of it
	Tx         domain.Tx        `json:"tx,omitempty"` // that last wrote the row, by the log
}

// Compared is what a verification of views saw.
type Compared struct {
	Rows        uint64               `json:"rows"`
	Accounts    uint64               `json:"accounts,omitempty"`
	Differences uint64               `json:"differences"`
	Repaired    uint64               `json:"repaired,omitempty"` // generations and accounts that were made anew
	Generations []ComparedGeneration `json:"generations,omitempty"`
}

// ComparedGeneration says at which position rows were compared.
type ComparedGeneration struct {
	Stream     string     `json:"stream"`
	Projection string     `json:"projection"`
	Generation int        `json:"generation"`
	Seq        domain.Seq `json:"seq"`
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
