package errand

import "slices"

// Role says what a user may do in a project.
type Role string

const (
	// Viewer may read.
	Viewer Role = "viewer"
	// Operator may also submit, cancel, import and delete finished records.
	Operator Role = "operator"
	// Worker may claim tasks and report on them; it reads what it needs for that.
	Worker Role = "worker"
	// Admin may do everything, in every project, and administer users and keys.
	Admin Role = "admin"
)

// Roles lists every role.
func Roles() []Role { return []Role{Viewer, Operator, Worker, Admin} }

// Valid reports whether r is a known role.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// Principal is who signed a request. Its credential is bound to one project.
type Principal struct {
	User    User
	Project string
	Role    Role
	// Request is the id of the request, for events and logs.
	Request string
	// Remote is the IP address that the request came from, without the port: that
	// of the connection's other end, so a proxy's if there is one. It is "" for
	// the server itself.
	Remote string
}

// Can reports whether p's role allows what role r allows. Workers are beside
// the ladder: they may read, and do what only workers do.
func (p Principal) Can(r Role) bool {
	switch r {
	case Viewer:
		return p.Role.Valid()
	case Operator:
		return p.Role == Operator || p.Role == Admin
	default:
		return p.Role == r || p.Role == Admin
	}
}
