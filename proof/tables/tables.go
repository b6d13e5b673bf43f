// Package tables holds the numbers of standards, and our own judgement, as versioned data.
//
// Each table is a TOML file that says where it comes from, which edition, who has compared it with the text, and so what it is worth:
// verified, second-hand, recalled, or ours. No figure of a standard stands in code. A set of tables is read from files, so that a bundle of
// evidence can bring those that it was computed with.
//
// It computes nothing. Imports: go-toml. Nothing in a Set changes after it is read; reading it is safe for concurrent use.
package tables

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

//go:embed data/*.toml
var embedded embed.FS

// The files of a set.
const (
	ProfileAFile     = "tvra-profile-a.toml"
	ProfileBFile     = "tvra-profile-b.toml"
	ImpactFile       = "tvra-impact.toml"
	CostFile         = "tvra-cost.toml"
	X805File         = "x805-mapping.toml"
	JudgementFile    = "judgement.toml"
	PositionsFile    = "position-factors.toml"
	AttacksFile      = "attack-factors.toml"
	EffectsFile      = "control-effects.toml"
	AssociationsFile = "associations.toml"
	LayersFile       = "layers.toml"
	LimitsFile       = "limits.toml"
)

// Status says how far a table may be trusted.
type Status string

// The statuses. Only Verified and Ours go without a mark.
const (
	Verified   Status = "verified"
	SecondHand Status = "second-hand"
	Recalled   Status = "recalled"
	Ours       Status = "ours"
)

// Source says where a table comes from. Every file begins with it.
type Source struct {
	Version    int    `toml:"version"`
	Document   string `toml:"document"`
	Edition    string `toml:"edition"`
	Where      string `toml:"where"`
	Status     Status `toml:"status"`
	VerifiedBy string `toml:"verified_by"` // person and date; empty until then
	Note       string `toml:"note"`
	// Compared says which of its figures have been compared with what others have published of the text, and where. It takes no mark away.
	Compared []string `toml:"compared"`
}

// Remark is what is to be known of the table: its note, and what was compared.
func (s *Source) Remark() string {
	all := []string{}
	if s.Note != "" {
		all = append(all, s.Note)
	}
	for _, c := range s.Compared {
		all = append(all, "Compared: "+c+".")
	}
	return strings.Join(all, " ")
}

// Mark is what must stand beside whatever is computed from the table; "" if nothing must.
func (s *Source) Mark() string {
	switch {
	case s.Status == Ours:
		return ""
	case s.Status == Verified && s.VerifiedBy != "":
		return ""
	}
	return "unverified, " + string(s.Status)
}

func (s *Source) check() error {
	switch s.Status {
	case Verified:
		if s.VerifiedBy == "" {
			return fmt.Errorf("it is called verified, and nobody is named who did that")
		}
	case SecondHand, Recalled, Ours:
	default:
		return fmt.Errorf("status %q is none of verified, second-hand, recalled, ours", s.Status)
	}
	if s.Version < 1 || s.Document == "" || s.Edition == "" || s.Where == "" {
		return fmt.Errorf("it does not say version, document, edition and place")
	}
	return nil
}

// Set is all tables.
type Set struct {
	Profiles     [2]Profile // A and B: both are always computed
	Impact       Impact
	Cost         Cost
	X805         X805
	Judgement    Judgement
	Positions    Positions
	Attacks      Attacks
	Effects      Effects
	Associations Associations
	Layers       Layers
	Limits       Limits
	files        map[string][]byte
}

// Default returns the files that this program brings, by name.
func Default() (map[string][]byte, error) {
	entries, err := embedded.ReadDir("data")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = embedded.ReadFile("data/" + e.Name()); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Read reads a set from its files. A field that no table has is an error: what it meant would be lost.
func Read(files map[string][]byte) (*Set, error) {
	s := &Set{files: files}
	for _, table := range s.all() {
		text, found := files[table.file]
		if !found {
			return nil, fmt.Errorf("tables: %s is missing", table.file)
		}
		d := toml.NewDecoder(strings.NewReader(string(text)))
		d.DisallowUnknownFields()
		if err := d.Decode(table.into); err != nil {
			return nil, fmt.Errorf("tables: %s: %w", table.file, where(err))
		}
		if err := table.source.check(); err != nil {
			return nil, fmt.Errorf("tables: %s: %w", table.file, err)
		}
	}
	return s, s.fit()
}

// where says what a decoding error is about: the line, and the key where it is one that nobody knows.
func where(err error) error {
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		row, _ := unknown.Errors[0].Position()
		return fmt.Errorf("line %d: there is no key %s", row, strings.Join(unknown.Errors[0].Key(), "."))
	case errors.As(err, &wrong):
		row, _ := wrong.Position()
		return fmt.Errorf("line %d: %w", row, err)
	}
	return err
}

// Load is Read of Default.
func Load() (*Set, error) {
	files, err := Default()
	if err != nil {
		return nil, err
	}
	return Read(files)
}

// Files are those that the set was read from, by name. They must not be changed.
func (s *Set) Files() map[string][]byte { return s.files }

// Named is a table with the name of its file.
type Named struct {
	File string
	Source
}

// Sources lists where each table comes from, by the names of the files.
func (s *Set) Sources() []Named {
	var all []Named
	for _, t := range s.all() {
		all = append(all, Named{t.file, *t.source})
	}
	slices.SortFunc(all, func(a, b Named) int { return strings.Compare(a.File, b.File) })
	return all
}

type table struct {
	file   string
	into   any
	source *Source
}

func (s *Set) all() []table {
	return []table{
		{ProfileAFile, &s.Profiles[0], &s.Profiles[0].Source},
		{ProfileBFile, &s.Profiles[1], &s.Profiles[1].Source},
		{ImpactFile, &s.Impact, &s.Impact.Source},
		{CostFile, &s.Cost, &s.Cost.Source},
		{X805File, &s.X805, &s.X805.Source},
		{JudgementFile, &s.Judgement, &s.Judgement.Source},
		{PositionsFile, &s.Positions, &s.Positions.Source},
		{AttacksFile, &s.Attacks, &s.Attacks.Source},
		{EffectsFile, &s.Effects, &s.Effects.Source},
		{AssociationsFile, &s.Associations, &s.Associations.Source},
		{LayersFile, &s.Layers, &s.Layers.Source},
		{LimitsFile, &s.Limits, &s.Limits.Source},
	}
}
