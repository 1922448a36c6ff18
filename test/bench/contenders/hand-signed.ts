import { createHmac, createSecretKey, hash, randomBytes, type KeyObject } from 'node:crypto';

import { OBJECT_BYTES, OBJECT_KEY, type Settings } from './settings.ts';

export type Method = 'HEAD' | 'GET' | 'PUT' | 'DELETE';

export interface SignedRequest {
  readonly method: Method;
  readonly path: string;
  /** Alternating names and values, as undici expects. */
  readonly headers: string[];
  readonly body: Buffer | null;
}

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

export type Send = (request: SignedRequest) => Promise<Answer>;

const NO_BODY = Buffer.alloc(0);
const NO_BODY_SHA256 = hash('sha256', NO_BODY);

/** The eight requests of a run, with as little work as SigV4 allows. The signing key is derived once per day. */
export function handSignedRun(settings: Settings, send: Send): () => Promise<void> {
  const { region, accessKey, secretKey } = settings;
  const host = new URL(settings.endpoint).host;
  const bucketPath = `/${settings.bucket}`;
  const objectPath = `${bucketPath}/${OBJECT_KEY}`;
  let day = '';
  let scope = '';
  let signingKey: KeyObject;

  async function call(
    method: Method,
    path: string,
    expected: number,
    body: Buffer | null = null,
    bodySha256 = NO_BODY_SHA256,
  ): Promise<Buffer> {
    const time = new Date().toISOString().replaceAll(/-|:|\.\d{3}/g, '');
    if (time.slice(0, 8) !== day) {
      day = time.slice(0, 8);
      scope = `${day}/${region}/s3/aws4_request`;
      signingKey = deriveSigningKey(secretKey, day, region);
    }
    const canonicalRequest = `${method}\n${path}\n\nhost:${host}\nx-amz-content-sha256:${bodySha256}\nx-amz-date:${time}\n\nhost;x-amz-content-sha256;x-amz-date\n${bodySha256}`;
    const signature = createHmac('sha256', signingKey)
      .update(`AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash('sha256', canonicalRequest)}`)
      .digest('hex');
    const answer = await send({
      method,
      path,
      headers: [
        'x-amz-content-sha256',
        bodySha256,
        'x-amz-date',
        time,
        'authorization',
        `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=${signature}`,
      ],
      body,
    });
    if (answer.status !== expected) {
      throw new Error(
        `${method} ${path}: expected ${expected}, got ${answer.status}: ${answer.body.toString()}`,
      );
    }
    return answer.body;
  }

  return async function run() {
    await call('HEAD', bucketPath, 404);
    await call('PUT', bucketPath, 200);
    const object = randomBytes(OBJECT_BYTES);
    const sha256 = hash('sha256', object);
    await call('PUT', objectPath, 200, object, sha256);
    const fetched = await call('GET', objectPath, 200);
    if (hash('sha256', fetched) !== sha256) throw new Error('the fetched object differs from the one sent');
    await call('DELETE', objectPath, 204);
    await call('HEAD', objectPath, 404);
    await call('HEAD', bucketPath, 200);
    await call('DELETE', bucketPath, 204);
  };
}

function deriveSigningKey(secretKey: string, day: string, region: string): KeyObject {
  let key = Buffer.from(`AWS4${secretKey}`);
  for (const part of [day, region, 's3', 'aws4_request']) {
    key = createHmac('sha256', key).update(part).digest();
  }
  // With a raw key, OpenSSL sets the key up again for each signature, which costs seven times as much.
  return createSecretKey(key);
}
