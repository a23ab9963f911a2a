package zone

import (
	"strings"
	"testing"
)

func example() Domain {
	return Domain{
		Name: "example.org", Host: "mx.example.org", Keys: []Key{{Name: "a._domainkey.example.org", Text: "v=DKIM1; k=rsa; p=" + strings.Repeat("A", 392)}, {Name: "b._domainkey.example.org", Text: "v=DKIM1; k=ed25519; p=BBBB", Retired: true}},
		Services: []Service{{"_imaps._tcp", 993}, {"_pop3._tcp", 0}},
	}
}

func TestLines(t *testing.T) {
	var lines []string
	for _, r := range Needed(example()) {
		lines = append(lines, r.Line())
	}
	want := []string{
		"mx.example.org. A the address of this server", "example.org. MX 10 mx.example.org.", `example.org. TXT "v=spf1 mx -all"`, `mx.example.org. TXT "v=spf1 a -all"`,
		`a._domainkey.example.org. TXT "v=DKIM1; k=rsa; p=` + strings.Repeat("A", 237) + `" "` + strings.Repeat("A", 155) + `"`, `b._domainkey.example.org. TXT "v=DKIM1; k=ed25519; p=BBBB"`,
		`_dmarc.example.org. TXT "v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org"`, `_mta-sts.example.org. TXT "v=STSv1; id=1"`,
		`_smtp._tls.example.org. TXT "v=TLSRPTv1; rua=mailto:postmaster@example.org"`, "autoconfig.example.org. CNAME mx.example.org.", "_imaps._tcp.example.org. SRV 0 1 993 mx.example.org.",
		"_pop3._tcp.example.org. SRV 0 0 0 .",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s", got)
	}
	none := Needed(Domain{Name: "example.org", Host: "example.org"})
	if none[3].For != "dkim" || none[3].Note != "streampost dkim generate example.org" {
		t.Errorf("%+v", none[3])
	}
}

func TestChecks(t *testing.T) {
	all := map[string]Record{}
	for _, r := range Needed(example()) {
		if _, twice := all[r.For]; !twice {
			all[r.For] = r
		}
	}
	for _, c := range []struct {
		of    string
		found string // with | between
		want  State
	}{
		{"host", "192.0.2.1|2001:db8::1", OK}, {"host", "", Missing},
		{"mx", "20 other.example.|10 MX.example.org.", OK}, {"mx", "10 other.example", Different}, {"mx", "0 .", Different},
		{"spf", "v=spf1 mx -all", OK}, {"spf", "V=SPF1  mx -all|google-site=x", OK}, {"spf", "v=spf1 -all", Different}, {"spf", "v=spf1 mx -all|v=spf1 -all", Different}, {"spf", "v=spf10 mx", Missing},
		{"dkim", "p=" + strings.Repeat("A", 392), OK}, {"dkim", "v=DKIM1; k=ed25519; p=" + strings.Repeat("A", 392), Different}, {"dkim", "v=DKIM1; p=", Different}, {"dkim", "a|b", Different},
		{"dmarc", "v=DMARC1; p=none", OK}, {"dmarc", "v=DMARC1; p=x", Different}, {"dmarc", "v=DMARC1; p=none|v=DMARC1; p=none", Different}, {"dmarc", "other", Missing},
		{"mta-sts", "v=STSv1; id=7", OK}, {"tlsrpt", "v=TLSRPTv1;rua=mailto:a@b.example", OK}, {"autoconfig", "mx.example.org.", OK}, {"autoconfig", "www.example.org", Different},
		{"srv", "5 5 993 mx.example.org", OK}, {"srv", "0 1 143 mx.example.org", Different}, {"srv", "0 0 0 .", Different},
	} {
		var found []string
		if c.found != "" {
			found = strings.Split(c.found, "|")
		}
		if got := Check(all[c.of], found); got.State != c.want {
			t.Errorf("%s, %q: %+v, want %s", c.of, c.found, got, c.want)
		}
	}
	missing := Check(all["mta-sts"], nil)
	broken := Check(all["mx"], nil)
	if missing.Bad() || !broken.Bad() {
		t.Errorf("%+v, %+v", missing, broken)
	}
}
