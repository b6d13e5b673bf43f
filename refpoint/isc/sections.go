package isc

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	posix "regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	toml "github.com/pelletier/go-toml/v2"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// manifestVersion is the only version there is.
const manifestVersion = 1

// The largest limits that may be asked for.
const (
	maxCPS      = 10_000
	maxSessions = 1_000_000
	maxFork     = 16
	maxMbps     = 100_000
	maxPriority = 1_000_000
	maxNoAnswer = 3 * time.Minute
)

var (
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// groupForm is a name of the HSS: what a line of a list can hold.
	groupForm  = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)
	userForm   = regexp.MustCompile(`^[a-z0-9+_.-]{1,64}$`)
	icsiForm   = regexp.MustCompile(`^urn:urn-7:[a-z0-9.%_-]{1,200}$`)
	methodForm = regexp.MustCompile(`^[A-Z]{1,32}$`)
	rateForm   = regexp.MustCompile(`^([1-9][0-9]{0,5})/([smh])$`)
)

// manifest reads the whole document.
func (r *reader) manifest(t *table) *Manifest {
	m := &Manifest{}
	version := t.number("manifest", 1, 1<<30, 0)
	r.refuse(version != manifestVersion, "manifest", "write manifest = 1", "the version of the form is missing or not known here")
	m.Service = r.name(t, "service")
	m.Provider = r.name(t, "provider")
	m.Domain, _ = t.text("domain")
	r.refuse(!isDomain(m.Domain), "domain", `the home network's, like domain = "ims.example.org"`, "%.80q is no domain name in lower case", m.Domain)
	r.endpoint(t, m)
	r.psi(t, m)
	m.ICSI = t.list("icsi")
	for _, s := range m.ICSI {
		r.refuse(!icsiForm.MatchString(s), "icsi", "like urn:urn-7:3gpp-service.ims.icsi.mmtel", "%.80q is no communication service identifier", s)
	}
	r.scopes(t, m)
	m.Users = r.users(t.table("users"))
	r.headers(t.table("headers"), m)
	r.limits(t.table("limits"), m)
	r.expires(t, m)
	for _, trigger := range t.tables("trigger") {
		m.Triggers = append(m.Triggers, r.trigger(trigger, m))
	}
	for _, sh := range t.tables("sh") {
		m.Sh = append(m.Sh, r.sh(sh, m))
	}
	t.done()
	r.together(m)
	slices.SortFunc(m.Triggers, func(a, b Trigger) int { return a.Priority - b.Priority })
	return m
}

func (r *reader) name(t *table, key string) string {
	s, _ := t.text(key)
	r.refuse(!nameForm.MatchString(s), t.key(key), "lower-case letters, digits and hyphens, at most 63", "%.80q is no name", s)
	return s
}

// isDomain says whether s is a domain name of at least two labels, in lower case, and no address (RFC 1123 2.1).
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	_, err := netip.ParseAddr(s)
	return err != nil && len(s) <= 253 && len(labels) > 1 && !slices.ContainsFunc(labels, func(l string) bool { return !nameForm.MatchString(l) })
}

// under says whether a host is a domain or a name below it.
func under(host, domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }

// endpoint reads where the service listens. Its host has a name, since that is what its certificate vouches for, and below the home
// network's, since for no other does the core's authority vouch.
func (r *reader) endpoint(t *table, m *Manifest) {
	const hint = `like endpoint = "sips:echo.as.ims.example.org:5061", or an https or wss URI`
	m.Endpoint, _ = t.text("endpoint")
	host, ok := endpointHost(m.Endpoint)
	if r.refuse(!ok, "endpoint", hint, "%.80q is no sips, https or wss URI in lower case with nothing but a host, a port and a path", m.Endpoint) {
		return
	}
	r.refuse(m.Domain != "" && !under(host, m.Domain) || host == m.Domain, "endpoint", hint, "the host %s is not below the domain %s, so the core's authority cannot vouch for it", host, m.Domain)
	m.host = host
}

// endpointHost returns the host of an endpoint.
func endpointHost(endpoint string) (string, bool) {
	if len(endpoint) > maxPattern || endpoint != strings.ToLower(endpoint) {
		return "", false
	}
	if strings.HasPrefix(endpoint, "sips:") {
		u, err := sip.ParseURI([]byte(endpoint))
		return string(u.Host), err == nil && len(u.User) == 0 && len(u.Params) == 0 && len(u.Headers) == 0 && isDomain(string(u.Host))
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "wss" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	return u.Hostname(), isDomain(u.Hostname())
}

// psi reads the public service identities: distinct ones, in canonical form (TS 23.003 13.5).
func (r *reader) psi(t *table, m *Manifest) {
	m.PSI = t.list("psi")
	for i, s := range m.PSI {
		user, host, ok := strings.Cut(strings.TrimPrefix(s, "sip:"), "@")
		good := ok && strings.HasPrefix(s, "sip:") && userForm.MatchString(user) && isDomain(host) && under(host, m.Domain)
		r.refuse(!good, fmt.Sprintf("psi[%d]", i), `like "sip:echo@ims.example.org"`, "%.80q is no SIP URI in lower case, without port and parameters, of the domain or below it", s)
	}
}

func (r *reader) scopes(t *table, m *Manifest) {
	list := t.list("scopes")
	asked, err := ParseScopes(list)
	if err != nil {
		r.refuse(true, "scopes", "", "%s", strings.TrimPrefix(err.Error(), "isc: "))
		return
	}
	m.Asked = asked
}

func (r *reader) users(t *table) Users {
	u := Users{Groups: t.list("groups"), All: t.flag("all"), Consent: t.flag("consent")}
	for i, g := range u.Groups {
		r.refuse(!groupForm.MatchString(g), fmt.Sprintf("%s[%d]", t.key("groups"), i), "", "%.80q is no name of a group", g)
	}
	r.refuse(u.All && len(u.Groups) > 0, t.path, "leave one of them out", "all and groups both say whose")
	t.done()
	return u
}

func (r *reader) headers(t *table, m *Manifest) {
	for i, name := range t.list("see") {
		k := slices.Index(headerNames, name)
		if !r.refuse(k < 0, fmt.Sprintf("%s[%d]", t.key("see"), i), "", "%.80q is none of %s", name, strings.Join(headerNames, ", ")) {
			m.See |= 1 << k
		}
	}
	t.done()
}

func (r *reader) limits(t *table, m *Manifest) {
	m.Limits = Limits{
		CPS: t.number("cps", 1, maxCPS, 0), Sessions: t.number("sessions", 1, maxSessions, 0),
		Fork: t.number("fork", 1, maxFork, 1), MediaMbps: t.number("media_mbps", 1, maxMbps, 0),
	}
	t.done()
}

// expires reads the last day.
func (r *reader) expires(t *table, m *Manifest) {
	day, ok := take[toml.LocalDate](t, "expires", "a date like 2027-02-28, without quotes")
	if _, there := t.values["expires"]; r.refuse(!there, "expires", "write expires = 2027-02-28, with the last day", "the end is missing: nothing is approved for ever") || !ok {
		return
	}
	m.Expires = time.Date(day.Year, time.Month(day.Month), day.Day+1, 0, 0, 0, 0, time.UTC)
}

// trigger reads one [[trigger]].
func (r *reader) trigger(t *table, m *Manifest) Trigger {
	var tr Trigger
	name, _ := t.text("case")
	c := slices.Index(caseNames, name)
	if !r.refuse(c < 0, t.key("case"), "", "%.80q is none of %s", name, strings.Join(caseNames, ", ")) {
		tr.Case = Case(c)
	}
	r.methods(t, &tr)
	for i, text := range t.list("when") {
		r.condition(fmt.Sprintf("%s[%d]", t.key("when"), i), text, &tr)
	}
	tr.URI, _ = t.text("uri")
	r.expression(t.key("uri"), tr.URI)
	tr.Priority = t.number("priority", 0, maxPriority, -1)
	_, there := t.values["priority"]
	r.refuse(!there, t.key("priority"), "the lowest is asked first", "the priority is missing")
	r.onFailure(t, &tr, m)
	t.done()
	return tr
}

func (r *reader) methods(t *table, tr *Trigger) {
	tr.Methods = t.list("methods")
	if tr.Case == CaseRegistration {
		r.refuse(len(tr.Methods) > 0 && !slices.Equal(tr.Methods, []string{"REGISTER"}), t.key("methods"), "leave it out", "a registration has the method REGISTER only")
		tr.Methods = []string{"REGISTER"}
		return
	}
	r.refuse(len(tr.Methods) == 0, t.key("methods"), `like methods = ["INVITE"]`, "no method is named, and none is granted by that")
	for i, method := range tr.Methods {
		bad := !methodForm.MatchString(method) || method == "REGISTER" || method == "ACK" || method == "CANCEL"
		r.refuse(bad, fmt.Sprintf("%s[%d]", t.key("methods"), i), "", "%.40q is no method that criteria are evaluated for in a session; for REGISTER there is the case registration", method)
	}
}

// maxInstructions bounds the expressions of a manifest together, compiled. A profile has room for those of sixteen services, and one that has no room for them is refused:
// then nobody in it can be called.
const maxInstructions = 1024

// expression judges an expression for the Request-URI as the S-CSCF will, which takes POSIX extended ones (IEEE 1003.1, chapter 9; TS 29.228 Annex F).
func (r *reader) expression(key, text string) {
	if text == "" {
		return
	}
	var program *posix.Prog
	tree, err := posix.Parse(text, posix.POSIX)
	if err == nil {
		program, err = posix.Compile(tree.Simplify())
	}
	if r.refuse(len(text) > maxPattern || err != nil || strings.ContainsFunc(text, unicode.IsControl), key,
		"a POSIX extended expression, without backward references", "%.80q is no expression of at most %d octets", text, maxPattern) {
		return
	}
	r.instructions += len(program.Inst)
	r.refuse(r.instructions > maxInstructions, key, "repeat less: each repetition up to a number counts as often", "the expressions of the manifest have more than %d instructions together", maxInstructions)
}

// condition reads one entry of when.
func (r *reader) condition(key, text string, tr *Trigger) {
	name, after, timed := strings.Cut(text, " ")
	k := slices.Index(momentNames, name)
	if r.refuse(k < 0, key, "", `%.80q is none of %s; no-answer has a time, like "no-answer 20s"`, text, strings.Join(momentNames, ", ")) {
		return
	}
	c := Condition{Moment: Moment(k)}
	if c.Moment == NoAnswer {
		d, err := time.ParseDuration(after)
		r.refuse(err != nil || d < time.Second || d > maxNoAnswer, key, `like "no-answer 20s"`, "%.80q is no time between 1s and %s", after, maxNoAnswer)
		c.After = d
	} else {
		r.refuse(timed, key, "", "%.80q: only no-answer has a time", text)
	}
	r.refuse(tr.Case != CaseTerminating && c.Moment != Always, key, `write case = "terminating"`, "%s happens to a called user only", c)
	tr.When = append(tr.When, c)
}

// onFailure reads what happens when the service cannot be reached. Who can turn a call away, or stays in its path, may be there to protect
// somebody: then silence would be a choice that nobody made.
func (r *reader) onFailure(t *table, tr *Trigger, m *Manifest) {
	text, there := t.text("on_failure")
	switch text {
	case "continue":
	case "reject":
		tr.OnFailure = cx.SessionTerminated
	default:
		r.refuse(there, t.key("on_failure"), "", `%.40q is neither "continue" nor "reject"`, text)
	}
	screens := (m.Asked.Has(SessionRedirect) || m.Asked.Has(SessionProxy)) && slices.Contains(tr.Methods, "INVITE")
	r.refuse(!there && screens, t.key("on_failure"), `"reject" if it screens or protects, else "continue"`, "it is missing, and a service that may redirect a call or stay in its path must say what happens without it")
	later := func(c Condition) bool { return c.Moment == Busy || c.Moment == NoAnswer }
	r.refuse(tr.OnFailure == cx.SessionTerminated && slices.ContainsFunc(tr.When, later), t.key("on_failure"), `write on_failure = "continue"`,
		"reject would take calls from users who are neither busy nor away, as soon as the service fails")
}

// sh reads one [[sh]].
func (r *reader) sh(t *table, m *Manifest) Sh {
	var s Sh
	name, _ := t.text("data")
	allowed := ShOps(0)
	for _, ref := range shReferences {
		if ref.name == name {
			s.Data, allowed = ref.data, ref.ops
		}
	}
	r.refuse(allowed == 0, t.key("data"), "", "%.80q is no data reference of TS 29.328 7.6 that is offered here", name)
	ops := t.list("ops")
	for i, op := range ops {
		k := slices.Index(shOpNames, op)
		r.refuse(k < 0 || allowed != 0 && allowed>>k&1 == 0, fmt.Sprintf("%s[%d]", t.key("ops"), i), "", "%.40q cannot be done to %.80s: there is %s", op, name, strings.Join(allowed.Names(), ", "))
		s.Ops |= 1 << max(k, 0)
	}
	r.refuse(len(ops) == 0, t.key("ops"), `like ops = ["pull"]`, "no operation is named, and none is granted by that")
	s.Indications = t.list("indications")
	r.refuse(len(s.Indications) > 0 && s.Data != ShRepositoryData, t.key("indications"), "leave them out", "only RepositoryData has service indications")
	for i, indication := range s.Indications {
		r.refuse(!groupForm.MatchString(indication), fmt.Sprintf("%s[%d]", t.key("indications"), i), "", "%.80q is no name", indication)
	}
	if s.Data == ShRepositoryData && len(s.Indications) == 0 {
		s.Indications = []string{m.Service}
	}
	s.Users = r.users(t.table("users"))
	r.refuse(!s.Users.All && len(s.Users.Groups) == 0, t.key("users"), `like users = { groups = ["staff"] }`, "nobody is named, so nothing is granted")
	rate, _ := t.text("rate")
	parts := rateForm.FindStringSubmatch(rate)
	if !r.refuse(parts == nil, t.key("rate"), `like rate = "5/s"`, "%.40q is no rate: a number and one of /s, /m, /h", rate) {
		s.Rate, _ = strconv.Atoi(parts[1])
		s.Per = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[parts[2]]
	}
	t.done()
	return s
}

// together checks what several keys say together.
func (r *reader) together(m *Manifest) {
	asked := len(m.Triggers) > 0 || len(m.PSI) > 0
	r.refuse(asked && (m.Limits.CPS == 0 || m.Limits.Sessions == 0), "limits", "like limits = { cps = 20, sessions = 200 }", "cps and sessions are missing, and without a limit nothing is granted")
	media := m.Asked.Has(MediaSend) || m.Asked.Has(MediaReceive) || m.Asked.Has(MediaRecord) || m.Asked.Has(MediaMix)
	r.refuse(media && m.Limits.MediaMbps == 0, "limits.media_mbps", "like media_mbps = 20", "it asks for media without a limit for them")
	r.refuse(m.Limits.Fork > 1 && !m.Asked.Has(SessionFork), "limits.fork", `ask for "session.fork", or leave it out`, "it wants %d branches without the scope", m.Limits.Fork)
	r.refuse(len(m.Triggers) > 0 && !m.Users.All && len(m.Users.Groups) == 0, "users", `like users = { groups = ["staff"] }`, "there are triggers, but nobody whose sessions they are about")
	r.refuse(m.Users.Consent && !m.Users.All && len(m.Users.Groups) == 0, "users.consent", "leave it out, or name groups", "there is nobody who could agree")
	seen := map[int]bool{}
	for i, tr := range m.Triggers {
		r.refuse(seen[tr.Priority] && tr.Priority >= 0, fmt.Sprintf("trigger[%d].priority", i), "", "%d stands twice; priorities are unique (TS 29.228 B.2.2)", tr.Priority)
		seen[tr.Priority] = true
	}
}
