// Package streampost holds the tests of the repository as a whole: who may import whom, and that the documentation is true.
package streampost

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/streampost/streampost/"

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// packages lists the module's packages without their tests, by the path below the module.
var packages = sync.OnceValues(func() (map[string][]string, error) {
	var failed bytes.Buffer
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return nil, &listError{err, failed.String()}
	}
	all := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = p.Imports
	}
})

type listError struct {
	err    error
	output string
}

func (e *listError) Error() string { return e.err.Error() + "\n" + e.output }

// rule says what packages below a folder may import. A name covers what lies below it.
type rule struct {
	below string
	ours  []string // of this module; the package's own folder is always allowed where self is set
	self  bool
	alien []string // modules of others; nil means none
	any   bool     // whatever is not ours
	noStd []string // packages of the standard library that are forbidden
}

// rules is the table of docs/architecture.md. The first that fits a package decides.
var rules = []rule{
	{below: "domain/event", ours: []string{"domain"}, alien: []string{"golang.org/x/text", "golang.org/x/net/idna", "google.golang.org/protobuf/encoding/protowire"}, noStd: impure},
	{below: "domain", ours: []string{"domain"}, alien: []string{"golang.org/x/text", "golang.org/x/net/idna"}, noStd: impure},
	{below: "streams", ours: []string{"domain"}, self: true, noStd: []string{"database/sql"},
		alien: []string{"github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2", "github.com/ThreeDotsLabs/watermill", "golang.org/x/crypto", "github.com/minio/sio"}},
	{below: "projections/door/credential", ours: []string{"domain"}, alien: []string{"golang.org/x/crypto", "github.com/xdg-go/stringprep"}, noStd: []string{"net", "database/sql"}},
	{below: "projections/snapshots", ours: []string{"domain", "streams"}, self: true, alien: []string{"github.com/klauspost/compress/zstd"}, noStd: []string{"net"}},
	{below: "projections", ours: []string{"domain", "streams"}, self: true, noStd: []string{"net"}},
	{below: "adapters", ours: []string{"domain", "projections", "streams", "migrations", "adapters/netline", "adapters/sasl"}, self: true, any: true},
	{below: "migrations", ours: nil},
	{below: "ops", ours: nil, self: true, any: true},
	{below: "cmd", ours: []string{"domain", "streams", "projections", "adapters", "ops"}, any: true},
	{below: "integration", ours: []string{"domain", "streams", "projections", "adapters", "ops", "migrations"}, self: true, any: true},
}

// impure are the packages through which the domain could meet the world.
var impure = []string{"net", "os", "database/sql", "io/fs", "log", "log/slog", "math/rand", "crypto/rand", "syscall", "path/filepath"}

func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func within(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return below(path, f) })
}

func TestImportRules(t *testing.T) {
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	for path, imports := range all {
		if path == strings.TrimSuffix(module, "/") {
			continue
		}
		i := slices.IndexFunc(rules, func(r rule) bool { return below(path, r.below) })
		if i < 0 {
			t.Errorf("%s lies outside the layout of docs/architecture.md", path)
			continue
		}
		r := rules[i]
		for _, imported := range imports {
			ours, isOurs := strings.CutPrefix(imported, module)
			first, _, _ := strings.Cut(imported, "/")
			switch standard := !strings.Contains(first, "."); {
			case isOurs && !within(ours, r.ours) && !(r.self && below(ours, ownFolder(path))):
				t.Errorf("%s imports %s", path, ours)
			case isOurs:
			case standard && within(imported, r.noStd):
				t.Errorf("%s imports %s", path, imported)
			case !standard && !r.any && !within(imported, r.alien):
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

// ownFolder is the part of the tree inside which a package may import freely: one adapter, all of streams, all of projections, all of ops.
func ownFolder(path string) string {
	parts := strings.Split(path, "/")
	if parts[0] == "adapters" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

// technologies are the modules that one folder alone may know, so that replacing one changes one place.
var technologies = map[string]string{
	"github.com/nats-io/nats-server/v2":    "adapters/natsd",
	"modernc.org/sqlite":                   "adapters/sqlview",
	"github.com/jackc/pgx":                 "adapters/sqlview",
	"github.com/emersion/go-smtp":          "adapters/smtp",
	"github.com/emersion/go-sasl":          "adapters/smtp",
	"github.com/emersion/go-milter":        "adapters/milter",
	"github.com/xdg-go/scram":              "adapters/sasl",
	"github.com/go-jose/go-jose":           "adapters/oidc",
	"github.com/miekg/dns":                 "adapters/dns",
	"blitiri.com.ar/go/spf":                "adapters/mailauth",
	"github.com/emersion/go-msgauth":       "adapters/mailauth",
	"golang.org/x/net/publicsuffix":        "adapters/mailauth",
	"github.com/minio/minio-go":            "adapters/blobs3",
	"github.com/johannesboyne/gofakes3":    "adapters/blobs3",
	"github.com/opensearch-project":        "adapters/opensearch",
	"github.com/minio/sio":                 "streams/blob",
	"github.com/klauspost/compress/s2":     "adapters/natsd", // in which the server keeps what its cluster agreed on
	"github.com/klauspost/compress/zstd":   "projections/snapshots",
	"github.com/minio/highwayhash":         "adapters/natsd",
	"github.com/ThreeDotsLabs/watermill":   "streams",
	"github.com/prometheus/client_golang":  "ops/metrics",
	"go.yaml.in/yaml":                      "ops/config",
	"github.com/alecthomas/kong":           "cmd/streampost",
	"github.com/schollz/progressbar":       "cmd/streampost",
	"github.com/pires/go-proxyproto":       "adapters/netline",
	"google.golang.org/protobuf":           "domain/event",
	"golang.org/x/crypto/argon2":           "projections/door/credential",
	"golang.org/x/crypto/chacha20poly1305": "streams",
	"github.com/pressly/goose":             "adapters/sqlview",
}

func TestEachTechnologyHasOnePlace(t *testing.T) {
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	for path, imports := range all {
		for _, imported := range imports {
			for technology, place := range technologies {
				if below(imported, technology) && !below(path, place) && !below(path, "integration") {
					t.Errorf("%s imports %s, which belongs to %s", path, imported, place)
				}
			}
		}
	}
}
