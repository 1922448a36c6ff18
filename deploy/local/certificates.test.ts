import { once } from 'node:events';
import { get, createServer } from 'node:https';
import { expect, it } from 'vitest';

import { makeAuthority, type LeafOptions } from './certificates.ts';

const YESTERDAY = new Date(Date.now() - 86_400_000);
const TOMORROW = new Date(Date.now() + 86_400_000);
const IN_AN_HOUR = new Date(Date.now() + 3_600_000);
const AN_HOUR_AGO = new Date(Date.now() - 3_600_000);

interface Case {
  readonly name: string;
  readonly leaf?: LeafOptions;
  readonly trusted?: 'its own' | 'another';
  readonly host?: string;
  readonly want: string;
}

it.each<Case>([
  { name: 'a certificate by address', want: 'ok' },
  { name: 'a certificate by name', host: 'localhost', want: 'ok' },
  { name: 'another host', leaf: { hosts: ['elsewhere.test'] }, want: 'ERR_TLS_CERT_ALTNAME_INVALID' },
  { name: 'another authority', trusted: 'another', want: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
  {
    name: 'a certificate that has expired',
    leaf: { notBefore: YESTERDAY, notAfter: AN_HOUR_AGO },
    want: 'CERT_HAS_EXPIRED',
  },
  {
    name: 'a certificate of the future',
    leaf: { notBefore: IN_AN_HOUR, notAfter: TOMORROW },
    want: 'CERT_NOT_YET_VALID',
  },
])('a client meets $name: $want', async ({ leaf, trusted = 'its own', host = '127.0.0.1', want }) => {
  const authority = await makeAuthority();
  const ca = trusted === 'its own' ? authority.certificate : (await makeAuthority('another')).certificate;
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
