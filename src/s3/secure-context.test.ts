import { once } from 'node:events';
import { X509Certificate } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';

import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { type CertificateAuthority, createAuthority } from '../../deploy/local/certificates.ts';
import { serveHttp, serveTcp } from '../../test/support/http-server.ts';
import { resolvingTo } from '../../test/support/fake-resolver.ts';
import type { RunTarget } from '../api/run.ts';
import { systemClock } from '../clock/system-clock.ts';
import type { Resolver } from './resolver.ts';
import { S3Client } from './s3-client.ts';
import { S3Error } from './s3-error.ts';
import { createTargetContext } from './secure-context.ts';
import { TargetKeyring } from './target-keys.ts';

const NEVER = new AbortController().signal;

let authority: CertificateAuthority;
let other: CertificateAuthority;
let clientCertificate: { readonly certificate: string; readonly privateKey: string };
beforeAll(async () => {
  authority = await createAuthority();
  other = await createAuthority('another CA');
  const { cert, key } = await authority.issue({ hosts: ['probe'], usage: 'clientAuth' });
  clientCertificate = { certificate: cert, privateKey: key };
});

function clientOf(target: Pick<RunTarget, 'endpoint' | 'tls'>, resolver?: Resolver): S3Client {
  const credentials = { accessKey: 'access', secretKey: 'secret' };
  const client = new S3Client({ name: 'my-minio', region: 'us-east-1', credentials, ...target }, 'bucket', {
    clock: systemClock,
    keyring: new TargetKeyring(),
    version: '1.2.3',
    originMs: systemClock.monotonicMs(),
    resolver,
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

function fingerprints(kind: 'default' | 'system' | 'bundled'): Set<string> {
  return new Set(tls.getCACertificates(kind).map((pem) => new X509Certificate(pem).fingerprint256));
}

async function serveName(
  hosts: readonly string[],
): Promise<{ url: string; names: (string | false | null)[] }> {
  const names: (string | false | null)[] = [];
  const server = await serveHttp(
    (request, response) => {
      names.push((request.socket as tls.TLSSocket).servername ?? null);
      response.end();
    },
    { tls: await authority.issue({ hosts }) },
  );
  return { url: server.url, names };
}

describe('a client certificate', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('is sent to a server that requires it: %s', async (version) => {
    const server = await serveHttp((_request, response) => response.end(), {
      tls: {
        ...(await authority.issue()),
        ca: authority.certificate,
        requestCert: true,
        maxVersion: version,
      },
    });
    const client = clientOf({ endpoint: server.url, tls: { ca: authority.certificate, clientCertificate } });
    const { call } = await client.headBucket({ signal: NEVER });
    expect(call).toMatchObject({ status: 200, tlsProtocol: version });
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('that is missing has a reason of its own: %s', async (version) => {
    const server = await serveHttp((_request, response) => response.end(), {
      tls: {
        ...(await authority.issue()),
        ca: authority.certificate,
        requestCert: true,
        maxVersion: version,
      },
    });
    const client = clientOf({ endpoint: server.url, tls: { ca: authority.certificate } });
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe('ClientCertificateRequired');
    expect(server.requests).toEqual([]);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('from another authority is rejected: %s', async (version) => {
    const server = await serveHttp((_request, response) => response.end(), {
      tls: { ...(await authority.issue()), ca: other.certificate, requestCert: true, maxVersion: version },
    });
    const client = clientOf({ endpoint: server.url, tls: { ca: authority.certificate, clientCertificate } });
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe('ClientCertificateRejected');
  });

  it('may have its chain in any order', async () => {
    const intermediate = await authority.createIntermediate('issuing CA');
    const { cert, key } = await intermediate.issue({ usage: 'clientAuth' });
    const server = await serveHttp((_request, response) => response.end(), {
      tls: { ...(await authority.issue()), ca: authority.certificate, requestCert: true },
    });
    const chain = { certificate: `${intermediate.certificate}\n${cert}`, privateKey: key };
    const client = clientOf({
      endpoint: server.url,
      tls: { ca: authority.certificate, clientCertificate: chain },
    });
    expect((await client.headBucket({ signal: NEVER })).call.status).toBe(200);
  });

  it.each([
    {
      name: 'no certificate',
      certificate: 'probe',
      want: 'the client certificate contains no PEM certificate',
    },
    {
      name: 'certificate and key swapped',
      swap: true,
      want: 'the client certificate contains no PEM certificate',
    },
    { name: 'no key', privateKey: '', want: "the client certificate's key contains no PEM private key" },
    {
      name: 'a damaged key',
      privateKey: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----',
      want: "the client certificate's private key cannot be parsed",
    },
    {
      name: 'an encrypted key',
      privateKey: '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----',
      want: "the client certificate's private key is encrypted; store it without a passphrase",
    },
    {
      name: 'a key encrypted in the old format',
      privateKey:
        '-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,0A\n\nAAAA\n-----END RSA PRIVATE KEY-----',
      want: "the client certificate's private key is encrypted; store it without a passphrase",
    },
    {
      name: 'the key of another certificate',
      foreignKey: true,
      want: 'the private key does not belong to the client certificate',
    },
  ])('is checked: $name', async ({ certificate, privateKey, swap, foreignKey, want }) => {
    const pair = {
      certificate: certificate ?? clientCertificate.certificate,
      privateKey: privateKey ?? clientCertificate.privateKey,
    };
    if (swap === true) [pair.certificate, pair.privateKey] = [pair.privateKey, pair.certificate];
    if (foreignKey === true) pair.privateKey = (await authority.issue()).key;
    const create = (): unknown => createTargetContext({ clientCertificate: pair });
    expect(create).toThrow(expect.objectContaining({ reason: 'SecretInvalid', message: want }) as Error);
  });
});

describe('trusted authorities', () => {
  it('may be only the issuing one', async () => {
    const intermediate = await authority.createIntermediate('issuing CA');
    const server = await serveHttp((_request, response) => response.end(), {
      tls: await intermediate.issue(),
    });
    const client = clientOf({ endpoint: server.url, tls: { ca: intermediate.certificate } });
    expect((await client.headBucket({ signal: NEVER })).call.status).toBe(200);
  });

  it('may be several, one of which fits', async () => {
    const server = await serveHttp((_request, response) => response.end(), { tls: await authority.issue() });
    const client = clientOf({
      endpoint: server.url,
      tls: { ca: `# bundle\n${other.certificate}\r\n\n${authority.certificate}` },
    });
    expect((await client.headBucket({ signal: NEVER })).call.status).toBe(200);
  });

  it.each([
    { name: 'indented', paste: (pem: string) => pem.replaceAll(/^/gm, '    ') },
    { name: 'with \\n for line breaks', paste: (pem: string) => pem.replaceAll('\n', '\\n') },
    { name: 'in one line', paste: (pem: string) => pem.replaceAll('\n', ' ') },
    {
      name: 'with CRLF and a byte order mark',
      paste: (pem: string) => `\uFEFF${pem.replaceAll('\n', '\r\n')}`,
    },
  ])('may be pasted $name', async ({ paste }) => {
    const server = await serveHttp((_request, response) => response.end(), { tls: await authority.issue() });
    const client = clientOf({ endpoint: server.url, tls: { ca: paste(authority.certificate) } });
    expect((await client.headBucket({ signal: NEVER })).call.status).toBe(200);
  });

  it("are the system's and Node's if there is no bundle", () => {
    createTargetContext();
    const trusted = fingerprints('default');
    for (const each of fingerprints('system')) expect(trusted).toContain(each);
    for (const each of fingerprints('bundled')) expect(trusted).toContain(each);
  });

  it('are shared by the targets without a bundle', () => {
    const keyring = new TargetKeyring();
    const credentials = { accessKey: 'access', secretKey: 'secret' };
    const contexts = ['https://one', 'HTTPS://two'].map(
      (endpoint) =>
        keyring.keysOf({ name: endpoint, endpoint, region: 'us-east-1', credentials }).secureContext,
    );
    expect(contexts[0]).toBeDefined();
    expect(contexts[1]).toBe(contexts[0]);
  });

  it('give no hint for Node developers if none fits', async () => {
    const intermediate = await authority.createIntermediate('issuing CA');
    const certificates = [await authority.issue(), await intermediate.issue()];
    for (const certificate of certificates) {
      const server = await serveHttp((_request, response) => response.end(), { tls: certificate });
      for (const bundle of [{}, { ca: other.certificate }]) {
        const client = clientOf({ endpoint: server.url, tls: bundle });
        const error = await failureOf(client.headBucket({ signal: NEVER }));
        expect(error.reason).toBe('TLSUnknownAuthority');
        expect(error.message).toMatch(/failed: unable to (?:verify the first|get local issuer) certificate$/);
      }
    }
  });
});

describe('the name of the server', () => {
  it('is serverName, for SNI and for the certificate check', async () => {
    const { url, names } = await serveName(['store.example']);
    const client = clientOf({
      endpoint: url,
      tls: { ca: authority.certificate, serverName: 'store.example' },
    });
    await client.headBucket({ signal: NEVER });
    expect(names).toEqual(['store.example']);
  });

  it('can be an address, which is not sent', async () => {
    const { url, names } = await serveName(['10.0.0.1']);
    const client = clientOf({ endpoint: url, tls: { ca: authority.certificate, serverName: '10.0.0.1' } });
    await client.headBucket({ signal: NEVER });
    expect(names).toEqual([false]);
  });

  it('must be in the certificate', async () => {
    const { url } = await serveName(['127.0.0.1']);
    const client = clientOf({
      endpoint: url,
      tls: { ca: authority.certificate, serverName: 'store.example' },
    });
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe('TLSHostnameMismatch');
    expect(error.message).toContain('store.example');
  });

  it('has no trailing dot', async () => {
    const { url, names } = await serveName(['localhost']);
    const endpoint = url.replace('127.0.0.1', 'localhost.');
    const client = clientOf({ endpoint, tls: { ca: authority.certificate } }, resolvingTo('127.0.0.1'));
    await client.headBucket({ signal: NEVER });
    expect(names).toEqual(['localhost']);
  });
});

it('a server that closes every connection after its response is no fault', async () => {
  const server = await serveTcp((socket: net.Socket) => {
    socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\nx-amz-request-id: 17F0\r\n\r\n'));
  });
  const client = clientOf({ endpoint: server.url });
  for (let call = 0; call < 3; call += 1) {
    const { call: result } = await client.headBucket({ signal: NEVER });
    expect(result).toMatchObject({ status: 200, reusedConnection: false });
    const last = server.connections.at(-1);
    if (last?.closed === false) await once(last, 'close');
  }
  expect(server.connections).toHaveLength(3);
});

it('a test authority signs its intermediates', async () => {
  const intermediate = await authority.createIntermediate('issuing CA');
  const root = new X509Certificate(authority.certificate);
  expect(new X509Certificate(intermediate.certificate).verify(root.publicKey)).toBe(true);
});
