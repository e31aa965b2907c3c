// Calls the helpers of db.ts: one JSON line [method, ...arguments] in, one line out.
import { createInterface } from 'node:readline';
import { Portal, type Variant } from './db.ts';
const portal: any = new Portal(process.argv[2], process.argv[3] as Variant);
const time = /^\d{4}-\d\d-\d\dT/;
for await (const line of createInterface({ input: process.stdin })) {
  const [method, ...given] = JSON.parse(line);
  try {
    const args = given.map((one: any) => (typeof one === 'string' && time.test(one) ? new Date(one) : one));
    console.log(JSON.stringify({ result: (await portal[method](...args)) ?? null }));
  } catch (error: any) {
    console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint ?? null }));
  }
}
await portal.end();
