package config

import (
	"fmt"
	"net/url"
	"strings"
)

// maxConns bounds the connections of one node: PostgreSQL itself has a hundred,
// unless it is told otherwise.
const maxConns = 1000

// postgresURL reports whether a database is written as a URL of PostgreSQL.
func postgresURL(db string) bool {
	return strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://")
}

// checkDB refuses what names no database. Its errors show nothing that may be a
// password.
func checkDB(db string) error {
	path, isFile := strings.CutPrefix(db, "sqlite:")
	_, rest, _ := strings.Cut(db, "://")
	switch {
	case isFile && path != "" || postgresURL(db) && rest != "":
		return nil
	case strings.Contains(db, "="):
		return fmt.Errorf("setting db cannot be in the form of keys and values that libpq takes; write a URL, such as %s", exampleURL)
	}
	scheme, _, _ := strings.Cut(db, ":")
	return fmt.Errorf("setting db cannot begin with %.32q: a database is written as sqlite:PATH, such as sqlite:errand.db, or as a URL of PostgreSQL, such as %s", scheme, exampleURL)
}

const exampleURL = "postgres://errand@db.example.org:5432/errand"

// Redact takes the passwords out of an address such as
// postgres://user:password@host/db?sslpassword=x. Other text stays as it is.
func Redact(v string) string {
	scheme, rest, ok := strings.Cut(v, "://")
	if !ok {
		return v
	}
	// The password is all up to the last @: it may hold others, if somebody forgot
	// to escape them. With a ? or # before that, nobody can tell where it ends.
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 && strings.ContainsAny(rest[:at], "?#") {
		return scheme + "://xxxxx"
	}
	end := strings.IndexAny(rest, "?#")
	if end < 0 {
		end = len(rest)
	}
	authority, query := rest[:end], rest[end:]
	if at >= 0 {
		if user, _, secret := strings.Cut(authority[:at], ":"); secret {
			authority = user + ":xxxxx" + authority[at:]
		}
	}
	return scheme + "://" + authority + redactQuery(query)
}

// redactQuery hides the values of parameters that may be secrets.
func redactQuery(query string) string {
	if query == "" {
		return ""
	}
	parts := strings.Split(query[1:], "&")
	for i, p := range parts {
		name, _, _ := strings.Cut(p, "=")
		if plain, err := url.QueryUnescape(name); err != nil || strings.Contains(strings.ToLower(plain), "pass") {
			parts[i] = name + "=xxxxx"
		}
	}
	return query[:1] + strings.Join(parts, "&")
}
