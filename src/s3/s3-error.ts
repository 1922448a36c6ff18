import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { CallResult } from '../api/run.ts';
import type { Answerer } from './answered-by.ts';

/** Why a call failed. */
export interface Fault {
  readonly reason: Reason;
  /** One-line description of the failure. */
  readonly message: string;
  /** Who caused the failure. */
  readonly by: Answerer;
  /** Error code from the store. */
  readonly code?: string | undefined;
}

/** A failed S3 call. */
export class S3Error extends ReasonedError {
  override readonly name = 'S3Error';
  readonly by: Answerer;
  /** Error code from the store, for example `NoSuchKey`. */
  readonly code: string | undefined;
  /** Record of the call up to the failure. */
  readonly call: CallResult;

  constructor(fault: Fault, call: CallResult, cause?: unknown) {
    super(fault.reason, fault.message, { cause });
    this.by = fault.by;
    this.code = fault.code;
    this.call = call;
    call.reason = fault.reason;
    call.message = this.message;
  }
}
