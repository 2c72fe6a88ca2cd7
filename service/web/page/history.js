// The agency's syncs, newest first. A row opens to what there is to know of it.
import { results } from './job.js';
import { html, useState } from './ui.js';
import { ACTIVITIES, activity, calls, clock, duration, isActive, number, plural, rangeOf, STATES, time, verification, when } from './words.js';

const MARKS = { pending: '…', in_progress: '▸', completed: '✓', failed: '✕', cancelled: '–' };

export function History({ sync, state, user }) {
  const [open, setOpen] = useState(null);
  if (!state.jobs) return null;
  // The running one as it was last heard of, which is later than the list.
  const jobs = state.jobs.map((job) => (job.id === state.job?.id ? state.job : job));

  function toggle(job) {
    setOpen(open === job.id ? null : job.id);
    if (open !== job.id) sync.loadDetails(job);
  }

  return html`<section class="card">
    <h2>History</h2>
    ${jobs.length === 0 ? html`<p class="fine">No sync has been started yet.</p>` : html`
      <table class="history" role="table">
        <caption class="unseen">History</caption>
        <thead role="rowgroup"><tr role="row">${['Range', 'State', 'Calls', 'Verification', 'When', 'Took', 'Who'].map((name) => html`<th scope="col" role="columnheader">${name}</th>`)}</tr></thead>
        <tbody role="rowgroup">${jobs.map((job) => html`
          <${Row} key=${job.id} job=${job} user=${user} isOpen=${open === job.id} toggle=${() => toggle(job)} />
          ${open === job.id && html`<${Details} key=${`${job.id} open`} job=${job} found=${state.details[job.id]} user=${user} />`}`)}</tbody>
      </table>`}
    ${state.next && html`<div class="actions"><button class="plain" onClick=${() => sync.loadMoreJobs()}>Show more</button></div>`}
  </section>`;
}

function Row({ job, user, isOpen, toggle }) {
  const verified = verification(job);
  return html`<tr role="row" class=${isOpen ? 'open' : ''} data-job=${job.id}>
    <td role="cell" class="range"><button type="button" class="link" aria-expanded=${isOpen} onClick=${toggle}>${rangeOf(job)}</button></td>
    <td role="cell"><span class=${`badge ${job.status}`}><span aria-hidden="true">${MARKS[job.status]}</span> ${STATES[job.status]}</span></td>
    <td role="cell" class="whole" data-after=" calls" title=${results(job)}>${countsOf(job)}</td>
    <td role="cell" class=${verified ? 'whole' : 'none'}>${verified ? html`<span class=${`verification ${job.verification}`}>${verified}</span>` : '–'}</td>
    <td role="cell" class="whole">${when(job.created_at)}</td>
    <td role="cell" class=${job.started_at ? 'whole' : 'none'} data-before=${isActive(job) ? null : 'took '}>${took(job)}</td>
    <td role="cell" data-before="by ">${who(job, user)}</td>
  </tr>`;
}

function countsOf(job) {
  if (job.status === 'completed' || job.total_calls === null) return number(job.processed_calls);
  return `${number(job.processed_calls)} of ${number(job.total_calls)}`;
}

function took(job) {
  if (!job.started_at) return '–';
  const end = job.completed_at ? Date.parse(job.completed_at) : clock.now();
  return isActive(job) ? 'running' : duration(end - Date.parse(job.started_at));
}

function who(job, user) {
  if (!job.requested_by) return 'Operator';
  return job.requested_by === user?.id ? 'You' : html`<span title=${job.requested_by}>Colleague ${job.requested_by.slice(0, 4)}</span>`;
}

function Details({ job, found, user }) {
  const shown = found?.job ?? job;
  const entries = [
    ['State', isActive(job) ? ACTIVITIES[activity(job)] : STATES[job.status]],
    ['Calls', `${results(job) || (isActive(job) ? 'none yet' : 'none')}${job.processed_calls && !job.failed_calls ? '; every one could be stored' : ''}`],
    ['Exactly', `${job.date_from ? `from ${when(job.date_from)}` : 'from the first call'} until before ${when(job.date_to)} UTC`],
    ['Asked for', `${time(job.created_at, { seconds: true })}, by ${job.requested_by ? `${job.requested_by === user?.id ? 'you' : 'a colleague'} (${job.requested_by})` : 'an operator, on the command line'}`],
    ['Started', job.started_at ? time(job.started_at, { seconds: true }) : 'not yet'],
    ['Ended', job.completed_at ? time(job.completed_at, { seconds: true }) : 'not yet'],
    ['Attempts', `${number(job.attempt)}${job.attempt > 1 ? ' (taken up again after a break, a resume or a retry)' : ''}`],
    job.error_message && ['Message', job.error_message],
    ['Job', html`<code>${job.id}</code>`],
    ['Request id', found ? html`<code>${found.requestId}</code>` : '…'],
  ].filter(Boolean);
  return html`<tr role="row" class="details"><td role="cell" colspan="7"><div class="well">
    <dl>${entries.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${shown.failures?.length > 0 && html`<${Failures} failures=${shown.failures} count=${job.failed_calls} />`}
  </div></td></tr>`;
}

function Failures({ failures, count }) {
  return html`<h3>${plural(Math.max(count, failures.length), 'call')} could not be stored</h3>
    <ul class="failures">${failures.map((failure) => html`<li key=${failure.call_id}><code>${failure.call_id}</code> ${failure.reason}</li>`)}</ul>
    <p class="fine">A new sync of their days tries them again. If they still cannot be stored, tell support.</p>
    ${count > failures.length && html`<p class="fine">These are the first ${calls(failures.length)}.</p>`}`;
}
