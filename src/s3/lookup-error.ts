export type LookupErrorCode =
  /** The name does not exist or has no address. */
  | 'ENOTFOUND'
  /** The name server did not answer or could not answer. */
  | 'EAI_AGAIN';

/** A host name did not resolve. The codes are those of getaddrinfo. */
export class LookupError extends Error {
  override readonly name = 'LookupError';
  readonly code: LookupErrorCode;

  constructor(code: LookupErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
