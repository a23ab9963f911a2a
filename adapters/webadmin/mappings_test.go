package webadmin_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/door/doortest"
)

// town is a server with the domains example.org and example.net, and the users alice and bob there.
func town(t *testing.T) string {
	t.Helper()
	n := doortest.Start(t)
	f := newFake(t)
	f.domains, f.Rewriting = []string{"example.org", "example.net"}, n.Directory
	n.AddAccount(t, "alice@example.org", "")
	n.AddAccount(t, "bob@example.net", "")
	return serve(t, f, webadmin.Limits{}).URL
}

type exchange struct {
	method, path, body string
	status             int
	want               string
}

func converse(t *testing.T, base string, dialogue []exchange) {
	t.Helper()
	for _, c := range dialogue {
		status, body := ask(t, c.method, base+c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
}

// What scripts for James do with groups, forwards, aliases and mappings.
func TestJamesMappingsDialogue(t *testing.T) {
	regex := url.PathEscape(`(.*)\.old@example\.org:${1}@example.org`)
	converse(t, town(t), []exchange{
		{"GET", "/address/groups", "", 200, `[]`},
		{"GET", "/address/groups/team@example.org", "", 404, `The group does not exist`},
		{"PUT", "/address/groups/team@example.org/alice@example.org", "", 204, ``},
		{"PUT", "/address/groups/team@example.org/Zoe@else.example", "", 204, ``},
		{"PUT", "/address/groups/team@example.org/alice@example.org", "", 204, ``},
		{"GET", "/address/groups/TEAM@example.org", "", 200, `["Zoe@else.example","alice@example.org"]`},
		{"GET", "/address/groups", "", 200, `["team@example.org"]`},
		{"PUT", "/address/groups/alice@example.org/bob@example.net", "", 409, `"type":"WrongState"`},
		{"PUT", "/address/groups/team@else.example/bob@example.net", "", 400, `"type":"InvalidArgument"`},
		{"PUT", "/address/groups/team@example.org/nobody", "", 400, `"type":"InvalidArgument"`},
		{"PUT", "/address/groups/all@example.org/team@example.org", "", 204, ``},
		{"PUT", "/address/groups/team@example.org/all@example.org", "", 409, `team@example.org -\u003e all@example.org -\u003e team@example.org`},
		{"DELETE", "/address/groups/team@example.org/Zoe@else.example", "", 204, ``},
		{"DELETE", "/address/groups/team@example.org/Zoe@else.example", "", 204, ``},
		{"DELETE", "/address/groups", `["all@example.org","none@example.org"]`, 404, `The group does not exist`},
		{"DELETE", "/address/groups", `["all@example.org"]`, 204, ``},
		{"DELETE", "/address/groups/team@example.org", "", 204, ``},
		{"GET", "/address/groups", "", 200, `[]`},

		{"GET", "/address/forwards/alice@example.org", "", 404, `The forward does not exist`},
		{"PUT", "/address/forwards/alice@example.org/targets/alice@else.example", "", 204, ``},
		{"PUT", "/address/forwards/alice@example.org/targets/alice@example.org", "", 204, ``},
		{"PUT", "/address/forwards/nobody@example.org/targets/alice@example.org", "", 404, ``},
		{"GET", "/address/forwards", "", 200, `["alice@example.org"]`},
		{"GET", "/address/forwards/alice@example.org", "", 200, `[{"mailAddress":"alice@else.example"},{"mailAddress":"alice@example.org"}]`},
		{"GET", "/v1/mappings/resolve/alice@example.org", "", 200, `"recipients":[{"address":"alice@else.example","path":[{"kind":"forward","to":"alice@else.example"}]},{"address":"alice@example.org","account":`},
		{"DELETE", "/address/forwards/alice@example.org/targets/alice@else.example", "", 204, ``},
		{"DELETE", "/address/forwards/alice@example.org/targets/alice@example.org", "", 204, ``},

		{"PUT", "/address/aliases/alice@example.org/sources/sales@example.org", "", 204, ``},
		{"PUT", "/address/aliases/alice@example.org/sources/bob@example.net", "", 409, `is an address of the account`},
		{"PUT", "/address/aliases/sales@example.org/sources/sales@example.org", "", 400, `are the same`},
		{"PUT", "/address/aliases/alice@example.org/sources/x@else.example", "", 400, ``},
		{"GET", "/address/aliases", "", 200, `["alice@example.org"]`},
		{"GET", "/address/aliases/alice@example.org", "", 200, `[{"source":"sales@example.org"}]`},
		{"GET", "/mappings/sources/alice@example.org?type=alias", "", 200, `["sales@example.org"]`},
		{"GET", "/mappings/sources/alice@example.org?type=group", "", 200, `[]`},
		{"GET", "/mappings/sources/alice@example.org", "", 400, `is no type of mapping`},

		{"GET", "/domains/example.org/aliases", "", 200, `[]`},
		{"PUT", "/domains/example.org/aliases/example.net", "", 204, ``},
		{"GET", "/domains/example.org/aliases", "", 200, `[{"source":"example.net"}]`},
		{"PUT", "/domains/example.net/aliases/example.org", "", 409, `@example.org`},
		{"PUT", "/domains/else.example/aliases/example.net", "", 404, `is not local`},
		{"GET", "/domains/else.example/aliases", "", 404, ``},
		{"DELETE", "/domains/example.org/aliases/example.net", "", 204, ``},

		{"GET", "/domainMappings/example.net", "", 404, `Cannot find mappings for example.net`},
		{"PUT", "/domainMappings/example.net", "else.example", 204, ``},
		{"PUT", "/domainMappings/example.net", "other.example\n", 204, ``},
		{"PUT", "/domainMappings/example.net", "other.example", 204, ``},
		{"PUT", "/domainMappings/example.net", "a b", 400, ``},
		{"PUT", "/domainMappings/else.example", "example.org", 400, ``},
		{"GET", "/domainMappings/example.net", "", 200, `["other.example"]`},
		{"GET", "/domainMappings", "", 200, `{"example.net":["other.example"]}`},
		{"DELETE", "/domainMappings/example.net", "other.example", 204, ``},

		{"POST", "/mappings/address/old@example.org/targets/alice@example.org", "", 204, ``},
		{"POST", "/mappings/address/alice@example.org/targets/old@example.org", "", 409, `loop`},
		{"POST", "/mappings/regex/example.org/targets/" + regex, "", 204, ``},
		{"POST", "/mappings/regex/example.org/targets/(", "", 400, ``},
		{"GET", "/mappings/user/old@example.org", "", 200, `[{"type":"Address","mapping":"alice@example.org"}]`},
		{"GET", "/mappings", "", 200, `{"*@example.org":[{"type":"Regex","mapping":"(.*)\\.old@example\\.org:${1}@example.org"}],"old@example.org":[{"type":"Address","mapping":"alice@example.org"}],"sales@example.org":[{"type":"Alias","mapping":"alice@example.org"}]}`},
		{"DELETE", "/mappings/regex/example.org/targets/" + regex, "", 204, ``},
		{"DELETE", "/mappings/address/old@example.org/targets/alice@example.org", "", 204, ``},
		{"DELETE", "/mappings/sources/alice@example.org?type=alias", "", 204, ``},
		{"GET", "/mappings", "", 200, `{}`},
		{"PUT", "/mappings", `{"shop@example.org":[{"type":"Alias","mapping":"alice@example.org"},{"type":"Nickname","mapping":"x"}]}`, 400, `is no type`},
		{"PUT", "/mappings", `{"*@example.org":[{"type":"Address","mapping":"alice@example.org"}],"@example.net":[{"type":"DomainAlias","mapping":"example.org"}],"shop@example.org":[{"type":"Alias","mapping":"alice@example.org"}]}`, 204, ``},
		{"GET", "/mappings", "", 200, `{"*@example.net":[{"type":"DomainAlias","mapping":"example.org"}],"*@example.org":[{"type":"Address","mapping":"alice@example.org"}],"shop@example.org":[{"type":"Alias","mapping":"alice@example.org"}]}`},
	})
}

func TestMappingsDialogue(t *testing.T) {
	base := town(t)
	converse(t, base, []exchange{
		{"POST", "/v1/mappings", `{"add":[{"source":"sales@example.org","kind":"alias","target":"Alice@example.org"},{"source":"team@example.org","kind":"group","target":"sales@example.org"},{"source":"team@example.org","kind":"group","target":"gone@example.org"},{"source":"gone@example.org","kind":"error","target":"551 5.1.6 Moved"}]}`, 204, ``},
		{"GET", "/v1/mappings", "", 200, `{"mappings":[{"source":"gone@example.org","kind":"error","target":"551 5.1.6 Moved"},{"source":"sales@example.org",`},
		{"GET", "/v1/mappings?source=Team@example.org&target=sales@example.org", "", 200, `{"mappings":[{"source":"team@example.org","kind":"group","target":"sales@example.org"}]}`},
		{"GET", "/v1/mappings?target=alice@EXAMPLE.org&kind=group", "", 200, `{"mappings":[]}`},
		{"GET", "/v1/mappings?domain=example.net", "", 200, `{"mappings":[]}`},
		{"GET", "/v1/mappings?kind=nickname", "", 400, `is no kind`},
		{"GET", "/v1/mappings?limit=0", "", 400, `limit is`},
		{"GET", "/v1/mappings?next=x", "", 400, `next is not`},
		{"GET", "/v1/mappings/resolve/team@example.org", "", 200, `"nowhere":[{"address":"gone@example.org","refusal":"551 5.1.6 Moved","path":[{"kind":"group","to":"gone@example.org"}]}]`},
		{"GET", "/v1/mappings/resolve/nobody@example.org", "", 200, `{"address":"nobody@example.org","recipients":[],"nowhere":[{"address":"nobody@example.org"}]}`},
		{"GET", "/v1/mappings/resolve/nobody", "", 400, ``},
		{"POST", "/v1/mappings", `{"add":[{"source":"@example.org","kind":"regex","target":"a@.*:b@example.org"},{"source":"@example.org","kind":"regex","target":"b@.*:a@example.org"}]}`, 204, ``},
		{"GET", "/v1/mappings/resolve/a@example.org", "", 200, `"fault":{"reason":"a loop","path":[{"kind":"regex","to":"b@example.org"},{"kind":"regex","to":"a@example.org"}]}`},
		{"POST", "/v1/mappings/change", `{"strict":true,"remove":[{"source":"@example.org","kind":"regex","target":"c@.*:a@example.org"}]}`, 404, `there is no such mapping`},
		{"POST", "/v1/mappings/change", `{"strict":true,"check":["a@example.org"],"remove":[{"source":"@example.org","kind":"regex","target":"b@.*:a@example.org"}],"add":[{"source":"@example.org","kind":"regex","target":"[b]@.*:a@example.org"}]}`, 409, `could still not be delivered`},
		{"POST", "/v1/mappings/change", `{"strict":true,"check":["a@example.org"],"remove":[{"source":"@example.org","kind":"regex","target":"b@.*:a@example.org"}]}`, 204, ``},
	})
	_, page := ask(t, "GET", base+"/v1/mappings?limit=3", "")
	_, next, _ := strings.Cut(page, `"next":"`)
	if status, rest := ask(t, "GET", base+"/v1/mappings?limit=3&next="+strings.TrimRight(next, "\"}"), ""); status != 200 || strings.Contains(rest, "next") || strings.Count(page+rest, `"kind"`) != 5 {
		t.Errorf("%d %s after %s", status, rest, page)
	}
	if status, _ := ask(t, "POST", base+"/v1/mappings/change", `{}`, "Authorization", "Bearer no-delete"); status != 403 {
		t.Error("a token that may not delete removes mappings:", status)
	}
}
