"use strict";
// The page of a running node. It shows what the server says, as text; nothing of it is ever read as HTML, and drawings come from the server as SVG whose
// texts are escaped there. Where one is stands behind the # of the address, so that back, forward and links work.

const main = document.getElementById("main"), line = document.getElementById("line"), leave = document.getElementById("leave");
let proof = null; // what does not change while somebody looks
let now = null; // what does
let events = null;
let watched = null; // of the ladder that is open: how it is drawn anew

const signs = {proven: "✓", claimed: "~", stale: "↻", gap: "✗", "n/a": "–"};
const meanings = {
	proven: "blocked with the control, succeeded without it, and the evidence is fresh", claimed: "a control is there, without proof of this program",
	stale: "proven once; what it covers is another now", gap: "nothing is there, it is off, or it does not hold",
};
const boxes = {"C-I": "client to core", "I-S": "core to services", "C-S": "client to services"};

// make makes an element. Strings become text, arrays are taken apart, null is left out.
function make(tag, attributes, ...children) {
	const e = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes || {})) {
		if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
		else if (value === true) e.setAttribute(name, "");
		else if (value !== null && value !== undefined && value !== false) e.setAttribute(name, value);
	}
	for (const c of children.flat(9)) if (c !== null && c !== undefined && c !== false) e.append(c);
	return e;
}
const fill = (e, ...children) => e.replaceChildren(...children.flat(9).filter(c => c !== null && c !== undefined && c !== false && c !== ""));
const state = s => make("span", {class: "s " + s}, (signs[s] || "") + " " + s);
const id = text => make("span", {class: "id"}, text);
const count = (n, one, many) => n + " " + (n === 1 ? one : many || one + "s");
const clock = t => new Date(t).toLocaleTimeString([], {hour12: false});
// people names identities in short: without their scheme, and without the domain if it is this network's own; the same user is named once.
const people = who => [...new Set((who || []).map(w => { const bare = w.replace(/^(sips?|tel):/, ""), end = "@" + proof.domain; return bare.endsWith(end) ? bare.slice(0, -end.length) : bare; }))];
const link = (kind, ...parts) => "#" + [kind, ...parts.map(encodeURIComponent)].join("/");

// The key of this page: what a browser keeps for one origin, which has a port, while a cookie goes to every port of a host.
const headers = () => ({"Imsafe-Key": localStorage.getItem("key") || ""});

async function ask(path) {
	const r = await fetch(path, {cache: "no-store", headers: headers()});
	if (r.status === 401) { logIn(); throw new Error("not logged in"); }
	if (!r.ok) throw new Error((await r.text()).trim());
	return r.json();
}

// ---- logging in

async function logIn(wrong) {
	stop();
	leave.hidden = true;
	line.className = ""; line.textContent = "";
	const input = make("input", {id: "code", autocomplete: "off", autocapitalize: "characters", spellcheck: "false", required: true});
	const form = make("form", {class: "door-in", onsubmit: e => { e.preventDefault(); redeem(input.value.trim()); }},
		make("h1", {}, "Who is there?"), make("p", {class: "soft"}, "This page names subscribers and shows their calls, so it is for the operator alone. ",
			id("imsafe page"), " prints an address with a code that works once, for ten minutes."),
		make("label", {for: "code"}, "Code"), input, make("button", {}, "Log in"), wrong && make("p", {class: "alarm", role: "alert"}, wrong));
	fill(main, form);
	input.focus();
}

async function redeem(code) {
	const r = await fetch("login", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({code})});
	if (!r.ok) return logIn((await r.text()).trim());
	localStorage.setItem("key", (await r.json()).key);
	start();
}

leave.addEventListener("click", async () => { await fetch("logout", {method: "POST", headers: headers()}); localStorage.removeItem("key"); logIn(); });

// ---- what changes

function stop() { if (events) events.abort(); events = null; }

async function start() {
	try { proof = await ask("api/cells"); } catch (e) { return; }
	leave.hidden = false;
	document.getElementById("domain").textContent = proof.domain;
	document.title = "imsafe: " + proof.domain;
	stop();
	const mine = events = new AbortController();
	try { await listen(mine.signal); } catch (e) { /* it has ended */ }
	if (events !== mine) return;
	line.className = "lost"; line.textContent = "the node does not answer";
	setTimeout(() => { if (events === mine) again(mine); }, 2000);
}

// again begins anew when the node is there again.
async function again(mine) {
	try { await fetch("page.css", {cache: "no-store"}); } catch (e) { setTimeout(() => { if (events === mine) again(mine); }, 2000); return; }
	if (events === mine) start();
}

// listen reads the events of the server until they end (server-sent events, which a browser's own reader would ask for without the key).
async function listen(signal) {
	const r = await fetch("api/live", {cache: "no-store", headers: headers(), signal});
	if (r.status === 401) return logIn();
	if (!r.ok) throw new Error("no events");
	line.className = "on"; line.textContent = "live";
	const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
	for (let rest = ""; ;) {
		const {value, done} = await reader.read();
		if (done) return;
		const parts = (rest + value).split("\n\n");
		rest = parts.pop();
		for (const part of parts) if (part.startsWith("data: ")) await arrived(JSON.parse(part.slice(6)));
	}
}

async function arrived(told) {
	const before = now;
	now = told;
	if (before && before.version !== now.version) { try { proof = await ask("api/cells"); } catch (e) { return; } }
	if (!before) return show();
	changed(before);
}

// changed brings what is shown up to date without taking away what somebody is reading, or is about to press: what is put in another's place between
// down and up of a pointer is not clicked.
let held = false, waits = null;
addEventListener("pointerdown", () => { held = true; });
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(() => {
	held = false;
	if (waits) { const before = waits; waits = null; changed(before); }
}));

function changed(before) {
	if (held) { waits = waits || before; return; }
	const [kind, of] = where();
	if (kind === "") { const at = scrollY; keeping(() => home(before)); scrollTo(0, at); }
	else if (kind === "cell" || kind === "control") live(of, before);
	else if (kind === "ladder" && watched) watched();
	tell(before);
}

// tell says to who does not see the page what has turned.
function tell(before) {
	const turned = proof.cells.filter((c, i) => before.cells[i] && before.cells[i].state !== now.cells[i].state).map(c => c.name + " is " + now.cells[proof.cells.indexOf(c)].state);
	if (turned.length) document.getElementById("told").textContent = turned.join(", ");
}

// keeping draws a part of the page anew, and leaves the focus of the keyboard where it was: at what has the same address or the same number.
function keeping(draw) {
	const at = document.activeElement, href = at && main.contains(at) && at.getAttribute("href"), arrow = at && main.contains(at) && at.dataset && at.dataset.arrow;
	draw();
	if (document.activeElement === at) return;
	const head = at && at.tagName === "H1" && main.querySelector("h1");
	if (head) head.tabIndex = -1;
	const same = head ? head : href ? [...main.querySelectorAll("a")].find(a => a.getAttribute("href") === href) : arrow ? main.querySelector(`.arrow[data-arrow="${arrow}"]`) : null;
	if (same) same.focus({preventScroll: true});
}

// ---- where one is

const where = () => location.hash.slice(1).split("/").map(decodeURIComponent);

function show() {
	if (!now) return;
	watched = null;
	const [kind, of, more] = where();
	const views = {"": () => home(null), cell: () => cell(of), attack: () => attack(of, more), ladder: () => ladder(of), run: () => run(of, more)};
	(views[kind] || views[""])();
	arrive();
}

// arrive says where one has come to: in the title, and, after the first view, by the focus, so that the keyboard goes on from there and a reader reads it.
let came = false;
function arrive() {
	const h = main.querySelector("h1");
	if (!h) return;
	document.title = h.innerText + " · imsafe";
	if (came) { h.tabIndex = -1; h.focus({preventScroll: true}); }
	came = true;
	scrollTo(0, 0);
}
document.querySelector(".skip").addEventListener("click", e => { e.preventDefault(); main.focus(); }); // the address says where one is, and that is no place
addEventListener("hashchange", () => { if (location.hash.startsWith("#code=")) enter(); else show(); });

const crumbs = (...parts) => make("nav", {class: "crumbs", "aria-label": "Where you are"}, make("a", {href: "#"}, "Twelve cells"),
	parts.map(([text, href]) => [make("span", {}, "›"), href ? make("a", {href}, text) : make("span", {}, text)]));

// ---- the twelve cells

function home(before) {
	const good = now.cells.filter(c => c.state === "proven").length;
	fill(main, 
		make("h1", {}, good + " of 12 cells are proven, now"),
		make("p", {class: "soft"}, proof.made ? ["At ", proof.made, ": ", proof.sentence.split(": ")[0], ". ", proof.page && make("a", {href: "proof"}, "The whole proof")] : "A cell without proof of this program is claimed at best."),
		proof.note && make("p", {class: "note"}, proof.note),
		now.weakenings && now.weakenings.length > 0 && make("p", {class: "note"}, make("b", {}, "Weaker than the default: "), now.weakenings.map((w, i) => [i ? "; " : "", make("b", {}, w.name), " (" + w.meaning + ")"])),
		grid(before),
		make("ul", {class: "legend"}, Object.entries(meanings).map(([s, what]) => make("li", {}, signs[s] + " " + s + ": " + what)), make("li", {}, "a beating frame: its controls refuse something at this moment")),
		make("h2", {}, "Refused since it started: " + now.refused),
		now.active.length ? make("ul", {class: "list"}, now.active.slice(0, 12).map(a => make("li", {}, make("div", {class: "row" + (a.refusing ? " refusing" : "")},
			make("b", {class: "n"}, String(a.refused)), make("div", {}, a.mechanism, make("div", {class: "soft"}, id(a.control))), a.refusing ? make("span", {class: "s refused"}, "now") : a.routine && make("span", {class: "soft small"}, "taken off"))))) : make("p", {class: "soft"}, "Nothing."),
		now.weak.length > 0 && [make("h2", {}, "Controls that are not as they should be"), make("ul", {class: "list"}, now.weak.map(w => make("li", {}, make("div", {class: "row"},
			make("span", {class: "s " + (w.state === "off" ? "gap" : "claimed")}, w.state), make("div", {}, w.mechanism, make("div", {class: "soft"}, id(w.control), w.weakened_by ? " by " + w.weakened_by.join(", ") : ""))))))],
		make("h2", {}, "The last calls and registrations"),
		ladders());
}

function grid(before) {
	const box = make("div", {class: "twelve"}, make("span", {class: "head"}));
	for (const c of proof.cells.slice(0, 4)) box.append(make("span", {class: "head"}, c.service));
	proof.cells.forEach((c, i) => {
		const n = now.cells[i];
		if (i % 4 === 0) box.append(make("span", {class: "door"}, c.door, make("small", {}, boxes[c.door] || "")));
		const turned = before && before.cells[i] && before.cells[i].state !== n.state;
		const name = c.name + ": " + n.state + ", " + (c.total ? c.proven + " of " + c.total + " proven" : "nothing here") + (n.refused ? ", " + n.refused + " refused" + (n.refusing ? ", now" : "") : "");
		box.append(make("a", {"aria-label": name, class: "cell " + n.state + (n.refusing ? " refusing" : "") + (turned ? " turned" : ""), href: link("cell", c.name), "data-cell": c.name, title: n.why.join("\n") || null},
			make("span", {class: "svc"}, c.service), make("span", {class: "mark", "aria-hidden": "true"}, signs[n.state]), make("b", {}, n.state),
			make("span", {class: "of"}, c.total ? c.proven + " of " + c.total + " proven" : "nothing here"),
			make("span", {class: "shots"}, n.refused ? n.refused + " refused" + (n.refusing ? ", now" : "") : "\u00a0")));
	});
	return box;
}

function ladders() {
	if (!now.ladders) return make("p", {class: "soft"}, "None are kept: ladders = 64 in the section [page] of the configuration keeps the last 64.");
	if (now.ladders.length === 0) return make("p", {class: "soft"}, "Nobody has registered or called yet.");
	return make("ul", {class: "list", id: "ladders"}, now.ladders.map(h => {
		const bad = h.refused || h.status >= 400 && h.status !== 401 && h.status !== 407;
		return make("li", {}, make("a", {class: "row", href: link("ladder", h.id)}, make("b", {}, h.what),
			make("div", {}, people(h.who).slice(0, 2).join(" → ") || h.call_id, make("div", {class: "why"}, clock(h.began) + ", " + count(h.arrows, "message"), h.refused ? [", ", id(h.refused)] : "")),
			make("span", {class: "s " + (bad ? "refused" : "passed")}, h.refused && h.status < 300 ? h.status || "refused" : String(h.status || (bad ? "refused" : "…")))));
	}));
}

// ---- one cell

function cell(name) {
	const i = proof.cells.findIndex(c => c.name === name), c = proof.cells[i];
	if (!c) return home(null);
	fill(main, crumbs([name]), make("h1", {}, name), make("div", {id: "live"}),
		make("h2", {}, count(c.mechanisms.length, "mechanism")),
		make("ul", {class: "list"}, c.mechanisms.map(m => make("li", {}, make("div", {class: "row", "data-control": m.id}, state(m.state),
			make("div", {}, m.mechanism, make("div", {class: "why"}, id(m.id), ", " + m.clause), m.why && make("div", {class: "why"}, m.why)), make("span", {class: "soft small shot"}))))),
		make("h2", {}, count(c.attacks.length, "attack") + " tried"),
		c.attacks.length ? make("ul", {class: "list"}, c.attacks.map(a => make("li", {}, make("a", {class: "row", href: link("attack", name, a.id)}, state(a.state),
			make("div", {}, make("b", {}, a.number), " " + a.title, make("div", {class: "why"}, outcome(a)), a.why && make("div", {class: "why"}, a.why)), make("span", {class: "go"}, "›"))))) :
			make("p", {class: "soft"}, id("imsafe prove"), " runs them against this program."));
	live(name);
}

const outcome = a => [a.blocked_by.length ? ["✓ blocked by ", a.blocked_by.map((b, i) => [i ? ", " : "", id(b)])] : "not shown to be blocked by name", a.succeeded_without ? " · ✓ succeeded without" : " · no success without was seen"];

// live is what changes of a cell.
function live(name) {
	const i = proof.cells.findIndex(c => c.name === name), n = now.cells[i], at = document.getElementById("live");
	if (!n || !at) return;
	fill(at, make("p", {}, state(n.state), " ", make("span", {class: "soft"}, meanings[n.state] || ""), n.refusing ? [" ", make("span", {class: "s refused"}, "refusing now")] : ""),
		n.why.length > 0 && make("p", {class: "alarm"}, n.why.join(". ")), proof.cells[i].why && proof.cells[i].why.length > 0 && make("p", {class: "why"}, proof.cells[i].why.join("; ")) || "");
	for (const row of document.querySelectorAll("[data-control]")) {
		const a = now.active.find(a => a.control === row.dataset.control);
		row.querySelector(".shot").textContent = a ? a.refused + " refused" + (a.refusing ? ", now" : "") : "";
	}
}

// ---- one attack

function attack(name, of) {
	const c = proof.cells.find(c => c.name === name), a = c && c.attacks.find(a => a.id === of);
	if (!a) return home(null);
	const groups = new Map();
	for (const r of [...a.runs].sort((a, b) => a.off.length - b.off.length)) {
		const key = [r.variant, r.access && "over " + r.access].filter(t => t).join(", ");
		groups.set(key, [...(groups.get(key) || []), r]);
	}
	fill(main, crumbs([name, link("cell", name)], [a.number]), make("h1", {}, a.title), make("p", {}, state(a.state), " ", id(a.id)), make("p", {}, a.text),
		make("p", {class: "soft small"}, a.source), a.why && make("p", {class: "note"}, a.why), make("p", {}, outcome(a)),
		[...groups].map(([key, runs]) => [make("h2", {}, key), make("div", {class: "pair"}, runs.map(r => trial(name, a, r)))]),
		a.runs.length === 0 && make("p", {class: "soft"}, "There is no record of it for this program."));
}

function trial(name, a, r) {
	const off = r.off && r.off.length > 0;
	return make("article", {class: "run"}, make("h3", {}, off ? ["Without ", r.off.map((o, i) => [i ? ", " : "", id(o)])] : "With every control on"),
		make("span", {class: "s " + (r.verdict === "blocked" ? "proven" : r.verdict === "succeeded" ? "gap" : "claimed")}, r.verdict === "blocked" ? "✓ blocked" : r.verdict === "succeeded" ? "! succeeded" : r.verdict),
		make("dl", {}, [["Must stop it", r.expected && id(r.expected)], ["Arrived", r.delivered], ...(r.oracles || []).map(o => [o.outside ? "Seen outside" : "The gate says", o.saw]), ["Note", r.reason], ["When", r.start.replace("T", " ").slice(0, 19) + " UTC"]]
			.filter(([, what]) => what).map(([k, what]) => [make("dt", {}, k), make("dd", {}, what)])),
		r.ladders ? make("a", {href: link("run", name + "|" + a.id, r.key)}, "Its messages: " + count(r.ladders, "ladder")) : make("span", {class: "soft small"}, "The bundle has no ladder of this run."));
}

// ---- ladders

const width = () => main.clientWidth - (innerWidth <= 720 ? 0 : 36) - 2; // as the box is that it stands in

async function ladder(of) {
	const box = make("div", {});
	fill(main, crumbs(["Call or registration"]), box);
	let drawn = -1;
	const draw = async () => {
		const head = now.ladders && now.ladders.find(h => String(h.id) === of), print = JSON.stringify(head);
		if (drawn === print) return;
		drawn = print;
		try {
			const s = await ask("api/ladder/" + encodeURIComponent(of) + "?width=" + width()), first = !box.firstChild, open = box.querySelector(".arrow.chosen");
			keeping(() => fill(box, story(s)));
			const again = open && box.querySelector(`.arrow[data-arrow="${open.dataset.arrow}"]`);
			if (again) again.dispatchEvent(new MouseEvent("click", {bubbles: true}));
			if (first) arrive();
		} catch (e) { fill(box, make("p", {class: "alarm"}, e.message)); }
	};
	await draw();
	watched = draw;
}

async function run(of, key) {
	const [name, attackID] = of.split("|");
	const box = make("div", {});
	fill(main, crumbs([name, link("cell", name)], [attackID, link("attack", name, attackID)], ["messages"]), make("p", {class: "soft small"}, id(key)), box);
	try { fill(box, (await ask("api/run?key=" + encodeURIComponent(key) + "&width=" + width())).flatMap(s => story(s))); arrive(); } catch (e) { fill(box, make("p", {class: "alarm"}, e.message)); }
}

const covers = {ESP: "esp", TLS: "tls", mTLS: "mtls", "in process": "process", clear: "clear"};
const said = {esp: "ESP", tls: "TLS", mtls: "mutual TLS", process: "in process, on no wire", clear: "in clear"};

function keys(s) {
	const used = new Set(s.arrows.map(a => covers[a.cover]).filter(c => c));
	const sample = c => new DOMParser().parseFromString(`<svg xmlns="http://www.w3.org/2000/svg" width="34" height="8"><line x1="0" y1="4" x2="34" y2="4"/></svg>`, "image/svg+xml").documentElement;
	return make("ul", {class: "keys"}, Object.entries(said).filter(([c]) => used.has(c)).map(([c, text]) => make("li", {class: c}, document.importNode(sample(c), true), text)),
		make("li", {}, make("b", {}, "✓"), " a check passed it"), make("li", {}, make("b", {}, "✗"), " a check refused it"), make("li", {}, make("b", {}, "−"), " a check took something off it"), make("li", {}, make("b", {}, "!"), " a check that is off would have refused it"));
}

function story(s) {
	const drawing = document.importNode(new DOMParser().parseFromString(s.svg, "image/svg+xml").documentElement, true);
	const detail = make("div", {class: "detail", hidden: true, "aria-live": "polite"});
	const choose = g => {
		for (const other of drawing.querySelectorAll(".chosen")) other.classList.remove("chosen");
		g.classList.add("chosen");
		detail.hidden = false;
		fill(detail, message(s.arrows[Number(g.dataset.arrow)], () => { detail.hidden = true; g.classList.remove("chosen"); g.focus(); }));
	};
	drawing.addEventListener("click", e => { const g = e.target.closest(".arrow"); if (g) choose(g); });
	drawing.addEventListener("keydown", e => { const g = e.target.closest(".arrow"); if (g && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); choose(g); } });
	drawing.addEventListener("keydown", e => { if (e.key === "Escape" && !detail.hidden) detail.querySelector(".shut").click(); });
	detail.addEventListener("keydown", e => { if (e.key === "Escape") detail.querySelector(".shut").click(); });
	return [make("h1", {}, s.what, " ", make("span", {class: "soft"}, people(s.who).slice(0, 2).join(" → "))), make("p", {class: "soft small"}, (s.who || []).map(w => [id(w), ", "]), "Call-ID ", id(s.call_id), s.arrows.length ? ", " + new Date(s.arrows[0].at).toLocaleString([], {hour12: false}) : ""),
		keys(s), make("div", {class: "ladderbox"}, drawing), s.more ? make("p", {class: "soft"}, "And " + s.more + " more, which were not kept.") : "", detail];
}

function message(a, shut) {
	const party = p => p === "peer" ? "the other UE" : p;
	return [make("h3", {}, a.what, " ", make("span", {class: "soft"}, party(a.from) + " → " + party(a.to))), make("button", {class: "shut", type: "button", "aria-label": "Close", onclick: shut}, "×"),
		make("dl", {}, [["At", clock(a.at) + "." + String(new Date(a.at).getMilliseconds()).padStart(3, "0")], ["Protection", a.cover], ["Sender", a.sender], ...(a.checks || []).map(c => [make("span", {class: "s " + (c.did === "passed" ? "passed" : "refused")}, c.did), [id(c.control), c.reason ? ": " + c.reason : ""]])]
			.filter(([, what]) => what).map(([k, what]) => [make("dt", {}, k), make("dd", {}, what)])),
		a.lines && a.lines.length > 0 ? make("p", {class: "lines"}, a.lines.join("\n")) : ""];
}

// A ladder is drawn as wide as the page: anew when that changes.
let resized = 0, wide = innerWidth;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => { const [kind] = where(); if (innerWidth !== wide && (kind === "ladder" || kind === "run")) show(); wide = innerWidth; }, 250); });

// ---- in

// enter takes a code out of the address, where the terminal has put it, and out of the history.
function enter() {
	const code = location.hash.slice("#code=".length);
	history.replaceState(null, "", location.pathname);
	redeem(code);
}

if (location.hash.startsWith("#code=")) enter();
else start();
