// The calls of each day as bars, and as a table for those who do not see them.
import { MOST_DAYS } from './sync.js';
import { html, useLayoutEffect, useRef, useState } from './ui.js';
import { addDays, calls, day as dayInWords, days as daysInWords, isActive, lastDayOf, month, number, plural, shortDay, weekday } from './words.js';

const HEIGHT = 150;
const TOP = 16; // for the mark above a bar
const AXIS = 24;
const NARROWEST = 5.5;
const WIDEST = 64;
// Beside the service's states: what is missing of a day that is being imported is still to come.
const LOOKS = { complete: 'complete', coming: 'being imported', missing: 'calls are missing', unverified: 'not compared with Ultravox' };
const NAMED_DAYS = 5;

export function DayChart({ sync, state }) {
  const [selected, select] = useState(null);
  const [isTable, showTable] = useState(false);
  const figure = useRef();
  const { coverage } = state;
  if (!coverage) return null;
  const days = coverage.days.map((day) => ({ ...day, look: isComing(day, state.job) ? 'coming' : day.state }));
  const isEmpty = days.every((day) => day.stored === 0 && !day.source);
  if (isEmpty && !state.coverageEnd) {
    return html`<figure class="card" aria-labelledby="days"><h2 id="days">Calls per day</h2>
      <p class="fine">A bar for each day stands here as soon as there are calls.</p></figure>`;
  }
  function close() {
    figure.current.querySelector(`[data-date="${selected}"]`)?.focus({ preventScroll: true });
    select(null);
  }

  const chosen = days.find((day) => day.date === selected);
  const [first, last] = [days[0].date, days.at(-1).date];
  return html`<figure class="card" aria-labelledby="days" ref=${figure}>
    <figcaption>
      <h2 id="days">Calls per day</h2>
      <span class="fine">${daysInWords(first, last)}</span>
      <button type="button" class="plain small" aria-expanded=${isTable} onClick=${() => showTable(!isTable)}>${isTable ? 'Hide the table' : 'As a table'}</button>
    </figcaption>
    <${Bars} days=${days} selected=${selected} select=${select} />
    <${Legend} days=${days} />
    ${chosen && html`<${Day} day=${chosen} sync=${sync} state=${state} close=${close} />`}
    <${MissingDays} days=${days} select=${select} selected=${selected} />
    <${Pages} sync=${sync} state=${state} />
    <${Table} days=${days} isShown=${isTable} />
  </figure>`;
}

function isComing(day, job) {
  if (day.state !== 'missing' || !isActive(job)) return false;
  return day.date <= lastDayOf(job) && (!job.date_from || day.date >= job.date_from.slice(0, 10));
}

function Bars({ days, selected, select }) {
  const scroller = useRef();
  const [width, setWidth] = useState(0);
  const [focused, setFocused] = useState(null);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
    observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);
  const step = Math.min(WIDEST, Math.max(NARROWEST, width / days.length));
  const total = Math.max(step * days.length, width, 1);
  useLayoutEffect(() => {
    if (width) scroller.current.scrollLeft = total; // the latest days first
  }, [width, days.length]);

  const most = Math.max(1, ...days.map((day) => Math.max(day.stored, day.source ?? 0)));
  const top = niceAbove(most);
  const current = days.some((day) => day.date === (focused ?? selected)) ? focused ?? selected : days.at(-1).date;

  function move(event) {
    const at = days.findIndex((day) => day.date === current);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 30, PageDown: at + 30, Home: 0, End: days.length - 1 }[event.key];
    if (event.key === 'Enter' || event.key === ' ') select(current);
    else if (event.key === 'Escape') select(null);
    else if (to === undefined) return;
    else {
      const { date } = days[Math.min(Math.max(to, 0), days.length - 1)];
      setFocused(date);
      scroller.current.querySelector(`[data-date="${date}"]`).focus();
    }
    event.preventDefault();
  }

  return html`<div class="chart">
    <div class="scale" aria-hidden="true"><span>${number(top)}</span><span>${top > 1 ? number(top / 2) : ''}</span><span>0</span></div>
    <div class="bars" ref=${scroller}>
      <svg width=${total} height=${TOP + HEIGHT + AXIS} role="listbox" aria-label="Days" aria-orientation="horizontal" onKeyDown=${move}>
        <defs aria-hidden="true">
          ${['missing', 'coming'].map((look) => html`<pattern id=${`${look}-stripes`} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class=${`stripe ${look}`} width="2" height="5" /></pattern>`)}
        </defs>
        <g class="grid" aria-hidden="true">${[0, 0.5, 1].map((share) => html`<line x1="0" x2=${total} y1=${lineAt(share)} y2=${lineAt(share)} />`)}</g>
        ${days.map((day, index) => html`<${Bar} key=${day.date} day=${day} x=${index * step} step=${step} top=${top}
          isSelected=${day.date === selected} isCurrent=${day.date === current}
          onClick=${() => { setFocused(day.date); select(day.date); }} onFocus=${() => setFocused(day.date)} />`)}
        <g class="axis" aria-hidden="true">${ticks(days, step).map(({ index, text }) => html`
          <line x1=${index * step + 0.5} x2=${index * step + 0.5} y1=${TOP + HEIGHT} y2=${TOP + HEIGHT + 6} />
          <text x=${index * step + 3} y=${TOP + HEIGHT + 17}>${text}</text>`)}</g>
      </svg>
    </div>
    <p class="fine hint">${total > width + 1 && width > 0 ? 'Scroll sideways to see all days. ' : ''}Choose a day to see its counts.</p>
  </div>`;
}

const lineAt = (share) => Math.round(TOP + HEIGHT * (1 - share)) + 0.5;

function Bar({ day, x, step, top, isSelected, isCurrent, onClick, onFocus }) {
  const gap = step > 12 ? 3 : step > 5 ? 1.5 : 0.5;
  const [left, width] = [x + gap / 2, Math.max(1, step - gap)];
  const tall = (count) => (count ? Math.max(2, (count / top) * HEIGHT) : 0);
  const [stored, source] = [tall(day.stored), tall(Math.max(day.source ?? 0, day.stored))];
  const floor = TOP + HEIGHT;
  return html`<g class=${`day ${day.look}`} role="option" aria-selected=${isSelected} tabindex=${isCurrent ? 0 : -1}
    data-date=${day.date} data-stored=${day.stored} data-source=${day.source ?? ''} data-state=${day.state} onClick=${onClick} onFocus=${onFocus}>
    <title>${dayLabel(day)}</title>
    <rect class="hit" x=${x} y="0" width=${step} height=${floor + AXIS} />
    ${['missing', 'coming'].includes(day.look) && html`<rect class="lacking" x=${left + 0.5} y=${floor - source} width=${Math.max(1, width - 1)} height=${Math.max(2, source - stored)} />`}
    ${stored > 0 && html`<rect class="stored" x=${day.state === 'unverified' ? left + 0.75 : left} y=${floor - stored}
      width=${day.state === 'unverified' ? Math.max(1, width - 1.5) : width} height=${stored} />`}
    ${day.look === 'missing' && html`<path class="mark" d=${`M${x + step / 2 - 3.5} ${floor - source - 10} h7 l-3.5 7 z`} />`}
  </g>`;
}

function dayLabel(day) {
  const counted = day.source !== null && day.stored < day.source ? `${number(day.stored)} of ${calls(day.source)}` : calls(day.stored);
  return `${weekday(day.date)}: ${counted}, ${LOOKS[day.look]}`;
}

// 1, 2 or 5 times a power of ten, and their halves where the half is whole.
function niceAbove(count) {
  const power = 10 ** Math.floor(Math.log10(count));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((nice) => nice >= count && Number.isInteger(nice) && (nice % 2 === 0 || nice === 1)) ?? count;
}

function ticks(days, step) {
  const isWide = step * 7 < 60 ? false : days.length <= 45;
  const found = [];
  days.forEach((day, index) => {
    const isMonth = day.date.endsWith('-01');
    const isWeek = new Date(day.date).getUTCDay() === 1;
    if (isWide ? isWeek || index === 0 : isMonth || index === 0) found.push({ index, text: isWide ? shortDay(day.date) : month(day.date) });
  });
  // What would run into the next one, or out of the chart, is left out.
  const room = (tick, next) => ((next?.index ?? days.length) - tick.index) * step;
  return found.filter((tick, index) => room(tick, found[index + 1]) > 34);
}

function Legend({ days }) {
  const count = (look) => days.filter((day) => day.look === look).length;
  const [complete, coming, missing, unverified] = Object.keys(LOOKS).map(count);
  return html`<ul class="legend">
    ${complete > 0 && html`<li><${Key} state="complete" /> ${plural(complete, 'day')} complete</li>`}
    ${coming > 0 && html`<li><${Key} state="coming" /> ${plural(coming, 'day')} being imported</li>`}
    ${missing > 0 && html`<li><${Key} state="missing" /> ${plural(missing, 'day')} with missing calls</li>`}
    ${unverified > 0 && html`<li><${Key} state="unverified" /> ${plural(unverified, 'day')} not compared with Ultravox</li>`}
  </ul>`;
}

function Key({ state }) {
  return html`<svg width="14" height="14" aria-hidden="true" class=${`day ${state}`}>
    ${['missing', 'coming'].includes(state) && html`<rect class="lacking" x="3.5" y="0.5" width="7" height="7" />`}
    <rect class="stored" x=${state === 'unverified' ? 3.75 : 3} y=${{ missing: 7, coming: 7, unverified: 1.75, complete: 1 }[state]} width=${state === 'unverified' ? 6.5 : 8} height=${{ missing: 7, coming: 7, unverified: 11.5, complete: 13 }[state]} />
  </svg>`;
}

function Day({ day, sync, state, close }) {
  const lacking = (day.source ?? 0) - day.stored;
  const said = {
    complete: day.stored ? `${day.source === day.stored ? `All ${calls(day.stored)}` : calls(day.stored)} ${day.stored === 1 ? 'is' : 'are'} here; Ultravox counts ${number(day.source)}. Complete.` : 'There were no calls, says Ultravox.',
    missing: `${number(day.stored)} of ${calls(day.source)} ${day.stored === 1 ? 'is' : 'are'} here; ${number(lacking)} ${lacking === 1 ? 'is' : 'are'} missing.`,
    unverified: `${day.stored ? `${calls(day.stored)} ${day.stored === 1 ? 'is' : 'are'} here` : 'No calls are here'}. Ultravox has not been asked yet how many there were; a sync of the day asks.`,
    coming: `${number(day.stored)} of ${calls(day.source ?? 0)} ${day.stored === 1 ? 'is' : 'are'} here so far; the rest is being imported.`,
  }[day.look];
  const isRunning = isActive(state.job);
  return html`<div class="chosen" role="group" aria-label="Chosen day">
    <div><h3>${weekday(day.date)}</h3><p>${said}</p></div>
    <div class="actions">
      <button class="plain" onClick=${() => (isRunning ? sync.say('A sync is running already, and only one can at a time. Wait for it or cancel it.', true) : sync.startSync(day.date, day.date))}
        aria-disabled=${Boolean(isRunning || state.busy)}>Sync just this day</button>
      <button class="plain" onClick=${close}>Close</button>
    </div>
  </div>`;
}

function MissingDays({ days, select, selected }) {
  const missing = days.filter((day) => day.look === 'missing');
  if (!missing.length) return null;
  return html`<p class="missing-days">Missing: ${missing.slice(0, NAMED_DAYS).map((day, index) => html`${index ? ', ' : ''}<button type="button" class="link" aria-pressed=${day.date === selected}
    onClick=${() => select(day.date)}>${calls(day.source - day.stored)} on ${dayInWords(day.date)}</button>`)}${missing.length > NAMED_DAYS ? ` and on ${plural(missing.length - NAMED_DAYS, 'other day')}.` : '.'}</p>`;
}

// More days than one answer has.
function Pages({ sync, state }) {
  const { coverage, coverageEnd } = state;
  const isFull = coverage.days.length >= MOST_DAYS;
  if (!isFull && !coverageEnd) return null;
  return html`<div class="actions">
    ${isFull && html`<button class="plain" onClick=${() => sync.showDaysUntil(addDays(coverage.days[0].date, -1))}>Earlier days</button>`}
    ${coverageEnd && html`<button class="plain" onClick=${() => sync.showDaysUntil(null)}>Latest days</button>`}
  </div>`;
}

function Table({ days, isShown }) {
  return html`<div class=${isShown ? 'scroll' : 'unseen'} tabindex=${isShown ? 0 : undefined} role=${isShown ? 'region' : undefined} aria-label=${isShown ? 'Table of days' : undefined}>
    <table>
      <caption class="unseen">Calls per day, in UTC</caption>
      <thead><tr><th scope="col">Day</th><th scope="col" class="number">Here</th><th scope="col" class="number">At Ultravox</th><th scope="col">State</th></tr></thead>
      <tbody>${days.map((day) => html`<tr key=${day.date} class=${day.look}><th scope="row">${shortDay(day.date)} ${day.date.slice(0, 4)}</th><td class="number">${number(day.stored)}</td>
        <td class="number">${day.source === null ? '–' : number(day.source)}</td><td>${LOOKS[day.look]}</td></tr>`)}</tbody>
    </table>
  </div>`;
}
