import fc from 'fast-check';
import { expect, it } from 'vitest';

import { CANARY, expectNoCanary } from '../../test/support/canary.ts';
import { generatedResponse } from '../../test/support/exchanges.ts';
import { REASONS } from '../api/reasons.ts';
import { answeredBy, failedBy } from './answered-by.ts';
import { networkFault } from './network-faults.ts';
import { type OperationName, OPERATIONS } from './operations.ts';
import { Redactor } from './redactor.ts';
import { responseFault } from './response-faults.ts';
import { type Exchange, TransportError } from './transport.ts';

const EXCHANGES = 10_000;

/** Failures of the prober itself, which no peer can cause. */
const PROBER_CODE =
  /^(EMFILE|ENFILE|ENOMEM|ENOBUFS|OUT_OF_MEM|ERR_(OUT_OF|MEMORY|INVALID_ARG)\w*|UND_ERR_\w+)$/;

const history = fc.record({
  provedS3: fc.boolean(),
  sendsRequestIds: fc.boolean(),
  hasResponded: fc.boolean(),
});

function exchangeOf(rest: Partial<Exchange>): Exchange {
  return {
    startMs: 0,
    endMs: 1,
    phases: {},
    bytesSent: 0,
    bytesReceived: 0,
    reusedConnection: false,
    headers: {},
    ...rest,
  };
}

it('gives every failed response a reason that does not blame the prober, and shows no secret', () => {
  const redactor = new Redactor([CANARY]);
  const operation = fc.constantFrom(...(Object.keys(OPERATIONS) as OperationName[]));
  fc.assert(
    fc.property(generatedResponse([CANARY]), operation, history, (sent, name, known) => {
      const { method, isObject } = OPERATIONS[name];
      const text = method === 'HEAD' ? '' : sent.text;
      const exchange = exchangeOf({ ...sent, bytesReceived: text.length });
      const response = { method, isObject, exchange, text };
      const { by } = answeredBy(response, known);
      const { reason, message, code } = responseFault(
        { ...response, operation: name, signedAtMs: 0, host: 'my-minio:9000', bucket: 'bucket' },
        by,
      );
      expect(Object.keys(REASONS)).toContain(reason);
      expect(['ProberError', 'ContentMismatch']).not.toContain(reason);
      expect(REASONS[reason].verdict).toBe('Failed');
      expectNoCanary({ message: redactor.redact(message), code: redactor.redact(code ?? '') });
    }),
    { numRuns: EXCHANGES },
  );
});

it('gives every failure of a peer a reason that does not blame the prober', () => {
  const code = fc.oneof(
    fc.stringMatching(/^(E|ERR_SSL_|ERR_TLS_|HPE_|CERT_)?[A-Z_]{1,30}$/),
    fc.constantFrom(
      'ECONNRESET',
      'ECONNREFUSED',
      'UND_ERR_SOCKET',
      'UNSPECIFIED',
      'constructor',
      '__proto__',
    ),
  );
  const phase = fc.constantFrom('dnsMs', 'connectMs', 'tlsMs', 'sendMs', 'firstByteMs', 'bodyMs');
  fc.assert(
    fc.property(
      code.filter((each) => each === 'UND_ERR_SOCKET' || !PROBER_CODE.test(each)),
      phase,
      history,
      fc.boolean(),
      (each, failedPhase, known, hasClientCertificate) => {
        const cause = Object.assign(new Error('it failed'), { code: each });
        const error = new TransportError(cause, exchangeOf({}), failedPhase);
        const by = failedBy(error, known);
        const { reason } = networkFault(error, { ...known, hasClientCertificate, host: 'my-minio:9000', by });
        expect(by).not.toBe('prober');
        expect(REASONS[reason].verdict).toBe('Failed');
      },
    ),
    { numRuns: EXCHANGES },
  );
});
