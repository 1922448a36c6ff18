import { describe, expect, it } from 'vitest';

import { FAILURE_CASES, RESPONSE_CASES, RUN_CASES } from '../../test/support/reason-cases.ts';
import { REASONS, type Reason } from '../api/reasons.ts';
import { answeredBy, type EndpointHistory, failedBy, NO_HISTORY } from './answered-by.ts';
import { networkFault } from './network-faults.ts';
import { OPERATIONS } from './operations.ts';
import { responseFault } from './response-faults.ts';
import { s3CodesOf } from './s3-codes.ts';
import { type Exchange, TransportError } from './transport.ts';

const AFTER_STORE: EndpointHistory = { provedS3: true, sendsRequestIds: true, hasResponded: true };
/** Reasons that no response can cause. */
const WITHOUT_RESPONSE: readonly Reason[] = [
  'SecretMissing',
  'SecretInvalid',
  'AddressNotAllowed',
  'WebIdentityRejected',
  'WebIdentityUnavailable',
  'Cancelled',
];

function exchangeOf(rest: Partial<Exchange>): Exchange {
  return {
    startMs: 0,
    endMs: 0,
    phases: {},
    bytesSent: 0,
    bytesReceived: 0,
    reusedConnection: false,
    headers: {},
    ...rest,
  };
}

it.each(RESPONSE_CASES)(
  '$answer is $reason',
  ({ reason, status, headers = {}, text = '', operation = 'GetObject', afterStore }) => {
    const exchange = exchangeOf({ status, headers, bytesReceived: text.length });
    const response = { ...OPERATIONS[operation], exchange, text };
    const { by } = answeredBy(response, afterStore === true ? AFTER_STORE : NO_HISTORY);
    const fault = responseFault(
      { ...response, operation, signedAtMs: 0, host: 'my-minio:9000', bucket: 'bucket' },
      by,
    );
    expect(fault.reason).toBe(reason);
    expect(fault.message).toMatch(new RegExp(`^${status} ?`));
    expect(fault.message).not.toContain('t0ken');
  },
);

it.each(FAILURE_CASES)('$answer is $reason: $code', (failure) => {
  const { reason, phase, code, name, afterStore, afterResponse, asksForCertificate } = failure;
  const cause = Object.assign(new Error('it failed'), code !== undefined && { code });
  if (name !== undefined) cause.name = name;
  const exchange = exchangeOf(asksForCertificate === true ? { clientCertificateRequested: true } : {});
  const error = new TransportError(cause, exchange, phase);
  const fault = networkFault(error, {
    host: 'my-minio:9000',
    hasResponded: afterResponse === true,
    hasClientCertificate: failure.hasCertificate === true,
    by: failedBy(error, afterStore === true ? AFTER_STORE : NO_HISTORY),
  });
  expect(fault.reason).toBe(reason);
});

describe('the cases', () => {
  it('cover every reason that a response can cause', () => {
    const covered = new Set<Reason | undefined>([
      ...[...RESPONSE_CASES, ...FAILURE_CASES, ...RUN_CASES].map(({ reason }) => reason),
      ...WITHOUT_RESPONSE,
    ]);
    const missing = (Object.keys(REASONS) as Reason[]).filter(
      (reason) => !covered.has(reason) && s3CodesOf(reason).length === 0,
    );
    expect(missing).toEqual([]);
  });
});
