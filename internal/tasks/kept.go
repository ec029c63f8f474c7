package tasks

import "github.com/errandhq/errand"

// Version tells whether what is listed of an instance's tasks may have changed:
// as long as it is the same, the same page is. The zero Version is unknown.
type Version [2]uint64

// A Versioner is a store that knows versions without asking its database, because
// nobody else writes to it.
type Versioner interface {
	// Version returns the version of an instance's tasks, unknown if it cannot be
	// told now. A caller that reads it before a page and finds it again later
	// would read the same page again.
	Version(project, instance string) Version
}

// keptOffset is how far from the newest task a page may begin for it to be worth
// remembering: what is asked for again and again are the first pages.
const keptOffset = 100

// ListVersion says for what List would return. Errors: as List's about f and p.
func (s *Service) ListVersion(p errand.Principal, f errand.Filter) (Version, error) {
	if err := checkFilter(p, f); err != nil {
		return Version{}, err
	}
	v, ok := s.Store.(Versioner)
	if !ok || f.Instance == "" || f.Offset > keptOffset {
		return Version{}, nil
	}
	return v.Version(f.Project, f.Instance), nil
}
