// What is there already, and the form that starts a sync.
import { summarise } from './sync.js';
import { html, useState, useTick } from './ui.js';
import { addDays, ago, calls, day, days, isActive, number, plural, today } from './words.js';

const PRESETS = [['Last 7 days', 7], ['Last 30 days', 30], ['Everything', null]];

export function StartCard({ sync, state }) {
  const [from, setFrom] = useState('');
  const [chosenTo, setTo] = useState(null); // null: today, whichever day that is by then
  const to = chosenTo ?? today();
  const isRunning = isActive(state.job);
  const isFirst = state.loaded && !state.job && state.coverage && summarise(state.coverage).isEmpty;

  function preset(count) {
    setFrom(firstOf(count));
    setTo(null);
  }

  function submit(event) {
    event.preventDefault();
    if (state.busy) return;
    if (isRunning) sync.say('A sync is running already, and only one can at a time. Wait for it or cancel it.', true);
    // What is no day has no value, which would mean everything.
    else if (unfinished(event.target)) sync.say(`The day in ${unfinished(event.target)} is not finished, or there is no such day.`);
    else if (fault(from, to)) sync.say(fault(from, to));
    else sync.startSync(from, to);
  }

  return html`<section class="card" aria-label="Start">
    <${Summary} state=${state} isFirst=${isFirst} isRunning=${isRunning} />
    <form class="start" onSubmit=${submit} noValidate>
      <div class="presets" role="group" aria-label="Presets">
        ${PRESETS.map(([name, count]) => html`<button type="button" class="plain" aria-pressed=${to === today() && from === firstOf(count)} onClick=${() => preset(count)}>${name}</button>`)}
      </div>
      <label>From <input type="date" max=${today()} value=${from} onInput=${(event) => setFrom(event.target.value)} aria-describedby="range-hint" /></label>
      <label>To <input type="date" max=${today()} value=${to} onInput=${(event) => setTo(event.target.value === today() ? null : event.target.value)} aria-describedby="range-hint" /></label>
      <button type="submit" class="primary" aria-disabled=${Boolean(isRunning || state.busy)}>${state.busy === 'starting' ? 'Starting…' : 'Start sync'}</button>
      <p class="fine" id="range-hint">${hint(from, to)}</p>
    </form>
  </section>`;
}

const firstOf = (count) => (count ? addDays(today(), 1 - count) : '');

const unfinished = (form) => ['From', 'To'].find((_, nth) => form.querySelectorAll('input')[nth].validity.badInput);

function fault(from, to) {
  if (from > today()) return 'The day in From is in the future. Choose today or earlier.';
  if (from && to && from > to) return `The days are the wrong way round: From (${day(from)}) is after To (${day(to)}).`;
  return null;
}

function hint(from, to) {
  if (fault(from, to)) return fault(from, to);
  const last = !to || to >= today() ? 'now' : `the end of ${day(to)}`;
  return from ? `From the start of ${day(from)} to ${last}.` : `Everything from the very first call to ${last}.`;
}

function Summary({ state, isFirst, isRunning }) {
  useTick(15_000);
  if (!state.coverage) return html`<p class="lead">${state.away ? 'What is here already cannot be told at the moment.' : 'Looking up what is here…'}</p>`;
  if (isFirst) {
    return html`<h2>Bring your past calls here</h2>
      <p class="lead">This brings your agency’s past Ultravox calls into its own database. Choose the days, or take everything: a call that is here already is not brought twice.</p>`;
  }
  const summary = summarise(state.coverage);
  if (summary.isEmpty) return html`<p class="lead">No calls are here${state.coverage.checked_at ? ', and Ultravox counts none' : ''}.</p>`;
  return html`<p class="lead">${isRunning && summary.lacking ? soFar(summary) : sentence(summary)}</p>
    ${state.coverage.checked_at && html`<p class="fine">Compared with Ultravox’ own count ${ago(state.coverage.checked_at)}.</p>`}`;
}

function soFar({ first, last, stored, lacking }) {
  const all = lacking ? html` of <strong>${number(stored + lacking)}</strong>` : '';
  return html`<strong>${number(stored)}</strong>${all} calls ${first === last ? `of ${day(first)}` : `from ${days(first, last)}`} are here so far.`;
}

function sentence({ first, last, stored, lacking, missing, unverified }) {
  const range = first === last ? `of ${day(first)}` : `from ${days(first, last)}`;
  const are = stored === 1 ? 'is' : 'are';
  if (lacking) {
    const where = missing.length === 1 ? `on ${day(missing[0].date)}` : `on ${plural(missing.length, 'day')}`;
    return html`<strong>${number(stored)}</strong> ${stored === 1 ? 'call' : 'calls'} ${range} ${are} here. <strong>${number(lacking)} ${lacking === 1 ? 'is' : 'are'} missing</strong> ${where}.`;
  }
  if (unverified.length) return html`<strong>${calls(stored)}</strong> ${range} ${are} here. ${plural(unverified.length, 'day has', 'days have')} not been compared with Ultravox yet.`;
  return html`<strong>${calls(stored)}</strong> ${range} ${are} here, <strong>complete</strong>.`;
}
