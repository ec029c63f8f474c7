// Command errand is a self-hosted background-task service for managed
// middleware, and its client.
package main

import (
	"os"

	"github.com/errandhq/errand/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)) }
