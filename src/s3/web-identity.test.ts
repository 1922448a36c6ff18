import { describe, expect, it, vi } from 'vitest';

import { closedPort, bodyOf, serveHttp, type TestServer } from '../../test/support/http-server.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { addressPolicy } from './address-policy.ts';
import { TargetKeyring } from './target-keys.ts';
import { WebIdentity, type WebIdentityDeps } from './web-identity.ts';

const TOKEN = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwcm9iZSJ9eyJzdWIi.c2lnbmF0dXJlLXNpZ25hdHVyZQ';
const ROLE = 'arn:minio:iam:::role/probe';
const NEVER = new AbortController().signal;
const HOUR_MS = 3_600_000;

interface Response {
  readonly status?: number;
  readonly text?: string;
}

interface SetUp {
  readonly clock: ManualClock;
  readonly identity: WebIdentity;
  readonly server: TestServer;
  /** Forms that the STS service received. */
  readonly forms: URLSearchParams[];
  readonly credentialsFor: (signal?: AbortSignal) => ReturnType<WebIdentity['credentialsFor']>;
}

/** A store whose STS service returns `responses` in order and then repeats the last one. None: it never responds. */
async function setUp(
  responses: readonly (() => Response)[],
  deps: Partial<WebIdentityDeps> = {},
): Promise<SetUp> {
  const clock = new ManualClock();
  const forms: URLSearchParams[] = [];
  const server = await serveHttp((request, response) => {
    void bodyOf(request).then((body) => {
      forms.push(new URLSearchParams(body.toString()));
      const next = responses[Math.min(forms.length, responses.length) - 1]?.();
      if (next === undefined) return;
      response.writeHead(next.status ?? 200, { 'content-type': 'text/xml' });
      response.end(next.text);
    });
  });
  const identity = new WebIdentity({
    clock,
    keyring: new TargetKeyring(),
    version: '1.2.3',
    readToken: () => Promise.resolve(`${TOKEN}\n`),
    ...deps,
  });
  return {
    clock,
    identity,
    server,
    forms,
    credentialsFor: (signal = NEVER) =>
      identity.credentialsFor({ roleArn: ROLE }, { endpoint: server.url, region: 'us-east-1' }, signal),
  };
}

/** A grant that expires after `lifetimeMs`. */
function grant(clock: () => ManualClock, accessKey: string, lifetimeMs = HOUR_MS): () => Response {
  return () => ({
    text: `<?xml version="1.0"?><AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>${accessKey}</AccessKeyId><SecretAccessKey>a/b+c&amp;d</SecretAccessKey><SessionToken>token==</SessionToken><Expiration>${new Date(clock().now() + lifetimeMs).toISOString()}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
  });
}

function refusal(status: number, code: string, message = 'no'): () => Response {
  return () => ({
    status,
    text: `<ErrorResponse><Error><Type/><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`,
  });
}

/** A store that grants these access keys one after another, each for `lifetimeMs`. */
async function granting(
  accessKeys: readonly string[],
  lifetimeMs = HOUR_MS,
  deps: Partial<WebIdentityDeps> = {},
): Promise<SetUp> {
  const found: { clock?: ManualClock } = {};
  const clock = (): ManualClock => found.clock ?? new ManualClock();
  const made = await setUp(
    accessKeys.map((key) =>
      key === 'refused' ? refusal(500, 'InternalError') : grant(clock, key, lifetimeMs),
    ),
    deps,
  );
  found.clock = made.clock;
  return made;
}

describe('the exchange', () => {
  it('sends the token and the role in the body, and returns the credentials', async () => {
    const { credentialsFor, forms, server } = await granting(['A']);
    expect(await credentialsFor()).toEqual({
      credentials: { accessKey: 'A', secretKey: 'a/b+c&d', sessionToken: 'token==' },
    });
    expect(server.requests).toEqual(['POST /']);
    expect(Object.fromEntries(forms[0] ?? [])).toEqual({
      Action: 'AssumeRoleWithWebIdentity',
      Version: '2011-06-15',
      WebIdentityToken: TOKEN,
      RoleArn: ROLE,
      RoleSessionName: 'storage-probe',
    });
  });

  it('is shared by runs that start together, and repeated shortly before the credentials expire', async () => {
    const { clock, credentialsFor, forms } = await granting(['A', 'B']);
    await Promise.all([credentialsFor(), credentialsFor(), credentialsFor()]);
    await clock.advance(HOUR_MS - 11 * 60_000);
    expect((await credentialsFor()).credentials.accessKey).toBe('A');
    expect(forms).toHaveLength(1);
    await clock.advance(2 * 60_000);
    expect((await credentialsFor()).credentials.accessKey).toBe('B');
    expect(forms).toHaveLength(2);
  });

  it('reads the token each time, because Kubernetes replaces it', async () => {
    const readToken = vi.fn<() => Promise<string>>(() => Promise.resolve(TOKEN));
    const { clock, credentialsFor } = await granting(['A', 'B'], HOUR_MS, { readToken });
    await credentialsFor();
    await clock.advance(HOUR_MS);
    await credentialsFor();
    expect(readToken).toHaveBeenCalledTimes(2);
  });

  it('keeps valid credentials while they cannot be renewed, and does not try with each run', async () => {
    const { clock, credentialsFor, forms } = await granting(['A', 'refused', 'refused', 'refused']);
    await credentialsFor();
    await clock.advance(HOUR_MS - 5 * 60_000);
    expect((await credentialsFor()).credentials.accessKey).toBe('A');
    expect((await credentialsFor()).credentials.accessKey).toBe('A');
    expect(forms).toHaveLength(2);
    await clock.advance(5 * 60_000);
    expect((await credentialsFor()).credentialsFault?.reason).toBe('ServerError');
  });

  it('renews credentials with a short lifetime halfway', async () => {
    const { clock, credentialsFor } = await granting(['A', 'B'], 4 * 60_000);
    await credentialsFor();
    await clock.advance(60_000);
    expect((await credentialsFor()).credentials.accessKey).toBe('A');
    await clock.advance(61_000);
    expect((await credentialsFor()).credentials.accessKey).toBe('B');
  });

  it('is abandoned when the run is cancelled', async () => {
    const { credentialsFor } = await setUp([]);
    const abort = new AbortController();
    const waiting = credentialsFor(abort.signal);
    abort.abort(new Error('stopping'));
    await expect(waiting).rejects.toThrow('stopping');
  });
});

describe("a failure of the store's own STS service is reported by the run", () => {
  it.each([
    {
      name: 'a refusal',
      response: refusal(
        400,
        'InvalidParameterValue',
        `token ${TOKEN} and ${TOKEN.split('.')[1]} has a bad aud`,
      ),
      reason: 'WebIdentityRejected',
      message:
        /^AssumeRoleWithWebIdentity: 127\.0\.0\.1:\d+ returned 400 InvalidParameterValue token \[redacted\] and \[redacted\] has a bad aud$/,
    },
    {
      name: 'an internal error',
      response: refusal(503, 'XMinioIAMNotInitialized'),
      reason: 'ServerError',
      message: /returned 503 XMinioIAMNotInitialized no$/,
    },
    {
      name: 'a page',
      response: () => ({ text: '<html>login</html>' }),
      reason: 'NotS3',
      message: /returned 200, which is not a response of an STS service$/,
    },
    {
      name: 'a redirect',
      response: () => ({ status: 302 }),
      reason: 'NotS3',
      message: /returned 302, which is not/,
    },
  ])('$name', async ({ response, reason, message }) => {
    const { credentialsFor } = await setUp([response]);
    const { credentialsFault } = await credentialsFor();
    expect(credentialsFault?.reason).toBe(reason);
    expect(credentialsFault?.message).toMatch(message);
  });

  it('nobody listening', async () => {
    const { identity } = await setUp([]);
    const target = { endpoint: `http://127.0.0.1:${await closedPort()}`, region: 'us-east-1' };
    const { credentialsFault } = await identity.credentialsFor({}, target, NEVER);
    expect(credentialsFault?.reason).toBe('ConnectionRefused');
    expect(credentialsFault?.message).toMatch(/^AssumeRoleWithWebIdentity: connecting to 127/);
  });

  it('no response', async () => {
    const { clock, credentialsFor, forms } = await setUp([]);
    const waiting = credentialsFor();
    await vi.waitUntil(() => forms.length === 1);
    await clock.advance(5_000);
    expect((await waiting).credentialsFault?.reason).toBe('Timeout');
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('the store is not at fault if', () => {
  it('another STS service cannot be reached', async () => {
    const { identity } = await setUp([]);
    const stsEndpoint = `http://127.0.0.1:${await closedPort()}`;
    const target = { endpoint: 'http://store:9000', region: 'us-east-1' };
    await expect(identity.credentialsFor({ stsEndpoint }, target, NEVER)).rejects.toMatchObject({
      reason: 'WebIdentityUnavailable',
      message: expect.stringMatching(/^AssumeRoleWithWebIdentity: connecting to/),
    });
  });

  it.each([
    {
      name: 'the token cannot be read',
      readToken: () => Promise.reject(new Error('/token (ENOENT)')),
      message: 'the web identity token cannot be read: /token (ENOENT)',
    },
    {
      name: 'the token is empty',
      readToken: () => Promise.resolve('\n'),
      message: 'the file of the web identity token is empty',
    },
  ])('$name', async ({ readToken, message }) => {
    const { credentialsFor } = await setUp([], { readToken });
    await expect(credentialsFor()).rejects.toMatchObject({ reason: 'WebIdentityUnavailable', message });
  });

  it('the address of the STS service is not allowed', async () => {
    const { credentialsFor, server } = await setUp([], { addressPolicy: addressPolicy({ allowed: [] }) });
    await expect(credentialsFor()).rejects.toMatchObject({ reason: 'AddressNotAllowed' });
    expect(server.connections).toEqual([]);
  });

  it('the administrator does not allow the STS service, which then never gets the token', async () => {
    const { credentialsFor, server } = await setUp([], { allowedStsEndpoints: ['http://sts'] });
    await expect(credentialsFor()).rejects.toMatchObject({
      reason: 'WebIdentityUnavailable',
      message: `the operator's --web-identity-sts-endpoints does not include ${server.url}`,
    });
    expect(server.connections).toEqual([]);
  });
});

it('derives the STS service of a store of AWS from the region', async () => {
  const { identity } = await setUp([], { allowedStsEndpoints: [] });
  const endpoints = [
    ['https://s3.eu-central-1.amazonaws.com', 'https://sts.eu-central-1.amazonaws.com'],
    ['https://s3.cn-north-1.amazonaws.com.cn', 'https://sts.eu-central-1.amazonaws.com.cn'],
    ['https://minio:9000/s3', 'https://minio:9000'],
    ['https://notamazonaws.com', 'https://notamazonaws.com'],
  ];
  for (const [endpoint = '', sts] of endpoints) {
    await expect(identity.credentialsFor({}, { endpoint, region: 'eu-central-1' }, NEVER)).rejects.toThrow(
      `does not include ${sts}`,
    );
  }
});

it("never uses a target's proxy, whose owner could read the token", async () => {
  const proxy = await serveHttp((_, response) => response.end());
  const { identity, server } = await granting(['A']);
  const target = { endpoint: server.url, region: 'us-east-1', proxy: { url: proxy.url } };
  expect((await identity.credentialsFor({}, target, NEVER)).credentials.accessKey).toBe('A');
  expect(proxy.requests).toEqual([]);
});
