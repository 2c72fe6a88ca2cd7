// What the page knows of the agency's syncs, and what it asks for and when. The service's state is the state: after each
// thing done here it is asked again, and what a view shows follows from its answers.
import { SignedOut, SignInAway } from './session.js';
import { activity, addDays, clock, isActive, today } from './words.js';

const POLL_ACTIVE_MS = 2_000;
const POLL_IDLE_MS = 15_000;
const POLL_REFUSED_MS = 60_000;
const BACKOFF_MS = [2_000, 3_000, 5_000, 8_000, 13_000, 20_000, 30_000];
// While calls arrive the days are asked for as often as they are quickly had.
const COVERAGE_ACTIVE_MS = 4_000;
const COVERAGE_IDLE_MS = 60_000;
const COVERAGE_SHARE = 15;
const RATE_OVER_MS = 20_000;
const RATE_AFTER_MS = 4_000;
const MOST_DAYS = 1_100;
const PAGE_OF_JOBS = 10;

export class Sync {
  state = {
    loaded: false, // whether a status has ever arrived
    job: null, // the active one, else the latest finished one
    updatedAt: null, // when the service last answered
    away: null, // why it does not answer
    refused: null, // why it has nothing for this user
    signedOut: null, // why nobody is signed in
    busy: null, // what was asked for: starting, cancelling, resuming
    alert: null, // what went wrong with it
    rate: null, // calls a second
    endsAt: null, // once it is stable
    coverage: null,
    coverageEnd: null, // the last day shown; null: today
    jobs: null,
    next: null,
    details: {},
  };

  #api;
  #listener;
  #timer = null;
  #polling = null;
  #failures = 0;
  #retryAfter = 0;
  #samples = [];
  #ends = [];
  #coverageAt = -Infinity;
  #coverageTook = 0;
  #isStopped = false;

  constructor(api, listener) {
    this.#api = api;
    this.#listener = listener;
  }

  start() {
    document.addEventListener('visibilitychange', this.#wake);
    addEventListener('online', this.#wake);
    this.poll();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.#wake);
    removeEventListener('online', this.#wake);
  }

  #wake = () => {
    if (!document.hidden) this.poll();
  };

  #set(change) {
    if (this.#isStopped) return;
    this.state = { ...this.state, ...change };
    this.#listener(this.state);
  }

  // Asks for the status now; a poll that is under way is followed by another one.
  async poll() {
    clearTimeout(this.#timer);
    if (this.#polling) await this.#polling;
    this.#polling ??= this.#ask().finally(() => { this.#polling = null; });
    await this.#polling;
  }

  async #ask() {
    try {
      const { data } = await this.#api.get('get-sync-status');
      this.#failures = 0;
      this.#retryAfter = 0;
      await this.#arrived(data.job ?? data.recent_job);
    } catch (error) {
      this.#missed(error);
    }
    this.#schedule();
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.#isStopped || document.hidden || this.state.signedOut) return;
    let wait = isActive(this.state.job) ? POLL_ACTIVE_MS : POLL_IDLE_MS;
    if (this.state.refused) wait = POLL_REFUSED_MS;
    if (this.#failures) {
      wait = Math.max(BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length) - 1], this.#retryAfter * 1000);
    }
    this.#timer = setTimeout(() => this.poll(), wait);
  }

  async #arrived(job) {
    const before = this.state;
    const isNews = !before.loaded || before.away || stage(before.job) !== stage(job);
    const hasEnded = isActive(before.job) && !isActive(job);
    this.#measure(job);
    this.#set({
      job,
      loaded: true,
      updatedAt: Date.now(),
      away: null,
      refused: null,
      alert: stillTrue(before.alert, { hasEnded, isBack: Boolean(before.away) }),
    });
    if (isNews) await this.#loadJobs();
    if (isNews && this.state.details[job?.id]) await this.loadDetails(job);
    const interval = isActive(job) ? Math.max(COVERAGE_ACTIVE_MS, COVERAGE_SHARE * this.#coverageTook) : COVERAGE_IDLE_MS;
    if (isNews || hasEnded || performance.now() - this.#coverageAt >= interval) await this.#loadCoverage();
  }

  #missed(error) {
    if (error instanceof SignedOut) {
      this.#set({ signedOut: error.message });
    } else if (error instanceof SignInAway || error.isAway) {
      this.#failures += 1;
      this.#retryAfter = error.retryAfter ?? 0;
      this.#set({ away: { text: error.message, requestId: error.requestId ?? null } });
    } else if (error.status) {
      this.#set({ refused: { text: error.message, code: error.code }, updatedAt: Date.now(), away: null });
    } else {
      throw error;
    }
  }

  // The rate over the last seconds, and the end once three answers in a row agree about it.
  #measure(job) {
    const run = isActive(job) ? `${job.id} ${job.attempt}` : null;
    this.#samples = this.#samples.filter((sample) => sample.run === run && performance.now() - sample.at < RATE_OVER_MS);
    if (!run) this.#ends = [];
    if (job?.status !== 'in_progress') {
      this.#set({ rate: null, endsAt: null });
      return;
    }
    this.#samples.push({ run, at: performance.now(), count: job.processed_calls });
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    const rate = last.at - first.at < RATE_AFTER_MS ? null : ((last.count - first.count) / (last.at - first.at)) * 1000;
    this.#ends = job.eta && rate ? [...this.#ends, Date.parse(job.eta)].slice(-3) : [];
    const [spread, left] = [Math.max(...this.#ends) - Math.min(...this.#ends), this.#ends.at(-1) - clock.now()];
    const isStable = this.#ends.length === 3 && spread <= Math.max(5_000, 0.25 * left);
    this.#set({ rate, endsAt: isStable ? this.#ends.at(-1) : null });
  }

  // Of the start form and of a day: both days belong to the range.
  async startSync(from, to) {
    const body = {};
    if (from) body.date_from = from;
    // The service's range ends before its last instant. Of today there are the calls up to now.
    if (to && to < today()) body.date_to = addDays(to, 1);
    return this.#do('starting', () => this.#api.post('start-historical-sync', body));
  }

  async cancel(job) {
    return this.#do('cancelling', () => this.#api.post('cancel-historical-sync', { job_id: job.id }));
  }

  async resume(job) {
    return this.#do('resuming', () => this.#api.post('resume-historical-sync', { job_id: job.id }));
  }

  async #do(busy, act) {
    if (this.state.busy) return;
    this.#set({ busy, alert: null });
    try {
      await act();
    } catch (error) {
      this.#refuse(error, busy);
    }
    await this.poll();
    this.#set({ busy: null });
  }

  #refuse(error, busy) {
    if (error instanceof SignedOut) {
      this.#set({ signedOut: error.message });
    } else if (error.code === 'sync_already_active') {
      const text = `A sync is running already, and only one can at a time: here it is. Yours was not ${busy === 'resuming' ? 'resumed' : 'started'}.`;
      this.#set({ job: error.job ?? this.state.job, loaded: true, alert: { text, isOfRun: true } });
    } else if (error.code === 'job_not_cancellable') {
      this.#set({ alert: { text: 'There was nothing left to cancel: the sync had ended already.' } });
    } else if (error.code === 'job_not_resumable') {
      this.#set({ alert: { text: 'This sync cannot be resumed any more. Start a new one.' } });
    } else {
      const what = { starting: 'The sync was not started.', cancelling: 'The sync was not cancelled.', resuming: 'The sync was not resumed.' }[busy];
      this.#set({ alert: { text: `${what} ${error.message}`, requestId: error.requestId, whenBack: error.isAway && `${what} Try it again.` } });
    }
  }

  say(text, isOfRun = false) {
    this.#set({ alert: { text, isOfRun } });
  }

  dismiss() {
    this.#set({ alert: null });
  }

  async #loadJobs() {
    const { data, date } = await this.#api.get('list-sync-jobs', { limit: PAGE_OF_JOBS });
    clock.set(date);
    // What "Show more" has brought stays where the first page still meets it.
    const known = this.state.jobs ?? [];
    const meets = known.findIndex((job) => job.id === data.jobs.at(-1)?.id);
    const older = meets >= 0 ? known.slice(meets + 1) : [];
    this.#set({ jobs: [...data.jobs, ...older], next: older.length ? this.state.next : data.next });
  }

  async loadMoreJobs() {
    await this.#quietly(async () => {
      const { data } = await this.#api.get('list-sync-jobs', { limit: PAGE_OF_JOBS, before: this.state.next });
      this.#set({ jobs: [...this.state.jobs, ...data.jobs], next: data.next });
    });
  }

  async loadDetails(job) {
    await this.#quietly(async () => {
      const { data, requestId } = await this.#api.get('get-sync-status', { job_id: job.id });
      this.#set({ details: { ...this.state.details, [job.id]: { job: data.job, requestId } } });
    });
  }

  async showDaysUntil(day) {
    this.#set({ coverageEnd: day });
    await this.#quietly(() => this.#loadCoverage());
  }

  async #loadCoverage() {
    const end = this.state.coverageEnd;
    const began = performance.now();
    const { data } = await this.#api.get(
      'get-sync-coverage',
      end ? { date_from: addDays(end, 1 - MOST_DAYS), date_to: end } : {},
    );
    this.#coverageAt = performance.now();
    this.#coverageTook = this.#coverageAt - began;
    if (end === this.state.coverageEnd) this.#set({ coverage: data });
  }

  async #quietly(load) {
    try {
      await load();
    } catch (error) {
      if (error instanceof SignedOut) this.#set({ signedOut: error.message });
      else this.#set({ alert: { text: error.message, requestId: error.requestId, isPassing: true } });
    }
  }
}

// What is left of what went wrong, now that the service has answered.
function stillTrue(alert, { hasEnded, isBack }) {
  if (alert?.isPassing || (alert?.isOfRun && hasEnded)) return null;
  return isBack && alert?.whenBack ? { text: alert.whenBack } : alert;
}

// What of a job makes news.
function stage(job) {
  return job && [job.id, job.status, activity(job) === 'importing', job.verification].join(' ');
}

// What is there of the days, in a sentence and in counts.
export function summarise({ days, totals }) {
  const stored = days.filter((day) => day.stored > 0);
  if (stored.length === 0 && totals.source === 0) return { isEmpty: true };
  const counted = days.filter((day) => day.stored > 0 || day.source > 0);
  const [first, last] = [counted[0].date, counted.at(-1).date];
  const within = days.filter((day) => day.date >= first && day.date <= last);
  const missing = within.filter((day) => day.state === 'missing');
  const unverified = within.filter((day) => day.state === 'unverified');
  return { isEmpty: false, first, last, stored: totals.stored, source: totals.source, lacking: totals.missing, missing, unverified };
}

export { MOST_DAYS };
