import type { RunTarget } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import type { AddressPolicy } from './address-policy.ts';
import { proxyOf } from './proxy.ts';
import type { Resolver } from './resolver.ts';
import type { TargetKeyring } from './target-keys.ts';
import { Transport } from './transport.ts';

export interface TargetTransportDeps {
  readonly clock: Clock;
  readonly keyring: TargetKeyring;
  /** Addresses that may be connected to. Default: any. */
  readonly addressPolicy?: AddressPolicy | undefined;
  /** Shared by all runs. Default: the system's resolver, without cache and limits. */
  readonly resolver?: Resolver | undefined;
}

/**
 * Creates the transport to `endpoint` with the certificates and the proxy of a target.
 *
 * @throws {ReasonedError} `SecretInvalid` if a certificate or key of the target cannot be used.
 */
export function createTargetTransport(
  target: RunTarget,
  endpoint: URL,
  { clock, keyring, addressPolicy, resolver }: TargetTransportDeps,
): Transport {
  const { secureContext, proxyContext } = keyring.keysOf(target);
  return new Transport({
    endpoint,
    secureContext,
    serverName: target.tls?.serverName,
    proxy: target.proxy && proxyOf(target.proxy),
    proxyContext,
    clock,
    addressPolicy,
    resolver,
  });
}
