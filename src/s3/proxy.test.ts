import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { type CertificateAuthority, createAuthority } from '../../deploy/local/certificates.ts';
import { fakeResolver, resolvingTo } from '../../test/support/fake-resolver.ts';
import { serveProxy } from '../../test/support/http-proxy.ts';
import { bodyOf, closedPort, serveHttp, serveTcp } from '../../test/support/http-server.ts';
import type { RunTarget } from '../api/run.ts';
import { systemClock } from '../clock/system-clock.ts';
import { addressPolicy } from './address-policy.ts';
import { LookupError } from './lookup-error.ts';
import { S3Client, type S3ClientDeps } from './s3-client.ts';
import { S3Error } from './s3-error.ts';
import { TargetKeyring } from './target-keys.ts';

const NEVER = new AbortController().signal;
const OPTIONS = { signal: NEVER };
const CREDENTIALS = { username: 'probe', password: 'proxy-password' };
const AUTHORIZATION = `Basic ${Buffer.from('probe:proxy-password').toString('base64')}`;

let authority: CertificateAuthority;
beforeAll(async () => {
  authority = await createAuthority();
});

function clientOf(
  target: Pick<RunTarget, 'endpoint' | 'tls' | 'proxy'>,
  deps: Pick<S3ClientDeps, 'addressPolicy' | 'resolver'> = {},
): S3Client {
  const credentials = { accessKey: 'access', secretKey: 'secret' };
  const client = new S3Client({ name: 'my-minio', region: 'us-east-1', credentials, ...target }, 'bucket', {
    clock: systemClock,
    keyring: new TargetKeyring(),
    version: '1.2.3',
    originMs: systemClock.monotonicMs(),
    ...deps,
  });
  onTestFinished(() => {
    client.close();
  });
  return client;
}

async function failureOf(call: Promise<unknown>): Promise<S3Error> {
  const error = await call.catch((failure: unknown) => failure);
  if (!(error instanceof S3Error)) throw new Error('the call did not fail with an S3Error', { cause: error });
  return error;
}

describe('a target behind a proxy', () => {
  it.each([
    { scheme: 'http', secureProxy: false, phases: ['connectMs', 'sendMs', 'firstByteMs', 'bodyMs'] },
    {
      scheme: 'http',
      secureProxy: true,
      phases: ['connectMs', 'proxyMs', 'sendMs', 'firstByteMs', 'bodyMs'],
    },
    {
      scheme: 'https',
      secureProxy: false,
      phases: ['connectMs', 'proxyMs', 'tlsMs', 'sendMs', 'firstByteMs', 'bodyMs'],
    },
    {
      scheme: 'https',
      secureProxy: true,
      phases: ['connectMs', 'proxyMs', 'tlsMs', 'sendMs', 'firstByteMs', 'bodyMs'],
    },
  ])(
    'gets its requests: $scheme, TLS to the proxy: $secureProxy',
    async ({ scheme, secureProxy, phases }) => {
      const bodies: string[] = [];
      const server = await serveHttp(
        (request, response) => {
          void bodyOf(request).then((body) => {
            bodies.push(body.toString());
            response.writeHead(200, { 'x-amz-request-id': '17F0', etag: '"1"' }).end();
          });
        },
        scheme === 'https' ? { tls: await authority.issue({ hosts: ['my-minio'] }) } : {},
      );
      const proxy = await serveProxy({
        authorization: AUTHORIZATION,
        ...(secureProxy && { tls: await authority.issue() }),
      });
      const client = clientOf(
        {
          endpoint: `${scheme}://my-minio:${server.port}`,
          tls: { ca: authority.certificate },
          proxy: { url: proxy.url, credentials: CREDENTIALS },
        },
        // The proxy resolves the name of the target.
        { resolver: fakeResolver(() => Promise.reject(new Error('not expected'))) },
      );
      const { call } = await client.headBucket(OPTIONS);
      expect(Object.keys(call.phases)).toEqual(phases);
      expect(call).toMatchObject({
        proxy: `127.0.0.1:${proxy.port}`,
        remoteAddress: '127.0.0.1',
        status: 200,
      });
      const bytes = Buffer.from('content');
      const put = await client.putObject(
        'key',
        { sizeBytes: 7, sha256: '', md5: '', chunks: () => [bytes] },
        OPTIONS,
      );
      expect(put.call.reusedConnection).toBe(true);
      expect(bodies).toEqual(['', 'content']);
      expect(server.headers[0]).toMatchObject({ host: `my-minio:${server.port}` });
      expect(server.headers[0]).not.toHaveProperty('proxy-authorization');
      const first =
        scheme === 'https' ? `CONNECT my-minio:${server.port}` : `HEAD http://my-minio:${server.port}/bucket`;
      expect(proxy.requests[0]).toBe(first);
    },
  );

  it('is asked for with the Host header that was signed', async () => {
    const server = await serveHttp((_request, response) => response.end());
    const proxy = await serveProxy();
    const endpoint = `http://my-minio.storage.svc.:${server.port}`;
    await clientOf({ endpoint, proxy: { url: proxy.url } }).headBucket(OPTIONS);
    expect(proxy.requests).toEqual([`HEAD http://my-minio.storage.svc:${server.port}/bucket`]);
  });

  it('sends no credentials if there are none', async () => {
    const server = await serveHttp((_request, response) => response.end());
    const proxy = await serveProxy();
    await clientOf({ endpoint: server.url, proxy: { url: proxy.url } }).headBucket(OPTIONS);
    expect(proxy.headers[0]).not.toHaveProperty('proxy-authorization');
  });

  it.each(['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'NODE_USE_ENV_PROXY'])(
    'is never chosen by the environment: %s',
    async (name) => {
      const server = await serveHttp((_request, response) => response.end());
      const proxy = await serveProxy({ status: 502 });
      process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : proxy.url;
      onTestFinished(() => {
        delete process.env[name];
      });
      const { call } = await clientOf({ endpoint: server.url }).headBucket(OPTIONS);
      expect(call.status).toBe(200);
      expect(proxy.requests).toEqual([]);
    },
  );
});

describe('a proxy that fails', () => {
  const cases = [
    { status: 407, reason: 'ProxyRefused' },
    { status: 403, reason: 'ProxyRefused' },
    { status: 502, reason: 'StoreUnavailable' },
    { status: 503, reason: 'StoreUnavailable' },
    { status: 504, reason: 'StoreUnavailable' },
  ].flatMap((each) => ['http', 'https'].map((scheme) => ({ ...each, scheme })));
  it.each(cases)('with $status for $scheme is reported as $reason', async ({ status, reason, scheme }) => {
    const proxy = await serveProxy({ status });
    const client = clientOf({
      endpoint: `${scheme}://my-minio:9000`,
      proxy: { url: proxy.url, credentials: CREDENTIALS },
    });
    // A refusal of HEAD has no body that would show who sent it.
    const error = await failureOf(client.getBucketLocation(OPTIONS));
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(`${status}`);
    expect(error.message).not.toContain('proxy-password');
  });

  it('by refusing connections is ProxyUnreachable', async () => {
    const port = await closedPort();
    const proxy = { url: `http://127.0.0.1:${port}` };
    const error = await failureOf(clientOf({ endpoint: 'https://my-minio', proxy }).headBucket(OPTIONS));
    expect(error.reason).toBe('ProxyUnreachable');
    expect(error.message).toBe(
      `HeadBucket: connecting to proxy 127.0.0.1:${port} failed: connect ECONNREFUSED 127.0.0.1:${port}`,
    );
  });

  it('because its name does not exist is ProxyUnreachable', async () => {
    const resolver = fakeResolver(() =>
      Promise.reject(new LookupError('ENOTFOUND', 'the name does not exist')),
    );
    const client = clientOf(
      { endpoint: 'https://my-minio', proxy: { url: 'http://proxy:3128' } },
      { resolver },
    );
    const error = await failureOf(client.headBucket(OPTIONS));
    expect(error.reason).toBe('ProxyUnreachable');
    expect(error.message).toBe('HeadBucket: connecting to proxy proxy:3128 failed: the name does not exist');
    expect(Object.keys(error.call.phases)).toEqual(['dnsMs']);
  });

  it('the TLS handshake is ProxyUnreachable', async () => {
    const proxy = await serveProxy({ tls: await authority.issue() });
    const client = clientOf({ endpoint: 'https://my-minio', proxy: { url: proxy.url } });
    const error = await failureOf(client.headBucket(OPTIONS));
    expect(error.reason).toBe('ProxyUnreachable');
    expect(error.message).toContain(`TLS handshake with proxy 127.0.0.1:${proxy.port} failed: unable to`);
  });

  it.each([
    { name: 'an answer that is not HTTP', answer: 'SSH-2.0-OpenSSH_9.9\r\n\r\n' },
    { name: 'a closed connection', answer: '' },
  ])('with $name is ProxyUnreachable', async ({ answer }) => {
    const server = await serveTcp((socket) => {
      socket.once('data', () => socket.end(answer));
    });
    const client = clientOf({ endpoint: 'https://my-minio', proxy: { url: server.url } });
    expect((await failureOf(client.headBucket(OPTIONS))).reason).toBe('ProxyUnreachable');
  });

  it('by not answering is Timeout, which names the proxy', async () => {
    const server = await serveTcp(() => undefined);
    const client = clientOf({ endpoint: 'https://my-minio', proxy: { url: server.url } });
    using deadline = systemClock.deadline(50);
    const error = await failureOf(client.headBucket({ signal: deadline.signal }));
    expect(error.reason).toBe('Timeout');
    expect(error.message).toBe(
      `HeadBucket: opening a tunnel to my-minio through proxy 127.0.0.1:${server.port} timed out`,
    );
  });
});

describe('the address policy', () => {
  const policy = addressPolicy({ allowed: [] });

  it('applies to the proxy', async () => {
    const client = clientOf(
      { endpoint: 'https://my-minio', proxy: { url: 'http://proxy:3128' } },
      { addressPolicy: policy, resolver: resolvingTo('169.254.169.254') },
    );
    const error = await failureOf(client.headBucket(OPTIONS));
    expect(error.reason).toBe('AddressNotAllowed');
    expect(error.message).toContain('proxy resolves to 169.254.169.254');
  });

  it.each([
    ['http://169.254.169.254', '169.254.169.254 is a link-local address'],
    ['http://2130706433', '127.0.0.1 is a loopback address'],
    ['https://localhost:9000', 'localhost is a loopback name'],
    ['https://a.localhost.', 'a.localhost. is a loopback name'],
    ['http://metadata.google.internal', 'metadata.google.internal is the name of a metadata service'],
  ])('applies to the target behind it: %s', async (endpoint, finding) => {
    const proxy = await serveProxy();
    const allowed = addressPolicy({ allowed: ['127.0.0.2'] });
    const client = clientOf(
      { endpoint, proxy: { url: `http://proxy:${proxy.port}` } },
      { addressPolicy: allowed, resolver: resolvingTo('127.0.0.2') },
    );
    const error = await failureOf(client.headBucket(OPTIONS));
    expect(error.reason).toBe('AddressNotAllowed');
    expect(error.message).toContain(finding);
    expect(proxy.requests).toEqual([]);
  });
});
