// The page: who is signed in, what is going on, and one card below the other.
import { createApi } from './api.js';
import { DayChart } from './days.js';
import { History } from './history.js';
import { JobCard } from './job.js';
import { loadConfig, openSession } from './session.js';
import { SignIn } from './sign_in.js';
import { StartCard } from './start.js';
import { Sync } from './sync.js';
import { html, render, useEffect, useState, useTick } from './ui.js';
import { ago, statusOf } from './words.js';

const CONFIG_RETRY_MS = 3_000;
const OLD_MS = 40_000; // idle, the page asks every 15 s

function Page() {
  const [config, setConfig] = useState(null);
  const [isAway, setAway] = useState(false);
  useEffect(() => {
    let timer;
    const load = () => loadConfig().then(setConfig, () => {
      setAway(true);
      timer = setTimeout(load, CONFIG_RETRY_MS);
    });
    load();
    return () => clearTimeout(timer);
  }, []);
  if (config) return html`<${Installation} config=${config} />`;
  return html`<${Frame} status=${isAway ? 'Connecting…' : 'Loading…'}>
    ${isAway && html`<${Alert} text="The service does not answer. This page tries again by itself." />`}
  <//>`;
}

function Installation({ config }) {
  const [, redraw] = useState(0);
  const [session, setSession] = useState(undefined);
  useEffect(() => {
    setSession(openSession(config, () => redraw((count) => count + 1)));
  }, [config]);
  if (session === undefined || session?.isReady === false) return html`<${Frame} status="Loading…" />`;
  if (session === null) {
    return html`<${Frame} status="Nobody can sign in yet.">
      <${Alert} text="The sign-in is not set up: SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY have to be set where the service runs." />
    <//>`;
  }
  if (!session.isDemo && !session.user) return html`<${Frame} status="Sign in to see your syncs."><${SignIn} session=${session} /><//>`;
  return html`<${Agency} key=${session.isDemo ? 'demo' : session.user.id} session=${session} config=${config} />`;
}

function Agency({ session, config }) {
  const [sync, setSync] = useState(null);
  const [state, setState] = useState(null);
  useEffect(() => {
    const opened = new Sync(createApi(session, config), setState);
    setSync(opened);
    setState(opened.state);
    opened.start();
    return () => opened.stop();
  }, []);
  useEffect(() => {
    // Where supabase-js has ended the session itself, whoever signs in meanwhile must not be signed out.
    if (state?.signedOut && !session.isDemo && session.user) session.signOut(state.signedOut);
  }, [state?.signedOut]);
  if (!sync) return null;
  const status = state.signedOut ?? (state.refused && refusal(state.refused)) ?? (state.away
    ? 'The service does not answer.'
    : statusOf({ job: state.job, loaded: state.loaded, cancelling: state.busy === 'cancelling' }));
  return html`
    <${Frame} status=${status} user=${session.user} session=${session} updatedAt=${state.updatedAt} isAway=${state.away}>
      ${state.signedOut && html`<${Alert} text=${state.signedOut} />`}
      ${state.away && html`<${Alert} text=${`${state.away.text} ${state.loaded ? 'What you see is from before. ' : ''}This page tries again by itself.`} requestId=${state.away.requestId} />`}
      ${state.alert && html`<${Alert} text=${state.alert.text} requestId=${state.alert.requestId} onDismiss=${() => sync.dismiss()} />`}
      ${state.refused ? html`<${Refused} refused=${state.refused} session=${session} />` : html`
        <${StartCard} sync=${sync} state=${state} />
        ${state.job && html`<${JobCard} sync=${sync} state=${state} />`}
        <${DayChart} sync=${sync} state=${state} />
        <${History} sync=${sync} state=${state} user=${session.user} />`}
    <//>`;
}

function refusal({ code, text }) {
  return code === 'no_agency' ? 'Your account does not belong to an agency yet.' : text;
}

function Refused({ refused, session }) {
  return html`<section class="card">
    <div role="alert"><h2>${refusal(refused)}</h2></div>
    <p>${refused.code === 'no_agency'
      ? 'Ask whoever manages your agency to add you. This page looks again by itself.'
      : 'This page tries again by itself.'}</p>
    ${!session.isDemo && html`<button class="plain" onClick=${() => session.signOut()}>Sign out</button>`}
  </section>`;
}

function Frame({ status, user, session, updatedAt, isAway, children }) {
  return html`
    <header>
      <h1>Historical sync</h1>
      ${user && html`<p class="who">
        ${session.isDemo ? html`<span class="tag">Demo</span>` : null} ${user.email}
        ${!session.isDemo && html` <button class="plain small" onClick=${() => session.signOut()}>Sign out</button>`}
      </p>`}
      <p class="now">
        <span role="status">${status}</span>
        ${updatedAt && html` <${Updated} at=${updatedAt} isAway=${isAway} />`}
      </p>
    </header>
    <main>${children}</main>
    <footer><p>Days and times are in UTC.</p></footer>`;
}

function Updated({ at, isAway }) {
  useTick(1_000);
  const isOld = isAway || Date.now() - at > OLD_MS;
  return html`<span class=${isOld ? 'updated away' : 'updated'}>Updated ${ago(at, Date.now())}</span>`;
}

function Alert({ text, requestId, onDismiss }) {
  return html`<div class="alert">
    <div role="alert"><p>${text}</p>${requestId && html`<p class="fine">Request id: <code>${requestId}</code></p>`}</div>
    ${onDismiss && html`<button class="plain small" onClick=${onDismiss}>Dismiss</button>`}
  </div>`;
}

render(html`<${Page} />`, document.body);
