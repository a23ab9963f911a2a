package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/streampost/streampost/adapters/webadmin"
)

// adminFile tells commands how to reach the server of a data directory. It holds a secret, so it has mode 0600.
const adminFile = "admin.json"

type adminAccess struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

func readAccess(data string) (access adminAccess, err error) {
	text, err := os.ReadFile(filepath.Join(data, adminFile))
	if err == nil {
		err = json.Unmarshal(text, &access)
	}
	return access, err
}

// client speaks to a running server.
type client struct {
	adminAccess
	http *http.Client
}

// connect finds the running server: by --url and --token, or through the data directory.
func (g *Globals) connect() (*client, error) {
	access := adminAccess{URL: g.URL, Token: g.Token}
	if access.URL == "" {
		loaded, err := g.load()
		if err != nil {
			return nil, err
		}
		data := loaded.Config.Data
		found, err := readAccess(data)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &exitError{exitUnreachable, fmt.Errorf("no server has run on %s: start one with streampost serve, or point --data or --url to it", data)}
		}
		if err != nil {
			return nil, &exitError{exitUnreachable, fmt.Errorf("find the running server: %w", err)}
		}
		if idle(data) { // of a copy, admin.json would lead to the server of the original
			return nil, &exitError{exitUnreachable, fmt.Errorf("no server runs on %s: is it running? Start it with streampost serve", data)}
		}
		access.URL = found.URL
		if access.Token == "" {
			access.Token = found.Token
		}
	}
	if access.Token == "" {
		return nil, usage("--url needs a token: set STREAMPOST_TOKEN")
	}
	return newClient(access)
}

func newClient(access adminAccess) (*client, error) {
	if u, err := url.Parse(access.URL); err != nil || u.Scheme != "unix" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return nil, usage("the admin URL %q is not one such as http://127.0.0.1:8000 or unix:/path", access.URL)
	}
	transport := &http.Transport{}
	if path, unix := strings.CutPrefix(access.URL, "unix:"); unix {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		access.URL = "http://streampost"
	}
	return &client{access, &http.Client{Transport: transport}}, nil
}

// path joins escaped segments.
func path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

// call sends in as JSON, unless it is nil, and reads the answer into out, unless that is nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw, err = io.ReadAll(resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// do sends a request; an answer that is an error becomes one.
func (c *client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+"/v1"+path, body)
	if err != nil {
		return nil, usage("the admin URL %q is wrong: %w", c.URL, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, &exitError{exitUnreachable, fmt.Errorf("no server answers at %s: is it running? Start it with streampost serve (%w)", c.URL, op.Err)}
		}
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	answer := webadmin.Error{Message: resp.Status}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		_ = json.Unmarshal(text, &answer) // what is not ours keeps the status line as its message
	}
	return nil, &answer
}

// stream reads an answer of Lines. item is called for every item, and the result is read into result.
func (c *client) stream(env *Env, method, path string, body io.Reader, item func(json.RawMessage) error, result any) error {
	resp, err := c.do(env, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	bar := newBar(env)
	defer bar.finish()
	dec := json.NewDecoder(resp.Body)
	for {
		var line webadmin.Line
		if err := dec.Decode(&line); err != nil {
			if env.interrupted() {
				return errors.New("interrupted")
			}
			return fmt.Errorf("the answer was cut off before its end: %w", err)
		}
		switch {
		case line.Error != nil:
			return line.Error
		case line.Result != nil:
			return json.Unmarshal(line.Result, result)
		case line.Progress != nil:
			bar.show(*line.Progress)
		case item != nil:
			bar.pause()
			if err := item(line.Item); err != nil {
				return err
			}
		}
	}
}
