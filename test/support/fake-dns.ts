import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';

import { onTestFinished } from 'vitest';

/** Source: RFC 1035 section 4.1.1. */
export type ResponseCode = 'SERVFAIL' | 'NXDOMAIN' | 'REFUSED';

/** What the server says about a name. A family without addresses gets an empty answer. */
export type Zone = Readonly<
  Record<string, { readonly A?: RecordAnswer; readonly AAAA?: RecordAnswer } | ResponseCode | 'hangs'>
>;

type RecordAnswer =
  | readonly string[]
  | ResponseCode
  | 'hangs'
  | { readonly delayed: Promise<readonly string[]> };

export interface FakeDns {
  readonly port: number;
  /** `TYPE name` of each query, in order of arrival. */
  readonly queries: string[];
}

export interface FakeDnsOptions {
  readonly ttlSeconds?: number;
  /** If true, answers over UDP are cut off, so that the client asks again over TCP. */
  readonly truncates?: boolean;
  /** Canonical name through which all addresses are given. */
  readonly alias?: string;
}

const CODES: Readonly<Record<ResponseCode, number>> = { SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 };
const TYPES: Readonly<Record<number, 'A' | 'AAAA'>> = { 1: 'A', 28: 'AAAA' };

interface Query {
  readonly id: Buffer;
  readonly name: string;
  readonly type: 'A' | 'AAAA';
  /** The question section. */
  readonly question: Buffer;
}

/** Starts a name server on 127.0.0.1, over UDP and TCP, that stops after the test. Unknown names do not exist. */
export async function serveDns(zone: Zone, options: FakeDnsOptions = {}): Promise<FakeDns> {
  const queries: string[] = [];
  const tcp = net.createServer().listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const { port } = tcp.address() as AddressInfo;
  const udp = dgram.createSocket('udp4');
  udp.bind(port, '127.0.0.1');
  await once(udp, 'listening');
  onTestFinished(() => {
    udp.close();
    tcp.close();
  });

  async function answer(message: Buffer, send: (answer: Buffer) => void, isUdp: boolean): Promise<void> {
    const query = parseQuery(message);
    queries.push(`${query.type} ${query.name}`);
    const entry = zone[query.name] ?? 'NXDOMAIN';
    const said = typeof entry === 'string' ? entry : (entry[query.type] ?? []);
    if (said === 'hangs') return;
    if (typeof said === 'string') return send(response(query, { code: CODES[said] }));
    const addresses = 'delayed' in said ? await said.delayed : said;
    const isTruncated = options.truncates === true && isUdp;
    send(response(query, isTruncated ? { isTruncated } : { addresses, ...options }));
  }

  udp.on('message', (message, { port: from, address }) => {
    void answer(
      message,
      (bytes) => {
        udp.send(bytes, from, address);
      },
      true,
    );
  });
  tcp.on('connection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      void answer(
        data.subarray(2),
        (bytes) => void socket.write(Buffer.concat([uint16(bytes.length), bytes])),
        false,
      );
    });
  });
  return { port, queries };
}

interface Answer extends FakeDnsOptions {
  readonly code?: number;
  readonly addresses?: readonly string[];
  readonly isTruncated?: boolean;
}

/** Source: RFC 1035 section 4.1. */
function response(
  query: Query,
  { code = 0, addresses = [], isTruncated, alias, ttlSeconds = 30 }: Answer,
): Buffer {
  const flags = 0x84_80 | (isTruncated === true ? 0x02_00 : 0) | code;
  const aliases =
    alias === undefined || addresses.length === 0 ? [] : [record(POINTER, 5, ttlSeconds, nameBytes(alias))];
  const owner = alias === undefined ? POINTER : nameBytes(alias);
  const type = query.type === 'A' ? 1 : 28;
  const records = addresses.map((address) => record(owner, type, ttlSeconds, addressBytes(address)));
  const counts = [flags, 1, aliases.length + records.length, 0, 0].map(uint16);
  return Buffer.concat([query.id, ...counts, query.question, ...aliases, ...records]);
}

/** Refers to the name in the question. */
const POINTER = Buffer.from([0xc0, 12]);

function record(owner: Buffer, type: number, ttlSeconds: number, data: Buffer): Buffer {
  return Buffer.concat([
    owner,
    uint16(type),
    uint16(1),
    uint16(0),
    uint16(ttlSeconds),
    uint16(data.length),
    data,
  ]);
}

function parseQuery(message: Buffer): Query {
  const labels: string[] = [];
  let at = 12;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += length + 1;
  }
  const type = TYPES[message.readUInt16BE(at + 1)] ?? 'A';
  return { id: message.subarray(0, 2), name: labels.join('.'), type, question: message.subarray(12, at + 5) };
}

function nameBytes(name: string): Buffer {
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function addressBytes(address: string): Buffer {
  if (net.isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const missing = 8 - groups(head).length - groups(tail).length;
  return Buffer.concat(
    [...groups(head), ...Array.from({ length: missing }, () => 0), ...groups(tail)].map(uint16),
  );
}

function groups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number(`0x${group}`));
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
