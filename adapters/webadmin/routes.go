package webadmin

import (
	"net/http"
	"slices"

	"github.com/streampost/streampost/projections/door"
)

// Route is one line of the tables of this package.
type Route struct {
	Pattern  string // as net/http.ServeMux reads it
	Summary  string
	Public   bool // wants no token
	Destroys bool // whatever its method, it takes away what a token that may not delete must not
	Streams  bool // answers in Lines, without a bound on the whole
	Waits    bool // answers when something has happened, without a bound but its own
	Query    []Query
	Body     any    // a zero value of what the request's body holds; nil if it has none
	BodyType string // the media type of a body that is not JSON
	// AnswerType is the media type of an answer that is neither JSON nor Lines.
	AnswerType string
	Answer     any // a zero value of what the answer holds; nil if it is empty or streams
	Status     int // of success; 0 is 200, or 204 for an empty answer
	serve      func(*Server, http.ResponseWriter, *http.Request) error
}

// Query is a parameter behind the question mark.
type Query struct{ Name, About string }

// Routes is every route but /metrics.
var Routes = slices.Concat(ourRoutes, replicaRoutes, promotionRoutes, aclRoutes, pastRoutes, snapshotRoutes, taskRoutes, jamesHealth, jamesDirectory, jamesMailboxes, jamesQuota, jamesVault, jamesRepairs, letterRoutes, webhookRoutes, queueRoutes, parkedRoutes, pipelineRoutes, nameRoutes, sieveRoutes, traceRoutes, vacationRoutes, mappingRoutes, jamesMappings)

// ourRoutes are those below /v1, and two that supervisors know. {account} is an id or an address.
var ourRoutes = []Route{
	{Pattern: "GET /healthz", Public: true, serve: (*Server).alive, Summary: "Say that the process answers"},
	{Pattern: "GET /readyz", Public: true, serve: (*Server).ready, Summary: "Run all health checks; 503 when one is unhealthy"},

	{Pattern: "GET /v1/openapi.json", Public: true, Answer: map[string]any{}, serve: (*Server).openAPI, Summary: "Describe these routes (OpenAPI 3.1)"},

	{Pattern: "GET /v1/status", Answer: Status{}, serve: (*Server).status, Summary: "Tell what the server is and does"},
	{Pattern: "GET /v1/doctor", Answer: []Finding{}, serve: (*Server).doctor, Summary: "Look at durability, permissions, disk and clock"},

	{Pattern: "GET /v1/cluster", Answer: Cluster{}, serve: (*Server).cluster, Summary: "Tell which nodes there are, who leads what, and what is wrong; 404 where there is no cluster"},
	{Pattern: "POST /v1/cluster/grow", Streams: true, serve: (*Server).grow, Summary: "Give every stream of the log as many copies as it is to have, one after the other"},
	{Pattern: "DELETE /v1/cluster/nodes/{node}", Streams: true, serve: (*Server).removeNode, Summary: "Take a node out of the cluster for ever; its copies move to others",
		Query: []Query{{"force", "Although the quorum or a copy of the log would be lost"}}},

	{Pattern: "GET /v1/domains", Answer: []string{}, serve: (*Server).domains, Summary: "List local domains"},
	{Pattern: "PUT /v1/domains/{domain}", serve: (*Server).addDomain, Summary: "Make a domain local"},
	{Pattern: "DELETE /v1/domains/{domain}", serve: (*Server).removeDomain, Summary: "Make a domain foreign"},

	{Pattern: "GET /v1/accounts", Answer: []door.Account{}, serve: (*Server).accounts, Summary: "List accounts"},
	{Pattern: "POST /v1/accounts", Body: NewAccount{}, Answer: door.Account{}, Status: http.StatusCreated, serve: (*Server).addAccount, Summary: "Create an account"},
	{Pattern: "GET /v1/accounts/{account}", Answer: AccountDetails{}, serve: (*Server).showAccount, Summary: "Show an account with its mailboxes and quota"},
	{Pattern: "PUT /v1/accounts/{account}/password", Body: Password{}, serve: (*Server).setPassword, Summary: "Replace a password"},
	{Pattern: "GET /v1/accounts/{account}/app-passwords", Answer: []door.AppPassword{}, serve: (*Server).appPasswords, Summary: "List the passwords of single programs"},
	{Pattern: "POST /v1/accounts/{account}/app-passwords", Body: NewAppPassword{}, Answer: MadeAppPassword{}, Status: http.StatusCreated, serve: (*Server).addAppPassword,
		Summary: "Draw a password for a single program; it is told once"},
	{Pattern: "DELETE /v1/accounts/{account}/app-passwords/{name}", serve: (*Server).removeAppPassword, Summary: "Remove the password of a single program and end its sessions"},
	{Pattern: "PUT /v1/accounts/{account}/disabled", Body: Disabled{}, serve: (*Server).setDisabled, Summary: "Stop or allow logins"},
	{Pattern: "PUT /v1/accounts/{account}/limits", Body: Quota{}, serve: (*Server).setLimits, Summary: "Set the quota"},
	{Pattern: "DELETE /v1/accounts/{account}", serve: (*Server).eraseAccount, Summary: "Erase an account for ever"},
	{Pattern: "POST /v1/accounts/{account}/messages", Streams: true, BodyType: importType, serve: (*Server).importMessages, Summary: "Import messages, see ImportWriter for the body"},
	{Pattern: "GET /v1/accounts/{account}/log", Streams: true, serve: (*Server).showLog, Summary: "Show an account's transactions",
		Query: []Query{{"from", "The first Tx; 1 if absent"}}},

	{Pattern: "GET /v1/blocks", Answer: []door.Block{}, serve: (*Server).blocks, Summary: "List accounts and addresses whose logins have to wait because of failed ones"},
	{Pattern: "DELETE /v1/blocks/{blocked}", serve: (*Server).unblock, Summary: "Forget the failed logins of an account or an address, on all nodes"},

	{Pattern: "POST /v1/log/verify", Streams: true, serve: (*Server).verifyLog, Summary: "Prove density, chain and decryptability",
		Query: []Query{{"account", "Only this account"}, {"stream", "Only this stream"}, {"archive", "true: verify the archive instead"}, {"mend", "true: write anew what is wrong in the archive"}}},
	{Pattern: "POST /v1/log/repair", Streams: true, Destroys: true, serve: (*Server).repairLog, Summary: "Fill copies of the log anew that are damaged or stale, from those of other nodes",
		Query: []Query{{"stream", "Only copies of this stream"}, {"node", "Only copies on this node"}, {"dryRun", "Only say what is bad and what would be done"}}},
	{Pattern: "GET /v1/projections", Answer: []Projection{}, serve: (*Server).projections, Summary: "List the generations of projections, their state and lag"},
	{Pattern: "GET /v1/projections/plan", Answer: []Planned{}, serve: (*Server).planViews, Summary: "Say what this build has still to do until all projections are complete"},
	{Pattern: "POST /v1/projections/rebuild", Streams: true, serve: (*Server).rebuildViews, Summary: "Fold the log again into new rows",
		Query: slices.Concat(viewScope, []Query{{"all", "true: everything; needed when nothing else says what"}, {"throttle", "Entries per second at most"}, {"cpu", "Share of one CPU, 0 to 1"}, {"dryRun", "Only say what would be done"}, {"verify", "Compare all rows before they are switched in"}, {"fromSnapshot", "Take rows of named accounts with long logs from their snapshots"}})},
	{Pattern: "POST /v1/projections/verify", Streams: true, serve: (*Server).verifyViews, Summary: "Compare views with the log",
		Query: slices.Concat(viewScope, []Query{{"sample", "Part of the accounts, 0 to 1"}, {"salt", "Chooses which part"}, {"throttle", "Entries per second at most"}, {"cpu", "Share of one CPU, 0 to 1"}, {"repair", "Make rows anew that differ"},
			{"digests", "Compare digests of rows only"}, {"mailbox", "Only the rows of this mailbox, by path, of the one account"}, {"uid", "Only those of this message in it"}})},
	{Pattern: "GET /v1/projections/digests", Answer: []Digested{}, serve: (*Server).viewDigests, Summary: "Read the digests that views keep of their rows, to be compared with another node's",
		Query: slices.Concat(viewScope, []Query{{"mailboxes", "Those of each mailbox's messages as well"}})},
	{Pattern: "POST /v1/projections/count", Streams: true, serve: (*Server).countViews, Summary: "Compare rows with the digests beside them",
		Query: slices.Concat(viewScope, []Query{{"cpu", "Share of one CPU, 0 to 1"}, {"repair", "Make rows anew that differ"}})},
	{Pattern: "POST /v1/projections/prune", Destroys: true, Answer: DroppedViews{}, serve: (*Server).pruneViews, Summary: "Drop the rows of other versions",
		Query: viewScope[:2]},
	{Pattern: "DELETE /v1/projections/{projection}", Answer: DroppedViews{}, serve: (*Server).discardViews, Summary: "Drop all rows of a projection without which mail is served",
		Query: viewScope[1:2]},
	{Pattern: "POST /v1/keys/rotate", Streams: true, serve: (*Server).rotateKeys, Summary: "Make a new master key"},
}

var viewScope = []Query{{"projection", "Only this projection"}, {"stream", "Only this stream"}, {"account", "Only this account's rows; may be repeated"},
	{"domain", "Only the rows of this domain's accounts"}}
