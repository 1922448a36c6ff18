import type { Attributes, Span } from '@opentelemetry/api';
import { describe, expect, it } from 'vitest';

import { runResult } from '../../test/support/run-result.ts';
import type { CallResult } from '../api/run.ts';
import { describeCall } from './spans.ts';

function attributesOf(call: Partial<CallResult>): Attributes {
  const [described] = runResult({ call }).steps.flatMap(({ calls }) => calls);
  const attributes: Attributes = {};
  const span = {
    updateName: () => undefined,
    setAttributes: (given: Attributes) => Object.assign(attributes, given),
  } as unknown as Span;
  if (described === undefined) throw new Error('the run has no calls');
  describeCall(span, {
    endpoint: new URL('https://minio.example.com'),
    bucket: 'bucket',
    key: 'key',
    call: described,
  });
  return attributes;
}

describe('the attributes of a call', () => {
  it('follow the semantic conventions for TLS', () => {
    const attributes = attributesOf({
      tlsProtocol: 'TLSv1.3',
      certificateNotAfter: '2027-01-01T00:00:00.000Z',
    });
    expect(attributes).toMatchObject({
      'server.address': 'minio.example.com',
      'server.port': 443,
      'network.protocol.version': '1.1',
      'tls.protocol.name': 'tls',
      'tls.protocol.version': '1.3',
      'tls.server.not_after': '2027-01-01T00:00:00.000Z',
    });
  });

  it('include the peer, which may be a proxy', () => {
    expect(attributesOf({ remoteAddress: '10.0.0.1', remotePort: 3128 })).toMatchObject({
      'network.peer.address': '10.0.0.1',
      'network.peer.port': 3128,
    });
  });

  it('have no TLS without a handshake', () => {
    expect(Object.keys(attributesOf({})).filter((key) => key.startsWith('tls.'))).toEqual([]);
  });

  it.each([
    ['HeadBucket', 'HEAD'],
    ['GetObject', 'GET'],
    ['ListObjectsV2', 'GET'],
    ['CreateBucket', 'PUT'],
    ['PutObject', 'PUT'],
    ['DeleteObject', 'DELETE'],
    ['AbortMultipartUpload', 'DELETE'],
    ['DeleteObjects', 'POST'],
  ])('include the HTTP method of %s: %s', (operation, method) => {
    expect(attributesOf({ operation })['http.request.method']).toBe(method);
  });
});
