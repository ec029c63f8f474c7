package errand

// Operation is a declared kind of work on an instance.
type Operation struct {
	Engine Engine
	Name   string // machine name on the wire, such as "EXTEND"
	Title  string // for people, such as "Change specifications"
	// TitleZH is Title in Chinese.
	TitleZH string

	// HideRunning makes a running task of this operation show the wire status
	// of a waiting one (DMS: CREATED), because clients that wait for it treat
	// every other word as a failure.
	HideRunning bool
}
