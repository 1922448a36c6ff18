import { Client } from 'undici';

import { handSignedRun, type Answer, type SignedRequest } from './hand-signed.ts';
import { serve } from './serve.ts';
import { readSettings } from './settings.ts';

const settings = readSettings();
const client = new Client(settings.endpoint, { keepAliveTimeout: 60_000 });

function send(request: SignedRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status = 0;
    // Without `reset: false`, undici closes the connection after each HEAD.
    client.dispatch(
      { ...request, reset: false },
      {
        onRequestStart() {},
        onResponseStart(_controller, statusCode) {
          status = statusCode;
        },
        onResponseData(_controller, chunk) {
          chunks.push(chunk);
        },
        onResponseEnd() {
          resolve({ status, body: Buffer.concat(chunks) });
        },
        onResponseError(_controller, error) {
          reject(error);
        },
      },
    );
  });
}

await serve(settings.warmUpRuns, handSignedRun(settings, send));
await client.close();
