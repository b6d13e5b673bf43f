package filter

import (
	"fmt"
	"strings"
	"testing"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// A session description with audio and video.
const description = "v=0\r\no=- 3 3 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 2001:db8::7\r\nt=0 0\r\nm=audio 49120 RTP/AVP 104 96\r\n" +
	"b=AS:41\r\na=rtpmap:104 AMR-WB/16000\r\na=rtpmap:96 telephone-event/16000\r\na=sendrecv\r\nm=video 49122 RTP/AVP 113\r\na=rtpmap:113 H264/90000\r\n"

var pool = sip.NewPool(sip.Limits{})

// request parses a request: the start line without the version, header lines, and a body.
func request(t testing.TB, start, header, body string) *sip.Message {
	t.Helper()
	method, _, _ := strings.Cut(start, " ")
	text := start + " SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::7]:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@ims.example>;tag=1\r\n" +
		"To: <sip:bob@ims.example>\r\nCall-ID: 1@a\r\nCSeq: 1 " + method + "\r\n" + header + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
	m, err := pool.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return m
}

// invite is an INVITE as a telephone sends it.
func invite(t testing.TB) *sip.Message {
	return request(t, "INVITE sip:bob@ims.example;user=phone", "P-Asserted-Identity: <sip:alice@ims.example>, <tel:+447700900001>\r\n"+
		"Supported: 100rel, timer\r\nAllow: INVITE, ACK, BYE\r\nContact: <sip:alice@[2001:db8::7]:5060>;+sip.instance=\"<urn:gsma:imei:35209900-176148-0>\"\r\n"+
		"Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"\r\nP-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel\r\n"+
		"X-House: blue\r\nX-House: Red door\r\nContent-Type: application/sdp\r\n", description)
}

// The shorthand of triggers.

func method(name string, group ...int) cx.SPT {
	return cx.SPT{Kind: cx.SPTMethod, Pattern: name, Groups: groupsOf(group)}
}

func sessionCase(c cx.SessionCase, group ...int) cx.SPT {
	return cx.SPT{Kind: cx.SPTSessionCase, Case: c, Groups: groupsOf(group)}
}

func requestURI(pattern string, group ...int) cx.SPT {
	return cx.SPT{Kind: cx.SPTRequestURI, Pattern: pattern, Groups: groupsOf(group)}
}

func header(name string, content ...string) cx.SPT {
	return withContent(cx.SPT{Kind: cx.SPTSIPHeader, Pattern: name, Groups: []int{0}}, content)
}

func line(name string, content ...string) cx.SPT {
	return withContent(cx.SPT{Kind: cx.SPTSessionDescription, Pattern: name, Groups: []int{0}}, content)
}

func withContent(s cx.SPT, content []string) cx.SPT {
	if len(content) > 0 {
		s.Content, s.HasContent = content[0], true
	}
	return s
}

func groupsOf(list []int) []int {
	if list == nil {
		return []int{0}
	}
	return list
}

func not(s cx.SPT) cx.SPT {
	s.Negated = true
	return s
}

func in(s cx.SPT, groups ...int) cx.SPT {
	s.Groups = groups
	return s
}

// criterion makes one of a priority, named after it, with a trigger point in one of the normal forms.
func criterion(priority int, cnf bool, spts ...cx.SPT) cx.InitialFilterCriteria {
	c := cx.InitialFilterCriteria{Priority: priority, Server: cx.ApplicationServer{ServerName: fmt.Sprintf("sip:as%d.ims.example", priority)}}
	if spts != nil {
		c.Trigger = &cx.TriggerPoint{CNF: cnf, SPTs: spts}
	}
	return c
}

func profile(criteria ...cx.InitialFilterCriteria) *cx.ServiceProfile {
	return &cx.ServiceProfile{Criteria: criteria}
}

func compiled(t testing.TB, criteria ...cx.InitialFilterCriteria) *Filter {
	t.Helper()
	f, err := Compile(profile(criteria...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// priorities runs an evaluation to its end.
func priorities(t testing.TB, e Evaluation) []int {
	t.Helper()
	list := []int{}
	for c := e.Next(); c != nil; c = e.Next() {
		list = append(list, c.Priority)
	}
	if e.Err() != nil {
		t.Fatal(e.Err())
	}
	return list
}

// requestOf makes the request that has the headers X-A, X-B, ... of a row of a truth table.
func requestOf(t interface{ Fatal(...any) }, row, headers int) *sip.Message {
	text := "OPTIONS sip:b@h.example SIP/2.0\r\n"
	for h := range headers {
		if row>>h&1 == 1 {
			text += fmt.Sprintf("X-%c: 1\r\n", 'A'+h)
		}
	}
	m, err := pool.Parse([]byte(text + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
