// Takes the pictures of the README. Arguments: the Chromium, the address of the page, the folder for the pictures.
import { launch } from './chromium.mjs';

const [executablePath, url, folder] = process.argv.slice(2);
const browser = await launch(executablePath);
const page = await browser.newPage({ viewport: { width: 1040, height: 1000 }, reducedMotion: 'reduce' });
page.setDefaultTimeout(100_000);
await page.goto(url);
const chart = page.getByRole('figure', { name: 'Calls per day' });
await chart.waitFor();

await page.getByRole('button', { name: 'Everything' }).click();
await page.getByRole('button', { name: 'Start sync' }).click();
const progress = page.getByRole('progressbar', { name: 'Sync progress' });
await progress.waitFor();
await page.waitForFunction(() => {
  const percent = Number(document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow'));
  return percent >= 60 && / left/.test(document.querySelector('.job')?.textContent);
});
for (const colorScheme of ['light', 'dark']) {
  await page.emulateMedia({ colorScheme });
  const { y, height } = await chart.boundingBox();
  await page.screenshot({ path: `${folder}/page-${colorScheme}.png`, clip: { x: 0, y: 0, width: 1040, height: y + height + 12 } });
}
await browser.close();
