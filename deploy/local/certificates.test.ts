import { once } from 'node:events';
import { get, createServer } from 'node:https';
import { expect, it } from 'vitest';

import { createAuthority, type LeafOptions } from './certificates.ts';

const YESTERDAY = new Date(Date.now() - 86_400_000);
const TOMORROW = new Date(Date.now() + 86_400_000);
const IN_AN_HOUR = new Date(Date.now() + 3_600_000);
const AN_HOUR_AGO = new Date(Date.now() - 3_600_000);

interface Case {
  readonly name: string;
  readonly leaf?: LeafOptions;
  readonly trusted?: 'issuer' | 'another';
  readonly host?: string;
  readonly want: string;
}

it.each<Case>([
  { name: "accepts a certificate for the server's IP address", want: 'ok' },
  { name: "accepts a certificate for the server's name", host: 'localhost', want: 'ok' },
  {
    name: 'rejects a certificate for another host',
    leaf: { hosts: ['elsewhere.test'] },
    want: 'ERR_TLS_CERT_ALTNAME_INVALID',
  },
  {
    name: 'rejects a certificate from an untrusted CA',
    trusted: 'another',
    want: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  },
  {
    name: 'rejects an expired certificate',
    leaf: { notBefore: YESTERDAY, notAfter: AN_HOUR_AGO },
    want: 'CERT_HAS_EXPIRED',
  },
  {
    name: 'rejects a certificate that is not yet valid',
    leaf: { notBefore: IN_AN_HOUR, notAfter: TOMORROW },
    want: 'CERT_NOT_YET_VALID',
  },
])('a client $name: $want', async ({ leaf, trusted = 'issuer', host = '127.0.0.1', want }) => {
  const authority = await createAuthority();
  const ca = trusted === 'issuer' ? authority.certificate : (await createAuthority('another')).certificate;
  expect(await connect({ ...(await authority.issue(leaf)), ca, host })).toBe(want);
});

async function connect({
  cert,
  key,
  ca,
  host,
}: Record<'cert' | 'key' | 'ca' | 'host', string>): Promise<string> {
  const server = createServer({ cert, key }, (_, response) => response.end('ok')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  try {
    const [response] = await once(
      get({ host, port: address.port, ca, agent: false, family: 4, lookup: undefined }),
      'response',
    );
    response.resume();
    return 'ok';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  } finally {
    server.close();
  }
}
