package webadmin

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// jamesRepairs are James's repair tasks. Each of them mends one of its tables from another; here all are the same two: a view is compared with the
// log and what differs is made anew, or it is made anew altogether, both while mail goes on.
var jamesRepairs = []Route{
	{Pattern: "POST /mailboxes", serve: (*Server).repairMailboxes, Summary: "Repair views of all accounts: ?task=" + strings.Join(names(mailboxRepairs), ", ")},
	{Pattern: "POST /users/{user}/mailboxes", serve: (*Server).repairUser, Summary: "Repair views of a user: ?task=" + strings.Join(names(userRepairs), ", ")},
	{Pattern: "POST /mailboxes/{mailbox}", serve: (*Server).reindexMailbox, Summary: "Index a mailbox's messages again: ?task=reIndex"},
	{Pattern: "POST /mailboxes/{mailbox}/mails/{uid}", serve: (*Server).reindexMail, Summary: "Index a message of a mailbox again: ?task=reIndex"},
	{Pattern: "POST /messages/{message}", serve: (*Server).reindexMessage, Summary: "Index a message again: ?task=reIndex"},
	{Pattern: "DELETE /users/{user}/mailboxes/{mailbox}/messages", serve: (*Server).clearMailbox, Summary: "Delete all messages of a mailbox"},
	{Pattern: "POST /messages", serve: (*Server).repairMessages, Summary: "Compare all views with the log and mend them: ?task=SolveInconsistencies"},
	{Pattern: "POST /quota/users", serve: (*Server).repairQuota, Summary: "Make the view of quotas anew: ?task=RecomputeCurrentQuotas"},
	{Pattern: "POST /cassandra/mappings", serve: (*Server).repairDirectory, Summary: "Compare the view of the directory with the log and mend it: ?action=SolveInconsistencies"},
	{Pattern: "POST /cassandra/mailbox/merging", serve: (*Server).mergeMailboxes, Summary: "Refused: no two mailboxes have one name"},
	{Pattern: "POST /users/{user}", Destroys: true, serve: (*Server).userAction, Summary: "Erase a user's account for ever: ?action=deleteData"},
	{Pattern: "POST /domains/{domain}", Destroys: true, serve: (*Server).domainAction, Summary: "Erase the accounts of all users of a domain for ever: ?action=deleteData"},
	{Pattern: "GET /cassandra/version", serve: (*Server).schemaVersion, Summary: "Tell the version of the views that are served: the sum over all projections"},
	{Pattern: "GET /cassandra/version/latest", serve: (*Server).latestSchema, Summary: "Tell the version of the views that this build makes"},
	{Pattern: "POST /cassandra/version/upgrade", serve: (*Server).upgradeSchema, Summary: "Refused: projections of a new version are made by themselves"},
	{Pattern: "POST /cassandra/version/upgrade/latest", serve: (*Server).upgradeSchema, Summary: "Refused: projections of a new version are made by themselves"},
}

// The types of the tasks that empty a mailbox and erase an account.
const (
	TaskMailboxClear = "mailbox-clear"
	TaskErase        = "account-erase"
)

// repair is a task of James's.
type repair struct {
	kind  string
	takes []string // parameters besides messagesPerSecond
	mode  string   // that is meant where none is given; rebuildAll if empty
	flag  string
}

var (
	reindexing     = repair{kind: TaskReindexAll, takes: []string{"mode"}}
	mailboxRepairs = map[string]repair{
		"SolveInconsistencies":               {kind: TaskSolveMailboxes, takes: []string{"maxIterations", "autoMerge"}},
		"SolveMessageDeletedInconsistencies": {kind: TaskSolveFlags, flag: "DELETED"},
		"SolveMessageRecentInconsistencies":  {kind: TaskSolveFlags, flag: "RECENT"},
		"createMissingParents":               {kind: TaskMissingParents},
		"fixPop3Inconsistencies":             {kind: TaskSolvePop3},
		"populateEmailQueryView":             {kind: TaskEmailQueryView},
		"recomputeFastViewProjectionItems":   {kind: TaskFastViews},
		"RecomputeMailboxCounters":           {kind: TaskCounters, takes: []string{"trustMessageProjection"}},
		"reIndex":                            {kind: TaskReindexAll, takes: []string{"mode", "reIndexFailedMessagesOf"}},
	}
	userRepairs = map[string]repair{
		"recomputeFastViewProjectionItems": {kind: TaskFastViewsOfUser},
		"reIndex":                          {kind: TaskReindexUser, takes: []string{"mode"}},
	}
)

func names(m map[string]repair) []string { return slices.Sorted(maps.Keys(m)) }

// chosenTask reads the parameter that says which task is meant.
func chosenTask(r *http.Request, key string, known ...string) (string, error) {
	name := r.URL.Query().Get(key)
	if !slices.Contains(known, name) {
		return "", domain.Errorf(domain.Invalid, "%s=%q is not supported; supported are %s", key, name, strings.Join(known, ", "))
	}
	return name, nil
}

// order reads the parameters of a repair. One that it does not take is refused, because whoever gives it believes that it does something.
func (by repair) order(r *http.Request) (o JamesOrder, err error) {
	q := r.URL.Query()
	takes := append([]string{"task", "action", "messagesPerSecond"}, by.takes...)
	for name := range q {
		if !slices.Contains(takes, name) {
			return o, domain.Errorf(domain.Invalid, "this task has no parameter %s: it takes %s", name, strings.Join(takes[2:], ", "))
		}
	}
	o.Flag, o.Options = by.flag, map[string]any{}
	for _, name := range takes {
		if !q.Has(name) && name != "mode" {
			continue
		}
		switch name {
		case "messagesPerSecond", "usersPerSecond", "maxIterations":
			n, err := strconv.ParseUint(q.Get(name), 10, 31)
			if err != nil || n == 0 {
				return o, domain.Errorf(domain.Invalid, "%s=%q is not a number above 0", name, q.Get(name))
			}
			o.Options[name] = n
			if name == "messagesPerSecond" {
				o.Throttle = int(n) // An entry of the log is about a message, mostly, so that a bound on entries is one on messages.
			}
		case "autoMerge", "trustMessageProjection":
			if o.Options[name], err = truth(r, name); err != nil {
				return o, err
			}
		case "mode":
			switch mode := cmp.Or(q.Get(name), by.mode); mode {
			case "", "rebuildAll":
				o.Options[name] = "REBUILD_ALL"
			case "fixOutdated":
				o.Options[name], o.Outdated = "FIX_OUTDATED", true
			default:
				return o, domain.Errorf(domain.Invalid, "mode=%q is neither rebuildAll nor fixOutdated", mode)
			}
		}
	}
	return o, nil
}

// repairBy orders a repair, of everything or of a user.
func (s *Server) repairBy(w http.ResponseWriter, r *http.Request, by repair, of ...door.Account) error {
	o, err := by.order(r)
	if err != nil {
		return err
	}
	if failed := r.URL.Query().Get("reIndexFailedMessagesOf"); failed != "" {
		return s.reindexFailed(w, r, domain.TaskID(failed), o)
	}
	for _, a := range of {
		o.Account, o.User, o.Username = a.ID, a.Login, a.Login
	}
	return s.submit(w, r, by.kind, o)
}

func (s *Server) repairMailboxes(w http.ResponseWriter, r *http.Request) error {
	name, err := chosenTask(r, "task", names(mailboxRepairs)...)
	if err != nil {
		return err
	}
	return s.repairBy(w, r, mailboxRepairs[name])
}

func (s *Server) repairUser(w http.ResponseWriter, r *http.Request) error {
	name, err := chosenTask(r, "task", names(userRepairs)...)
	if err != nil {
		return err
	}
	found, err := s.user(r)
	if err != nil {
		return err
	}
	return s.repairBy(w, r, userRepairs[name], found)
}

func (s *Server) repairMessages(w http.ResponseWriter, r *http.Request) error {
	if _, err := chosenTask(r, "task", "SolveInconsistencies"); err != nil {
		return err
	}
	return s.repairBy(w, r, repair{kind: TaskSolveMessages, takes: []string{"mode"}, mode: "fixOutdated"})
}

func (s *Server) repairDirectory(w http.ResponseWriter, r *http.Request) error {
	if _, err := chosenTask(r, "action", "SolveInconsistencies"); err != nil {
		return err
	}
	return s.repairBy(w, r, repair{kind: TaskSolveMappings})
}

// repairQuota bounds users a second by as many entries as so many users have on the average.
func (s *Server) repairQuota(w http.ResponseWriter, r *http.Request) error {
	if _, err := chosenTask(r, "task", "RecomputeCurrentQuotas"); err != nil {
		return err
	}
	by := repair{kind: TaskQuotas, takes: []string{"usersPerSecond", "quotaComponent"}}
	o, err := by.order(r)
	if err != nil {
		return err
	}
	if components := r.URL.Query()["quotaComponent"]; len(components) > 0 && !slices.Equal(components, []string{"MAILBOX"}) {
		return domain.Errorf(domain.Invalid, "quotaComponent=%s is not supported: mail is all that counts here, which is MAILBOX", strings.Join(components, ","))
	}
	if users, given := o.Options["usersPerSecond"].(uint64); given {
		status, err := s.b.Status(r.Context())
		if err != nil {
			return err
		}
		entries := uint64(0)
		for _, head := range status.Streams {
			entries += head
		}
		each := max(1, entries/uint64(max(1, status.Accounts)))
		o.Throttle = int(min(users*each, 1<<31-1))
	}
	return s.submit(w, r, by.kind, o)
}

// mergeMailboxes answers that there is nothing to merge.
func (s *Server) mergeMailboxes(w http.ResponseWriter, _ *http.Request) error {
	writeError(w, Error{
		StatusCode: http.StatusGone, Type: "WrongState", Message: "there is nothing to merge: names of mailboxes are decided in the account's log, so that no two mailboxes have one name",
		Hint: "projection verify --projection mailboxes --repair compares what is shown with the log; messages are moved by IMAP",
	})
	return nil
}

// AccountWork is the parameters of mailbox-clear and account-erase.
type AccountWork struct {
	Account domain.AccountID `json:"account"`
	Mailbox string           `json:"mailbox,omitempty"`
}

func (s *Server) clearMailbox(w http.ResponseWriter, r *http.Request) error {
	found, err := s.user(r)
	if err != nil {
		return err
	}
	name, err := s.mailbox(r, found.ID)
	if err != nil {
		return err
	}
	return s.submit(w, r, TaskClearMailbox, JamesOrder{Account: found.ID, Box: name, Username: found.Login, Name: name, Path: "#private:" + found.Login + ":" + name})
}

// wholly refuses James's parameter to go on in the middle: an erasure is one step, and begins where it was interrupted by itself.
func wholly(r *http.Request) error {
	_, err := chosenTask(r, "action", "deleteData")
	if err == nil && r.URL.Query().Has("fromStep") {
		err = &domain.Error{Kind: domain.Invalid, Msg: "fromStep is not supported: an erasure is one step", Hint: "order it again without fromStep: it goes on where it was interrupted"}
	}
	return err
}

func (s *Server) userAction(w http.ResponseWriter, r *http.Request) error {
	if err := wholly(r); err != nil {
		return err
	}
	found, err := s.find(r.Context(), r.PathValue("user")) // James deletes the data of users that are gone already
	if err != nil {
		return err
	}
	return s.submit(w, r, TaskEraseUser, JamesOrder{Account: found.ID, Username: found.Login})
}

func (s *Server) domainAction(w http.ResponseWriter, r *http.Request) error {
	if err := wholly(r); err != nil {
		return err
	}
	if err := s.localDomain(r); err != nil {
		return err
	}
	return s.submit(w, r, TaskEraseDomain, JamesOrder{Domain: strings.ToLower(r.PathValue("domain"))})
}

// schema is how James tells of versions.
type schema struct {
	Version int `json:"version"`
}

func (s *Server) schemaVersion(w http.ResponseWriter, r *http.Request) error {
	list, err := s.b.Views.List(r.Context())
	if err != nil {
		return err
	}
	served := map[string]int{} // of each projection the lowest
	for _, p := range list {
		if p.State == "kept" || p.State == "building" {
			continue
		}
		if v, known := served[p.Name]; !known || p.Version < v {
			served[p.Name] = p.Version
		}
	}
	sum := 0
	for _, v := range served {
		sum += v
	}
	writeJSON(w, http.StatusOK, schema{sum})
	return nil
}

func (s *Server) latestSchema(w http.ResponseWriter, r *http.Request) error {
	plan, err := s.b.Views.Plan(r.Context())
	if err != nil {
		return err
	}
	latest := map[string]int{}
	for _, p := range plan {
		latest[p.Projection] = p.Version
	}
	sum := 0
	for _, v := range latest {
		sum += v
	}
	writeJSON(w, http.StatusOK, schema{sum})
	return nil
}

// upgradeSchema answers as James does when there is nothing to migrate.
func (s *Server) upgradeSchema(w http.ResponseWriter, _ *http.Request) error {
	writeError(w, Error{
		StatusCode: http.StatusGone, Type: "WrongState", Message: "there is nothing to migrate: projections of a new version are made beside the old ones at the start of a new build",
		Hint: "projection upgrade --plan tells how far that is",
	})
	return nil
}
