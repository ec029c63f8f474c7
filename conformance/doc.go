// Package conformance runs the provider's own SDKs, as users install them,
// against the errand binary, and writes down what works in docs/conformance.md.
//
// Each release of an SDK gets a project, users, keys, instances and records of
// its own, and a script of calls. A small program in the SDK's language makes
// the calls and reports what the SDK returned or raised; what must come of each
// call is decided here, once for all of them.
//
// Some tasks run while the client looks on: it repeats a part of its script
// until the run tells it, by a file, that they have ended. The tasks wait behind
// another one until the client has looked once, so nothing depends on who is
// faster.
//
// The SDKs are installed by the run, in the versions that clients names, below
// the user's cache directory or ERRAND_CONFORMANCE_CACHE: Go's by the go
// command, the others by pip, mvn and npm. ERRAND_BIN names a binary to measure
// instead of the one built from this checkout; UPDATE=1 writes the page.
package conformance
