// Package integration tests the real binary with real clients: crash and kill tests, interoperability, and tests of the whole tree such as the
// import rules. Nothing imports it.
//
// What needs a program that a machine may lack says so and is skipped, unless STREAMPOST_REQUIRE names it: "all", or a comma-separated list
// of program names such as "mbsync,swaks". CI requires all.
package integration
