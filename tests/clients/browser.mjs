// As node.mjs, from a page in Chromium on an origin of its own; null instead of a call opens a new browser profile.
// Arguments: the Chromium, the supabase-js package.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { launch } from './chromium.mjs';

const [executablePath, supabaseJs] = process.argv.slice(2);
const here = (path) => new URL(path, import.meta.url);
const files = {
  '/': ['text/html', '<!doctype html><title>Dashboard</title><link rel="icon" href="data:,">'],
  '/supabase.js': ['text/javascript', await readFile(here(`node_modules/${supabaseJs}/dist/umd/supabase.js`))],
  '/invoke.mjs': ['text/javascript', await readFile(here('invoke.mjs'))],
};
const pages = createServer((request, response) => {
  const [type, content] = files[request.url] ?? ['text/plain', ''];
  response.writeHead(request.url in files ? 200 : 404, { 'Content-Type': type }).end(content);
});
await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
const origin = `http://127.0.0.1:${pages.address().port}`;

const browser = await launch(executablePath);

let context;
async function openPage() {
  await context?.close();
  context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(origin);
  await page.addScriptTag({ url: '/supabase.js' });
  return page;
}

let page = await openPage();
console.log(JSON.stringify({ origin }));
for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  let outcome = {};
  if (call === null) page = await openPage();
  else outcome = await page.evaluate(async (it) => (await import('/invoke.mjs')).invoke(supabase, it), call);
  console.log(JSON.stringify(outcome));
}
await browser.close();
pages.close();
