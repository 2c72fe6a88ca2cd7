// Reads a call per line of standard input and writes its outcome as a line of standard output, both JSON.
import { createInterface } from 'node:readline';
import * as supabase from '@supabase/supabase-js';
import { invoke } from './invoke.mjs';

console.log(JSON.stringify({}));
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await invoke(supabase, JSON.parse(line))));
}
