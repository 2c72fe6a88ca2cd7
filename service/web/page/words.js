// Numbers, days, times and states as people say them. Days and times are those of UTC, as they are in the service.
const UTC = { timeZone: 'UTC' };
const DAY_MS = 86_400_000;
const numbers = new Intl.NumberFormat('en');
const format = (options) => new Intl.DateTimeFormat('en-GB', { ...UTC, ...options });
const formats = {
  day: format({ day: 'numeric', month: 'long' }),
  dayOfYear: format({ day: 'numeric', month: 'long', year: 'numeric' }),
  shortDay: format({ day: 'numeric', month: 'short' }),
  shortDayOfYear: format({ day: 'numeric', month: 'short', year: 'numeric' }),
  weekday: format({ weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }),
  month: new Intl.DateTimeFormat('en-US', { ...UTC, month: 'short' }),
  monthOfYear: new Intl.DateTimeFormat('en-US', { ...UTC, month: 'short', year: 'numeric' }),
  time: format({ hour: '2-digit', minute: '2-digit' }),
  second: format({ hour: '2-digit', minute: '2-digit', second: '2-digit' }),
};

// The service's clock: a browser's own can be wrong by minutes.
export const clock = {
  offset: 0,
  now: () => Date.now() + clock.offset,
  set(date) {
    const offset = Date.parse(date) - Date.now();
    if (Number.isFinite(offset)) clock.offset = Math.abs(offset) > 5_000 ? offset : 0;
  },
};

export const today = () => isoDay(clock.now());
export const isoDay = (instant) => new Date(instant).toISOString().slice(0, 10);
export const addDays = (day, count) => isoDay(Date.parse(day) + count * DAY_MS);

export const number = (value) => numbers.format(value);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
export const calls = (count) => plural(count, 'call');

const ofThisYear = (instant) => new Date(instant).getUTCFullYear() === new Date(clock.now()).getUTCFullYear();
export const day = (date) => (ofThisYear(date) ? formats.day : formats.dayOfYear).format(new Date(date));
export const weekday = (date) => formats.weekday.format(new Date(date));
export const shortDay = (date) => formats.shortDay.format(new Date(date));
export const month = (date) => (date.slice(5, 7) === '01' ? formats.monthOfYear : formats.month).format(new Date(date));

export function days(first, last) {
  if (first === last) return day(first);
  const isOfOneYear = first.slice(0, 4) === last.slice(0, 4);
  const isOfOneMonth = first.slice(0, 7) === last.slice(0, 7);
  const from = isOfOneMonth ? String(new Date(first).getUTCDate()) : isOfOneYear ? formats.day.format(new Date(first)) : day(first);
  return `${from} to ${day(last)}`;
}

export function time(instant, { seconds = false } = {}) {
  const date = new Date(instant);
  const hour = (seconds ? formats.second : formats.time).format(date);
  return isoDay(date) === today() ? `${hour} UTC` : `${when(instant)} UTC`;
}

export function when(instant) {
  const date = new Date(instant);
  const of = isoDay(date) === today() ? 'today' : (ofThisYear(date) ? formats.shortDay : formats.shortDayOfYear).format(date);
  return `${of}, ${formats.time.format(date)}`;
}

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.round((minutes % 1440) / 60)} h`;
}

export function ago(instant, now = clock.now()) {
  const seconds = Math.max(0, (now - new Date(instant)) / 1000);
  if (seconds < 3) return 'just now';
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return `on ${day(instant)}`;
}

// Not to the second: it is an estimate.
export function timeLeft(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 5) return 'a few seconds left';
  if (seconds < 50) return `about ${Math.ceil(seconds / 5) * 5} seconds left`;
  if (seconds < 90) return 'about a minute left';
  if (seconds < 3000) return `about ${Math.round(seconds / 60)} minutes left`;
  if (seconds < 5400) return 'about an hour left';
  if (seconds < 86_400) return `about ${Math.round(seconds / 3600)} hours left`;
  return `about ${plural(Math.round(seconds / 86_400), 'day')} left`;
}

export function rate(perSecond) {
  if (perSecond >= 10) return `${number(Math.round(perSecond))} calls a second`;
  if (perSecond * 60 >= 1) return `${calls(Math.round(perSecond * 60))} a minute`;
  return null;
}

// A range of the service ends before its last instant; people count the last day in.
export function lastDayOf(job) {
  return isoDay(Date.parse(job.date_to) - 1);
}

export function rangeOf(job) {
  const last = lastDayOf(job);
  return job.date_from ? days(isoDay(job.date_from), last) : `All calls up to ${day(last)}`;
}

export const isActive = (job) => job?.status === 'pending' || job?.status === 'in_progress';

// What a job does right now: changes with its state, and not with its counts.
export function activity(job) {
  if (job.status === 'pending') {
    if (job.next_attempt_at && Date.parse(job.next_attempt_at) > clock.now()) return 'waiting';
    return job.error_message ? 'retrying' : job.attempt > 0 ? 'continuing' : 'pending';
  }
  if (job.status !== 'in_progress') return job.status;
  if (job.total_calls === null && job.processed_calls === 0) return 'counting';
  return job.total_calls !== null && job.processed_calls >= job.total_calls ? 'verifying' : 'importing';
}

export const ACTIVITIES = {
  pending: 'Waiting to be taken up',
  waiting: 'Waiting before the next try',
  retrying: 'About to try again',
  continuing: 'About to go on',
  counting: 'Counting the calls at Ultravox',
  importing: 'Importing calls',
  verifying: 'Comparing with Ultravox’ count',
  completed: 'Completed',
  failed: 'Failed',
  cancelled: 'Cancelled',
};

export const STATES = {
  pending: 'Waiting',
  in_progress: 'Running',
  completed: 'Completed',
  failed: 'Failed',
  cancelled: 'Cancelled',
};

export function verification(job) {
  if (job.verification === 'verified') return 'Verified';
  if (job.verification === 'gaps') return `${calls(job.missing_calls ?? 0)} missing`;
  return job.verification === 'unverified' ? 'Not verified' : null;
}

// One sentence about the whole: what the status region says.
export function statusOf({ job, cancelling, loaded }) {
  if (!loaded) return 'Looking up what is here…';
  if (!job) return 'Nothing has been imported yet.';
  if (cancelling) return 'Cancelling…';
  const done = {
    verified: 'The last sync is completed and verified.',
    gaps: 'The last sync is completed, and some calls are missing.',
    unverified: 'The last sync is completed; Ultravox gave no count to verify it by.',
  };
  if (job.status === 'completed') return done[job.verification] ?? 'The last sync is completed.';
  if (job.status === 'failed') return 'The last sync has failed.';
  if (job.status === 'cancelled') return 'The last sync was cancelled.';
  const doing = activity(job);
  if (doing === 'waiting') return `Waiting; the next try is at ${time(job.next_attempt_at)}.`;
  return `${ACTIVITIES[doing]}.`;
}
