package errand

import "time"

// Filter selects tasks of one project. Zero members select everything.
type Filter struct {
	Project  string // always set
	Instance string // "" for all instances
	Engine   Engine // "" for all engines; ignored where Instance is set

	// From and To bound CreatedAt; both ends are included.
	From, To time.Time

	Offset int // how many of the newest matching tasks to pass over
	Limit  int // how many to return at the most
}

// Page is one slice of a listing, newest first.
type Page struct {
	Tasks []Task
	Total int // of all tasks that match, not of this page
}
