package logging_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/streampost/streampost/ops/logging"
)

func TestLevelAndFormat(t *testing.T) {
	var out strings.Builder
	log, err := logging.New(&out, "json", "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hidden")
	log.Warn("shown", "conn", "c1")
	var line struct{ Level, Msg, Conn string }
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || line.Level != "WARN" || line.Msg != "shown" || line.Conn != "c1" {
		t.Errorf("%v: %s", err, out.String())
	}
	if _, err := logging.New(&out, "xml", "info"); err == nil {
		t.Error("an unknown format is accepted")
	}
	if _, err := logging.New(&out, "text", "loud"); err == nil {
		t.Error("an unknown level is accepted")
	}
}
