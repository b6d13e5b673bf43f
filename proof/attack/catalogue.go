package attack

import "strings"

// All returns the catalogue in the order of its numbers.
func All() []Attack {
	return []Attack{
		portUnprotected(),    // CI-01
		registerBidDown(),    // CI-02
		registerVerifySwap(), // CI-03
		registerWeakOffer(),  // CI-04
		registerFlag(),       // CI-05
		coreDirect(),         // CI-06
		identityAsserted(),   // CI-07
		identityFrom(),       // CI-08
		headerInject(),       // CI-09
		sourceSpoof(),        // CI-10
		identityCross(),      // CI-11
		espReplay(),          // CI-12
		akaResyncStorm(),     // CI-13
		registerWrongRes(),   // CI-14
		registerRemove(),     // CI-15
		registerHijack(),     // CI-16
		saExhaust(),          // CI-17
		registerFlood(),      // CI-18
		inviteFlood(),        // CI-19
		udpAmplify(),         // CI-20
		forkLoop(),           // CI-21
		streamSlowloris(),    // CI-22
		streamSmuggle(),      // CI-23
		headerSmuggle(),      // CI-24
		parserCorpus(),       // CI-25
		userEnumerate(),      // CI-26
		digestCrack(),        // CI-27
		digestLeak(),         // CI-28
		digestLift(),         // CI-29
		dialogKill(),         // CI-30
		mediaHijack(),        // CI-31
		tollFraud(),          // CI-32
		callGhost(),          // CI-33
		messageSpoof(),       // CI-34
		subscribeIntrude(),   // CI-35
		tlsDowngrade(),       // CI-37
		privacyLeak(),        // CI-38
		covertData(),         // CI-39
		digestSpray(),        // CI-40
		streamBurst(),        // CI-41
		ackFlood(),           // CI-42
		asRogue(),            // IS-01
		asOverreach(),        // IS-02
		identityForge(),      // IS-03
		odiEdit(),            // IS-04
		shSweep(),            // IS-05
		shWrite(),            // IS-06
		asRevoked(),          // IS-07
		asFlood(),            // IS-08
		screenFailOpen(),     // IS-09
		registerHarvest(),    // IS-10
		profileBomb(),        // IS-11
		mediaRogue(),         // IS-12
		iscSniff(),           // IS-13
		iscTamper(),          // IS-14
		iscStall(),           // IS-15
		shUnasked(),          // IS-16
		iscBurst(),           // IS-17
		rtpBleed(),           // CS-01
		rtpInject(),          // CS-02
		sdpDowngrade(),       // CS-03
		dtlsRace(),           // CS-04
		fingerprintSwap(),    // CS-05
		srtpReuse(),          // CS-06
		mediaFlood(),         // CS-07
		confIntrude(),        // CS-08
		grantForge(),         // CS-10
		tokenTheft(),         // CS-11
		httpSniff(),          // CS-12
		httpTamper(),         // CS-13
		codeTheft(),          // CS-14
		mediaOverhear(),      // CS-15
		mediaOrphan(),        // CS-16
		dtlsImpostor(),       // CS-17
		mediaLater(),         // CS-18
		httpBurst(),          // CS-21
		adminOpen(),          // MG-01
		bearerHijack(),       // MG-02
		logRewrite(),         // MG-03
		logRead(),            // MG-04
		logForge(),           // MG-05
		pageOpen(),           // MG-06
		pageCross(),          // MG-07
		adminViewer(),        // MG-08
		diameterSpoof(),      // CX-01
		diameterForge(),      // CX-02
		wireBurst(),          // CX-04
		keysSniff(),          // ZB-01
		mwIntrude(),          // ZB-03
	}
}

// Find returns the attack with this dotted id or number.
func Find(name string) (Attack, bool) {
	for _, a := range All() {
		if a.ID == name || strings.EqualFold(a.Number, name) {
			return a, true
		}
	}
	return Attack{}, false
}
