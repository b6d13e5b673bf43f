package config

import (
	"time"

	"imsafe/proto/budget"
)

// Bucket returns the rate in the words of the budgets.
func (r Rate) Bucket() budget.Rate {
	return budget.Rate{Limit: r.Limit, Per: r.Per.Std(), Burst: r.Burst}
}

// Wide is a budget that nobody in a laboratory reaches, for tests and measurements of other things: all clients of one host share one
// address. What a user's share is of too much stays: it bounds nobody who is alone.
func Wide() CIBudget {
	b := Default().CI.Budget
	share := b.Share
	for _, r := range b.rates() {
		*r.rate = Rate{Limit: 1_000_000, Per: Of(1_000_000_000), Burst: 1_000_000}
	}
	b.Share = share
	return b
}

type namedRate struct {
	key  string
	rate *Rate
}

func (b *CIBudget) rates() []namedRate {
	return []namedRate{{"source", &b.Source}, {"network", &b.Network}, {"connection", &b.Connection}, {"client", &b.Client},
		{"challenge", &b.Challenge}, {"resync", &b.Resync}, {"unproven", &b.Unproven}, {"emergency", &b.Emergency}, {"share", &b.Share}, {"signalling", &b.Signalling}}
}

// validateBudget refuses rates that no bucket could have.
func (c *Config) validateBudget(f *findings) {
	for _, r := range c.CI.Budget.rates() {
		f.refuse(!r.rate.Bucket().Sound(), "ci.budget."+r.key, "such as limit = 20, per = \"1s\", burst = 100", "%v is no rate: it lets nothing through, or takes years to recover", r.rate.Bucket())
	}
	d := c.CI.Drop
	f.refuse(!d.After.Bucket().Sound(), "ci.drop.after", "such as limit = 500, per = \"1s\", burst = 5000", "%v is no rate: it lets nothing through, or takes years to recover", d.After.Bucket())
	f.refuse(d.For.Std() < time.Second, "ci.drop.for", "such as \"1m\"", "%v is too short to be worth a rule", d.For.Std())
	const least = 2048 // an INVITE with what the standards want in it
	f.refuse(c.CI.Budget.Headers < least, "ci.budget.headers", "such as 8192", "%d octets are less than a call needs", c.CI.Budget.Headers)
}
