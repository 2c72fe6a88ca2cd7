// A call as the dashboard makes it, and all that the dashboard can learn of the answer. Runs in Node and in the page.
export async function invoke(supabase, { url, key, token, auth, name, options }) {
  const settings = { auth: { persistSession: false, autoRefreshToken: false } };
  // The client insists on a WebSocket, which Node has from version 22 on; functions make no use of it.
  if (!globalThis.WebSocket) settings.realtime = { transport: class {} };
  if (token && auth === 'headers') settings.global = { headers: { Authorization: `Bearer ${token}` } };
  else if (token) settings.accessToken = async () => token;
  const client = supabase.createClient(url, key, settings);

  const { data, error, response } = await client.functions.invoke(name, options);
  if (!error) return { error: null, status: response.status, headers: [...response.headers], body: data };
  if (!(error instanceof supabase.FunctionsHttpError)) return { error: error.name };
  const { status, headers } = error.context;
  return { error: error.name, status, headers: [...headers], body: await error.context.json() };
}
