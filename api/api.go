// Package api holds the description of the HTTP API.
package api

import _ "embed"

// OpenAPI is the OpenAPI 3.1 document of every call that the server answers, as
// YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
