import { isIP } from 'node:net';

import { NotAcceptedError } from './not-accepted.ts';

export interface AddressRange {
  readonly address: string;
  /** Prefix length. 32 or 128 for a single address. */
  readonly prefixBits: number;
}

/**
 * Parses an IP address without a zone, or a CIDR.
 *
 * @throws {NotAcceptedError} if the text is neither.
 */
export function parseAddressRange(text: string): AddressRange {
  const [, address = '', bits] = /^([^/%]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const addressBits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  const prefixBits = bits === undefined ? addressBits : Number(bits);
  if (addressBits === -1 || prefixBits > addressBits) {
    throw new NotAcceptedError('is neither an address nor a CIDR');
  }
  return { address, prefixBits };
}
