package check

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"imsafe/trace"
)

// keyFiles are endings of files that hold keys. Tests make their own keys.
const keyFiles = ".pem .key .p12 .pfx .jks .der .pk8"

// privateKey needs some of the key behind the header: a test may name the header.
var privateKey = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(\\n|\s)*[A-Za-z0-9+/]{16}`)

// secretFileProblems refuses key material in the tree, in test data too.
func secretFileProblems(tr *tree) []string {
	var problems []string
	for _, p := range tr.paths {
		if matches(keyFiles, path.Ext(p)) {
			problems = append(problems, p+": a file of keys does not belong in the repository: let the test make one")
		} else if privateKey.MatchString(tr.read(p)) {
			problems = append(problems, p+": holds a private key: let the test make one")
		}
	}
	return problems
}

// The functions of log/slog that make an attribute from a name, and the methods of a logger with the
// number of arguments that stand before its names and values.
const attributeMakers = "String Int Int64 Uint64 Float64 Bool Time Duration Any Group"

var loggerMethods = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "With": 0, "Log": 3, "LogAttrs": 3,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2,
}

// logProblems wants constant messages and listed attribute names. It looks at files that import log/slog.
func logProblems(tr *tree) []string {
	var problems []string
	vocabulary := trace.Attributes()
	tr.each(func(p *pkg, f *file) {
		if f.test || p.dir == "trace" || f.imports["slog"] != "log/slog" {
			return
		}
		name := func(e ast.Expr) {
			text, ok := literal(e)
			if !ok {
				return
			}
			switch vocabulary[text] {
			case trace.Secret:
				problems = append(problems, fmt.Sprintf("%s: logs %q: keys and private identities are never logged", tr.at(e), text))
			case trace.Unlisted:
				problems = append(problems, fmt.Sprintf("%s: the attribute %q is not in trace/attributes.go, so its value would be left out: use a listed name or list it", tr.at(e), text))
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if maker, ok := f.selects(call.Fun, "log/slog"); ok {
				if matches(attributeMakers, maker) && len(call.Args) > 0 {
					name(call.Args[0])
				}
				return true
			}
			message, names, ok := logCall(call)
			if !ok {
				return true
			}
			if message != nil && !constant(message) {
				problems = append(problems, tr.at(message)+": the message of a log line is computed: make it constant and the facts attributes")
			}
			for _, e := range names {
				name(e)
			}
			return true
		})
	})
	return problems
}

// logCall takes a call of a logger's method apart: its message, and the names among its arguments.
// The method is known by its name and by the string that follows; t.Error(err) is not one.
func logCall(call *ast.CallExpr) (message ast.Expr, names []ast.Expr, ok bool) {
	sel, isMethod := call.Fun.(*ast.SelectorExpr)
	if !isMethod {
		return nil, nil, false
	}
	before, known := loggerMethods[sel.Sel.Name]
	if !known || len(call.Args) < before {
		return nil, nil, false
	}
	if before > 0 {
		message = call.Args[before-1]
		if sel.Sel.Name == "Error" && len(call.Args) == 1 {
			if _, text := message.(*ast.BasicLit); !text {
				return nil, nil, false
			}
		}
	}
	for i := before; i < len(call.Args); i++ {
		if _, text := literal(call.Args[i]); text {
			names = append(names, call.Args[i])
			i++ // its value
		}
	}
	return message, names, true
}

// literal returns the value of a string literal.
func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// constant reports whether an expression is a literal, a sum of literals or a plain name.
func constant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit, *ast.Ident, *ast.SelectorExpr:
		return true
	case *ast.BinaryExpr:
		return constant(e.X) && constant(e.Y)
	}
	return false
}

// identityLabels must not be labels of a metric: they would list the users.
var identityLabels = []string{"impu", "impi", "msisdn", "imsi", "imei", "call_id", "contact", "peer", "user"}

// labelProblems finds them in calls that make metrics.
func labelProblems(tr *tree) []string {
	var problems []string
	tr.each(func(_ *pkg, f *file) {
		if f.test {
			return
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasPrefix(sel.Sel.Name, "Labelled") && !strings.HasSuffix(sel.Sel.Name, "Vec") {
				return true
			}
			ast.Inspect(call, func(n ast.Node) bool {
				if e, ok := n.(ast.Expr); ok {
					if text, ok := literal(e); ok && slices.Contains(identityLabels, text) {
						problems = append(problems, fmt.Sprintf("%s: %q as a metric label lists the users: count by control, reason or code", tr.at(e), text))
					}
				}
				return true
			})
			return true
		})
	})
	return problems
}

func TestNoSecretFiles(t *testing.T) { report(t, secretFileProblems(theHouse(t))) }

func TestLogs(t *testing.T) { report(t, logProblems(theHouse(t))) }

func TestMetricLabels(t *testing.T) { report(t, labelProblems(theHouse(t))) }

func TestNoSecretFilesRefuses(t *testing.T) {
	demonstrate(t, secretFileProblems, []show{
		{"by name", "-- a/testdata/server.key --\nx\n", []string{"a/testdata/server.key: a file of keys"}},
		{"by content", "-- a/a.txt --\n-----BEGIN EC PRIVATE" + " KEY-----\nMHcCAQEEIOnlyAnExample\n", []string{"a/a.txt: holds a private key"}},
	})
}

func TestLogsRefuses(t *testing.T) {
	in := func(call string) string {
		return "-- hop/a.go --\npackage hop\nimport \"log/slog\"\nfunc f(log *slog.Logger) {\n\t" + call + "\n}\n"
	}
	demonstrate(t, logProblems, []show{
		{"good", in(`log.Info("x", "call_id", id, slog.Int("status", 200), "function", "scscf")`), nil},
		{"private identity", in(`log.Info("x", "impi", id)`), []string{`hop/a.go:4: logs "impi"`}},
		{"key in an attribute", in(`log.Info("x", slog.Any("ck", v))`), []string{`hop/a.go:4: logs "ck"`}},
		{"key in a prepared logger", in(`log = log.With("password", v)`), []string{`hop/a.go:4: logs "password"`}},
		{"unlisted", in(`log.Debug("x", "whatever", 1)`), []string{`hop/a.go:4: the attribute "whatever" is not in trace/attributes.go`}},
		{"computed message", in(`log.Warn(fmt.Sprintf("user %s", id))`), []string{"hop/a.go:4: the message of a log line is computed"}},
		{"value that looks like a name", in(`log.Info("x", "reason", "impi")`), nil},
	})
}

func TestMetricLabelsRefuses(t *testing.T) {
	demonstrate(t, labelProblems, []show{
		{"identity", "-- a/a.go --\npackage a\nvar _ = r.Labelled(\"scscf\", \"calls_total\", \"\", \"impu\", each)\n", []string{`a/a.go:2: "impu" as a metric label`}},
		{"control", "-- a/a.go --\npackage a\nvar _ = r.Labelled(\"secure\", \"refused_total\", \"\", \"control\", each)\n", nil},
	})
}
