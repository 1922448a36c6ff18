import { hasReason, type KubeClient } from './kube-client.ts';
import type { KubeObject, ResourceType } from './objects.ts';
import { type ListOptions, type ListPage, listPage } from './resources.ts';

/** Reads lists page by page. */
export class PagedList {
  readonly #client: KubeClient;
  readonly #resource: ResourceType;
  /** Lists that are read later keep a reduced page size, so that only one page is ever too long. */
  #pageSize: number;

  /** @param pageSize initial number of objects per page. */
  constructor(client: KubeClient, resource: ResourceType, pageSize: number) {
    this.#client = client;
    this.#resource = resource;
    this.#pageSize = pageSize;
  }

  /**
   * Yields the pages of one list. If a page is too long for the client, halves the page size and continues, so that a
   * few large objects do not make the list unreadable.
   *
   * @throws what `client.request` throws. `Expired` if the list took too long: it then has to start over.
   */
  async *pages(
    options: Omit<ListOptions, 'limit' | 'continue'>,
    signal: AbortSignal,
  ): AsyncGenerator<ListPage<KubeObject>, void, undefined> {
    let next: string | undefined;
    do {
      const page = await this.#readPage({ ...options, continue: next }, signal);
      yield page;
      next = page.metadata.continue;
    } while (next);
  }

  async #readPage(options: ListOptions, signal: AbortSignal): Promise<ListPage<KubeObject>> {
    for (;;) {
      try {
        return await listPage(this.#client, this.#resource, { ...options, limit: this.#pageSize }, signal);
      } catch (error) {
        if (!hasReason(error, 'ResponseTooLong') || this.#pageSize === 1) throw error;
        this.#pageSize = Math.ceil(this.#pageSize / 2);
      }
    }
  }
}
