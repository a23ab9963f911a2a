package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// PasswordFlags say where a password comes from.
type PasswordFlags struct {
	Password     string `placeholder:"PASSWORD" xor:"password" help:"The password. Other users of this machine can see it while the command runs: prefer the prompt or --password-file."`
	PasswordFile string `placeholder:"FILE" xor:"password" help:"Read the password from the first line of a file; - means standard input."`
	Short        bool   `help:"Take a password that is shorter than logins.min_password."`
}

// maxPassword bounds what is read; nobody types more.
const maxPassword = 4096

func (p *PasswordFlags) password(env *Env) (string, error) {
	if p.Password != "" {
		return p.Password, nil
	}
	if p.PasswordFile != "" && p.PasswordFile != "-" {
		file, err := os.Open(p.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		defer file.Close()
		return firstLine(file)
	}
	if file, ok := env.Stdin.(*os.File); ok && p.PasswordFile == "" && term.IsTerminal(int(file.Fd())) {
		return promptPassword(env, int(file.Fd()))
	}
	return firstLine(env.Stdin)
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line == "" {
		return "", errors.New("the password is empty: pipe it in, or name a file with --password-file")
	}
	return line, nil
}

func promptPassword(env *Env, terminal int) (string, error) {
	ask := func(prompt string) (string, error) {
		env.tell("%s: ", prompt)
		typed, err := term.ReadPassword(terminal)
		env.tell("\n")
		return string(typed), err
	}
	first, err := ask("Password")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	second, err := ask("Again")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	if first == "" {
		return "", errors.New("the password is empty")
	}
	return first, nil
}
