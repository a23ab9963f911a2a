package webadmin

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/streampost/streampost/domain"
)

// The types of the tasks that these routes begin.
const (
	TaskVaultRestore = "deleted-messages-restore"
	TaskVaultExport  = "deleted-messages-export"
	TaskVaultDelete  = "deleted-messages-delete"
	TaskVaultExpire  = "deleted-messages-expire"
	TaskBlobGC       = "blob-gc"
	TaskBlobVerify   = "blob-verify"
	TaskBlobCopy     = "blob-copy"
	TaskRestore      = "account-restore"
)

// jamesVault is the deleted messages vault of James, and its collection of blobs. James's force parameter, which reaches the vaults of users
// who do not exist any more, has no meaning: an account that was erased leaves none.
var jamesVault = []Route{
	{Pattern: "POST /deletedMessages/users/{user}/messages", serve: (*Server).jamesBrowse, Summary: "List a user's deleted messages that meet a query"},
	{Pattern: "POST /deletedMessages/users/{user}", serve: (*Server).jamesVaultAction, Summary: "Restore or export deleted messages: ?action=restore, ?action=export&exportTo="},
	{Pattern: "DELETE /deletedMessages", serve: (*Server).jamesExpire, Summary: "Purge what is older than the retention: ?scope=expired"},
	{Pattern: "DELETE /deletedMessages/users/{user}/messages/{message}", serve: (*Server).jamesPurge, Summary: "Purge a deleted message"},
	{Pattern: "DELETE /blobs", serve: (*Server).jamesCollect, Summary: "Delete blobs that nobody claims: ?scope=unreferenced"},
}

func (s *Server) jamesBrowse(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	return s.listDeleted(w, r, found.ID, found.Login)
}

// VaultOrder is the parameters of deleted-messages-restore, -export and -delete.
type VaultOrder struct {
	Account   string          `json:"account"`
	Query     json.RawMessage `json:"query,omitempty"` // James's JSON, or a text of words such as "from:bob"; all if absent
	Into      string          `json:"into,omitempty"`  // restore: a mailbox; Restored-Messages if absent
	Original  bool            `json:"original,omitempty"`
	OverQuota bool            `json:"overQuota,omitempty"`
	DryRun    bool            `json:"dryRun,omitempty"`
	ExportTo  string          `json:"exportTo,omitempty"`
	Format    string          `json:"format,omitempty"` // export: mbox or zip

	// What James repeats of an order to purge one message.
	Username  string `json:"username,omitempty"`
	MessageID string `json:"deleteMessageId,omitempty"`
}

func (s *Server) jamesVaultAction(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	_, text, err := readQuery(r)
	if err != nil {
		return err
	}
	order := VaultOrder{Account: string(found.ID), Query: text}
	switch action := r.URL.Query().Get("action"); action {
	case "restore":
		return s.submit(w, r, TaskVaultRestore, order)
	case "export":
		if order.ExportTo = r.URL.Query().Get("exportTo"); order.ExportTo == "" {
			return domain.Errorf(domain.Invalid, "exportTo is missing: say for whom the export is")
		}
		order.Format = "zip"
		return s.submit(w, r, TaskVaultExport, order)
	default:
		return domain.Errorf(domain.Invalid, "action=%q is neither restore nor export", action)
	}
}

func (s *Server) jamesPurge(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(r.PathValue("message"), 10, 64); err != nil {
		return domain.Errorf(domain.Invalid, "%q is not a messageId", r.PathValue("message"))
	}
	text, err := json.Marshal("id:" + r.PathValue("message"))
	if err != nil {
		return err
	}
	return s.submit(w, r, TaskVaultDelete, VaultOrder{Account: string(found.ID), Query: text, Username: found.Login, MessageID: r.PathValue("message")})
}

func (s *Server) jamesExpire(w http.ResponseWriter, r *http.Request) error {
	if scope := r.URL.Query().Get("scope"); scope != "expired" {
		return domain.Errorf(domain.Invalid, "scope=%q is not expired", scope)
	}
	return s.submit(w, r, TaskVaultExpire, struct{}{})
}

// jamesCollect takes James's parameters of its Bloom filter and needs none of them: claims are counted exactly.
func (s *Server) jamesCollect(w http.ResponseWriter, r *http.Request) error {
	if scope := r.URL.Query().Get("scope"); scope != "unreferenced" {
		return domain.Errorf(domain.Invalid, "scope=%q is not unreferenced", scope)
	}
	return s.submit(w, r, TaskBlobGC, struct{}{})
}
