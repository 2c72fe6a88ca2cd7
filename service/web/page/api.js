// The service's functions, called with supabase-js as a dashboard calls them, at the page's own origin.
import { SignedOut, SignInAway } from './session.js';

const TIMEOUT_MS = 20_000;

// The service refused, or did not answer (status 0). `message` is for people.
export class CallError extends Error {
  constructor(message, details) {
    super(message);
    Object.assign(this, { status: 0, code: null, retryAfter: null, requestId: null, job: null, ...details });
  }

  // The service, and not what was asked of it, is in the way.
  get isAway() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export function createApi(session, config) {
  const { functions } = globalThis.supabase.createClient(location.origin, config.publishable_key ?? 'none', {
    accessToken: () => session.token(),
  });

  async function invoke(name, options, isRetry = false) {
    const { data, error, response } = await functions.invoke(name, { timeout: TIMEOUT_MS, ...options });
    if (!error) return { data, requestId: response.headers.get('x-request-id'), date: response.headers.get('date') };
    const refusal = await asRefusal(error);
    if (refusal.status !== 401) throw refusal;
    if (isRetry) throw new SignedOut(refusal.code === 'session_revoked' ? 'You have been signed out. Sign in again.' : 'Your sign-in is not accepted here. Sign in again.');
    await session.renew();
    return invoke(name, options, true);
  }

  return {
    get: (name, parameters = {}) => {
      const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null)).toString();
      return invoke(query ? `${name}?${query}` : name, { method: 'GET' }); // invoke() posts unless told otherwise
    },
    post: (name, body) => invoke(name, { body }),
  };
}

// supabase-js makes an error of every answer that is not 2xx, and leaves its body to be read.
async function asRefusal(error) {
  if (error.context instanceof SignedOut || error.context instanceof SignInAway) throw error.context;
  if (!(error.context instanceof Response)) return new CallError('The service does not answer.');
  const { status, headers } = error.context;
  const body = await error.context.json().catch(() => ({}));
  return new CallError(body.error ?? `The service answered with an error (${status}).`, {
    status,
    code: body.code,
    job: body.job,
    fields: body.fields,
    retryAfter: Number(headers.get('retry-after')) || null,
    requestId: body.request_id ?? headers.get('x-request-id'),
  });
}
