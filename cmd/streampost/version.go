package main

import (
	"runtime"
	"runtime/debug"
)

// VersionCmd shows the version.
type VersionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*VersionCmd) Help() string {
	return `The release, or the commit that it was built from, with the version of Go and the platform. projection list tells the versions of views.

Examples:

  streampost version --json`
}

// Run prints it.
func (c *VersionCmd) Run(_ *Globals, env *Env) error {
	if c.JSON {
		return env.json(map[string]string{"version": version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	env.printf("streampost %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// version is the module's version, or the commit that it was built from.
func version() string {
	if v := asVersion(); v != "" {
		return v
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "commit " + s.Value[:min(12, len(s.Value))]
		}
	}
	return "development"
}
