package nativejson

// Overview says what is going on in a project.
type Overview struct {
	At         Moment  `json:"at"`
	Instances  int     `json:"instances"`
	Tasks      int     `json:"tasks"`
	Running    int     `json:"running"`
	Waiting    int     `json:"waiting"`
	Unfinished []Task  `json:"unfinished"`
	Stuck      []Stuck `json:"stuck"`
	Failed     []Task  `json:"failed"`
	Hours      []Hour  `json:"hours"`
	Since      Moment  `json:"since"`
}

// Stuck is a task that goes nowhere by itself, with what it waits for.
type Stuck struct {
	Task Task `json:"task"`
	Why  Why  `json:"why"`
}

// Hour counts what happened to tasks within an hour.
type Hour struct {
	From      Moment `json:"from"`
	Submitted int    `json:"submitted"`
	Succeeded int    `json:"succeeded"`
	Failed    int    `json:"failed"`
	Cancelled int    `json:"cancelled"`
}

// Unfinished is a part of the tasks that have not ended, with how many there are.
type Unfinished struct {
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
	Tasks   []Task `json:"tasks"`
}

// Found is a part of what a search has found.
type Found struct {
	Tasks    []Task `json:"tasks"`
	Next     string `json:"next,omitempty"`
	LookedTo Moment `json:"looked_to,omitzero"`
}
