package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

type usersView struct {
	frame
	Rows     []userRow
	Projects []auth.Project
	Roles    []errand.Role
	Name     string // of a user that could not be added
	Role     string // that it was to have
	Problem  string
	Open     bool
}

type userRow struct {
	Name, To        string
	Admin, Disabled bool
	Here            errand.Role // in the project that is looked at
	Projects        int
	Since           moment
}

// projectRoles are the roles that can be given in a project.
func projectRoles() []errand.Role {
	return []errand.Role{errand.Viewer, errand.Operator, errand.Worker}
}

func (c *Console) users(v *visit) (reply, error) {
	return c.listUsers(v, usersView{frame: c.frame(v, "Users and keys", "users")}, 0)
}

func (c *Console) listUsers(v *visit, view usersView, status int) (reply, error) {
	list, err := c.Directory.Users(v.Context(), v.who)
	if err != nil {
		return reply{}, err
	}
	if view.Projects, err = c.Directory.Projects(v.Context(), v.who); err != nil {
		return reply{}, err
	}
	view.Roles = projectRoles()
	for _, u := range list {
		view.Rows = append(view.Rows, userRow{
			Name: clean(u.Name, cutCell), To: "users/" + url.PathEscape(u.Name), Admin: u.Admin, Disabled: u.Disabled,
			Here: u.Roles[v.project()], Projects: len(u.Roles), Since: v.look.moment(u.CreatedAt),
		})
	}
	return reply{page: "users", view: view, status: status}, nil
}

func (c *Console) addUser(v *visit) (reply, error) {
	f := v.PostForm
	n := auth.NewUser{Name: strings.TrimSpace(f.Get("name")), Password: f.Get("password"), Admin: f.Get("role") == string(errand.Admin)}
	if role := errand.Role(f.Get("role")); role != "" && !n.Admin {
		n.Roles = map[string]errand.Role{v.project(): role}
	}
	u, err := c.Directory.AddUser(v.Context(), v.who, n)
	if e := errand.ErrorOf(err); e != nil {
		if e.Kind != errand.Invalid && e.Kind != errand.Conflict {
			return reply{}, err
		}
		view := usersView{frame: c.frame(v, "Users and keys", "users"), Name: n.Name, Role: f.Get("role"), Problem: clean(e.Msg, cutLine), Open: true}
		return c.listUsers(v, view, http.StatusBadRequest)
	}
	return reply{to: "users/" + url.PathEscape(u.Name) + "?done=added"}, nil
}

type userView struct {
	frame
	Name            string
	To              string
	Admin, Disabled bool
	Roles           []roleRow
	Choices         []errand.Role
	Keys            []keyRow
	Made            *auth.Credential // a new key: the only time that its secret is shown
	Problem         string

	// What was typed for a key that could not be made.
	KeyProject, Note, Lifetime string
}

type roleRow struct {
	Project, Name string
	Role          errand.Role
}

type keyRow struct {
	Access, Project, Note string
	Created, Expires      moment
}

func (c *Console) user(v *visit) (reply, error) { return c.showUser(v, "", nil, 0) }

func (c *Console) showUser(v *visit, problem string, made *auth.Credential, status int) (reply, error) {
	name := v.PathValue("name")
	list, err := c.Directory.Users(v.Context(), v.who)
	if err != nil {
		return reply{}, err
	}
	projects, err := c.Directory.Projects(v.Context(), v.who)
	if err != nil {
		return reply{}, err
	}
	keys, err := c.Directory.Keys(v.Context(), v.who, name)
	if err != nil {
		return reply{}, err
	}
	view := userView{frame: c.frame(v, "User", "users"), Choices: projectRoles(), Made: made, Problem: problem}
	names := map[string]string{}
	for _, u := range list {
		if u.Name != name {
			continue
		}
		view.Name, view.To, view.Admin, view.Disabled = clean(u.Name, cutCell), "users/"+url.PathEscape(u.Name), u.Admin, u.Disabled
		for _, p := range projects {
			names[p.ID] = clean(p.Name, cutCell)
			view.Roles = append(view.Roles, roleRow{p.ID, names[p.ID], u.Roles[p.ID]})
		}
	}
	view.Title, view.Here = view.Name, view.To
	if problem != "" {
		view.KeyProject, view.Note, view.Lifetime = v.PostForm.Get("project"), v.PostForm.Get("note"), v.PostForm.Get("lifetime")
	}
	for _, k := range keys {
		view.Keys = append(view.Keys, keyRow{k.Access, names[k.Project], clean(k.Note, cutCell), v.look.moment(k.CreatedAt), v.look.moment(k.ExpiresAt)})
	}
	return reply{page: "user", view: view, status: status}, nil
}

// changeUser saves one of the forms of a user's page: each has the member that it
// is about.
func (c *Console) changeUser(v *visit) (reply, error) {
	f := v.PostForm
	var change auth.UserChange
	switch f.Get("change") {
	case "password":
		password := f.Get("password")
		change.Password = &password
	case "admin":
		admin := f.Get("admin") == "true"
		change.Admin = &admin
	case "disabled":
		disabled := f.Get("disabled") == "true"
		change.Disabled = &disabled
	case "role":
		change.Roles = map[string]errand.Role{f.Get("project"): errand.Role(f.Get("role"))}
	default:
		return reply{}, errand.Errorf(errand.Invalid, "change", "the form does not say what to change")
	}
	if change.Password != nil && *change.Password == "" {
		return c.showUser(v, v.look.t("Type the new password."), nil, http.StatusBadRequest)
	}
	_, err := c.Directory.SetUser(v.Context(), v.who, v.PathValue("name"), change)
	if e := errand.ErrorOf(err); e != nil && (e.Kind == errand.Invalid || e.Kind == errand.Conflict) {
		return c.showUser(v, clean(e.Msg, cutLine), nil, statusOf(e))
	}
	return reply{to: "users/" + url.PathEscape(v.PathValue("name")) + "?done=saved"}, err
}

func (c *Console) addKey(v *visit) (reply, error) {
	f := v.PostForm
	n := auth.NewKey{User: v.PathValue("name"), Project: f.Get("project"), Note: strings.TrimSpace(f.Get("note"))}
	if text := strings.TrimSpace(f.Get("lifetime")); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return c.showUser(v, v.look.t("Write a number with its unit, such as 90s, 30m or 2h."), nil, http.StatusBadRequest)
		}
		n.Lifetime = d
	}
	k, err := c.Directory.AddKey(v.Context(), v.who, n)
	if e := errand.ErrorOf(err); e != nil {
		if e.Kind != errand.Invalid && e.Kind != errand.Conflict {
			return reply{}, err
		}
		return c.showUser(v, clean(e.Msg, cutLine), nil, statusOf(e))
	}
	return c.showUser(v, "", &k, http.StatusOK)
}

type revokeView struct {
	frame
	Access, Back string
}

func (c *Console) confirmRevoke(v *visit) (reply, error) {
	if !v.who.Can(errand.Admin) {
		return reply{}, errand.Errorf(errand.Forbidden, "role", "only an admin may do this")
	}
	back := safeNext(v.URL.Query().Get("back"))
	return reply{page: "revoke", view: revokeView{frame: c.frame(v, "Revoke this access key?", "users"), Access: clean(v.PathValue("access"), cutCell), Back: back}}, nil
}

func (c *Console) revokeKey(v *visit) (reply, error) {
	if err := c.Directory.RevokeKey(v.Context(), v.who, v.PathValue("access")); err != nil {
		return reply{}, err
	}
	back, _, _ := strings.Cut(safeNext(v.PostForm.Get("back")), "?")
	if back == "" {
		back = "users"
	}
	return reply{to: back + "?done=revoked"}, nil
}
