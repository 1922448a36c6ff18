import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { CallResult } from '../api/run.ts';

/** Why a call failed. */
export interface Fault {
  readonly reason: Reason;
  /** What happened, for the middle of a sentence. */
  readonly message: string;
  /** The store's own code. */
  readonly code?: string | undefined;
}

/** An S3 call that did not do what it should. */
export class S3Error extends ReasonedError {
  override readonly name = 'S3Error';
  /** The store's own code, for example `NoSuchKey`; absent when it gave none. minio looks at it. */
  readonly code: string | undefined;
  /** The call as far as it went. */
  readonly call: CallResult;

  constructor(fault: Fault, call: CallResult, cause?: unknown) {
    super(fault.reason, fault.message, { cause });
    this.code = fault.code;
    this.call = call;
    call.reason = fault.reason;
    call.message = this.message;
  }
}
