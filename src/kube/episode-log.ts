import { errorFields } from './error-fields.ts';
import type { KubeLogger } from './kube-client.ts';

/** Logs the failures of one operation: once for each reason, until the operation succeeds. */
export class EpisodeLog {
  readonly #log: KubeLogger;
  readonly #fields: object;
  readonly #messages: { readonly failed: string; readonly recovered: string };
  #loggedReason: string | undefined;

  constructor(
    log: KubeLogger,
    fields: object,
    messages: { readonly failed: string; readonly recovered: string },
  ) {
    this.#log = log;
    this.#fields = fields;
    this.#messages = messages;
  }

  failed(error: unknown): void {
    const fields = errorFields(error);
    if (this.#loggedReason === fields.reason) return;
    this.#loggedReason = fields.reason;
    this.#log.warn({ ...this.#fields, ...fields }, this.#messages.failed);
  }

  succeeded(): void {
    if (this.#loggedReason === undefined) return;
    this.#loggedReason = undefined;
    this.#log.info(this.#fields, this.#messages.recovered);
  }
}
