// The active job with its progress, or what became of the last one.
import { html, useKeptFocus, useRef, useTick } from './ui.js';
import {
  ACTIVITIES, activity, ago, calls, clock, duration, isActive, number, plural, rangeOf, rate, time, timeLeft,
} from './words.js';

// A processor claims a job within a second, and tells of itself every few.
const LONG_PENDING_MS = 15_000;
const LONG_SILENT_MS = 45_000;

const TITLES = {
  completed: { verified: 'Completed and verified', gaps: 'Completed, with gaps', unverified: 'Completed, not verified' },
  failed: 'The sync failed',
  cancelled: 'The sync was cancelled',
};
const MARKS = { verified: '✓', gaps: '!', unverified: '?', failed: '✕', cancelled: '–' };

export function JobCard({ sync, state }) {
  const { job } = state;
  const card = useRef();
  const heading = useRef();
  useKeptFocus(heading, card, `${job.id} ${job.status}`);
  return html`<section class=${`card job ${job.status} ${job.verification ?? ''}`} ref=${card} aria-label="Sync">
    ${isActive(job) ? html`<${Active} sync=${sync} state=${state} heading=${heading} />` : html`<${Ended} sync=${sync} state=${state} heading=${heading} />`}
  </section>`;
}

function Active({ sync, state, heading }) {
  const { job } = state;
  useTick(1_000);
  const doing = activity(job);
  return html`
    <h2 tabindex="-1" ref=${heading}><span class="dot" aria-hidden="true"></span> ${state.busy === 'cancelling' ? 'Cancelling…' : ACTIVITIES[doing]}</h2>
    <p class="sub">${rangeOf(job)}</p>
    <${Progress} job=${job} isWaiting=${job.status === 'pending'} />
    <p class="counts">${counts(job)}${job.progress_percent === null ? '' : html` <span class="percent">${job.progress_percent} %</span>`}</p>
    <p class="fine">${[state.rate !== null && rate(state.rate), state.endsAt && doing === 'importing' && timeLeft(state.endsAt - clock.now()), job.started_at && job.status === 'in_progress' && `running for ${duration(clock.now() - Date.parse(job.started_at))}`].filter(Boolean).join(' · ')}</p>
    ${waitsFor(job, doing)}
    <div class="actions">
      <button class="plain" onClick=${() => sync.cancel(job)} aria-disabled=${Boolean(state.busy)}>${state.busy === 'cancelling' ? 'Cancelling…' : 'Cancel'}</button>
    </div>`;
}

function Progress({ job, isWaiting }) {
  const percent = job.progress_percent;
  return html`<div class=${`bar ${percent === null ? 'unknown' : ''} ${isWaiting ? 'waiting' : ''}`} role="progressbar" aria-label="Sync progress"
    aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent ?? undefined} aria-valuetext=${percent === null ? 'not known yet' : `${percent} percent, ${counts(job)}`}>
    <svg width="100%" height="10" aria-hidden="true"><rect class="done" width=${`${percent ?? 0}%`} height="10" rx="5" /></svg>
  </div>`;
}

function counts(job) {
  const { processed_calls: done, total_calls: total } = job;
  if (total === null) return done ? `${calls(done)} so far` : 'No calls yet';
  if (done > total) return `${calls(done)}, ${number(done - total)} more than expected`;
  return `${number(done)} of ${calls(total)}`;
}

function waitsFor(job, doing) {
  if (doing === 'waiting') {
    const left = Date.parse(job.next_attempt_at) - clock.now();
    return html`<div class="notice"><p>${sentence(job.error_message ?? 'The service waits before it goes on')}</p>
      <p>Next try at ${time(job.next_attempt_at, { seconds: left < 600_000 })}, in ${duration(left)}. What has arrived stays.</p></div>`;
  }
  if (doing === 'retrying') return html`<div class="notice"><p>${sentence(job.error_message)}</p><p>The next try is due now.</p></div>`;
  const since = clock.now() - Date.parse(job.last_activity_at ?? job.created_at);
  // When a job was resumed nobody tells.
  if (job.status === 'pending' && job.attempt === 0 && since > LONG_PENDING_MS) {
    return html`<div class="notice"><p>It has waited for ${duration(since)}: what imports calls is busy, or does not run. It starts by itself; you can leave this page. If it does not start for long, tell support.</p></div>`;
  }
  if (job.status === 'in_progress' && since > LONG_SILENT_MS) {
    return html`<div class="notice"><p>Nothing has been heard of this sync for ${duration(since)}. If it has broken off, it is taken up again by itself and goes on from here.</p></div>`;
  }
  return null;
}

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

function Ended({ sync, state, heading }) {
  const { job } = state;
  useTick(15_000);
  const title = job.status === 'completed' ? TITLES.completed[job.verification] ?? 'Completed' : TITLES[job.status];
  return html`
    <h2 tabindex="-1" ref=${heading}><span class="mark" aria-hidden="true">${MARKS[job.verification] ?? MARKS[job.status]}</span> ${title}</h2>
    <p class="sub">${rangeOf(job)} · ended ${job.completed_at ? ago(job.completed_at) : ''}${job.started_at && job.completed_at ? `, took ${duration(Date.parse(job.completed_at) - Date.parse(job.started_at))}` : ''}</p>
    ${job.status === 'completed' ? html`<${Completed} job=${job} sync=${sync} state=${state} />` : html`<${Stopped} job=${job} sync=${sync} state=${state} />`}`;
}

export function results(job) {
  const said = [];
  if (job.imported_calls) said.push(`${number(job.imported_calls)} new or changed`);
  if (job.skipped_calls) said.push(`${number(job.skipped_calls)} here already`);
  if (job.failed_calls) said.push(`${number(job.failed_calls)} could not be stored`);
  return said.join(', ');
}

function allOf(job) {
  const { processed_calls: all, imported_calls: imported, skipped_calls: skipped } = job;
  if (!all) return job.verification === 'verified' ? 'There were no calls in these days, says Ultravox.' : 'There were no calls in these days.';
  const verb = all === 1 ? 'was' : 'were';
  if (all === imported) return `${all === 1 ? 'One call' : `All ${calls(all)}`} ${verb} new or changed.`;
  if (all === skipped) return `${all === 1 ? 'One call' : `All ${calls(all)}`} ${verb} here already.`;
  return `${calls(all)}: ${results(job)}.`;
}

function Completed({ job, sync, state }) {
  const missing = state.coverage?.days.filter((day) => day.state === 'missing') ?? [];
  return html`
    <p>${allOf(job)}
      ${job.verification === 'verified' && job.processed_calls ? ' On each day as many are here as Ultravox counts.' : ''}
      ${job.verification === 'unverified' ? ' Ultravox gave no count to compare with, so nobody can say whether all are here.' : ''}</p>
    ${job.verification === 'gaps' && html`<p>Ultravox counts <strong>${plural(job.missing_calls, 'call')} more</strong> than it gave or than could be stored. A new sync of the days concerned tries again; calls that were deleted there can be counted still.</p>`}
    ${job.verification === 'gaps' && missing.length > 0 && html`<div class="actions">
      <button class="plain" onClick=${() => sync.startSync(missing[0].date, missing.at(-1).date)} aria-disabled=${Boolean(state.busy)}>Sync ${missing.length === 1 ? 'the day' : 'the days'} with missing calls again</button></div>`}`;
}

function Stopped({ job, sync, state }) {
  const isFailed = job.status === 'failed';
  return html`
    ${isFailed && html`<div class="notice error"><p><strong>${sentence(job.error_message ?? 'The service gave no reason')}</strong></p></div>`}
    <p>${job.processed_calls ? `Stopped after ${counts(job)}` : 'Stopped before the first call'}. What has come stays here; resume goes on from there.</p>
    <div class="actions">
      <button class="primary" onClick=${() => sync.resume(job)} aria-disabled=${Boolean(state.busy)}>${state.busy === 'resuming' ? 'Resuming…' : 'Resume'}</button>
    </div>`;
}
