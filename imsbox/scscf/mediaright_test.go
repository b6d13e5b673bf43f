package scscf

import "testing"

func TestAsksOf(t *testing.T) {
	const m = "m=audio 4000 UDP/TLS/RTP/SAVP 8\r\n"
	both := asks{send: true, receive: true}
	for name, c := range map[string]struct {
		body string
		want asks
	}{
		"nothing":                           {"", asks{}},
		"no media":                          {"v=0\r\na=sendrecv\r\n", asks{}},
		"no direction":                      {"v=0\r\n" + m, both},
		"of the session":                    {"v=0\r\na=sendonly\r\n" + m, asks{send: true}},
		"of the medium":                     {"v=0\r\na=sendonly\r\n" + m + "a=recvonly\r\n", asks{receive: true}},
		"inactive":                          {"v=0\r\n" + m + "a=inactive\r\n", asks{}},
		"two of one medium":                 {"v=0\r\n" + m + "a=sendonly\r\na=recvonly\r\n", both},
		"two media":                         {"v=0\r\n" + m + "a=sendonly\r\n" + m + "a=recvonly\r\n", both},
		"the second has none":               {"v=0\r\n" + m + "a=sendonly\r\n" + m, both},
		"a refused one":                     {"v=0\r\n" + m + "a=sendonly\r\nm=video 0 RTP/AVP 96\r\na=recvonly\r\n", asks{send: true}},
		"all refused":                       {"v=0\r\na=record:on\r\nm=audio 0 RTP/AVP 8\r\n", asks{}},
		"a port that some read as none":     {"v=0\r\nm=audio 00 RTP/AVP 8\r\na=recvonly\r\n", asks{receive: true}},
		"a direction that nobody knows":     {"v=0\r\n" + m + "a=SendOnly\r\n", both},
		"a direction and a blank":           {"v=0\r\n" + m + "a=sendonly \r\n", both},
		"bare line ends":                    {"v=0\n" + "m=audio 4000 RTP/AVP 8\na=sendonly\n", asks{send: true}},
		"a carriage return alone":           {"v=0\r\n" + m + "a=sendonly\ra=recvonly\r\n", both},
		"it records, and says nothing else": {"v=0\r\n" + m + "a=record:on\r\n", asks{send: true, receive: true, record: true}},
		"it records, of the session":        {"v=0\r\na=record:paused\r\n" + m + "a=recvonly\r\n", asks{receive: true, record: true}},
		"it does not record":                {"v=0\r\n" + m + "a=record:off\r\na=recvonly\r\n", asks{receive: true}},
	} {
		got := asksOf([]byte(c.body))
		got.named = false
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func FuzzAsksOf(f *testing.F) {
	f.Add([]byte("v=0\r\na=sendonly\r\nm=audio 1 RTP/AVP 8\r\na=record:on\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := asksOf(body)
		after := asksOf(append(body[:len(body):len(body)], "\r\nm=audio 9 RTP/AVP 0\r\na=sendrecv\r\n"...))
		if before.send && !after.send || before.receive && !after.receive || before.record && !after.record || !after.send || !after.receive {
			t.Errorf("%+v, and with one more medium %+v", before, after)
		}
	})
}
