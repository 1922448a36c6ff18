import type { LookupAddress, LookupOptions } from 'node:dns';
import dns from 'node:dns/promises';
import net from 'node:net';
import { callbackify } from 'node:util';

import { parseAddressRange } from '../api/address-range.ts';
import { ReasonedError } from '../api/reasons.ts';

/** Which addresses a prober may connect to: in a cluster, whoever writes an endpoint is not who runs the prober. */
export interface AddressPolicy {
  /** @returns what the address is, for a sentence, when it may not be connected to: `a link-local address`. */
  refusalOf(address: string): string | undefined;
}

/** All addresses of a name, in the order in which they are to be tried. */
export type Resolve = (hostname: string, options: LookupOptions) => Promise<readonly LookupAddress[]>;

interface Refused {
  /** Reads after `is` and after an address. */
  readonly kind: string;
  readonly ranges: readonly string[];
}

/**
 * What no store is reached at, but the prober's own node and the credentials of its cloud are. Private networks are
 * missing on purpose: that is where stores live.
 */
const REFUSED: readonly Refused[] = [
  // RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.
  { kind: 'a loopback address', ranges: ['127.0.0.0/8', '::1'] },
  // RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2. A connection to them ends at the own host.
  { kind: 'an unspecified address', ranges: ['0.0.0.0/8', '::'] },
  // RFC 3927, RFC 4291 section 2.5.6. Most clouds have their metadata service at 169.254.169.254.
  { kind: 'a link-local address', ranges: ['169.254.0.0/16', 'fe80::/10'] },
  {
    kind: "an address of the cloud's metadata service",
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
 * IPv6 prefixes of 96 bits before an IPv4 address. Sources: RFC 4291 section 2.5.5.1 (IPv4-compatible), RFC 2765
 * section 2.1 (IPv4-translated), RFC 6052 section 2.1 and RFC 8215 section 3 (NAT64). The block list itself knows
 * `::ffff:` (IPv4-mapped).
 */
const EMBEDDING_PREFIXES = ['::', '::ffff:0:', '64:ff9b::', '64:ff9b:1::'];

/**
 * Refuses loopback, link-local, multicast and unspecified addresses and the clouds' metadata services, also where an
 * IPv6 address holds one of them, but for what is allowed.
 *
 * @param options.allowed addresses and CIDR ranges.
 * @throws {NotAcceptedError} for one that is neither.
 */
export function addressPolicy({ allowed }: { readonly allowed: readonly string[] }): AddressPolicy {
  const allowedList = blockListOf(allowed);
  const refusedLists = REFUSED.map(({ kind, ranges }) => ({
    kind,
    list: blockListOf(ranges.flatMap((range) => [range, ...embedded(range)])),
  }));
  return {
    refusalOf(address) {
      if (net.isIP(address) === 0) return 'no IP address';
      if (contains(allowedList, address)) return undefined;
      return refusedLists.find(({ list }) => contains(list, address))?.kind;
    },
  };
}

/** @returns `AddressNotAllowed` where the host is an address that is refused; names are for {@link checkedLookup}. */
export function refusedHost(policy: AddressPolicy, host: string): ReasonedError | undefined {
  const refusal = net.isIP(host) === 0 ? undefined : policy.refusalOf(host);
  return refusal === undefined ? undefined : notAllowed(`${host} is ${refusal}`);
}

/**
 * A look-up for {@link net.connect} that gives only addresses that were checked: nothing resolves the name a second
 * time, when it could lead elsewhere.
 *
 * It fails with a {@link ReasonedError} `AddressNotAllowed` when any of the addresses is refused: no honest name leads
 * to a store and to such an address as well, and who is to be connected to first is not ours to say.
 */
export function checkedLookup(policy: AddressPolicy, resolve: Resolve = resolveAll): net.LookupFunction {
  return callbackify(async (hostname: string, options: LookupOptions) => {
    const addresses = await resolve(hostname, options);
    for (const { address } of addresses) {
      const refusal = policy.refusalOf(address);
      if (refusal !== undefined) throw notAllowed(`${hostname} resolves to ${address}, ${refusal}`);
    }
    return [...addresses];
  });
}

function resolveAll(hostname: string, options: LookupOptions): Promise<LookupAddress[]> {
  return dns.lookup(hostname, { ...options, all: true });
}

function notAllowed(what: string): ReasonedError {
  return new ReasonedError('AddressNotAllowed', `${what}; the operator's --allow-addresses does not list it`);
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

/** The IPv6 ranges whose addresses hold an address of an IPv4 range. */
function embedded(range: string): string[] {
  const { address, prefixBits } = parseAddressRange(range);
  if (!net.isIPv4(address)) return [];
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
  // RFC 3056 section 2: 6to4 has the address right behind its 16 bits.
  const sixToFour = `2002:${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}::/${16 + prefixBits}`;
  return [sixToFour, ...EMBEDDING_PREFIXES.map((prefix) => `${prefix}${address}/${96 + prefixBits}`)];
}
