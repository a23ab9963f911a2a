package webadmin_test

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
)

func TestAccessControlLists(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, webadmin.Limits{})
	const acl = "/v1/accounts/alice@example.org/acl"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", acl, "", 200, `[]`},
		{"PUT", acl, `{"mailbox":"inbox","identifier":"bob@example.org","rights":"lrs"}`, 204, ``},
		{"PUT", acl, `{"mailbox":"INBOX","identifier":"bob@example.org","rights":"+d"}`, 204, ``},
		{"PUT", acl, `{"mailbox":"INBOX","identifier":"bob@example.org","rights":"-s"}`, 204, ``},
		{"PUT", acl, `{"mailbox":"INBOX","identifier":"-bob@example.org","rights":"w"}`, 204, ``},
		{"PUT", acl, `{"mailbox":"Sent","identifier":"anyone","rights":"l"}`, 204, ``},
		{"GET", acl, "", 200, `[{"mailbox":"INBOX","identifier":"-bob@example.org","rights":"w"},{"mailbox":"INBOX","identifier":"bob@example.org","rights":"lrte"},{"mailbox":"Sent","identifier":"anyone","rights":"l"}]`},
		{"GET", acl + "?mailbox=Sent", "", 200, `[{"mailbox":"Sent","identifier":"anyone","rights":"l"}]`},
		{"GET", acl + "?mailbox=nothing", "", 404, `the mailbox does not exist`},
		{"PUT", acl, `{"mailbox":"INBOX","identifier":"-bob@example.org"}`, 204, ``},
		{"GET", acl + "?mailbox=inbox", "", 200, `[{"mailbox":"INBOX","identifier":"bob@example.org","rights":"lrte"}]`},
		{"PUT", acl, `{"mailbox":"INBOX","identifier":"carol@example.org","rights":"l"}`, 404, `there is no user of that name`},
		{"PUT", acl, `{"mailbox":"INBOX","identifier":"bob@example.org","rights":"lz"}`, 400, `there is no right`},
		{"PUT", acl, `{"mailbox":"INBOX","identifier":"alice@example.org","rights":"l"}`, 400, `the owner`},
		{"PUT", acl, `{"mailbox":"nothing","identifier":"bob@example.org","rights":"l"}`, 404, `does not exist`},
	} {
		if status, body := ask(t, c.method, s.URL+c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
}
