package webadmin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/account"
)

// What scripts for James's WebAdmin do and expect.
func TestJamesDialogue(t *testing.T) {
	f := newFake(t)
	f.domains = []string{"example.org"}
	s := serve(t, f, webadmin.Limits{})
	alice := "/users/alice@example.org"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/healthcheck", "", 200, `{"status":"healthy","checks":[{"componentName":"log","escapedComponentName":"log","status":"healthy"},{"componentName":"free space","escapedComponentName":"free%20space","status":"healthy"}]}`},
		{"GET", "/healthcheck?check=log", "", 200, `{"status":"healthy","checks":[{"componentName":"log",`},
		{"GET", "/healthcheck?check=nothing", "", 404, `there is no health check`},
		{"GET", "/healthcheck/checks", "", 200, `[{"componentName":"log","escapedComponentName":"log"},{"componentName":"free space","escapedComponentName":"free%20space"}]`},
		{"GET", "/healthcheck/checks/free%20space", "", 200, `{"componentName":"free space",`},
		{"GET", "/healthcheck/checks/nothing", "", 404, `"type":"notFound"`},

		{"GET", "/domains", "", 200, `["example.org"]`},
		{"GET", "/domains/example.org", "", 204, ``},
		{"GET", "/domains/EXAMPLE.org", "", 204, ``},
		{"GET", "/domains/example.net", "", 404, `"type":"notFound"`},
		{"PUT", "/domains/example.org", "", 204, ``},
		{"DELETE", "/domains/example.org", "", 409, `"type":"WrongState"`},
		{"GET", "/domains/example.org/users", "", 200, `["alice@example.org"]`},
		{"GET", "/domains/example.net/users", "", 404, ``},

		{"GET", "/users", "", 200, `[{"username":"alice@example.org"}]`},
		{"GET", "/users?hasNoMailboxes", "", 200, `[]`},
		{"GET", "/users?hasNotAllSystemMailboxes", "", 200, `[]`},
		{"DELETE", alice + "/mailboxes/Sent", "", 204, ``},
		{"GET", "/users?hasNotAllSystemMailboxes", "", 200, `[{"username":"alice@example.org"}]`},
		{"GET", "/users?hasNotAllSystemMailboxes&hasNoMailboxes", "", 200, `[]`},
		{"HEAD", alice, "", 200, ``},
		{"HEAD", "/users/bob@example.org", "", 404, ``},
		{"PUT", "/users/bob@example.org", `{"password":"secret"}`, 204, ``},
		{"PUT", "/users/bob@example.org", `{}`, 400, `a password is needed`},
		{"PUT", alice, `{"password":"other"}`, 409, `exists`},
		{"PUT", alice + "?force", `{"password":"other"}`, 204, ``},
		{"POST", alice + "/verify", `{"password":"other"}`, 204, ``},
		{"POST", alice + "/verify", `{"password":"secret"}`, 401, `"type":"unauthorized"`},

		{"GET", alice + "/mailboxes", "", 200, `[{"mailboxName":"INBOX","mailboxId":"F0000000000000001-1"}`},
		{"PUT", alice + "/mailboxes/Projects.2026", "", 204, ``},
		{"PUT", alice + "/mailboxes/Projects", "", 204, ``},
		{"PUT", alice + "/mailboxes/Projects", "", 204, ``},
		{"PUT", alice + "/mailboxes/%25", "", 400, `cannot be called`},
		{"PUT", alice + "/mailboxes/%23news", "", 400, `cannot be called`},
		{"GET", alice + "/mailboxes/Projects%2F2026", "", 204, ``},
		{"GET", alice + "/mailboxes/projects.2026", "", 404, `does not exist`},
		{"GET", alice + "/mailboxes/inbox/messageCount", "", 200, `0`},
		{"GET", alice + "/mailboxes/INBOX/unseenMessageCount", "", 200, `0`},
		{"GET", alice + "/mailboxes/Nowhere/messageCount", "", 404, ``},
		{"GET", "/users/bob@example.org/mailboxes", "", 404, `"type":"notFound"`},
		{"DELETE", alice + "/mailboxes/Projects", "", 204, ``},
		{"GET", alice + "/mailboxes/Projects.2026", "", 404, ``},
		{"PUT", alice + "/mailboxes/Junk", "", 204, ``},
		{"DELETE", alice + "/mailboxes", "", 204, ``},
		{"GET", alice + "/mailboxes", "", 200, `[{"mailboxName":"INBOX","mailboxId":"F0000000000000001-1"}]`},

		{"GET", "/quota", "", 200, `{"count":1000,"size":null}`},
		{"GET", "/quota/count", "", 200, `1000`},
		{"GET", "/quota/size", "", 204, ``},
		{"PUT", "/quota", `{"count":5,"size":6}`, 405, `come from the configuration`},
		{"PUT", "/quota/count", `5`, 405, `PUT /quota/users/{user} sets`},
		{"DELETE", "/quota/size", "", 405, `"type":"methodNotAllowed"`},
		{"GET", "/quota/domains/example.org", "", 200, `{"global":{"count":1000,"size":null},"domain":{"count":null,"size":null},"computed":{"count":1000,"size":-1}}`},
		{"GET", "/quota/domains/example.org/count", "", 204, ``},
		{"GET", "/quota/domains/example.net/size", "", 404, `the domain example.net does not exist`},
		{"PUT", "/quota/domains/example.org", `{"count":5,"size":6}`, 405, `domains have no limits of their own`},
		{"DELETE", "/quota/domains/example.org/size", "", 405, `PUT /quota/users/{user} sets`},
		{"PUT", "/quota/domains/example.net/count", `5`, 404, `notFound`},
		{"GET", "/quota/users/alice@example.org", "", 200, `{"global":null,"domain":null,"user":null,"computed":{"count":-1,"size":-1},"occupation":{"size":0,"count":0,"ratio":{"size":0,"count":0,"max":0}}}`},
		{"GET", "/quota/users/alice@example.org/count", "", 204, ``},
		{"PUT", "/quota/users/alice@example.org", `{"count":52,"size":42}`, 204, ``},
		{"GET", "/quota/users/alice@example.org/count", "", 200, `52`},
		{"PUT", "/quota/users/alice@example.org/size", `100`, 204, ``},
		{"PUT", "/quota/users/alice@example.org/size", `-2`, 400, `is not`},
		{"PUT", "/quota/users/alice@example.org/size", `0`, 400, `is not`},
		{"GET", "/quota/users/alice@example.org", "", 200, `"user":{"count":52,"size":100},"computed":{"count":52,"size":100}`},
		{"DELETE", "/quota/users/alice@example.org/count", "", 204, ``},
		{"GET", "/quota/users/alice@example.org", "", 200, `"computed":{"count":-1,"size":100}`},
		{"GET", "/quota/users?minOccupationRatio=0.5", "", 200, `[]`},
		{"GET", "/quota/users?domain=example.org&limit=1", "", 200, `[{"username":"alice@example.org","detail":{`},
		{"GET", "/quota/users?offset=1", "", 200, `[]`},
		{"GET", "/quota/users?minOccupationRatio=x", "", 400, `is not a ratio`},
		{"GET", "/quota/users/bob@example.org", "", 404, ``},

		{"DELETE", alice, "", 204, ``},
		{"HEAD", alice, "", 404, ``},
		{"GET", "/users", "", 200, `[]`},
		{"DELETE", alice, "", 204, ``},
		{"PUT", alice, `{"password":"back"}`, 204, ``}, // mail is where it was
		{"GET", "/users", "", 200, `alice@example.org`},
	} {
		status, body := ask(t, c.method, s.URL+c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
	if f.erased {
		t.Error("deleting a user has erased mail")
	}
}

// What scripts for James order, and read of it. The tasks of this test do nothing; cmd/streampost has those that do.
func TestJamesTasksDialogue(t *testing.T) {
	f := newFake(t)
	f.domains = []string{"example.org"}
	f.tasks = newTasks(t, nil)
	if _, err := f.Do(t.Context(), alice, "test", account.AddMessage{Mailbox: "INBOX"}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, f, webadmin.Limits{})
	const reprocessed = `"failedReprocessedMailCount":3,"mailboxFailures":[],"messageFailures":[],"outdated":true,"runningOptions":{"messagesPerSecond":200,"mode":"FIX_OUTDATED"},"successfullyReprocessedMailCount":18,"throttle":200`
	inbox, message := "F"+string(alice)+"-1", "M"+string(alice)+"-1"
	var last string
	for _, c := range []struct {
		method, path string
		kind         string
		want         []string // in additionalInformation, whose fields are sorted by name
	}{
		{"POST", "/mailboxes?task=reIndex", "full-reindexing", []string{`"runningOptions":{"mode":"REBUILD_ALL"}`, `"successfullyReprocessedMailCount":18`, `"timestamp":"20`, `"type":"full-reindexing"`}},
		{"POST", "/mailboxes?task=reIndex&messagesPerSecond=200&mode=fixOutdated", "full-reindexing", []string{reprocessed}},
		{"POST", "/mailboxes?task=reIndex&reIndexFailedMessagesOf=LAST", "error-recovery-indexation", []string{`"failedReprocessedMailCount":3`, `"outdated":true`}},
		{"POST", "/users/alice@example.org/mailboxes?task=reIndex&messagesPerSecond=200&mode=fixOutdated", "user-reindexing", []string{reprocessed, `"user":"alice@example.org","username":"alice@example.org"`, `"account":"0000000000000001"`}},
		{"POST", "/mailboxes/" + inbox + "?task=reIndex&messagesPerSecond=200&mode=fixOutdated", "mailbox-reindexing", []string{`"mailbox":"INBOX"`, `"mailboxId":"` + inbox + `"`, `"successfullyReprocessedMailCount":18`}},
		{"POST", "/mailboxes/" + inbox + "/mails/1?task=reIndex", "message-reindexing", []string{`"mailboxId":"` + inbox + `"`, `"uid":1`}},
		{"POST", "/messages/" + message + "?task=reIndex", "messageId-reindexing", []string{`"message":1`, `"messageId":"` + message + `"`}},
		{"POST", "/mailboxes?task=SolveInconsistencies&maxIterations=5&autoMerge=true", "solve-mailbox-inconsistencies", []string{`"conflictingEntries":[],"errors":0,"fixedInconsistencies":["` + inbox + `"],"processedMailboxEntries":12,"processedMailboxPathEntries":12,"runningOptions":{"autoMerge":true,"maxIterations":5}`}},
		{"POST", "/messages?task=SolveInconsistencies", "solve-message-inconsistencies", []string{`"addedMessageIdEntries":1,"errors":[],"fixedInconsistencies":[{"mailboxId":"` + inbox + `","uid":7}],"outdated":true,"processedImapUidEntries":21,"processedMessageIdEntries":21,"removedMessageIdEntries":3,"runningOptions":{"mode":"FIX_OUTDATED"}`, `"updatedMessageIdEntries":2`}},
		{"POST", "/messages?task=SolveInconsistencies&messagesPerSecond=200&mode=rebuildAll", "solve-message-inconsistencies", []string{`"runningOptions":{"messagesPerSecond":200,"mode":"REBUILD_ALL"},"throttle":200`}},
		{"POST", "/mailboxes?task=SolveMessageDeletedInconsistencies", "solve-mailbox-flag-inconsistencies", []string{`"errors":[],"processedMailboxEntries":12,"targetFlag":"DELETED"`}},
		{"POST", "/mailboxes?task=SolveMessageRecentInconsistencies", "solve-mailbox-flag-inconsistencies", []string{`"targetFlag":"RECENT"`}},
		{"POST", "/mailboxes?task=createMissingParents", "CreateMissingParentsTask", []string{`"created":[],"failures":[],"timestamp":"`, `"totalCreated":0,"totalFailure":0`}},
		{"POST", "/mailboxes?task=fixPop3Inconsistencies", "Pop3MetaDataFixInconsistenciesTask", []string{`"missingPOP3Entries":1`, `"stalePOP3Entries":3`}},
		{"POST", "/mailboxes?task=populateEmailQueryView&messagesPerSecond=20", "PopulateEmailQueryViewTask", []string{`"failedMessageCount":0,"failedUserCount":0,"processedMessageCount":21,"processedUserCount":2,"runningOptions":{"messagesPerSecond":20}`}},
		{"POST", "/mailboxes?task=recomputeFastViewProjectionItems", "RecomputeAllFastViewProjectionItemsTask", []string{`"processedUserCount":2`}},
		{"POST", "/users/alice@example.org/mailboxes?task=recomputeFastViewProjectionItems", "RecomputeUserFastViewProjectionItemsTask", []string{`"processedMessageCount":21`, `"username":"alice@example.org"`}},
		{"POST", "/mailboxes?task=RecomputeMailboxCounters&trustMessageProjection=true", "recompute-mailbox-counters", []string{`"failedMailboxes":[],"processedMailboxes":12`}},
		{"POST", "/quota/users?task=RecomputeCurrentQuotas&usersPerSecond=20&quotaComponent=MAILBOX", "recompute-current-quotas", []string{`"recomputeSingleQuotaComponentResults":[{"failedIdentifiers":[],"processedIdentifierCount":2,"quotaComponent":"MAILBOX"}],"runningOptions":{"usersPerSecond":20},"throttle":20`}},
		{"POST", "/cassandra/mappings?action=SolveInconsistencies", "cassandra-mappings-solve-inconsistencies", []string{`"timestamp":"`}},
		{"DELETE", "/users/alice@example.org/mailboxes/INBOX/messages", "ClearMailboxContentTask", []string{`"mailboxName":"INBOX","mailboxPath":"#private:alice@example.org:INBOX","messagesFailCount":0,"messagesSuccessCount":5`}},
		{"POST", "/users/alice@example.org?action=deleteData", "DeleteUserDataTask", []string{`"status":{"MailboxUserDeletionTaskStep":"DONE","RecipientRewriteTableUserDeletionTaskStep":"DONE"}`, `"username":"alice@example.org"`}},
		{"POST", "/domains/example.org?action=deleteData", "DeleteUsersDataOfDomainTask", []string{`"domain":"example.org","failedUsers":[],"failedUsersCount":0,"successfulUsersCount":5`}},
	} {
		status, body := ask(t, c.method, s.URL+strings.Replace(c.path, "LAST", last, 1), "")
		var order webadmin.Submitted
		if err := json.Unmarshal([]byte(body), &order); err != nil || status != 201 {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
			continue
		}
		last = string(order.ID)
		_, body = ask(t, "GET", s.URL+"/tasks/"+last+"/await", "")
		for _, want := range append(c.want, `"type":"`+c.kind+`","status":"completed"`) {
			if !strings.Contains(body, want) {
				t.Errorf("%s %s: the task lacks %s: %s", c.method, c.path, want, body)
			}
		}
		if _, body := ask(t, "GET", s.URL+"/tasks?type="+c.kind, ""); !strings.Contains(body, last) {
			t.Errorf("%s %s: it is not listed as %s", c.method, c.path, c.kind)
		}
	}
}

// James's fields are there before anything is counted, and when nothing is.
func TestJamesFieldsOfAFailure(t *testing.T) {
	f := newFake(t)
	f.tasks = newTasks(t, nil)
	s := serve(t, f, webadmin.Limits{})
	for path, want := range map[string]string{
		"/mailboxes?task=reIndex&messagesPerSecond=13":                  `"failedReprocessedMailCount":0,"mailboxFailures":[],"messageFailures":[],"runningOptions":{"messagesPerSecond":13,"mode":"REBUILD_ALL"},"successfullyReprocessedMailCount":0`,
		"/mailboxes?task=RecomputeMailboxCounters&messagesPerSecond=13": `"failedMailboxes":[],"processedMailboxes":0`,
	} {
		_, body := ask(t, "POST", s.URL+path, "")
		var order webadmin.Submitted
		if err := json.Unmarshal([]byte(body), &order); err != nil {
			t.Fatalf("%s: %s", path, body)
		}
		if _, body = ask(t, "GET", s.URL+"/tasks/"+string(order.ID)+"/await", ""); !strings.Contains(body, `"status":"failed"`) || !strings.Contains(body, want) {
			t.Errorf("%s: the task lacks %s: %s", path, want, body)
		}
	}
}

// What is not understood is refused, and so is what cannot be done here: nothing that a script asks for is passed over in silence.
func TestJamesRefusals(t *testing.T) {
	f := newFake(t)
	f.domains = []string{"example.org"}
	f.tasks = newTasks(t, nil)
	s := serve(t, f, webadmin.Limits{})
	inbox, message := "F"+string(alice)+"-1", "M"+string(alice)+"-1"
	done := submitted(t, s.URL, `{"type":"dig"}`)
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"POST", "/mailboxes?task=reIndex&messagesPerSecond=0", 400, `is not a number above 0`},
		{"POST", "/mailboxes?task=reIndex&messagesPerSecond=-1", 400, `is not a number above 0`},
		{"POST", "/mailboxes?task=reIndex&mode=quickly", 400, `neither rebuildAll nor fixOutdated`},
		{"POST", "/mailboxes?task=reIndex&messagePerSecond=5", 400, `has no parameter messagePerSecond: it takes messagesPerSecond, mode, reIndexFailedMessagesOf`},
		{"POST", "/mailboxes?task=reIndex&reIndexFailedMessagesOf=7", 400, `is not a task's id`},
		{"POST", "/mailboxes?task=reIndex&reIndexFailedMessagesOf=" + done, 400, `is not a reindexing but dig`},
		{"POST", "/mailboxes?task=reIndex&reIndexFailedMessagesOf=" + strings.Replace(done, done[:4], "ffff", 1), 400, `there is no task`},
		{"POST", "/mailboxes?task=RecomputeMailboxCounters&mode=fixOutdated", 400, `has no parameter mode`},
		{"POST", "/mailboxes?task=RecomputeMailboxCounters&trustMessageProjection=yes", 400, `neither true nor false`},
		{"POST", "/mailboxes?task=SolveInconsistencies&maxIterations=0", 400, `is not a number above 0`},
		{"POST", "/users/alice@example.org/mailboxes?task=reIndex&mode=x", 400, `neither rebuildAll nor fixOutdated`},
		{"POST", "/users/bob@example.org/mailboxes?task=reIndex", 404, `notFound`},
		{"POST", "/users/alice@example.org/mailboxes?task=subscribeAll", 400, `supported are reIndex, recomputeFastViewProjectionItems`},
		{"POST", "/mailboxes/1?task=reIndex", 400, `is not a mailboxId`},
		{"POST", "/mailboxes/" + message + "?task=reIndex", 400, `is not a mailboxId, such as F0123456789abcdef-17`},
		{"POST", "/mailboxes/F" + string(alice) + "-99?task=reIndex", 404, `there is no mailbox`},
		{"POST", "/mailboxes/" + inbox + "?task=tidy", 400, `supported are reIndex`},
		{"POST", "/mailboxes/" + inbox + "/mails/x?task=reIndex", 400, `is not a UID`},
		{"POST", "/mailboxes/" + inbox + "/mails/9?task=reIndex", 404, `has no message 9`},
		{"POST", "/messages/x?task=reIndex", 400, `is not a messageId`},
		{"POST", "/messages/M" + string(alice) + "-99?task=reIndex", 404, `there is no message`},
		{"POST", "/quota/users?task=RecomputeCurrentQuotas&quotaComponent=SIEVE", 400, `quotaComponent=SIEVE is not supported`},
		{"POST", "/quota/users?task=RecomputeCurrentQuotas&usersPerSecond=0", 400, `is not a number above 0`},
		{"POST", "/cassandra/mailbox/merging", 410, `there is nothing to merge`},
		{"POST", "/users/alice@example.org?action=deleteData&fromStep=MailboxUserDeletionTaskStep", 400, `an erasure is one step`},
		{"POST", "/domains/example.org?action=tidy", 400, `supported are deleteData`},
		{"POST", "/domains/example.net?action=deleteData", 404, `the domain example.net does not exist`},
	} {
		if status, body := ask(t, c.method, s.URL+c.path, ""); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, status, body, c.status, c.want)
		}
	}
}

func TestJamesEmptiesMailboxes(t *testing.T) {
	f := newFake(t)
	if _, err := f.Do(t.Context(), alice, "test", account.AddMessage{Mailbox: "INBOX"}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, f, webadmin.Limits{})
	if _, body := ask(t, "GET", s.URL+"/users/alice@example.org/mailboxes/INBOX/messageCount", ""); body != "1" {
		t.Fatal(body)
	}
	if status, body := ask(t, "DELETE", s.URL+"/users/alice@example.org/mailboxes", ""); status != 204 {
		t.Fatal(body)
	}
	if _, body := ask(t, "GET", s.URL+"/users/alice@example.org/mailboxes/INBOX/messageCount", ""); body != "0" {
		t.Error(body)
	}
}

func TestHealthIsStrictOnDemand(t *testing.T) {
	f := newFake(t)
	f.damaged = true
	s := serve(t, f, webadmin.Limits{})
	for path, want := range map[string]int{"/healthcheck": 200, "/healthcheck?strict": 503, "/healthcheck?check=free%20space&strict": 200, "/healthcheck/checks/log": 200, "/healthcheck/checks/log?strict": 503} {
		if status, body := ask(t, "GET", s.URL+path, "", "Authorization", ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestLevelsOfAccess(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	for _, c := range []struct {
		token               string
		get, put, deleteAll int
	}{
		{token, 200, 204, 204},
		{"no-delete", 200, 204, 403},
		{"read-only", 200, 403, 403},
		{"wrong", 401, 401, 401},
		{"", 401, 401, 401},
	} {
		for method, want := range map[string]int{"GET": c.get, "PUT": c.put, "DELETE": c.deleteAll} {
			path := "/v1/accounts/alice@example.org"
			if method == "PUT" {
				path = "/users/carol@example.org"
			}
			for _, header := range [][]string{{"Authorization", "Bearer " + c.token}, {"Authorization", "", "Password", c.token}} {
				if status, body := ask(t, method, s.URL+path, `{"password":"x"}`, header...); status != want {
					t.Errorf("%s with %q: %d %s, want %d", method, header, status, body, want)
				}
			}
		}
	}
}

// What destroys is refused to a token that may not delete, by whatever method it is asked for.
func TestNoDeleteDestroysNothing(t *testing.T) {
	f := newFake(t)
	f.tasks = newTasks(t, nil)
	s := serve(t, f, webadmin.Limits{})
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/users/alice@example.org?action=deleteData", "", 403},
		{"/domains/example.org?action=deleteData", "", 403},
		{"/v1/tasks", `{"type":"tasks-cleanup","parameters":{}}`, 403},
		{"/v1/tasks", `{"type":"dig","parameters":{}}`, 201},
		{"/v1/dead-letters/drop", `{}`, 403},
		{"/v1/projections/prune", "", 403},
	} {
		if status, body := ask(t, "POST", s.URL+c.path, c.body, "Authorization", "Bearer no-delete"); status != c.want {
			t.Errorf("POST %s %s: %d %s, want %d", c.path, c.body, status, body, c.want)
		}
	}
	if status, body := ask(t, "POST", s.URL+"/v1/tasks", `{"type":"tasks-cleanup","parameters":{}}`); status != 201 {
		t.Errorf("who may do everything: %d %s", status, body)
	}
}

// The OpenAPI document has an operation for every route of ours, with its parameters, body and answer.
func TestOpenAPI(t *testing.T) {
	status, body := ask(t, "GET", serve(t, newFake(t), webadmin.Limits{}).URL+"/v1/openapi.json", "", "Authorization", "")
	if status != 200 {
		t.Fatal(status, body)
	}
	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Summary     string
			RequestBody any
			Parameters  []struct{ Name, In, Description string }
			Responses   map[string]any
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Error(document.OpenAPI)
	}
	for _, route := range webadmin.Routes {
		method, path, _ := strings.Cut(route.Pattern, " ")
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		o, found := document.Paths[path][strings.ToLower(method)]
		if !found || o.Summary != route.Summary || len(o.Responses) < 2 || (o.RequestBody == nil) != (route.Body == nil && route.BodyType == "") {
			t.Errorf("%s: %+v", route.Pattern, o)
		}
		if want := strings.Count(path, "{") + len(route.Query); len(o.Parameters) != want {
			t.Errorf("%s has the parameters %+v", route.Pattern, o.Parameters)
		}
		for _, p := range o.Parameters {
			if p.Description == "" {
				t.Errorf("%s does not say what %s is", route.Pattern, p.Name)
			}
		}
	}
}
