package config

import "time"

// Default returns the configuration of an empty file. It lacks what only the operator knows: the home
// domain, an address for clients with its certificate, and the sealing key.
func Default() Config {
	return Config{
		Node: Node{Name: "imsafe", Number: 1, DataDir: "/var/lib/imsafe", Heap: 192 << 20},
		CI: CI{TLS: CITLS{MinVersion: "1.3"},
			IPsec: CIIPsec{Profile: "strict", ServerPort: 6060, ClientPorts: []uint16{6061, 6062, 6063, 6064}, Backend: "user", ESP: "auto", NATPort: 4500},
			Budget: CIBudget{
				Source:     Rate{20, Of(time.Second), 100},
				Network:    Rate{200, Of(time.Second), 1000},
				Connection: Rate{10, Of(time.Second), 50},
				Client:     Rate{50, Of(time.Second), 200},
				Challenge:  Rate{6, Of(time.Minute), 10},
				Resync:     Rate{4, Of(time.Hour), 4},
				Unproven:   Rate{1000, Of(time.Second), 2000},
				Share:      Rate{1, Of(time.Second), 5},
				Emergency:  Rate{2, Of(time.Second), 10},
				Signalling: Rate{512 << 10, Of(time.Minute), 512 << 10},
				Headers:    8192,
				Remember:   Of(24 * time.Hour),
			},
			Drop: CIDrop{After: Rate{500, Of(time.Second), 5000}, For: Of(time.Minute)}},
		CS: CS{Ports: 10000, SessionsPerUser: 8, Audio: 256, Video: 8000, Silence: Of(30 * time.Minute), Process: "own", Outlives: Of(4 * time.Hour), OutlivesSilence: Of(time.Minute)},
		Cx: Cx{AKA: "AKAv1-MD5", Watchdog: Of(30 * time.Second)},
		Sh: Sh{Watchdog: Of(30 * time.Second)},
		Registration: Registration{
			MinExpires:     Of(time.Minute),
			DefaultExpires: Of(time.Hour),
			MaxExpires:     Of(2 * time.Hour),
			Reauthenticate: Of(24 * time.Hour),
		},
		// Premium rate, shared cost, satellites, personal numbers and networks of no country (ITU-T E.164).
		Numbering: Numbering{Barred: []string{"+808", "+878", "+881", "+882", "+883", "+979"}},
		Budget:    Budget{Calls: 60, Messages: 120, Subscriptions: 60, Transfers: 30, Notifications: 60, Others: 60},
		Emergency: Emergency{Numbers: []string{"112", "911"}},
		Store:     Store{Engine: Embedded, Window: Of(3 * time.Millisecond), Cache: 256 << 20},
		Metrics:   Metrics{Listen: loopback(9464)},
		Log:       Log{Level: "info", Format: "text"},
		Timers: Timers{
			Drain: Of(10 * time.Second),
			Gm:    SIPTimers{Of(2 * time.Second), Of(16 * time.Second), Of(17 * time.Second)},      // TS 24.229 7.7
			Core:  SIPTimers{Of(500 * time.Millisecond), Of(4 * time.Second), Of(5 * time.Second)}, // RFC 3261 17.1.1.1
		},
	}
}

// Example is Default with something in the place of what only the operator knows, so that it is valid.
func Example() Config {
	c := Default()
	c.IMS.Domain = "ims.example.org"
	c.CI.TLS.Listen = []Address{mustAddress("192.0.2.1:5061"), mustAddress("[2001:db8::1]:5061")}
	c.CI.TLS.CertificateFile = "/etc/imsafe/pcscf.crt"
	c.CI.TLS.KeyFile = "/etc/imsafe/pcscf.key"
	c.HSS.SealingKeyFile = "/etc/imsafe/sealing.key"
	return c
}
