package tvra

import (
	"fmt"

	"imsafe/proof/tables"
)

// Factors are the five of attack potential, each by the name of its value.
type Factors struct {
	Time        string `json:"time"`
	Expertise   string `json:"expertise"`
	Knowledge   string `json:"knowledge"`
	Opportunity string `json:"opportunity"`
	Equipment   string `json:"equipment"`
}

func (f *Factors) at(name string) *string {
	switch name {
	case tables.Time:
		return &f.Time
	case tables.Expertise:
		return &f.Expertise
	case tables.Knowledge:
		return &f.Knowledge
	case tables.Opportunity:
		return &f.Opportunity
	}
	return &f.Equipment
}

// Rating is what one profile makes of factors.
type Rating struct {
	Profile    string `json:"profile"`
	Sum        int    `json:"sum"`
	Rating     string `json:"rating"`
	Likelihood int    `json:"likelihood"`
	Confirm    bool   `json:"confirm"` // its band is one that other methods call likely
}

// Rate adds up the factors. What is impossible by one of them has the least likelihood: the scale has no zero. Names that the profile does not
// know are an error.
func Rate(p *tables.Profile, i *tables.Impact, f Factors) (Rating, error) {
	r := Rating{Profile: p.Name}
	impossible := false
	for _, name := range tables.FactorNames() {
		step, known := p.Step(name, *f.at(name))
		if !known {
			return r, fmt.Errorf("tvra: profile %s knows no %s %q", p.Name, name, *f.at(name))
		}
		r.Sum += step.Value
		impossible = impossible || step.Impossible
	}
	for _, b := range p.Bands {
		if r.Sum >= b.From {
			r.Rating, r.Likelihood, r.Confirm = b.Rating, b.Likelihood, b.Confirm
		}
	}
	if impossible {
		r.Rating, r.Likelihood, r.Confirm = "not exploitable", i.Least(), false
	}
	return r, nil
}

// worst is what is assumed where nothing was shown: every factor at its easiest.
func worst(p *tables.Profile) Factors {
	return Factors{p.Time[0].Name, p.Expertise[0].Name, p.Knowledge[0].Name, p.Opportunity[0].Name, p.Equipment[0].Name}
}

// lasting names the step of a time in microseconds, set-up included.
func lasting(p *tables.Profile, micros int64) string {
	const day = int64(24 * 3600 * 1e6)
	for _, s := range p.Time {
		if s.Days == 0 || micros <= s.Days*day {
			return s.Name
		}
	}
	return p.Time[len(p.Time)-1].Name
}

// Harm is the impact of an asset with the intensity of an attack, up to the highest.
func Harm(i *tables.Impact, asset, intensity int) int { return min(asset+intensity, i.Highest()) }

// Risk is likelihood times impact, and its name.
type Risk struct {
	Value int    `json:"value"`
	Band  string `json:"band"`
}

// RiskOf multiplies.
func RiskOf(i *tables.Impact, likelihood, impact int) Risk {
	v := likelihood * impact
	return Risk{v, i.Band(v)}
}

// Name returns the value of a factor by the factor's name.
func (f Factors) Name(factor string) string { return *f.at(factor) }
