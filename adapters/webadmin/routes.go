package webadmin

import "net/http"

// Route is one line of the table below.
type Route struct {
	Pattern string // as net/http.ServeMux reads it
	Summary string
	Public  bool // wants no token
	Streams bool // answers in Lines, without a bound on the whole
	serve   func(*Server, http.ResponseWriter, *http.Request) error
}

// Routes is every route but /metrics. {account} is an id or an address.
var Routes = []Route{
	{Pattern: "GET /healthz", Public: true, serve: (*Server).alive, Summary: "Say that the process answers"},
	{Pattern: "GET /readyz", Public: true, serve: (*Server).ready, Summary: "Run all health checks; 503 when one is unhealthy"},

	{Pattern: "GET /v1/status", serve: (*Server).status, Summary: "Tell what the server is and does"},
	{Pattern: "GET /v1/doctor", serve: (*Server).doctor, Summary: "Look at durability, permissions, disk and clock"},

	{Pattern: "GET /v1/domains", serve: (*Server).domains, Summary: "List local domains"},
	{Pattern: "PUT /v1/domains/{domain}", serve: (*Server).addDomain, Summary: "Make a domain local"},
	{Pattern: "DELETE /v1/domains/{domain}", serve: (*Server).removeDomain, Summary: "Make a domain foreign"},

	{Pattern: "GET /v1/accounts", serve: (*Server).accounts, Summary: "List accounts"},
	{Pattern: "POST /v1/accounts", serve: (*Server).addAccount, Summary: "Create an account"},
	{Pattern: "GET /v1/accounts/{account}", serve: (*Server).showAccount, Summary: "Show an account with its mailboxes and quota"},
	{Pattern: "PUT /v1/accounts/{account}/password", serve: (*Server).setPassword, Summary: "Replace a password"},
	{Pattern: "PUT /v1/accounts/{account}/disabled", serve: (*Server).setDisabled, Summary: "Stop or allow logins"},
	{Pattern: "PUT /v1/accounts/{account}/limits", serve: (*Server).setLimits, Summary: "Set the quota"},
	{Pattern: "DELETE /v1/accounts/{account}", serve: (*Server).eraseAccount, Summary: "Erase an account for ever"},
	{Pattern: "POST /v1/accounts/{account}/messages", Streams: true, serve: (*Server).importMessages, Summary: "Import messages, see ImportWriter for the body"},
	{Pattern: "GET /v1/accounts/{account}/log", Streams: true, serve: (*Server).showLog, Summary: "Show an account's transactions; ?from=Tx"},

	{Pattern: "POST /v1/log/verify", Streams: true, serve: (*Server).verifyLog, Summary: "Prove density, chain and decryptability; ?account= or ?stream="},
	{Pattern: "GET /v1/projections", serve: (*Server).projections, Summary: "List projections and their lag"},
	{Pattern: "POST /v1/projections/rebuild", Streams: true, serve: (*Server).rebuildViews, Summary: "Fold the log again; ?projection= or ?account="},
	{Pattern: "POST /v1/projections/verify", Streams: true, serve: (*Server).verifyViews, Summary: "Compare views with the log; ?projection= or ?account="},
	{Pattern: "POST /v1/keys/rotate", Streams: true, serve: (*Server).rotateKeys, Summary: "Make a new master key"},
}
