'use strict';
// The dashboard. It asks /v1/overview once a second while the page is visible, and changes nothing.
// All that other nodes wrote goes in by textContent.

const $ = (id) => document.getElementById(id);
const ICON = { good: '\u2713', bad: '\u2717', plain: '\u00b7' };
const MEMBERS_SHOWN = 200;
let lastMembers = '', turns = 0;
const state = { view: 'overview', peer: '', overview: null, members: [], peers: [], span: '15m', shown: MEMBERS_SHOWN, failed: 0 };

function el(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = String(text);
  if (className) node.className = className;
  return node;
}

function put(parent, ...children) { parent.replaceChildren(...children); return parent; }

function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return (at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)) + ' ' + units[at];
}

function span(seconds) {
  seconds = Math.round(seconds);
  if (seconds < 60) return seconds + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min ' + (seconds % 60) + ' s';
  if (seconds < 86400) return Math.floor(seconds / 3600) + ' h ' + (Math.floor(seconds / 60) % 60) + ' min';
  return Math.floor(seconds / 86400) + ' d ' + (Math.floor(seconds / 3600) % 24) + ' h';
}

function number(value) { return Number(value).toLocaleString('en', { maximumFractionDigits: 1 }); }
function percent(part, whole) { return whole > 0 && part * 100 >= whole ? ' (' + Math.round(part / whole * 100) + ' %)' : ''; }

function facts(list, rows) {
  put(list, ...rows.flatMap(([name, value, tone]) => [el('dt', name), el('dd', value, tone)]));
}

// Requests. The token stays in this tab and goes into a header, never into a URL.
async function get(path) {
  const token = sessionStorage.getItem('potluck-token');
  const headers = token ? { authorization: 'Bearer ' + token } : {};
  const answer = await fetch(path, { headers, cache: 'no-store', credentials: 'omit' });
  if (answer.status === 401) {
    $('token').hidden = false;
    $('wrong').textContent = token ? 'This token is not the one of this node.' : '';
    throw new Error('this node wants its token');
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || 'the node answered ' + answer.status);
  }
  $('token').hidden = true;
  return answer.json();
}

function tone(word) { return word === 'ok' ? 'good' : word === 'degraded' ? 'warn' : 'bad'; }

function showHealth(sentence, className) {
  const at = $('health');
  if (at.textContent !== sentence) at.textContent = sentence;
  at.className = 'health ' + className;
}

function showMachine(o) {
  const m = o.machine;
  const limit = m.diskLimitBytes || (m.diskBytes + m.diskFreeBytes);
  const clock = m.clockOffsetMs === undefined ? 'not compared yet'
    : Math.abs(m.clockOffsetMs) < 1000 ? 'within a second of the others'
    : span(Math.abs(m.clockOffsetMs) / 1000) + (m.clockOffsetMs < 0 ? ' ahead' : ' behind');
  facts($('machine'), [
    ['name', (m.name || 'no name') + ' (' + m.nodeId.slice(0, 8) + ')'],
    ['running', 'version ' + m.version + ' for ' + span(m.uptimeSeconds)],
    ['processor', number(m.cpuPercent) + ' % of a core'],
    ['memory', bytes(m.memoryBytes) + (m.memoryLimitBytes ? ' of ' + bytes(m.memoryLimitBytes) + percent(m.memoryBytes, m.memoryLimitBytes) : '')],
    ['disk', bytes(m.diskBytes) + ' of ' + bytes(limit) + '; ' + bytes(m.diskFreeBytes) + ' free', m.diskFreeBytes < 512 * 2 ** 20 ? 'bad' : ''],
    ['files', number(m.files) + ', ' + bytes(m.fileBytes)],
    ['clock', clock, m.clockOffsetMs !== undefined && Math.abs(m.clockOffsetMs) > 60000 ? 'bad' : ''],
    ['late by', number(m.loopLagMs) + ' ms at most', m.loopLagMs > 500 ? 'warn' : ''],
  ]);
}

function showNetwork(o) {
  const n = o.network;
  facts($('network'), [
    ['network', n.name],
    ['\u2713 alive', number(n.alive), 'good'],
    ['? suspect', number(n.suspect), n.suspect ? 'warn' : 'soft'],
    ['\u2717 dead', number(n.dead), n.dead ? 'bad' : 'soft'],
    ['\u2192 left', number(n.left), 'soft'],
    ['estimated', 'about ' + number(n.sizeEstimate) + ' nodes'],
    ['this node talks to', number(n.peers) + ', linked to ' + number(n.neighbours)],
    ['bytes a second', bytes(o.traffic.bytesPerSecond.in) + ' in, ' + bytes(o.traffic.bytesPerSecond.out) + ' out'],
  ]);
}

function showTransfers(at, transfers, most) {
  if (!transfers.length) { put(at, el('p', 'No fetch is under way. potluck fetch LINK begins one.', 'soft')); return; }
  put(at, ...transfers.slice(0, most).map((t) => {
    const card = el('div', null, 'transfer');
    card.append(el('strong', t.name));
    const total = t.bytesTotal || 0;
    if (t.state === 'running') {
      const bar = document.createElement('progress');
      if (total) { bar.max = total; bar.value = t.bytes; }
      bar.setAttribute('aria-label', t.name);
      card.append(bar);
    }
    const parts = [bytes(t.bytes) + (total ? ' of ' + bytes(total) : ''), bytes(t.rate) + '/s'];
    if (t.state === 'running') parts.push(t.active + ' of ' + t.sources + ' nodes send');
    if (t.etaSeconds !== undefined) parts.push(span(t.etaSeconds) + ' left');
    card.append(el('p', t.state + ': ' + parts.join(', ')));
    const poor = ['noSource', 'failed', 'waiting'].includes(t.bound);
    card.append(el('p', (t.state === 'running' && !poor && t.bound !== 'beginning' ? 'bound by ' : '') + t.why, poor ? 'warn' : 'soft'));
    return card;
  }));
}

function showEvents(at, events) {
  if (!events.length) { put(at, el('li', 'Nothing has happened yet.', 'soft')); return; }
  put(at, ...events.map((e) => {
    const line = el('li');
    const time = el('time', span(e.secondsAgo).replace(/ \d+ s$/, '') );
    time.dateTime = e.at; time.title = e.at;
    line.append(time, el('span', ICON[e.tone] || '', e.tone), el('span', e.what));
    return line;
  }));
}

function recordRows(r) {
  const rows = [
    ['held', number(r.held) + ', ' + bytes(r.bytes)],
    ['replicas wanted', number(r.wanted)],
    ['too few replicas', r.surveyed ? number(r.underReplicated) + ' of ' + number(r.surveyed) + ' asked about' : r.surveyedSecondsAgo === undefined ? 'being looked at' : 'none to ask about', r.underReplicated ? 'warn' : ''],
    ['in conflict', number(r.conflicted), r.conflicted ? 'warn' : ''],
    ['end in a day', number(r.expiring1d), r.expiring1d ? 'warn' : ''],
    ['own, end in 7 days', number(r.expiring7d), ''],
  ];
  if (r.renewalsLate) rows.push(['renewals late', number(r.renewalsLate), 'bad']);
  if (r.surveyedSecondsAgo !== undefined) rows.push(['looked at', span(r.surveyedSecondsAgo) + ' ago', 'soft']);
  return rows;
}

const TROUBLE = { underReplicated: 'too few replicas', conflicted: 'conflict', expiring: 'ends soon' };

function showWorst(at, worst) {
  put(at, ...worst.map((w) => {
    const line = el('li');
    line.append(el('strong', w.name), el('span', ' ' + (TROUBLE[w.state] || w.state) + ': ', 'warn'), el('span', w.why));
    return line;
  }));
}

function showLookups(l, c) {
  const took = (t) => t.count ? 'half in ' + number(t.p50Ms) + ' ms, 99 % in ' + number(t.p99Ms) + ' ms' : 'none in the last minutes';
  facts($('lookups'), [
    ['reads', took(c.gets), c.gets.p99Ms > 1000 ? 'warn' : ''],
    ['writes', took(c.puts), c.puts.p99Ms > 1000 ? 'warn' : ''],
    ['half took', l.count ? number(l.p50Ms) + ' ms or less' : 'none yet'],
    ['99 % took', l.count ? number(l.p99Ms) + ' ms or less' : 'none yet', l.p99Ms > 1000 ? 'warn' : ''],
    ['failed', number(l.failed) + ' of ' + number(l.count), l.failed ? 'warn' : ''],
    ['steps', number(l.hopsMean) + ' on average, ' + l.hopsMax + ' at most'],
    ['no answer', number(l.timeouts) + ' of ' + number(l.requests) + ' requests', l.timeouts * 3 > l.requests ? 'warn' : ''],
    ['now', number(l.perSecond) + ' a second'],
  ]);
}

function table(at, head, rows) {
  const line = (cells, name) => {
    const row = el('tr');
    row.append(...cells.map((cell) => {
      if (cell instanceof Node) { const td = el(name); td.append(cell); return td; }
      const [text, className] = Array.isArray(cell) ? cell : [cell, ''];
      return el(name, text, className);
    }));
    return row;
  };
  const top = el('thead'); top.append(line(head, 'th'));
  const body = el('tbody'); body.append(...rows.map((row) => line(row, 'td')));
  put(at, top, body);
}

function showTraffic(t) {
  const rows = t.purposes.filter((p) => p.in + p.out > 0).map((p) => [p.purpose, [bytes(p.in) + '/s', 'number'], [bytes(p.out) + '/s', 'number']]);
  rows.push(['all', [bytes(t.bytesPerSecond.in) + '/s', 'number'], [bytes(t.bytesPerSecond.out) + '/s', 'number']]);
  rows.push(['datagrams', [number(t.messagesPerSecond.in) + '/s', 'number'], [number(t.messagesPerSecond.out) + '/s', 'number']]);
  table($('traffic'), ['for', ['in', 'number'], ['out', 'number']], rows);
}

// Charts: one line each, drawn to a canvas of the size that it has on the page.
const CHARTS = [
  ['alive', 'members alive', number], ['bytesIn', 'in', (v) => bytes(v) + '/s'], ['bytesOut', 'out', (v) => bytes(v) + '/s'],
  ['lookupP99', 'lookups p99', (v) => number(v) + ' ms'], ['cpu', 'processor', (v) => number(v) + ' %'], ['memory', 'memory', bytes],
];

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.max(1, width * ratio); canvas.height = Math.max(1, height * ratio);
  const draw = canvas.getContext('2d');
  draw.scale(ratio, ratio);
  return [draw, width, height];
}

function chart(canvas, points, most) {
  const [draw, width, height] = prepare(canvas);
  if (points.length < 2) return;
  const top = Math.max(...points) || 1;
  const at = (i) => [width - (points.length - 1 - i) * width / (most - 1), height - 2 - (height - 5) * points[i] / top];
  draw.beginPath();
  points.forEach((_, i) => { const [x, y] = at(i); if (i) draw.lineTo(x, y); else draw.moveTo(x, y); });
  draw.strokeStyle = colour('--mark'); draw.lineWidth = 1.5; draw.stroke();
  draw.lineTo(width, height); draw.lineTo(at(0)[0], height); draw.closePath();
  draw.fillStyle = colour('--fill'); draw.fill();
}

async function showHistory() {
  const history = await get('/v1/overview/history?span=' + state.span);
  const at = $('charts');
  if (!at.firstChild) {
    at.append(...CHARTS.map(([, title]) => {
      const figure = el('figure'), caption = el('figcaption'), canvas = document.createElement('canvas');
      caption.append(el('span', title), el('b'));
      canvas.setAttribute('role', 'img');
      figure.append(caption, canvas);
      return figure;
    }));
  }
  CHARTS.forEach(([name, title, text], i) => {
    const series = history.series.find((it) => it.name === name);
    const points = series ? series.points : [];
    const figure = at.children[i];
    const now = points.length ? text(points[points.length - 1]) : '';
    figure.querySelector('b').textContent = now;
    const canvas = figure.querySelector('canvas');
    canvas.setAttribute('aria-label', title + ', now ' + now);
    chart(canvas, points, Math.max(60, points.length));
  });
}

// The picture: every member stands on a ring at the place of its id; this node's links are lines.
function showMap() {
  const [draw, size] = prepare($('map'));
  const all = state.members.filter((m) => m.state !== 'left');
  const links = new Map(state.peers.map((p) => [p.id, p]));
  const middle = size / 2, radius = size / 2 - 16;
  const dot = Math.max(2, Math.min(7, 500 / Math.max(1, all.length)));
  const place = (m) => {
    const turn = parseInt(m.id.slice(0, 8), 16) / 0x100000000 * 2 * Math.PI - Math.PI / 2;
    return [middle + radius * Math.cos(turn), middle + radius * Math.sin(turn)];
  };
  const me = all.find((m) => m.self);
  if (me) {
    const [x, y] = place(me);
    all.forEach((m) => {
      const link = links.get(m.id);
      if (!link) return;
      const [a, b] = place(m);
      draw.beginPath(); draw.moveTo(x, y); draw.quadraticCurveTo(middle, middle, a, b);
      draw.strokeStyle = link.state === 'alive' ? colour('--mark') : colour('--warn');
      draw.globalAlpha = link.sibling ? 0.55 : 0.2; draw.lineWidth = 1; draw.stroke();
    });
    draw.globalAlpha = 1;
  }
  all.forEach((m) => {
    const [x, y] = place(m);
    draw.fillStyle = m.state === 'alive' ? colour('--good') : m.state === 'suspect' ? colour('--warn') : colour('--bad');
    draw.beginPath();
    if (m.state === 'dead') draw.rect(x - dot, y - dot, 2 * dot, 2 * dot);
    else if (m.state === 'suspect') { draw.moveTo(x, y - dot - 2); draw.lineTo(x + dot + 2, y + dot); draw.lineTo(x - dot - 2, y + dot); }
    else draw.arc(x, y, dot, 0, 7);
    draw.fill();
    if (m.self) { draw.strokeStyle = colour('--ink'); draw.lineWidth = 2; draw.beginPath(); draw.arc(x, y, dot + 4, 0, 7); draw.stroke(); }
  });
  if (all.length <= 24) {
    draw.font = '12px system-ui, sans-serif'; draw.fillStyle = colour('--soft');
    const drawn = [];
    all.forEach((m) => {
      const [x, y] = place(m);
      // One that would lie over another is left out; the list of members has it.
      if (drawn.some(([a, b]) => Math.abs(a - x) < 52 && Math.abs(b - y) < 14)) return;
      drawn.push([x, y]);
      const toMiddle = [middle - x, middle - y].map((v) => v / radius * 18);
      draw.textAlign = x > middle ? 'right' : 'left';
      draw.fillText(m.id.slice(0, 6), x + toMiddle[0], y + toMiddle[1] + 4);
    });
  }
  const count = (word) => state.members.filter((m) => m.state === word).length;
  $('legend').textContent = '\u25cf ' + count('alive') + ' alive, \u25b2 ' + count('suspect') + ' suspect, \u25a0 ' + count('dead')
    + ' dead; each at the place of its id. Lines: the ' + links.size + ' nodes that this one (ringed) talks to, its closest ones darker.';
}

const STATE_MARK = { alive: ['\u2713 alive', 'good'], suspect: ['? suspect', 'warn'], dead: ['\u2717 dead', 'bad'], left: ['\u2192 left', 'soft'] };
function labels(m) { return Object.entries(m.labels || {}).map(([k, v]) => (k === 'host' ? v : k + '=' + v)).join(', '); }

function showMembers() {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const links = new Map(state.peers.map((p) => [p.id, p]));
  const order = { suspect: 0, dead: 1, alive: 2, left: 3 };
  const found = state.members
    .filter((m) => { const text = (m.id + ' ' + m.address + ' ' + m.state + ' ' + labels(m)).toLowerCase(); return words.every((w) => text.includes(w)); })
    .sort((a, b) => order[a.state] - order[b.state] || (a.id < b.id ? -1 : 1));
  $('shown').textContent = found.length === state.members.length ? number(found.length) + ' members' : number(found.length) + ' of ' + number(state.members.length) + ' members';
  $('more').hidden = found.length <= state.shown;
  table($('memberlist'), ['member', 'state', 'name', ['address', 'hide'], ['round trip', 'number'], ['heard', 'number hide']], found.slice(0, state.shown).map((m) => {
    const link = links.get(m.id), to = el('a', m.id.slice(0, 12));
    to.href = '#/peer/' + m.id;
    const own = m.self ? ' (this node)' : '';
    return [to, STATE_MARK[m.state] || m.state, labels(m) + own, [m.address, 'hide'],
      [link && link.rttMs !== null && link.rttMs !== undefined ? number(link.rttMs) + ' ms' : '', 'number'], [link ? span(link.lastSeenSeconds) + ' ago' : '', 'number hide']];
  }));
}

function showPeer() {
  const m = state.members.find((it) => it.id === state.peer), link = state.peers.find((it) => it.id === state.peer);
  $('peername').textContent = m ? labels(m) || m.id.slice(0, 12) : 'No such member is known here';
  if (!m) { put($('peerfacts')); put($('peerlink')); put($('peerevents')); return; }
  const [word, className] = STATE_MARK[m.state] || [m.state, ''];
  const rows = [['id', m.id], ['state', word, className], ['address', m.address], ['labels', labels(m) || 'none'], ['started', 'incarnation ' + m.incarnation]];
  if (m.version) rows.push(['version', m.version]);
  facts($('peerfacts'), rows);
  facts($('peerlink'), link ? [
    ['path', link.path || 'direct'], ['state', link.state, link.state === 'alive' ? 'good' : 'warn'],
    ['round trip', link.rttMs === null || link.rttMs === undefined ? 'not known' : number(link.rttMs) + ' ms'],
    ['last heard', span(link.lastSeenSeconds) + ' ago'], ['proved its key', link.verified ? 'yes' : 'no'],
    ['one of the closest', link.sibling ? 'yes: it shares records with this node' : 'no'],
  ] : [['contact', m.self ? 'this is the node that you look at' : 'not in this node\u2019s routing table']]);
  const events = (state.overview ? state.overview.events : []).filter((e) => e.node === m.id);
  showEvents($('peerevents'), events);
}

async function showLookupList() {
  const { lookups } = await get('/debug/lookups');
  table($('lookuplist'), ['for', ['took', 'number'], ['steps', 'number'], ['asked', 'number'], ['no answer', 'number'], 'outcome', ['key', 'hide']],
    lookups.slice(-30).reverse().map((l) => [l.why, [number(l.tookMs) + ' ms', 'number'], [l.hops, 'number'], [l.queries.length, 'number'],
      [l.queries.filter((q) => q.outcome === 'timed out').length, 'number'], l.outcome, [l.key.slice(0, 16), 'hide']]));
}

async function examine() {
  $('verdict').textContent = 'examining ...';
  try {
    const report = await get('/v1/doctor');
    $('verdict').textContent = report.verdict;
    put($('findings'), ...report.findings.map((f) => {
      const card = el('article', null, 'finding ' + f.severity);
      card.append(el('strong', f.code + ' (' + f.severity + ')'), el('p', f.evidence), el('p', 'To do: ' + f.advice), el('code', f.command));
      return card;
    }));
    if (!report.findings.length) put($('findings'), el('p', '\u2713 Nothing was found.', 'good'));
  } catch (error) { $('verdict').textContent = error.message; }
}

async function show() {
  const o = state.overview;
  if (!o) return;
  document.title = (o.health.health === 'ok' ? '' : '! ') + o.network.name + ' - Potluck';
  $('where').textContent = o.network.name + ' \u00b7 ' + (o.machine.name || o.machine.nodeId.slice(0, 8));
  $('stamp').textContent = 'Node ' + o.machine.nodeId.slice(0, 8) + ' at ' + o.at + '.';
  showHealth(o.health.sentence, tone(o.health.health));
  if (state.view === 'overview') {
    showMachine(o); showNetwork(o); showTransfers($('transfers'), o.transfers, 4); showEvents($('events'), o.events);
    facts($('records'), recordRows(o.records)); showWorst($('worst'), o.records.worst.slice(0, 3));
    showLookups(o.lookups, o.commands); showTraffic(o.traffic); showMap();
    // A quarter of an hour is a hundred kilobytes: every fifth second is enough for the eye.
    if (!$('charts').firstChild || turns % 5 === 0) await showHistory();
  } else if (state.view === 'members') showMembers();
  else if (state.view === 'peer') showPeer();
  else if (state.view === 'records') { facts($('records2'), recordRows(o.records)); showWorst($('worst2'), o.records.worst); if (!o.records.worst.length) put($('worst2'), el('li', 'Nothing.', 'soft')); await showLookupList(); }
  else if (state.view === 'files') showTransfers($('transfers2'), o.transfers, 16);
}

// Members are many: they are asked for when their number or states changed, or every fifth second.
async function tick() {
  if (document.hidden) return;
  try {
    state.overview = await get('/v1/overview');
    const n = state.overview.network, counts = [n.alive, n.suspect, n.dead, n.left].join();
    if (counts !== lastMembers || turns % 5 === 0) {
      const [members, peers] = await Promise.all([get('/v1/members'), get('/v1/peers')]);
      state.members = members.members; state.peers = peers.peers; lastMembers = counts;
    }
    turns += 1; state.failed = 0;
    await show();
  } catch (error) {
    state.failed += 1;
    if (state.failed > 1 || !state.overview) showHealth($('token').hidden ? 'The node does not answer: ' + error.message + '. What is shown is old.' : 'This node wants its token.', 'bad');
  }
}

const SECTIONS = { overview: 'overview', members: 'members', peer: 'peer', records: 'recordsview', files: 'filesview', doctor: 'doctorview' };
function route() {
  const [view, id] = location.hash.replace(/^#\/?/, '').split('/');
  state.view = SECTIONS[view] ? view : 'overview';
  state.peer = id || '';
  state.shown = MEMBERS_SHOWN;
  Object.entries(SECTIONS).forEach(([name, section]) => { $(section).hidden = name !== state.view; });
  document.querySelectorAll('nav a').forEach((a) => {
    const here = a.dataset.view === state.view || (state.view === 'peer' && a.dataset.view === 'members');
    if (here) a.setAttribute('aria-current', 'page'); else a.removeAttribute('aria-current');
  });
  if (state.view === 'doctor') examine();
  show().catch(() => {});
}

const VIEWS = ['', 'members', 'records', 'files', 'doctor'];
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === 'Escape') { if (typing) { event.target.value = ''; event.target.blur(); showMembers(); } else location.hash = state.view === 'peer' ? '#/members' : '#/'; return; }
  if (typing) return;
  const at = '12345'.indexOf(event.key);
  if (at >= 0) location.hash = '#/' + VIEWS[at];
  else if (event.key === 'd') location.hash = '#/doctor';
  else if (event.key === '/') { location.hash = '#/members'; event.preventDefault(); setTimeout(() => $('filter').focus(), 0); }
});
$('filter').addEventListener('input', showMembers);
$('more').addEventListener('click', () => { state.shown += MEMBERS_SHOWN; showMembers(); });
$('examine').addEventListener('click', examine);
$('token').addEventListener('submit', (event) => { event.preventDefault(); sessionStorage.setItem('potluck-token', $('secret').value.trim()); $('secret').value = ''; tick(); });
[['span15', '15m'], ['span24', '24h']].forEach(([id, span]) => $(id).addEventListener('click', () => {
  state.span = span;
  ['span15', 'span24'].forEach((other) => $(other).setAttribute('aria-pressed', String(other === id)));
  showHistory().catch(() => {});
}));
window.addEventListener('hashchange', route);
window.addEventListener('resize', () => show().catch(() => {}));
document.addEventListener('visibilitychange', tick);
route();
tick();
setInterval(tick, 1000);
