import type { LookupAddress } from 'node:dns';
import net from 'node:net';

import { parseAddressRange } from '../api/address-range.ts';
import { ReasonedError } from '../api/reasons.ts';

/**
 * Limits which addresses the prober connects to. In a cluster, the user who sets an endpoint is usually not the
 * administrator who runs the prober.
 */
export interface AddressPolicy {
  /** @returns the kind of a blocked address, for example `a link-local address`, or undefined if it is allowed. */
  blockedKind(address: string): string | undefined;
}

interface BlockedRanges {
  /** Noun phrase for messages: `127.0.0.1 is a loopback address`. */
  readonly kind: string;
  readonly ranges: readonly string[];
}

/**
 * Addresses that never host a store but may expose the prober's node or cloud credentials. Private networks are not
 * listed because most stores run there.
 */
const BLOCKED: readonly BlockedRanges[] = [
  // RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.
  { kind: 'a loopback address', ranges: ['127.0.0.0/8', '::1'] },
  // RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2. Connecting to them reaches the local host.
  { kind: 'an unspecified address', ranges: ['0.0.0.0/8', '::'] },
  // RFC 3927, RFC 4291 section 2.5.6. Most clouds run their metadata service at 169.254.169.254.
  { kind: 'a link-local address', ranges: ['169.254.0.0/16', 'fe80::/10'] },
  {
    kind: 'a cloud metadata address',
    ranges: [
      // Amazon EC2 User Guide, "Use the Instance Metadata Service" (fd00:ec2::254); Amazon EKS User Guide, "EKS Pod
      // Identity" (fd00:ec2::23).
      'fd00:ec2::/32',
      // Google Compute Engine, "View and query VM metadata".
      'fd20:ce::254',
      // Alibaba Cloud ECS User Guide, "Instance metadata".
      '100.100.100.200',
      // Microsoft Learn, "What is IP address 168.63.129.16?".
      '168.63.129.16',
      // Oracle Cloud Infrastructure Classic, "Retrieving Instance Metadata".
      '192.0.0.192',
    ],
  },
  // RFC 5771, RFC 4291 section 2.7.
  { kind: 'a multicast address', ranges: ['224.0.0.0/4', 'ff00::/8'] },
  // RFC 919 section 7.
  { kind: 'a broadcast address', ranges: ['255.255.255.255'] },
];

/**
 * 96-bit IPv6 prefixes that an IPv4 address can follow. `net.BlockList` handles `::ffff:` (IPv4-mapped) itself.
 * Sources: RFC 4291 section 2.5.5.1 (IPv4-compatible), RFC 2765 section 2.1 (IPv4-translated), RFC 6052 section 2.1 and
 * RFC 8215 section 3 (NAT64).
 */
const EMBEDDING_PREFIXES = ['::', '::ffff:0:', '64:ff9b::', '64:ff9b:1::'];

/**
 * Blocks loopback, link-local, multicast, broadcast, unspecified and cloud metadata addresses, including IPv6 addresses
 * that embed one of them. `allowed` takes precedence.
 *
 * @param options.allowed addresses and CIDR ranges.
 * @throws {NotAcceptedError} if an entry is neither.
 */
export function addressPolicy({ allowed }: { readonly allowed: readonly string[] }): AddressPolicy {
  const allowedList = blockListOf(allowed);
  const blockedLists = BLOCKED.map(({ kind, ranges }) => ({
    kind,
    list: blockListOf(ranges.flatMap((range) => [range, ...embeddingRanges(range)])),
  }));
  return {
    blockedKind(address) {
      if (net.isIP(address) === 0) return 'not an IP address';
      if (contains(allowedList, address)) return undefined;
      return blockedLists.find(({ list }) => contains(list, address))?.kind;
    },
  };
}

/** @returns an `AddressNotAllowed` error if the host is a blocked address. {@link checkAddresses} checks host names. */
export function blockedHostError(policy: AddressPolicy, host: string): ReasonedError | undefined {
  const kind = net.isIP(host) === 0 ? undefined : policy.blockedKind(host);
  return kind === undefined ? undefined : notAllowed(`${host} is ${kind}`);
}

/**
 * Checks the resolved addresses of a host name. The caller connects to these, because the name could resolve to others
 * the next time.
 *
 * @throws {ReasonedError} `AddressNotAllowed` if any address is blocked. No legitimate name resolves to both a store
 *   and a blocked address.
 */
export function checkAddresses(
  policy: AddressPolicy,
  hostname: string,
  addresses: readonly LookupAddress[],
): void {
  for (const { address } of addresses) {
    const kind = policy.blockedKind(address);
    if (kind !== undefined) throw notAllowed(`${hostname} resolves to ${address}, ${kind}`);
  }
}

/**
 * Names that stand for a blocked address everywhere. Sources: RFC 6761 section 6.3 (checked separately); Google Compute
 * Engine, "View and query VM metadata"; Amazon EC2 User Guide, "Use the Instance Metadata Service".
 */
const BLOCKED_NAMES: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'instance-data',
  'instance-data.ec2.internal',
]);

/**
 * Checks a host that a proxy will connect to. The proxy resolves the name, possibly to other addresses than the prober
 * would, so only literal addresses and well-known names can be checked.
 *
 * @returns an `AddressNotAllowed` error if the host is blocked.
 */
export function blockedProxiedHostError(policy: AddressPolicy, host: string): ReasonedError | undefined {
  const name = host.replace(/\.$/, '');
  if (name === 'localhost' || name.endsWith('.localhost')) {
    return policy.blockedKind('127.0.0.1') === undefined
      ? undefined
      : notAllowed(`${host} is a loopback name`);
  }
  if (BLOCKED_NAMES.has(name)) {
    return policy.blockedKind('169.254.169.254') === undefined
      ? undefined
      : notAllowed(`${host} is the name of a metadata service`);
  }
  return blockedHostError(policy, host);
}

function notAllowed(finding: string): ReasonedError {
  return new ReasonedError(
    'AddressNotAllowed',
    `${finding}; the operator's --allow-addresses does not include it`,
  );
}

function contains(list: net.BlockList, address: string): boolean {
  return list.check(address, familyOf(address));
}

function blockListOf(ranges: readonly string[]): net.BlockList {
  const list = new net.BlockList();
  for (const range of ranges) {
    const { address, prefixBits } = parseAddressRange(range);
    list.addSubnet(address, prefixBits, familyOf(address));
  }
  return list;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return net.isIPv4(address) ? 'ipv4' : 'ipv6';
}

/** Returns the IPv6 ranges whose addresses embed an address of the given IPv4 range. */
function embeddingRanges(range: string): string[] {
  const { address, prefixBits } = parseAddressRange(range);
  if (!net.isIPv4(address)) return [];
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
  // RFC 3056 section 2: in 6to4, the address follows the 16-bit prefix.
  const sixToFour = `2002:${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}::/${16 + prefixBits}`;
  return [sixToFour, ...EMBEDDING_PREFIXES.map((prefix) => `${prefix}${address}/${96 + prefixBits}`)];
}
