// Command imsafe is a complete IP Multimedia Subsystem: clients, core and services in one program.
//
// This package is the verbs a person types and what they print. It decides nothing about SIP or security: node,
// the boxes and the client do.
//
// Exit status: 0 done; 1 it could not be done, the message says why; 2 the command line or the configuration is wrong;
// 3 done, but something could not be checked on this host; 4 of a proof: nothing failed, but not everything is proven.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"imsafe/iface/management"
	"imsafe/imsbox/hss"
	"imsafe/node"
)

// The exit statuses.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitUnverified = 3
	exitIncomplete = 4
)

// cli is every verb. Its texts are what `imsafe --help` prints.
type cli struct {
	Dev    devCmd    `cmd:"" help:"The whole system on loopback, without root, with random secrets."`
	Run    runCmd    `cmd:"" help:"Run a node from its configuration."`
	Config configCmd `cmd:"" help:"Print or check a configuration."`
	Status statusCmd `cmd:"" help:"Say whether a node runs, and what it is."`

	Quickstart quickstartCmd `cmd:"" help:"Write a configuration for a private network that works, and say what packet core, DNS and telephones need."`
	Doctor     doctorCmd     `cmd:"" help:"Find what is wrong, and say what to do."`

	Page    pageCmd    `cmd:"" help:"Print the address of the page of the running node, with a code that lets you in once."`
	Trace   traceCmd   `cmd:"" help:"Draw the ladder of a call or a registration: each message, what protected it, and which check passed or refused it."`
	Policy  policyCmd  `cmd:"" help:"Show every control: what it does, where the standard asks for it, and whether it is on."`
	Explain explainCmd `cmd:"" help:"Tell why something is as it is."`
	Log     logCmd     `cmd:"" help:"The log of decisions about service platforms."`

	User     userCmd     `cmd:"" help:"Subscribers. With a running node through its management socket, else on its store."`
	Group    groupCmd    `cmd:"" help:"Groups of subscribers."`
	Profile  profileCmd  `cmd:"" help:"Service profiles with initial filter criteria."`
	Service  serviceCmd  `cmd:"" help:"Service platforms: who may do what, by which key they are known, and what leads to them."`
	Approver approverCmd `cmd:"" help:"The operator's approval key."`
	CA       caCmd       `cmd:"" name:"ca" help:"The authority that certifies service platforms: a root that is taken away, intermediates on the core."`
	Key      keyCmd      `cmd:"" help:"The keys under which the store seals K and OPc."`
	Backup   backupCmd   `cmd:"" help:"Write everything into one file, while the node runs."`
	Restore  restoreCmd  `cmd:"" help:"Make the store of a stopped node from a backup."`

	UE ueCmd `cmd:"" name:"ue" help:"A client: registers, calls, answers, sends messages; exit 0 only if it happened."`

	Prove  proveCmd  `cmd:"" help:"Attack this very program, with its controls on and off, and say what is proven."`
	Risk   riskCmd   `cmd:"" help:"The register of risks (TVRA) of a bundle, with your own judgement of assets and of what you accept, and what has changed since the bundle before. Exit 0 if what remains is minor or accepted, 4 if somebody must decide."`
	Attack attackCmd `cmd:"" help:"The adversary: attacks on a target that is started for it, with its controls on and off, or on a system of yours."`

	Bench benchCmd `cmd:"" help:"Load: many UEs that register, call and send messages, against any IMS, from outside."`

	Media mediaCmd `cmd:"" hidden:"" help:"The process of a node's media anchor: imsafe run starts it."`

	Version versionCmd `cmd:"" help:"What was built, from what."`

	JSON bool `name:"json" help:"Print JSON for machines instead of text for people." short:"j"`
}

// app is what a verb runs with: where it reads and writes, and how it is told to stop.
type app struct {
	ctx     context.Context
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	json    bool
	getenv  func(string) string
	find    *finder    // of P-CSCFs; nil: by the name servers of this machine
	telling sync.Mutex // of events
	args    []string   // the command line, if this process is the program; nil where it is called from inside
}

// usage is a mistake of the person who typed.
type usage struct{ error }

// unverified is work that was done but could not be checked here.
type unverified struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	if os.Getenv(insideEnv) != "" {
		ctx = heedOutside(ctx)
	}
	a := &app{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, args: os.Args[1:]}
	os.Exit(realMain(a, a.args))
}

func realMain(a *app, args []string) int {
	var c cli
	exited := -1
	parser, err := c.parser(kong.Writers(a.stdout, a.stderr), kong.Exit(func(status int) { exited = status }))
	if err != nil {
		fmt.Fprintln(a.stderr, "imsafe:", err)
		return exitUsage
	}
	if len(args) > 0 && args[0] == "help" { // imsafe help prove is imsafe prove --help
		args = append(slices.Clone(args[1:]), "--help")
	}
	verb, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help has been printed
	}
	if err != nil {
		a.json = slices.Contains(args, "--json") || slices.Contains(args, "-j") // the flags were not taken over
		return a.status(usage{mistyped(err)})
	}
	a.json = c.JSON
	return a.status(verb.Run(a))
}

// mistyped says what is wrong with a command line, and where the verb that was meant is explained.
func mistyped(err error) error {
	words, about := "imsafe", "lists the verbs"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		for _, step := range p.Context.Path {
			if step.Command != nil {
				words, about = words+" "+step.Command.Name, "says more"
			}
		}
	}
	return fmt.Errorf("%w\n%s --help %s", err, words, about)
}

// parser reads a command line into c. docs/cli.md is made of what it knows.
func (c *cli) parser(options ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append(options, kong.Name("imsafe"), kong.Vars{"config": defaultConfig}, kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Description("An IP Multimedia Subsystem that is secure by default and proves it."))...)
}

// status prints what went wrong and turns it into an exit status.
func (a *app) status(err error) int {
	if err == nil {
		return exitDone
	}
	var told quiet
	var done elsewhere
	if errors.As(err, &done) {
		return done.status
	}
	if a.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(a.ctx))) {
		err = fmt.Errorf("stopped before it was done (%w)", err)
	}
	switch {
	case errors.As(err, &told):
	case a.json:
		a.print(problemOf(err))
	default:
		fmt.Fprintln(a.stderr, "imsafe:", err)
		for _, m := range node.Mistakes(err) {
			fmt.Fprintln(a.stderr, "  "+m.String())
		}
	}
	return exitOf(err)
}

// exitOf is the exit status of an error.
func exitOf(err error) int {
	var mistake usage
	var open unverified
	var part incomplete
	switch {
	case errors.As(err, &mistake):
		return exitUsage
	case errors.As(err, &open):
		return exitUnverified
	case errors.As(err, &part):
		return exitIncomplete
	}
	return exitFailed
}

// quiet is an error that has been printed.
type quiet struct{ error }

// problem is an error as JSON.
type problem struct {
	Error    string        `json:"error"`
	Code     string        `json:"code,omitempty"` // stable, of refusals of the operator's verbs
	Hint     string        `json:"hint,omitempty"`
	Mistakes []hss.Mistake `json:"mistakes,omitempty"`
}

func problemOf(err error) problem {
	p := problem{Error: err.Error(), Mistakes: node.Mistakes(err)}
	var known *management.Error
	if errors.As(err, &known) {
		p.Code, p.Hint = known.Code, known.Hint
	}
	return p
}

// print writes v as JSON.
func (a *app) print(v any) {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // a closed pipe needs no answer
}

// say writes a line for people; with --json it is silent.
func (a *app) say(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.stdout, format+"\n", args...)
	}
}

// utc writes a time for people as the log writes it, without parts of a second.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
