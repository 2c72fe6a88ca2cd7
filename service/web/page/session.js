// Who is signed in, and the access token that says so to the service.

// There is nobody signed in (any more); the message is for people.
export class SignedOut extends Error {}
// Nobody can tell at the moment; worth another try.
export class SignInAway extends Error {}

const RENEW_BEFORE_MS = 30_000;
const ENDED = 'Your session has ended. Sign in again.';

export async function loadConfig() {
  const answer = await fetch('/sync-page/config.json');
  if (!answer.ok) throw new Error(`config.json: ${answer.status}`);
  return answer.json();
}

export function openSession(config, onChange) {
  if (config.demo) return new DemoSession(onChange);
  return config.supabase_url && config.publishable_key ? new SupabaseSession(config, onChange) : null;
}

// A local stack signs everybody in who asks.
class DemoSession {
  isDemo = true;
  isReady = true;
  user = null;

  constructor(onChange) {
    this.onChange = onChange;
  }

  async token() {
    const fresh = this.answer && this.answer.expires_at * 1000 - Date.now() > RENEW_BEFORE_MS;
    if (!fresh) await this.renew();
    return this.answer.access_token;
  }

  renew() {
    this.renewing ??= this.#ask().finally(() => { this.renewing = null; });
    return this.renewing;
  }

  async #ask() {
    let answer;
    try {
      answer = await fetch('/sync-page/demo-session', { method: 'POST' });
    } catch {
      throw new SignInAway('The demo’s sign-in does not answer.');
    }
    if (answer.status >= 500) throw new SignInAway('The demo’s sign-in does not work at the moment.');
    if (!answer.ok) throw new SignedOut('The demo signs nobody in here. Open it at localhost, on the machine that it runs on.');
    this.answer = await answer.json();
    this.user = { id: subjectOf(this.answer.access_token), email: this.answer.email };
    this.onChange();
  }
}

// Supabase Auth; supabase-js keeps the session in the browser and renews it in time.
class SupabaseSession {
  isDemo = false;
  isReady = false; // whether it is known if somebody is signed in
  user = null;
  reason = null; // why nobody is any more

  constructor(config, onChange) {
    this.onChange = onChange;
    this.client = globalThis.supabase.createClient(config.supabase_url, config.publishable_key, {
      auth: { detectSessionInUrl: false },
    });
    this.client.auth.onAuthStateChange((event, session) => {
      if (session) this.reason = null;
      else if (this.user && !this.isLeaving) this.reason ??= ENDED;
      this.isReady = true;
      this.isLeaving = false;
      this.user = session ? { id: session.user.id, email: session.user.email } : null;
      onChange();
    });
  }

  async token() {
    return this.#tokenOf(await this.client.auth.getSession());
  }

  async renew() {
    this.#tokenOf(await this.client.auth.refreshSession());
  }

  #tokenOf({ data, error }) {
    if (data.session) return data.session.access_token;
    if (isPassing(error)) throw new SignInAway('Your session could not be renewed: the sign-in does not answer.');
    throw new SignedOut(ENDED);
  }

  async signIn(email, password) {
    const { error } = await this.client.auth.signInWithPassword({ email, password });
    if (!error) return;
    if (isPassing(error)) throw new SignInAway('The sign-in does not answer. Try again in a moment.');
    if (error.status === 429) throw new SignInAway('Too many tries. Wait a minute, then try again.');
    if (error.code === 'email_not_confirmed') throw new SignedOut('This address is not confirmed yet. Follow the link in the mail.');
    if (error.status === 400) throw new SignedOut('This email and password do not match.');
    throw new SignedOut(`The sign-in was refused: ${error.message}`);
  }

  // Because the user wants to leave, or for a reason to tell.
  async signOut(reason = null) {
    this.isLeaving = true;
    this.reason = reason;
    const { error } = await this.client.auth.signOut({ scope: 'local' });
    // supabase-js keeps a session whose renewal was refused a short while ago, and says so here.
    if (!error || !this.user) return;
    this.isLeaving = false;
    this.user = null;
    this.onChange();
  }
}

function isPassing(error) {
  return error?.name === 'AuthRetryableFetchError' || error?.status >= 500;
}

function subjectOf(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).sub;
  } catch {
    return null;
  }
}
