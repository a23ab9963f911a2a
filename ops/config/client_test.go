package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestClientRules(t *testing.T) {
	for text, want := range map[string]ClientRule{
		`name="Some Mail" version<5.2 without CONDSTORE QRESYNC`: {map[string]string{"name": "Some Mail"}, "5.2", []string{"CONDSTORE", "QRESYNC"}},
		`  NAME=Sam*  os=Android without AUTH=PLAIN `:            {map[string]string{"name": "Sam*", "os": "Android"}, "", []string{"AUTH=PLAIN"}},
		`support-url="" without THREAD=REFS`:                     {map[string]string{"support-url": ""}, "", []string{"THREAD=REFS"}},
	} {
		if got, err := ParseClientRule(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
	for text, what := range map[string]string{
		"":                              "lacks a condition",
		"without IDLE":                  "lacks a condition",
		"name=x":                        "lacks a condition or a capability",
		"name=x without":                "lacks",
		`name="x without IDLE`:          "cannot be read",
		"name<3 without IDLE":           "compares something else",
		"anything without IDLE":         "has no condition in anything",
		"name=x without IDLE version<3": "behind without",
	} {
		if _, err := ParseClientRule(text); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
