package webadmin

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
)

// The types of the tasks that James's routes order, by the names that James gives them. They do what tasks of ours do, and tell of it in James's words.
const (
	TaskReindexAll      = "full-reindexing"
	TaskReindexFailed   = "error-recovery-indexation"
	TaskReindexUser     = "user-reindexing"
	TaskReindexMailbox  = "mailbox-reindexing"
	TaskReindexMail     = "message-reindexing"
	TaskReindexMessage  = "messageId-reindexing"
	TaskSolveMailboxes  = "solve-mailbox-inconsistencies"
	TaskSolveMessages   = "solve-message-inconsistencies"
	TaskSolveFlags      = "solve-mailbox-flag-inconsistencies"
	TaskSolvePop3       = "Pop3MetaDataFixInconsistenciesTask"
	TaskSolveMappings   = "cassandra-mappings-solve-inconsistencies"
	TaskMissingParents  = "CreateMissingParentsTask"
	TaskEmailQueryView  = "PopulateEmailQueryViewTask"
	TaskFastViews       = "RecomputeAllFastViewProjectionItemsTask"
	TaskFastViewsOfUser = "RecomputeUserFastViewProjectionItemsTask"
	TaskCounters        = "recompute-mailbox-counters"
	TaskQuotas          = "recompute-current-quotas"
	TaskClearMailbox    = "ClearMailboxContentTask"
	TaskEraseUser       = "DeleteUserDataTask"
	TaskEraseDomain     = "DeleteUsersDataOfDomainTask"
)

// JamesOrder is the parameters of these tasks: what they are about, and what James repeats of an order in a task's additionalInformation.
type JamesOrder struct {
	Account domain.AccountID `json:"account,omitempty"` // an address is taken, too
	Box     string           `json:"mailbox,omitempty"`
	Message domain.UID       `json:"message,omitempty"`

	Throttle int  `json:"throttle,omitempty"` // entries or messages a second at most; 0: no bound
	Outdated bool `json:"outdated,omitempty"` // write only what is wrong

	User      string         `json:"user,omitempty"`
	Username  string         `json:"username,omitempty"`
	Domain    string         `json:"domain,omitempty"`
	Name      string         `json:"mailboxName,omitempty"`
	Path      string         `json:"mailboxPath,omitempty"`
	MailboxID string         `json:"mailboxId,omitempty"`
	UID       domain.UID     `json:"uid,omitempty"`
	MessageID string         `json:"messageId,omitempty"`
	Flag      string         `json:"targetFlag,omitempty"`
	Options   map[string]any `json:"runningOptions,omitempty"`
}

// Facts is what work of any of these types has done.
type Facts struct {
	Processed int64 // messages that were indexed
	Failed    int64 // messages that could not be
	Accounts  int64
	Mailboxes int64
	Messages  int64

	Added   int64 // rows that were missing in views
	Updated int64
	Removed int64 // rows that were too many

	Erased      int64 // accounts, or messages of a mailbox
	Unerased    []string
	Step        string // of an erasure: IN_PROGRESS, DONE or FAILED
	Differences []Difference
}

// JamesFacts tells facts in the fields that James has for a type; nil for a type that is not James's or has none.
func JamesFacts(kind string, f *Facts) map[string]any {
	none := []string{}
	switch kind {
	case TaskReindexAll, TaskReindexFailed, TaskReindexUser, TaskReindexMailbox:
		return map[string]any{
			"successfullyReprocessedMailCount": f.Processed, "failedReprocessedMailCount": f.Failed, "mailboxFailures": none, "messageFailures": none,
		}
	case TaskSolveMailboxes:
		return map[string]any{
			"processedMailboxEntries": f.Mailboxes, "processedMailboxPathEntries": f.Mailboxes, "fixedInconsistencies": mended(f), "conflictingEntries": none, "errors": 0,
		}
	case TaskSolveMessages:
		return map[string]any{
			"processedImapUidEntries": f.Messages, "processedMessageIdEntries": f.Messages, "addedMessageIdEntries": f.Added, "updatedMessageIdEntries": f.Updated,
			"removedMessageIdEntries": f.Removed, "fixedInconsistencies": mendedMessages(f), "errors": none,
		}
	case TaskSolveFlags:
		return map[string]any{"processedMailboxEntries": f.Mailboxes, "errors": none}
	case TaskSolvePop3:
		return map[string]any{
			"processedImapUidEntries": f.Messages, "processedPop3MetaDataStoreEntries": f.Messages, "stalePOP3Entries": f.Removed, "missingPOP3Entries": f.Added,
			"fixedInconsistencies": mendedMessages(f), "errors": none,
		}
	case TaskMissingParents:
		return map[string]any{"created": none, "totalCreated": 0, "failures": none, "totalFailure": 0}
	case TaskEmailQueryView, TaskFastViews:
		return map[string]any{"processedUserCount": f.Accounts, "processedMessageCount": f.Messages, "failedUserCount": 0, "failedMessageCount": 0}
	case TaskFastViewsOfUser:
		return map[string]any{"processedMessageCount": f.Messages, "failedMessageCount": 0}
	case TaskCounters:
		return map[string]any{"processedMailboxes": f.Mailboxes, "failedMailboxes": none}
	case TaskQuotas:
		return map[string]any{
			"processedQuotaRoots": f.Accounts, "failedQuotaRoots": none,
			"recomputeSingleQuotaComponentResults": []any{map[string]any{"quotaComponent": "MAILBOX", "processedIdentifierCount": f.Accounts, "failedIdentifiers": none}},
		}
	case TaskClearMailbox:
		return map[string]any{"messagesSuccessCount": f.Erased, "messagesFailCount": 0}
	case TaskEraseUser:
		step := cmp.Or(f.Step, "WAITING")
		return map[string]any{"status": map[string]string{"RecipientRewriteTableUserDeletionTaskStep": step, "MailboxUserDeletionTaskStep": step}}
	case TaskEraseDomain:
		failed := f.Unerased
		if failed == nil {
			failed = none
		}
		return map[string]any{"successfulUsersCount": f.Erased, "failedUsersCount": len(failed), "failedUsers": failed[:min(len(failed), 100)]}
	}
	return nil
}

// mended names the mailboxes whose rows were mended, each once.
func mended(f *Facts) []string {
	all := []string{}
	for _, d := range f.Differences {
		if id := rowOf(d).MailboxID; id != "" && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// mendedMessages names the messages whose rows were mended.
func mendedMessages(f *Facts) []mendedMessage {
	all := []mendedMessage{}
	for _, d := range f.Differences {
		if row := rowOf(d); row.UID != 0 {
			all = append(all, row)
		}
	}
	return all
}

// mendedMessage is an element of fixedInconsistencies. James has messageId there, too, which no row is named by.
type mendedMessage struct {
	MailboxID string `json:"mailboxId"`
	UID       uint64 `json:"uid"`
}

// rowOf finds the mailbox and the UID in the name of a row.
func rowOf(d Difference) (row mendedMessage) {
	for part := range strings.SplitSeq(d.Key, ", ") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "mailbox":
			if n, err := strconv.ParseUint(value, 10, 32); err == nil {
				row.MailboxID = globalID(kindMailbox, d.Account, n)
			}
		case "uid":
			row.UID, _ = strconv.ParseUint(value, 10, 32) // a key of the view's own making
		}
	}
	return row
}

// fillIn gives a task the fields that James has from the start, before it has done anything.
func fillIn(kind string, information map[string]json.RawMessage) {
	for name, value := range JamesFacts(kind, &Facts{}) {
		information[name], _ = json.Marshal(value) // never fails
	}
}
