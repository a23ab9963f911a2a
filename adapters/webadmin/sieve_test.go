package webadmin_test

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
)

func TestSieveScripts(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, webadmin.Limits{})
	const scripts, active = "/v1/accounts/alice@example.org/sieve", "/v1/accounts/alice@example.org/active-sieve"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", scripts, "", 200, `[]`},
		{"PUT", scripts + "/main", `{"content":"require \"fileinto\";\nkeep;"}`, 200, `{"warnings":["line 1, column 9: \"fileinto\" is required and not used"]}`},
		{"PUT", scripts + "/main", `{"content":"keep;\nfrobnicate;"}`, 400, `line 2, column 1: frobnicate`},
		{"PUT", scripts + "/other", `{"content":"discard;","activate":true}`, 200, `{"warnings":[]}`},
		{"GET", scripts, "", 200, `[{"name":"main","active":false,"octets":25},{"name":"other","active":true,"octets":8}]`},
		{"GET", scripts + "/other", "", 200, `{"name":"other","active":true,"octets":8,"content":"discard;"}`},
		{"GET", scripts + "/none", "", 404, `there is no script \"none\"`},
		{"DELETE", scripts + "/other", "", 400, `the active script cannot be deleted`},
		{"PUT", active, `{"name":"none"}`, 404, `there is no script`},
		{"PUT", active, `{"name":""}`, 204, ``},
		{"DELETE", scripts + "/other", "", 204, ``},
		{"PUT", "/sieve/alice@example.org/scripts/james?activate=true", "keep;", 204, ``},
		{"PUT", "/sieve/nobody@example.org/scripts/james", "keep;", 404, ``},
		{"PUT", "/sieve/alice@example.org/scripts/james", "keep", 400, `line 1`},
		{"GET", scripts, "", 200, `[{"name":"james","active":true,"octets":5},{"name":"main"`},
		{"GET", "/sieve/quota/default", "", 200, `1048576`},
		{"PUT", "/sieve/quota/default", "5", 405, `cannot be set`},
		{"GET", "/sieve/quota/users/alice@example.org", "", 204, ``},
		{"GET", "/sieve/quota/users/nobody@example.org", "", 404, ``},
		{"DELETE", "/sieve/quota/users/alice@example.org", "", 405, `cannot be set`},
	} {
		if status, body := ask(t, c.method, s.URL+c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
}

func TestVacations(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, webadmin.Limits{})
	const own, james = "/v1/accounts/alice@example.org/vacation", "/vacation/alice@example.org"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", james, "", 200, `{"enabled":false,"fromDate":null,"toDate":null,"subject":null,"textBody":null,"htmlBody":null}`},
		{"POST", james, `{"enabled":true}`, 400, `has a text`},
		{"POST", james, `{"enabled":true,"textBody":"away","toDate":"2027-01-02T00:00:00Z"}`, 204, ``},
		{"POST", james, `{"subject":"hello"}`, 204, ``},
		{"GET", own, "", 200, `{"enabled":true,"fromDate":null,"toDate":"2027-01-02T00:00:00Z","subject":"hello","textBody":"away","htmlBody":null}`},
		{"POST", james, `{"toDate":null,"fromDate":"2026-12-24T12:00:00+01:00"}`, 204, ``},
		{"GET", james, "", 200, `{"enabled":true,"fromDate":"2026-12-24T11:00:00Z","toDate":null,"subject":"hello"`},
		{"POST", james, `{"toDate":"2020-01-01T00:00:00Z"}`, 400, `ends after it begins`},
		{"POST", james, `{"colour":"red"}`, 400, `has no`},
		{"POST", james, `{"subject":"a\nb"}`, 400, `one line`},
		{"PUT", own, `{"enabled":true,"htmlBody":"<b>away</b>"}`, 204, ``},
		{"GET", james, "", 200, `{"enabled":true,"fromDate":null,"toDate":null,"subject":null,"textBody":null,"htmlBody":"\u003cb\u003eaway\u003c/b\u003e"}`},
		{"DELETE", james, "", 204, ``},
		{"GET", own, "", 200, `{"enabled":false,"fromDate":null,"toDate":null,"subject":null,"textBody":null,"htmlBody":null}`},
		{"GET", "/vacation/nobody@example.org", "", 404, ``},
	} {
		if status, body := ask(t, c.method, s.URL+c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
}
