// Chromium as it is installed here, quiet towards the outside.
import { chromium } from 'playwright-core';

export const launch = (executablePath) =>
  chromium.launch({
    executablePath,
    args: [
      ...(process.getuid() === 0 ? ['--no-sandbox'] : []), // Chromium refuses to run as root with its sandbox
      ...['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync'],
    ],
  });
