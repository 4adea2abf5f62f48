/* SPDX-License-Identifier: Apache-2.0
 * The dashboard: asks once a second for what is new, and draws it. */
'use strict';
const SECONDS = 600;
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hues = ['#0f766e', '#5b7fb5', '#b98a1d', '#b3412e', '#7a5aa6', '#3f8f4f', '#c2559b', '#7c7466'];
const hue = i => hues[i % hues.length];
const models = new Map();
let next = 0, token = sessionStorage.getItem('token');

const sum = list => list.reduce((a, b) => a + b, 0);
const percent = (x, digits = 0) => isFinite(x) ? (100 * x).toFixed(digits) + ' %' : '–';
const count = x => x >= 1e4 ? (x / 1e3).toFixed(1) + ' k' : x >= 100 ? x.toFixed(0) : +x.toFixed(1) + '';
const time = s => s == null || !isFinite(s) ? '–'
  : s < 1e-3 ? (s * 1e6).toFixed(0) + ' µs' : s < 1 ? +(s * 1e3).toPrecision(3) + ' ms' : s.toFixed(2) + ' s';

function element(parent, tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text != null) made.textContent = text;
  parent.append(made);
  return made;
}

function chart(parent, title, note, series, options) {
  if (!window.uPlot) { /* the server was built without it */
    document.getElementById('bare').hidden = false;
    return {setData() {}};
  }
  const box = element(parent, 'div', 'chart');
  element(box, 'h2', '', title);
  element(box, 'p', '', note);
  const place = element(box, 'div');
  const axis = {stroke: style('--soft'), grid: {stroke: style('--line'), width: 1}, ticks: {show: false}};
  const plot = new uPlot({
    width: Math.max(place.clientWidth, 280), height: 210,
    series: [{value: (u, v) => v == null ? '–' : new Date(1e3 * v).toLocaleTimeString()}, ...series],
    axes: [axis, {...axis, size: 64, values: (u, ticks) => ticks.map(options.tick)}],
    scales: {y: options.scale || {range: (u, low, high) => [0, Math.max(high * 1.1, options.least || 1)]}},
    bands: options.bands, cursor: {y: false},
  }, [[], ...series.map(() => [])], place);
  new ResizeObserver(() => plot.setSize({width: Math.max(place.clientWidth, 280), height: 210})).observe(place);
  return plot;
}

const line = (label, color, show, more) =>
  ({label, stroke: color, width: 1.6, spanGaps: true, points: {show: false},
    value: (u, v) => v == null ? '–' : show(v), ...more});

function build(given) {
  const section = element(document.getElementById('models'), 'section');
  const model = {t: [], rows: {}, exits: Array.from({length: given.n_exits}, () => [])};
  element(section, 'p', 'eyebrow', given.name);
  model.headline = element(section, 'h1', '', '');
  model.drift = element(section, 'p', 'drift', '');
  model.split = element(section, 'p', 'drift', '');
  const list = element(section, 'ul', 'figures');
  model.figures = {};
  for (const [key, text] of [['rate', 'answers a second'], ['p50', 'median latency'], ['p99', '99th percentile'],
    ['waiting', 'inputs inside'], ['rejected', 'rejected, ten minutes'], ['disagree', 'shadow disagreement']]) {
    const item = element(list, 'li');
    model.figures[key] = element(item, 'b', '', '–');
    element(item, 'small', '', text);
  }
  const charts = element(section, 'div', 'charts');
  const n = given.n_exits;
  const mix = Array.from({length: n}, (_, i) => line('exit ' + (n - i), hue(n - 1 - i), v => percent(v),
    {fill: hue(n - 1 - i), width: 0, value: (u, v, s, at) => {
      const all = sum(model.exits.map(e => e[at] || 0));
      return at == null || !all ? '–' : percent(model.exits[n - 1 - i][at] / all);
    }}));
  model.charts = {
    mix: chart(charts, 'Where inputs leave', 'Share of answers by exit, the first at the bottom.', mix,
      {tick: v => percent(v), scale: {range: [0, 1]}}),
    work: chart(charts, 'Work', 'Multiply-adds spent, as a share of full depth.',
      [line('spent', style('--accent'), v => percent(v, 1), {fill: style('--accent') + '22'})],
      {tick: v => percent(v), scale: {range: [0, 1]}}),
    latency: chart(charts, 'Latency', 'From a request’s first byte to its answer.',
      [line('median', hue(1), time), line('99th percentile', hue(3), time)], {tick: time, least: 1e-4}),
    rate: chart(charts, 'Requests', 'Answered and rejected a second, and inputs inside.',
      [line('answered', style('--accent'), count), line('rejected', style('--wrong'), count),
        line('inside', hue(1), count, {dash: [4, 4]})], {tick: count, least: 4}),
  };
  models.set(given.name, model);
  return model;
}

const keys = ['requests', 'rejected', 'samples', 'macs', 'full_macs', 'shadowed', 'disagreed', 'crossed',
  'upstream', 'p50', 'p99', 'waiting'];

function take(model, given, now, upto) {
  given.requests.forEach((_, i) => model.t.push(now - (upto - given.first - i)));
  for (const key of keys) (model.rows[key] = model.rows[key] || []).push(...given[key]);
  model.exits.forEach((list, p) => list.push(...(given.exits[p] || [])));
  const extra = model.t.length - SECONDS;
  if (extra > 0) for (const list of [model.t, ...Object.values(model.rows), ...model.exits]) list.splice(0, extra);
}

function tell(model, given) {
  const rows = model.rows, recent = list => list.slice(-10), last = list => list[list.length - 1];
  const saved = 1 - sum(rows.macs) / sum(rows.full_macs);
  model.headline.textContent = isFinite(saved) ? percent(saved) + ' of the work saved' : 'Nothing has come yet';
  model.figures.rate.textContent = count(sum(recent(rows.requests)) / Math.min(10, rows.requests.length || 1));
  for (const key of ['p50', 'p99']) model.figures[key].textContent = time(last(rows[key].filter(v => v != null)));
  model.figures.waiting.textContent = last(rows.waiting) + ' of ' + given.queue;
  model.figures.rejected.textContent = count(sum(rows.rejected));
  model.figures.rejected.parentElement.className = sum(recent(rows.rejected)) > 0 ? 'alarm' : '';
  const shadowed = sum(rows.shadowed);
  model.figures.disagree.textContent = shadowed ? percent(sum(rows.disagreed) / shadowed, 1) : '–';
  const d = given.drift, index = x => x == null ? '–' : x.toFixed(3);
  model.drift.className = 'drift' + (d.alarm ? ' alarm' : '');
  model.drift.textContent = !d.known ? 'The model’s receipt tells nothing to hold the inputs against.'
    : !d.windows ? 'Inputs are being held against those of calibration; the first window is not full yet.'
      : (d.alarm ? 'Inputs are not like those of calibration' : 'Inputs are like those of calibration')
        + ': stability index ' + index(d.exit) + ' of exits, ' + index(d.confidence) + ' of confidence; alarm above '
        + d.limit + '.' + (d.later ? ' Answers come ' + d.later + (d.later > 1 ? ' exits' : ' exit') + ' later.' : '');
}

/* Of a network on two machines: whether the other one answers, now. */
function tellSplit(model, given) {
  model.split.hidden = given.upto == null;
  if (given.upto == null) return;
  const recent = sum(model.rows.crossed.slice(-10)), answered = sum(model.rows.upstream.slice(-10));
  const all = sum(model.rows.crossed), samples = sum(model.rows.samples);
  model.split.className = 'drift' + (answered < recent ? ' alarm' : '');
  const now = !recent ? '.' : ', in the last seconds ' + (answered === recent ? 'all of them were answered there.'
    : !answered ? 'none of them was answered there: answers are those of exit ' + (given.upto + 1) + '.'
      : percent(answered / recent, 1) + ' of them were answered there, the rest here.');
  model.split.textContent = 'Another server goes on behind exit ' + (given.upto + 1) + ': '
    + (all ? percent(all / samples, 1) + ' of inputs were to go there' + now : 'nothing has gone there yet.');
}

function draw(model) {
  const {t, rows, exits, charts} = model;
  const mix = exits.map(() => []);
  t.forEach((_, i) => {
    const all = sum(exits.map(list => list[i]));
    let below = 0;
    exits.forEach((list, p) => { below += list[i]; mix[p].push(all ? below / all : null); });
  });
  charts.mix.setData([t, ...mix.reverse()]);
  charts.work.setData([t, rows.macs.map((v, i) => rows.full_macs[i] ? v / rows.full_macs[i] : null)]);
  charts.latency.setData([t, rows.p50, rows.p99]);
  charts.rate.setData([t, rows.requests, rows.rejected, rows.waiting]);
}

async function ask() {
  const state = document.getElementById('state');
  try {
    const answer = await fetch('dashboard/data?since=' + next, {headers: token ? {Authorization: 'Bearer ' + token} : {}});
    if (answer.status === 401) {
      token = prompt('This server asks for its token:') || '';
      sessionStorage.setItem('token', token);
    } else if (answer.ok) {
      const data = await answer.json(), now = Math.floor(Date.now() / 1e3);
      if (data.next < next) location.reload(); /* another server, with a past of its own */
      for (const given of data.models) {
        const model = models.get(given.name) || build(given);
        take(model, given, now, data.next);
        tell(model, given);
        tellSplit(model, given);
        draw(model);
      }
      next = data.next;
      state.className = '';
      state.textContent = 'live';
    }
  } catch (error) {
    state.className = 'lost';
    state.textContent = 'no connection since ' + new Date().toLocaleTimeString();
  }
  setTimeout(ask, 1000);
}

/* uPlot, where the server has it; ends either way. */
const part = (tag, values) => new Promise(done => {
  const made = Object.assign(document.createElement(tag), values);
  made.onload = made.onerror = done;
  document.head.append(made);
});
Promise.all([part('link', {rel: 'stylesheet', href: 'assets/uPlot.min.css'}),
  part('script', {src: 'assets/uPlot.iife.min.js'})]).then(ask);
