// Pages in Chromium that a test drives: reads a command per line of standard input, writes its outcome as a line of
// standard output, both JSON. Argument: the Chromium.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { launch } from './chromium.mjs';

const PATIENCE_MS = 100_000; // on a machine that is busy with other things
const axe = await readFile(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const browser = await launch(process.argv[2]);
const pages = [];
const isPlain = (value) => typeof value !== 'object' || value === null || [Object, Array].includes(value.constructor);

const commands = {
  // A page in a profile of its own.
  async open({ url, options }) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(PATIENCE_MS);
    // Whatever the policy forbids is noted as an error, beside those of the page's own.
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error(`forbidden: ${event.violatedDirective} ${event.blockedURI}`));
    });
    return commands.tab({ context, url });
  },

  // A page beside another one, of the same profile.
  async tab({ beside, context = pages[beside].page.context(), url }) {
    const page = await context.newPage();
    const noted = { requests: [], errors: [] };
    page.on('request', (request) => noted.requests.push(`${request.method()} ${request.url()}`));
    page.on('pageerror', (error) => noted.errors.push(String(error)));
    page.on('console', (message) => {
      // What the service refuses, or does not answer, is no fault of the page's: Chromium notes it all the same.
      const isRefusal = message.text().startsWith('Failed to load resource: ');
      if (['error', 'warning'].includes(message.type()) && !isRefusal) noted.errors.push(message.text());
    });
    pages.push({ page, noted, held: [] });
    await page.goto(url);
    return pages.length - 1;
  },

  // One thing after the other, each done with what the one before came to: a method with its arguments, or a property.
  async do({ page, chain }) {
    let it = pages[page].page;
    for (const [name, ...given] of chain) it = typeof it[name] === 'function' ? await it[name](...given) : it[name];
    return isPlain(it) ? it : null;
  },

  // Requests that a pattern of addresses fits wait from now on, until they are released.
  async hold({ page, pattern }) {
    await pages[page].page.route(pattern, (route) => new Promise((release) => {
      pages[page].held.push(() => { release(); route.continue().catch(() => {}); });
    }));
  },

  async release({ page, pattern }) {
    for (const release of pages[page].held.splice(0)) release();
    await pages[page].page.unroute(pattern);
  },

  async axe({ page }) {
    await pages[page].page.evaluate(axe);
    const { violations } = await pages[page].page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(' | ')}`);
  },

  async noted({ page }) {
    return pages[page].noted;
  },

  // All pages, each with its profile.
  async close() {
    await Promise.all(browser.contexts().map((context) => context.close()));
  },
};

console.log(JSON.stringify({}));
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  const outcome = await commands[command](given).then((value) => ({ value: value ?? null }), (error) => ({ error: error.message }));
  console.log(JSON.stringify(outcome));
}
await browser.close();
